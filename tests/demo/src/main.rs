//! A guided tour of the filters: real requests through a real Envoy, each with
//! what was sent and what came back.
//!
//! Every step is checked, so the tour cannot promise what the filters do not
//! keep. Exit codes: 0 every step gave what the tour says, 1 one did not,
//! 2 something could not be started, 128 and more the signal that interrupted it.

mod counters;
mod keep;
mod outcome;
mod ports;
mod screen;
mod signals;
mod stage;
mod steps;
mod tokens;
mod tour;

use std::process::ExitCode;

use anyhow::{Error, Result};
use tokio::runtime::Runtime;

use screen::Screen;
use signals::Signals;
use stage::{Ports, Stage};

const USAGE: &str = "usage: demo [--keep]

  --keep  leave everything running after the tour, until Ctrl-C";

const DIFFERS: u8 = 1;
const NOT_STARTED: u8 = 2;

fn main() -> ExitCode {
    let arguments: Vec<_> = std::env::args().skip(1).collect();
    let keep = match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        [] => false,
        ["--keep"] => true,
        ["--help" | "-h"] => {
            println!("{USAGE}");
            return ExitCode::SUCCESS;
        }
        _ => {
            eprintln!("{USAGE}");
            return ExitCode::from(NOT_STARTED);
        }
    };
    let ran = Runtime::new()
        .map_err(Error::from)
        .and_then(|runtime| runtime.block_on(demo(keep, &Screen::new())));
    ran.map_or_else(
        |error| {
            tell(&error);
            ExitCode::from(NOT_STARTED)
        },
        ExitCode::from,
    )
}

async fn demo(keep: bool, screen: &Screen) -> Result<u8> {
    let mut signals = Signals::listen()?;
    let opening = async {
        let stage = Stage::start(if keep { Ports::Written } else { Ports::Free }).await?;
        let as_told = tour::run(&stage, screen).await;
        anyhow::Ok((stage, as_told))
    };
    let (stage, as_told) = tokio::select! {
        opened = opening => opened?,
        // What was started ends as it is dropped.
        code = signals.came() => return Ok(code),
    };
    if !as_told {
        screen.line(&stage.envoy.report().await);
    }
    if keep {
        keep::explain(&stage, screen);
        signals.came().await;
    }
    if let Err(error) = stage.envoy.stop().await {
        eprintln!("Envoy was killed, because it did not end when asked to: {error:#}");
    }
    Ok(if as_told { 0 } else { DIFFERS })
}

/// Says in one sentence, and last, why the demo did not start. Above it stands
/// what takes more than a line, such as the log of an Envoy that ended.
fn tell(error: &Error) {
    let causes = error.chain().map(ToString::to_string);
    let (long, short): (Vec<_>, Vec<_>) = causes.partition(|cause| cause.contains('\n'));
    for cause in long {
        eprintln!("{cause}\n");
    }
    eprintln!("error: the demo did not start: {}", short.join(": "));
}
