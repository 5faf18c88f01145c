//! Messages both ways between two processes: a service each way.

use anyhow::{Context as _, ensure};
use iceoryx2::port::publisher::Publisher;
use iceoryx2::port::subscriber::Subscriber;
use iceoryx2::prelude::{BackpressureStrategy, NodeBuilder, SignalHandlingMode, ipc};
use iceoryx2::sample::Sample;

/// Bytes of a credit.
pub(crate) const CREDIT: usize = 8;

type Node = iceoryx2::prelude::Node<ipc::Service>;
pub(crate) type Message = Sample<ipc::Service, [u8], ()>;

/// How many messages of `size` bytes are under way at a time: as many as in a stream of ours.
pub(crate) fn window(size: usize) -> u64 {
    ((8 << 20) / size.max(1) as u64).clamp(4, 256)
}

/// One end.
pub(crate) struct Channel {
    out: Publisher<ipc::Service, [u8], ()>,
    back: Subscriber<ipc::Service, [u8], ()>,
    // Last: ports belong to it.
    _node: Node,
}

impl Channel {
    /// Opens one end of the channel `name`; the other one says the opposite of `first`.
    pub(crate) fn open(name: &str, size: usize, first: bool) -> anyhow::Result<Self> {
        let node = NodeBuilder::new()
            .signal_handling_mode(SignalHandlingMode::Disabled)
            .create::<ipc::Service>()
            .context("iceoryx2 makes no node")?;
        let (there, back) = if first { ("1", "2") } else { ("2", "1") };
        let buffers = usize::try_from(window(size))?;
        let service = |way: &str| {
            let name = format!("{name}/{way}");
            node.service_builder(&name.as_str().try_into()?)
                .publish_subscribe::<[u8]>()
                .max_publishers(1)
                .max_subscribers(1)
                .history_size(0)
                .subscriber_max_buffer_size(buffers)
                .enable_safe_overflow(false)
                .open_or_create()
                .with_context(|| format!("iceoryx2 opens no service {name}"))
        };
        let out = service(there)?
            .publisher_builder()
            .initial_max_slice_len(size.max(CREDIT))
            .backpressure_strategy(BackpressureStrategy::DiscardData)
            .create()
            .context("iceoryx2 makes no publisher")?;
        let back = service(back)?
            .subscriber_builder()
            .create()
            .context("iceoryx2 makes no subscriber")?;
        Ok(Self {
            out,
            back,
            _node: node,
        })
    }

    /// Sends a message. There has to be room: see [`window`].
    pub(crate) fn send(&self, bytes: &[u8]) -> anyhow::Result<()> {
        let sample = self.out.loan_slice_uninit(bytes.len())?;
        let receivers = sample.write_from_slice(bytes).send()?;
        ensure!(receivers == 1, "{receivers} ends took a message");
        Ok(())
    }

    /// Looks for a message until there is one.
    pub(crate) fn receive(&self) -> anyhow::Result<Message> {
        loop {
            if let Some(message) = self.back.receive()? {
                return Ok(message);
            }
            std::hint::spin_loop();
        }
    }

    /// A message, if there is one.
    pub(crate) fn look(&self) -> anyhow::Result<Option<Message>> {
        Ok(self.back.receive()?)
    }
}
