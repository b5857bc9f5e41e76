//! What the server costs, as the operating system accounts for it.

use std::fs;
use std::time::Duration;

use crate::Outcome;

#[derive(Clone, Copy)]
pub struct Process {
    pid: libc::pid_t,
}

/// CPU time used so far.
#[derive(Clone, Copy)]
pub struct Cpu {
    /// By all threads, also those that have ended.
    pub total: Duration,
    /// By the main thread, which in Node is the one that runs JavaScript. Not every kernel tells.
    pub main_thread: Option<Duration>,
}

impl Process {
    pub fn new(pid: libc::pid_t) -> Self {
        Self { pid }
    }

    pub fn cpu(&self) -> Outcome<Cpu> {
        let mut clock = 0;
        // SAFETY: `clock` is a valid place for the answer.
        let error = unsafe { libc::clock_getcpuclockid(self.pid, &mut clock) };
        if error != 0 {
            return Err(format!(
                "process {} cannot be measured: is it still running?",
                self.pid
            )
            .into());
        }
        let path = format!("/proc/{0}/task/{0}/schedstat", self.pid);
        let main_thread = fs::read_to_string(path).ok().and_then(|text| {
            let nanoseconds = text.split_whitespace().next()?.parse().ok()?;
            Some(Duration::from_nanos(nanoseconds))
        });
        Ok(Cpu {
            total: read_clock(clock)?,
            main_thread,
        })
    }

    /// The resident set in bytes.
    pub fn resident(&self) -> Outcome<u64> {
        let status = fs::read_to_string(format!("/proc/{}/status", self.pid))?;
        let kilobytes = status
            .lines()
            .find_map(|line| line.strip_prefix("VmRSS:"))
            .and_then(|value| value.trim().trim_end_matches(" kB").parse::<u64>().ok())
            .ok_or("the resident set of the server is unknown")?;
        Ok(kilobytes * 1024)
    }

    /// Asks a server of this benchmark to collect its garbage.
    pub fn ask_to_collect(&self) {
        // SAFETY: only sends a signal. A server that has ended is noticed by the next measurement.
        unsafe { libc::kill(self.pid, libc::SIGUSR2) };
    }
}

/// CPU time of this process.
pub fn own_cpu() -> Outcome<Duration> {
    read_clock(libc::CLOCK_PROCESS_CPUTIME_ID)
}

fn read_clock(clock: libc::clockid_t) -> Outcome<Duration> {
    let mut time = libc::timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    // SAFETY: `time` is a valid place for the answer.
    if unsafe { libc::clock_gettime(clock, &mut time) } != 0 {
        return Err(std::io::Error::last_os_error().into());
    }
    Ok(Duration::new(time.tv_sec as u64, time.tv_nsec as u32))
}

/// Lets this process have as many open files as the system allows.
pub fn raise_open_files() {
    let mut limit = libc::rlimit {
        rlim_cur: 0,
        rlim_max: 0,
    };
    // SAFETY: `limit` is valid for reading and writing. A refusal shows later as a clear error of
    // `connect`.
    unsafe {
        if libc::getrlimit(libc::RLIMIT_NOFILE, &mut limit) == 0 {
            limit.rlim_cur = limit.rlim_max;
            libc::setrlimit(libc::RLIMIT_NOFILE, &limit);
        }
    }
}
