//! A stretch of time: first a warm-up that does not count, then what is measured.

use std::time::{Duration, Instant};

use crate::histogram::Histogram;
use crate::options::Options;
use crate::report::Report;
use crate::usage::{self, Cpu, Process};
use crate::Outcome;

/// What had been used when the measured time began.
struct Mark {
    time: Instant,
    server: Cpu,
    own: Duration,
}

pub struct Meter {
    process: Process,
    warm_at: Instant,
    over_at: Instant,
    start: Option<Mark>,
    count: u64,
    latencies: Histogram,
}

impl Mark {
    fn now(process: Process) -> Outcome<Self> {
        Ok(Self {
            time: Instant::now(),
            server: process.cpu()?,
            own: usage::own_cpu()?,
        })
    }
}

impl Meter {
    pub fn new(options: &Options) -> Self {
        let warm_at = Instant::now() + options.warmup;
        Self {
            process: Process::new(options.pid),
            warm_at,
            over_at: warm_at + options.seconds,
            start: None,
            count: 0,
            latencies: Histogram::default(),
        }
    }

    /// To be called in every turn: begins the measured time when it is due, and tells whether the
    /// run goes on.
    pub fn goes_on(&mut self) -> Outcome<bool> {
        let now = Instant::now();
        if self.start.is_none() && now >= self.warm_at {
            self.begin()?;
        }
        Ok(now < self.over_at)
    }

    /// Begins the measured time now.
    pub fn begin(&mut self) -> Outcome<()> {
        self.count = 0;
        self.latencies.clear();
        self.start = Some(Mark::now(self.process)?);
        Ok(())
    }

    pub fn count(&mut self, messages: u64) {
        self.count += messages;
    }

    pub fn latency(&mut self, latency: Duration) {
        self.latencies.record(latency);
    }

    /// Ends the measured time and writes down what it showed.
    pub fn report(&self, report: &mut Report) -> Outcome<()> {
        let end = Mark::now(self.process)?;
        let start = self
            .start
            .as_ref()
            .ok_or("the run ended before it was warm")?;
        if self.count == 0 {
            return Err("no message came back in the measured time".into());
        }
        let seconds = (end.time - start.time).as_secs_f64();
        let per_message = |cpu: Duration| cpu.as_secs_f64() * 1e6 / self.count as f64;
        let main_thread = start.server.main_thread.zip(end.server.main_thread);

        report.number("seconds", seconds);
        report.number("messages", self.count as f64);
        report.number("messages_per_second", self.count as f64 / seconds);
        report.number("p50_us", self.latencies.percentile_us(50.0));
        report.number("p99_us", self.latencies.percentile_us(99.0));
        report.number(
            "cpu_us_per_message",
            per_message(end.server.total - start.server.total),
        );
        report.number(
            "main_thread_us_per_message",
            main_thread.map(|(start, end)| per_message(end - start)),
        );
        report.number(
            "generator_load",
            (end.own - start.own).as_secs_f64() / seconds,
        );
        report.number(
            "server_load",
            (end.server.total - start.server.total).as_secs_f64() / seconds,
        );
        report.number("rss_mb", self.process.resident()? as f64 / 1e6);
        Ok(())
    }
}
