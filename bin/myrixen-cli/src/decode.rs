//! `myrixen decode`: a packet capture as text.

use std::fs::File;
use std::io::{self, BufReader, BufWriter, Read, Write};

use anyhow::{Context as _, bail};
use mxoe::frame::Dialect;
use mxoe::text::describe;
use mxoe::time::Time;
use myrixen_link::pcap::{PcapReader, Recorded};

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

/// Prints the frames of `capture` and returns how many there were.
fn decode(capture: impl Read, args: &DecodeArgs, out: &mut impl Write) -> anyhow::Result<u64> {
    let mut frames = PcapReader::new(capture)?;
    let mut first = Vec::new();
    let dialect = match args.dialect {
        Some(dialect) => dialect,
        None => {
            while first.len() < GUESS_FROM
                && let Some(frame) = frames.next().transpose()?
            {
                first.push(frame);
            }
            let seen = first
                .iter()
                .map(|frame| (frame.bytes.as_slice(), frame.len));
            let guess = Dialect::guess(seen);
            if guess.is_none() && !first.is_empty() {
                eprintln!(
                    "note: nothing in the first frames tells the dialect; --dialect names it ({} assumed)",
                    Dialect::DEFAULT
                );
            }
            guess.unwrap_or(Dialect::DEFAULT)
        }
    };
    let mut count = 0;
    for frame in first.into_iter().map(Ok).chain(frames) {
        print(&frame?, dialect, args.verbose, out)?;
        count += 1;
    }
    Ok(count)
}

fn print(
    frame: &Recorded,
    dialect: Dialect,
    verbose: bool,
    out: &mut impl Write,
) -> io::Result<()> {
    let time = Time::from_nanos(u64::try_from(frame.at.as_nanos()).unwrap_or(u64::MAX));
    let text = describe(dialect, &frame.bytes, frame.len).at(time);
    if verbose {
        writeln!(out, "{text:#}")
    } else {
        writeln!(out, "{text}")
    }
}
