//! Every message comes back to the connection that sent it, which then sends its next one.

use std::time::Instant;

use super::messages;
use crate::connection::{Send, SentAt, Session};
use crate::measure::Meter;
use crate::options::Options;
use crate::report::Report;
use crate::Outcome;

pub fn run(options: &Options, report: &mut Report) -> Outcome<()> {
    let mut session = Session::open(options, messages(options))?;
    let mut sent_at = vec![SentAt::with_capacity(options.depth); options.connections];
    let mut meter = Meter::new(options);
    let count = options.depth as u64;
    for (connection, sent_at) in sent_at.iter_mut().enumerate() {
        sent_at.extend(std::iter::repeat_n(Instant::now(), options.depth));
        session.send(&Send { connection, count })?;
    }
    while meter.goes_on()? {
        session.turn(|connection, count, now| {
            let sent_at = &mut sent_at[connection];
            for _ in 0..count {
                if let Some(sent) = sent_at.pop_front() {
                    meter.latency(now - sent);
                }
                sent_at.push_back(now);
            }
            meter.count(count);
            Send { connection, count }
        })?;
    }
    meter.report(report)?;
    report.text("extensions", &session.negotiated().extensions);
    report.number("uncompressed_replies", session.uncompressed() as f64);
    Ok(())
}
