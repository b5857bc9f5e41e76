//! The load generator: opens connections to a server of the benchmark, loads it in one of several
//! modes, and prints one line of JSON.

use std::process::ExitCode;

use loadgen::options::Options;
use loadgen::{modes, usage};

fn main() -> ExitCode {
    usage::raise_open_files();
    let result = Options::parse(std::env::args().skip(1)).and_then(|options| modes::run(&options));
    match result {
        Ok(report) => {
            report.print();
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("loadgen: {error}");
            ExitCode::FAILURE
        }
    }
}
