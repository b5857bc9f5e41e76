//! One message from each connection starts it; then the server sends as fast as its socket allows.

use super::Report;
use crate::connection::{Send, Session};
use crate::measure::Meter;
use crate::messages::Messages;
use crate::options::Options;
use crate::Outcome;

pub fn run(options: &Options, report: &mut Report) -> Outcome<()> {
    let mut session = Session::open(options, Messages::pushed(options.size))?;
    let mut meter = Meter::new(options);
    for connection in 0..options.connections {
        session.send(&Send {
            connection,
            count: 1,
        })?;
    }
    while meter.goes_on()? {
        session.turn(|connection, count, _| {
            meter.count(count);
            Send {
                connection,
                count: 0,
            }
        })?;
    }
    meter.report(report)
}
