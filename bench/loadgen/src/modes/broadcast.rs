//! The first connection sends; the server passes every message on to all, the sender included. The
//! next message is sent when one in flight has reached everybody. Deliveries are counted.

use std::time::Instant;

use super::messages;
use crate::connection::{Send, Session};
use crate::measure::Meter;
use crate::options::Options;
use crate::report::Report;
use crate::Outcome;

const SENDER: usize = 0;

#[derive(Clone, Copy)]
struct InFlight {
    sent_at: Instant,
    /// How many connections have it.
    reached: usize,
}

pub fn run(options: &Options, report: &mut Report) -> Outcome<()> {
    let mut session = Session::open(options, messages(options))?;
    let mut meter = Meter::new(options);
    // All get the messages in the order in which they were sent, so a message is known by its
    // number. Nobody can be ahead of the slowest by more than what is in flight, so numbers modulo
    // that many are enough.
    let mut in_flight = vec![
        InFlight {
            sent_at: Instant::now(),
            reached: 0
        };
        options.depth
    ];
    let mut received = vec![0; options.connections];
    session.send(&Send {
        connection: SENDER,
        count: options.depth as u64,
    })?;
    while meter.goes_on()? {
        session.turn(|connection, count, now| {
            let mut delivered = 0;
            for _ in 0..count {
                let message = &mut in_flight[received[connection] % options.depth];
                received[connection] += 1;
                message.reached += 1;
                if message.reached == options.connections {
                    meter.latency(now - message.sent_at);
                    *message = InFlight {
                        sent_at: now,
                        reached: 0,
                    };
                    delivered += 1;
                }
            }
            meter.count(count);
            Send {
                connection: SENDER,
                count: delivered,
            }
        })?;
    }
    meter.report(report)
}
