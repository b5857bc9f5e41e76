//! One module per kind of load.

use crate::messages::Messages;
use crate::options::Options;
use crate::placement;
use crate::report::Report;
use crate::Outcome;

mod broadcast;
mod echo;
mod handshakes;
mod idle;
mod push;

/// Runs what the options ask for and returns the figures.
pub fn run(options: &Options) -> Outcome<Report> {
    let mut report = Report::default();
    report.text("mode", &options.mode);
    if options.apart {
        placement::keep_apart(options.pid)?;
    }
    match options.mode.as_str() {
        "echo" => echo::run(options, &mut report)?,
        "broadcast" => broadcast::run(options, &mut report)?,
        "push" => push::run(options, &mut report)?,
        "idle" => idle::run(options, &mut report)?,
        "handshakes" => handshakes::run(options, &mut report)?,
        mode => return Err(format!("no such mode: {mode}\n{}", crate::options::USAGE).into()),
    }
    Ok(report)
}

fn messages(options: &Options) -> Messages {
    Messages::new(options.size, options.binary)
}
