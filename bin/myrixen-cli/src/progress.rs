//! What a person sees on the terminal while something takes its time.

use std::io::{IsTerminal as _, Write as _};
use std::time::{Duration, Instant};

/// Progress of a run, on standard error: one line that changes on a terminal, one line a step elsewhere.
pub(crate) struct Progress {
    terminal: bool,
    begun: Instant,
    step: Option<(String, Instant)>,
    drawn: Option<Instant>,
}

/// The line is drawn again at most this often: more cannot be read, and terminals can be slow.
const REDRAW: Duration = Duration::from_millis(80);

impl Progress {
    pub(crate) fn new() -> Self {
        Self {
            terminal: std::io::stderr().is_terminal(),
            begun: Instant::now(),
            step: None,
            drawn: None,
        }
    }

    /// Ends the current step, if any, and begins another.
    pub(crate) fn step(&mut self, name: &str) {
        self.finish("");
        self.step = Some((name.to_owned(), Instant::now()));
        self.drawn = None;
        self.detail("");
    }

    /// Shows how far the current step is.
    pub(crate) fn detail(&mut self, detail: &str) {
        let Some((name, _)) = &self.step else { return };
        let recent = self.drawn.is_some_and(|drawn| drawn.elapsed() < REDRAW);
        if !self.terminal || recent {
            return;
        }
        self.drawn = Some(Instant::now());
        let mut line = format!("{:5.1}s  {name}", self.begun.elapsed().as_secs_f64());
        if !detail.is_empty() {
            line = format!("{line}: {detail}");
        }
        draw(&line);
    }

    /// Ends the current step and says what came of it.
    pub(crate) fn finish(&mut self, outcome: &str) {
        let Some((name, since)) = self.step.take() else {
            return;
        };
        let at = self.begun.elapsed().as_secs_f64();
        let took = since.elapsed().as_secs_f64();
        let outcome = if outcome.is_empty() {
            String::new()
        } else {
            format!(": {outcome}")
        };
        if self.terminal {
            draw("");
        }
        tell(&format!("{at:5.1}s  {name}{outcome} ({took:.1} s)"));
    }

    /// A line that stays.
    pub(crate) fn note(&mut self, text: &str) {
        if self.terminal {
            draw("");
        }
        tell(&format!("        {text}"));
        self.drawn = None;
    }
}

impl Drop for Progress {
    /// An error ends the step that it happened in: the half-drawn line is left behind the message.
    fn drop(&mut self) {
        if self.terminal && self.step.is_some() {
            draw("");
        }
    }
}

/// Writes a line that stays. A terminal that is gone needs no progress.
fn tell(line: &str) {
    let _ = writeln!(std::io::stderr(), "{line}");
}

/// Replaces the terminal's current line; what does not fit is cut, so that it stays one line.
fn draw(line: &str) {
    let width = terminal_width().saturating_sub(1);
    let line: String = line.chars().take(width).collect();
    // A terminal that is gone needs no progress.
    let _ = write!(std::io::stderr(), "\r\x1b[2K{line}");
    let _ = std::io::stderr().flush();
}

fn terminal_width() -> usize {
    rustix::termios::tcgetwinsize(std::io::stderr())
        .map_or(80, |size| usize::from(size.ws_col).max(20))
}
