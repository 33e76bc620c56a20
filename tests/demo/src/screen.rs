//! What is written for people to read.

use std::io::{IsTerminal, Stdout, Write};

const BOLD: &str = "1";
const GREEN: &str = "32";
const RED: &str = "31";

/// The terminal, or whatever stands in for it.
pub struct Screen {
    out: Stdout,
    colour: bool,
}

impl Screen {
    /// The standard output, in colour if that is a terminal and nobody minds.
    pub fn new() -> Self {
        let minds = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
        let out = std::io::stdout();
        let colour = out.is_terminal() && !minds;
        Self { out, colour }
    }

    /// A line as it is.
    pub fn line(&self, text: &str) {
        // Who stops reading, as `head` does, still wants the right exit code.
        drop(writeln!(&self.out, "{text}"));
    }

    /// The headline of what follows.
    pub fn title(&self, text: &str) {
        self.line(&format!("\n{}", self.paint(BOLD, text)));
    }

    /// A line that belongs to the headline.
    pub fn detail(&self, text: &str) {
        self.line(&format!("   {text}"));
    }

    /// That all was as the tour says.
    pub fn good(&self, text: &str) {
        self.detail(&format!("{} {text}", self.paint(GREEN, "✓")));
    }

    /// That something was not.
    pub fn bad(&self, expected: &str, got: &str) {
        self.detail(&self.paint(RED, "✗ not what the tour says"));
        self.detail(&format!("  expected: {expected}"));
        self.detail(&format!("  got:      {got}"));
    }

    fn paint(&self, code: &str, text: &str) -> String {
        if self.colour { format!("\x1b[{code}m{text}\x1b[0m") } else { text.to_owned() }
    }
}
