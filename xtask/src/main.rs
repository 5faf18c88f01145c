//! Chores of the MyriXen workspace: `cargo xtask COMMAND`.
//!
//! It needs nothing but cargo (the lab: QEMU and Debian's packages; instructions: valgrind), and changes no file of the
//! repository unless it is told to accept figures.

#![forbid(unsafe_code)]

mod arrows;
mod check;
mod instructions;
mod lab;
mod lengths;
mod source;
mod step;
mod unsafe_code;
mod workspace;

use std::process::ExitCode;

use anyhow::bail;

use crate::workspace::Workspace;

const USAGE: &str = "\
usage: cargo xtask COMMAND

  arrows            compare the crates' dependencies with docs/architecture.md, find `unsafe`
                    where it has no business, and files and functions beyond their limits
  check             everything that CI runs; a failing step does not stop the others
      --list            name the steps and what they run
      --only A,B        only these steps
      --skip A,B        all but these steps
      --fail-fast       stop at the first step that fails
      --fuzz-seconds N  for how long each fuzz target runs
      --within N        end within so many seconds, as far as a shorter time for fuzzing has it
  instructions      count what the hot paths take, and compare with benches/instructions.toml: growth beyond
                    5 % fails
      --accept          write what was counted there instead
  lab xen           the tests on real Xen, on emulated machines (lab/xen/README.md)
      --list            name the tests
      --only A,B        only these tests
      --keep            leave the folder of the machines behind
      --quick           measure a few times only: for whoever wants to know that it works
      --verbose         show all consoles as they go, boot messages too
      --prepare         only make the images
";

fn main() -> ExitCode {
    match run(&std::env::args().skip(1).collect::<Vec<_>>()) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("xtask: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// Carries out one command line.
fn run(arguments: &[String]) -> anyhow::Result<ExitCode> {
    let Some((command, rest)) = arguments.split_first() else {
        bail!("no command\n\n{USAGE}");
    };
    match command.as_str() {
        "arrows" if rest.is_empty() => rules(),
        "check" => check::run(&check::Selection::parse(rest)?),
        "instructions" => instructions::run(&instructions::Request::parse(rest)?),
        "lab" => lab::run(&lab::Request::parse(rest)?),
        "help" | "--help" | "-h" => {
            print!("{USAGE}");
            Ok(ExitCode::SUCCESS)
        }
        _ => bail!("what is `{}`?\n\n{USAGE}", arguments.join(" ")),
    }
}

/// The rules of the layout that neither rustc nor clippy knows.
fn rules() -> anyhow::Result<ExitCode> {
    let workspace = Workspace::load()?;
    let architecture = workspace.read("docs/architecture.md")?;
    let files = source::collect(&workspace)?;

    let mut findings = arrows::check(&workspace, &architecture)?;
    findings.extend(unsafe_code::check(&workspace, &files, &architecture)?);
    let lengths = lengths::check(&files);
    findings.extend(lengths.findings);

    for finding in &findings {
        eprintln!("error: {finding}");
    }
    println!(
        "{} crates, {} files, {} functions: {} broken rules; {} files above {} lines, {} functions above {}",
        workspace.crates.len(),
        files.len(),
        lengths.functions,
        findings.len(),
        lengths.long_files,
        lengths::FILE_AIM,
        lengths.long_functions,
        lengths::FUNCTION_AIM,
    );
    Ok(if findings.is_empty() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}
