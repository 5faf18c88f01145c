use mxoe::addr::EndpointId;
use myrixen_platform::Ringer;
use myrixen_platform::bell::bell;
use myrixen_ring::{Capacity, Layout, QueuePair, Side, Support, Terms};
use myrixen_shm::Pages;

use super::*;
use crate::ids::GuestId;
use crate::mailbox::{Outbox, mailbox};
use crate::meter::PortMeter;
use crate::switch::Report;

const PORT: PortId = PortId::new(7);

/// A port, and what its guest rings with.
fn port() -> (NewPort, Ringer) {
    let terms = Terms {
        layout: Layout::new(Capacity::MIN, Capacity::MIN),
        support: Support::OURS,
    };
    let pages = Pages::private(terms.layout.total()).unwrap();
    QueuePair::create(pages.clone(), &terms, Side::Front).unwrap();
    let ((ringer, _), (theirs, waiter)) = (bell().unwrap(), bell().unwrap());
    let port = NewPort {
        id: PORT,
        guest: GuestId::new(1),
        partition: PartitionId::new(0),
        address: Address::new(NicAddr::new([2, 0, 0, 0, 0, 1]), EndpointId::new(0)),
        pair: QueuePair::join(pages, &terms, Side::Back).unwrap(),
        ringer,
        waiter,
        meter: Arc::new(PortMeter::default()),
        quota: None,
    };
    (port, theirs)
}

fn worker(reports: Outbox<Report>) -> (Worker, Outbox<Command>) {
    let wait = WaitSet::new().unwrap();
    let (commands, inbox) = mailbox(8, wait.waker());
    let meter = Arc::new(WorkerMeter::default());
    let (id, ways) = (WorkerId::new(0), Vec::new());
    let switch = Switch::new(id, ways, Vec::new(), reports, Arc::clone(&meter));
    let worker = Worker::new(switch, Vec::new(), inbox, wait, meter).unwrap();
    (worker, commands)
}

#[test]
fn a_hang_up_is_reported_when_there_is_room_for_it() {
    let control = WaitSet::new().unwrap();
    let (reports, mut inbox) = mailbox(1, control.waker());
    let (mut worker, commands) = worker(reports.clone());
    let (port, theirs) = port();
    assert!(commands.send(Command::AddPort(Box::new(port))).is_ok());
    worker.turn(Time::ZERO);
    let other = Report::Uplink {
        uplink: UplinkId::new(0),
        problem: "of others".to_owned(),
    };
    reports.send(other).unwrap();

    drop(theirs);
    worker.wake_up();
    worker.turn(Time::ZERO);
    let again = Rest::Until(Time::ZERO + RETRY);
    assert_eq!(worker.prepare_sleep(Time::ZERO), again, "no room yet");
    assert!(matches!(inbox.take(), Some(Report::Uplink { .. })));
    assert!(inbox.take().is_none());

    worker.turn(Time::ZERO + RETRY);
    assert!(matches!(
        inbox.take(),
        Some(Report::HungUp { port: PORT, .. })
    ));
    assert_eq!(worker.prepare_sleep(Time::ZERO), Rest::Asleep);
}
