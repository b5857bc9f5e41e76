//! Memory of connections that do nothing, or that exchanged one compressed message each and then
//! fell silent.

use std::thread::sleep;

use super::messages;
use crate::connection::{Send, Session};
use crate::handshake::Deflate;
use crate::options::Options;
use crate::report::Report;
use crate::usage::Process;
use crate::Outcome;

/// Opened first and not counted: they pay for what a server loads and compiles only once.
const FIRST_CONNECTIONS: usize = 16;

pub fn run(options: &Options, report: &mut Report) -> Outcome<()> {
    let process = Process::new(options.pid);
    let _first = open(&Options {
        connections: FIRST_CONNECTIONS,
        ..options.clone()
    })?;
    process.ask_to_collect();
    sleep(options.settle);
    let before = process.resident()?;

    let session = open(options)?;
    sleep(options.settle);
    let after = process.resident()?;
    process.ask_to_collect();
    sleep(options.settle / 2);
    let collected = process.resident()?;

    let growth =
        |resident: u64| (resident as f64 - before as f64) / 1e3 / options.connections as f64;
    report.number("rss_before_mb", before as f64 / 1e6);
    report.number("rss_mb", after as f64 / 1e6);
    report.number("rss_collected_mb", collected as f64 / 1e6);
    report.number("kb_per_connection", growth(after));
    report.number("kb_per_connection_collected", growth(collected));
    report.text("extensions", &session.negotiated().extensions);
    report.number("uncompressed_replies", session.uncompressed() as f64);
    Ok(())
}

/// Opens connections; with compression, each sends one message and waits for it to come back.
fn open(options: &Options) -> Outcome<Session> {
    let mut session = Session::open(options, messages(options))?;
    if options.deflate == Deflate::Off {
        return Ok(session);
    }
    for connection in 0..options.connections {
        session.send(&Send {
            connection,
            count: 1,
        })?;
    }
    let mut missing = options.connections as u64;
    while missing > 0 {
        session.turn(|connection, count, _| {
            missing -= count;
            Send {
                connection,
                count: 0,
            }
        })?;
    }
    Ok(session)
}
