//! `myrixen decode`: a packet capture as text.

use std::fs::File;
use std::io::{self, BufReader, BufWriter, Read, Write};
use std::time::Duration;

use anyhow::{Context as _, bail};
use mxoe::frame::{Dialect, ETHER_TYPE};
use mxoe::text::describe;
use mxoe::time::Time;
use myrixen_link::Tag;
use myrixen_link::pcap::{CaptureError, FrameReader, Recorded};

use crate::cli::DecodeArgs;

/// How many frames are looked at to guess the dialect: the first messages of a conversation tell it.
const GUESS_FROM: usize = 1000;

/// Prints the frames of a capture.
pub(crate) fn run(args: &DecodeArgs) -> anyhow::Result<()> {
    let name = args.file.display();
    let input: Box<dyn Read> = if args.file.as_os_str() == "-" {
        Box::new(io::stdin().lock())
    } else {
        Box::new(File::open(&args.file).with_context(|| format!("cannot open {name}"))?)
    };
    let mut out = BufWriter::new(io::stdout().lock());
    let printed = decode(BufReader::new(input), args, &mut out)
        .and_then(|count| out.flush().map(|()| count).map_err(Into::into));
    match printed {
        Ok(0) => bail!("{name} holds no MXoE frame (EtherType 0x86df)"),
        Ok(_) => Ok(()),
        // Whoever reads has seen enough, as `head` does.
        Err(error) if is_broken_pipe(&error) => Ok(()),
        Err(error) => Err(error.context(format!("cannot decode {name}"))),
    }
}

fn is_broken_pipe(error: &anyhow::Error) -> bool {
    let kind = error.downcast_ref::<io::Error>().map(io::Error::kind);
    kind == Some(io::ErrorKind::BrokenPipe)
}

/// Prints the frames of `capture` and returns how many there were. Times count from the first of them.
fn decode(capture: impl Read, args: &DecodeArgs, out: &mut impl Write) -> anyhow::Result<u64> {
    let mut frames =
        FrameReader::new(capture)?.filter(|frame| frame.as_ref().map_or(true, is_mxoe));
    let (dialect, first) = match args.dialect {
        Some(dialect) => (dialect, Vec::new()),
        None => guess(&mut frames)?,
    };
    let mut begin = None;
    let mut count = 0;
    for frame in first.into_iter().map(Ok).chain(frames) {
        let frame = frame?;
        let begin = *begin.get_or_insert(frame.at);
        print(
            &frame,
            frame.at.saturating_sub(begin),
            dialect,
            args.verbose,
            out,
        )?;
        count += 1;
    }
    Ok(count)
}

fn is_mxoe(frame: &Recorded) -> bool {
    frame.bytes.get(12..14) == Some(&ETHER_TYPE.to_be_bytes())
}

/// The dialect, and the frames that had to be read to guess it.
fn guess(
    frames: &mut impl Iterator<Item = Result<Recorded, CaptureError>>,
) -> anyhow::Result<(Dialect, Vec<Recorded>)> {
    let first = frames.take(GUESS_FROM).collect::<Result<Vec<_>, _>>()?;
    let seen = first
        .iter()
        .map(|frame| (frame.bytes.as_slice(), frame.len));
    let guess = Dialect::guess(seen);
    if guess.is_none() && !first.is_empty() {
        let assumed = Dialect::DEFAULT;
        eprintln!(
            "note: nothing in these frames tells the dialect: {assumed} is assumed; --dialect names it"
        );
    }
    Ok((guess.unwrap_or(Dialect::DEFAULT), first))
}

fn print(
    frame: &Recorded,
    at: Duration,
    dialect: Dialect,
    verbose: bool,
    out: &mut impl Write,
) -> io::Result<()> {
    let time = Time::from_nanos(u64::try_from(at.as_nanos()).unwrap_or(u64::MAX));
    let text = describe(dialect, &frame.bytes, frame.len).at(time);
    if frame.tag != Tag::None {
        write!(out, "{} ", frame.tag)?;
    }
    if verbose {
        writeln!(out, "{text:#}")
    } else {
        writeln!(out, "{text}")
    }
}
