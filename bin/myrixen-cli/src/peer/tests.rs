use std::net::{TcpListener, UdpSocket};

use super::*;
use crate::measure::Trips;

#[test]
fn tcp_answers_and_takes_in() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let server = std::thread::spawn(move || tcp::serve_client(listener.accept().unwrap().0, false));
    let mut client = tcp::Client::new(&address, false).unwrap();
    assert_eq!(client.round_trips(8, Trips::single(30)).unwrap().len(), 30);
    assert_eq!(client.one_way(100_000, 7).unwrap().messages, 7);
    assert_eq!(client.round_trips(0, Trips::single(3)).unwrap().len(), 3);
    drop(client);
    server.join().unwrap().unwrap();
}

#[test]
fn an_answer_that_is_late_or_doubled_is_not_taken_for_another() {
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    let address = socket.local_addr().unwrap().to_string();
    let server = std::thread::spawn(move || {
        let mut message = [0; 100];
        for _ in 0..5 {
            let (len, client) = socket.recv_from(&mut message).unwrap();
            for _ in 0..2 {
                socket.send_to(&message[..len], client).unwrap();
            }
        }
    });
    let mut client = udp::client(&address, false).unwrap();
    assert_eq!(client.round_trips(64, Trips::single(5)).unwrap().len(), 5);
    assert!(client.one_way(64, 5).is_err());
    assert!(client.round_trips(4, Trips::single(5)).is_err());
    server.join().unwrap();
}
