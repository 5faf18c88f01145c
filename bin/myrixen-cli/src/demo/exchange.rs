//! A guest's part in the exchange: messages of every size to and from every other guest, each byte compared.

use anyhow::{Context as _, bail};
use myrixen::Match;

use super::guest::{Guest, Partner, say};
use super::protocol::Report;
use crate::pattern::Stamp;
use crate::units;

/// The top 16 bits of the match information of messages of the exchange.
const KIND: u16 = 0x4d20;

/// Sizes around every limit of the protocol (nothing, tiny, small, medium, rendezvous), up to 16 MiB.
pub(crate) const SIZES: [u64; 22] = [
    0,
    1,
    8,
    31,
    32,
    33,
    127,
    128,
    129,
    1 << 10,
    4095,
    4096,
    4097,
    9000,
    (32 << 10) - 1,
    32 << 10,
    (32 << 10) + 1,
    100_000,
    1 << 18,
    1 << 20,
    (4 << 20) + 3,
    16 << 20,
];

/// How many messages of a size each guest sends to each other: fewer of those that take long to compare.
pub(crate) fn copies(size: u64) -> u32 {
    match size {
        0..=4096 => 16,
        4097..=1_048_576 => 4,
        _ => 1,
    }
}

/// Sends to and receives from all partners, one size after the other.
pub(crate) fn run(guest: &Guest) -> anyhow::Result<()> {
    let before = guest.main.counters().fetches;
    let (mut first, mut messages, mut bytes, mut direct) = (0, 0, 0, 0);
    for size in SIZES {
        // While everybody is there: who has the last message may leave before us.
        let partners = guest.partners.iter();
        direct = partners.filter(|partner| guest.is_direct(partner)).count();
        let doing = || format!("the exchange of messages of {} failed", units::size(size));
        exchange_size(guest, size, first).with_context(doing)?;
        first += copies(size);
        let received = u64::from(copies(size)) * guest.partners.len() as u64;
        messages += received;
        bytes += received * size;
        say(&Report::Exchanging { size })?;
    }
    say(&Report::Exchanged {
        messages,
        bytes,
        direct,
        in_place: guest.main.counters().fetches - before,
    })
}

/// What a completion belongs to: the partner's place in the list and the message's number, or a send.
const SEND: u64 = u64::MAX;

fn exchange_size(guest: &Guest, size: u64, first: u32) -> anyhow::Result<()> {
    let mut pending = 0;
    for (place, partner) in guest.partners.iter().enumerate() {
        for number in first..first + copies(size) {
            post(
                guest,
                partner,
                (place as u64) << 32 | u64::from(number),
                size,
            )?;
            send(guest, partner, number, size)?;
            pending += 2;
        }
    }
    while pending > 0 {
        let Some(done) = guest.main.wait_any(Match::any(), Some(guest.patience)) else {
            bail!(
                "{pending} sends and receives were not complete and nothing came for {:?}",
                guest.patience
            );
        };
        pending -= 1;
        let (context, received) = (
            done.context,
            done.result().map_err(|e| anyhow::anyhow!("{e}"))?,
        );
        if context == SEND {
            continue;
        }
        let (place, number) = (usize::try_from(context >> 32)?, context & 0xffff_ffff);
        let from = guest.partners[place].number;
        let stamp = Stamp {
            from,
            to: guest.number,
            number: u32::try_from(number)?,
        };
        let Some(received) = received else {
            bail!("a receive ended as a send")
        };
        if received.message_len as u64 != size {
            bail!(
                "guest {from} sent {size} bytes and {} arrived",
                received.message_len
            );
        }
        let buffer = done
            .into_buffer::<Vec<u8>>()
            .context("a receive lost its buffer")?;
        stamp.verify(&buffer[..received.len])?;
    }
    Ok(())
}

fn post(guest: &Guest, partner: &Partner, context: u64, size: u64) -> anyhow::Result<()> {
    let number = u32::try_from(context & 0xffff_ffff)?;
    let stamp = Stamp {
        from: partner.number,
        to: guest.number,
        number,
    };
    let matching = Match::exact(stamp.bits(KIND)).from(&partner.main);
    guest
        .main
        .irecv(matching, vec![0_u8; usize::try_from(size)?])?
        .queue(context);
    Ok(())
}

fn send(guest: &Guest, partner: &Partner, number: u32, size: u64) -> anyhow::Result<()> {
    let stamp = Stamp {
        from: guest.number,
        to: partner.number,
        number,
    };
    guest.send(partner, stamp, KIND, usize::try_from(size)?, SEND)
}
