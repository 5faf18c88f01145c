//! Manual pages and shell completions, generated from the definition of the command line.

use std::io;
use std::path::Path;

use anyhow::Context as _;
use clap::CommandFactory as _;

use crate::cli::Cli;
use crate::output;

/// Writes one manual page for the command and one for each visible subcommand to `directory`.
pub(crate) fn write_man_pages(directory: &Path) -> anyhow::Result<()> {
    let doing = || format!("cannot write manual pages to {}", directory.display());
    std::fs::create_dir_all(directory).with_context(doing)?;
    let mut command = Cli::command();
    // Fills in the names with their parents: `myrixen-perf-serve`.
    command.build();
    let count = write_pages(&command, "myrixen", directory).with_context(doing)?;
    output::print(&format!(
        "{count} manual pages written to {}\n",
        directory.display()
    ))
}

fn write_pages(command: &clap::Command, name: &str, directory: &Path) -> io::Result<usize> {
    let mut page = Vec::new();
    // clap wants names that live as long as the program; the handful of pages is written once.
    let title: &'static str = Box::leak(name.to_owned().into_boxed_str());
    clap_mangen::Man::new(command.clone().name(title)).render(&mut page)?;
    std::fs::write(directory.join(format!("{name}.1")), page)?;
    let mut count = 1;
    for sub in command.get_subcommands() {
        if !sub.is_hide_set() && sub.get_name() != "help" {
            count += write_pages(sub, &format!("{name}-{}", sub.get_name()), directory)?;
        }
    }
    Ok(count)
}

/// Prints a completion script for `shell`.
pub(crate) fn print_completions(shell: clap_complete::Shell) -> anyhow::Result<()> {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Cli::command(), "myrixen", &mut script);
    output::print(&String::from_utf8(script)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_visible_command_has_a_page_and_no_hidden_one_has() {
        let directory = tempfile::tempdir().unwrap();
        write_man_pages(directory.path()).unwrap();
        let page = |name: &str| std::fs::read_to_string(directory.path().join(name));
        assert!(page("myrixen.1").unwrap().contains(".TH myrixen 1"));
        assert!(
            page("myrixen-perf-serve.1")
                .unwrap()
                .contains("Answers the other perf commands")
        );
        assert!(page("myrixen-demo.1").unwrap().contains("results.json"));
        assert!(page("myrixen-demo-part.1").is_err());
        assert!(page("myrixen-help.1").is_err());
    }
}
