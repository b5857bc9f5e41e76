//! Opening handshakes per second, a limited number at a time. The connections stay open until the
//! run is over, so that closing them is not measured.

use crate::handshake;
use crate::measure::Meter;
use crate::options::Options;
use crate::report::Report;
use crate::Outcome;

/// The part of the connections that is opened first, without counting.
const WARM_UP: usize = 5;

pub fn run(options: &Options, report: &mut Report) -> Outcome<()> {
    let open = |count| handshake::open(options.port, options.deflate, count, options.depth);
    let _first = open(options.connections.div_ceil(WARM_UP))?;
    let mut meter = Meter::new(options);
    meter.begin()?;
    let opened = open(options.connections)?;
    meter.count(opened.len() as u64);
    for connection in &opened {
        meter.latency(connection.took);
    }
    meter.report(report)
}
