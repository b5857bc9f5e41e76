//! The command line: a mode, then `--name value` pairs.

use std::time::Duration;

use crate::handshake::Deflate;
use crate::Outcome;

pub const USAGE: &str = "usage: loadgen MODE --port N --pid N [options]
modes:
  echo        messages come back to the connection that sent them
  broadcast   messages of one connection come back to all
  push        the server sends as fast as it can
  idle        memory of connections that do nothing
  handshakes  opening connections
options:
  --connections N  (1)      --depth N      messages in flight, or handshakes at a time (1)
  --size BYTES     (64)     --type text|binary (text)
  --deflate off|takeover|no-takeover (off)
  --placement free|apart    apart: this and the server on different processors (free)
  --seconds S      (2)      --warmup S (0.5)   --settle S (2, for idle)";

#[derive(Clone)]
pub struct Options {
    pub mode: String,
    pub port: u16,
    pub pid: i32,
    pub connections: usize,
    pub depth: usize,
    pub size: usize,
    pub binary: bool,
    pub deflate: Deflate,
    pub apart: bool,
    pub seconds: Duration,
    pub warmup: Duration,
    pub settle: Duration,
}

impl Options {
    pub fn parse(mut arguments: impl Iterator<Item = String>) -> Outcome<Self> {
        let mut options = Self {
            mode: arguments.next().ok_or(USAGE)?,
            port: 0,
            pid: 0,
            connections: 1,
            depth: 1,
            size: 64,
            binary: false,
            deflate: Deflate::Off,
            apart: false,
            seconds: Duration::from_secs(2),
            warmup: Duration::from_millis(500),
            settle: Duration::from_secs(2),
        };
        while let Some(name) = arguments.next() {
            let value = arguments
                .next()
                .ok_or_else(|| format!("{name} needs a value\n{USAGE}"))?;
            options
                .set(&name, &value)
                .map_err(|error| format!("{name} {value}: {error}\n{USAGE}"))?;
        }
        if options.port == 0 || options.pid == 0 {
            return Err(format!("--port and --pid are needed\n{USAGE}").into());
        }
        Ok(options)
    }

    fn set(&mut self, name: &str, value: &str) -> Outcome<()> {
        match name {
            "--port" => self.port = value.parse()?,
            "--pid" => self.pid = value.parse()?,
            "--connections" => self.connections = at_least_one(value)?,
            "--depth" => self.depth = at_least_one(value)?,
            "--size" => self.size = at_least_one(value)?,
            "--type" => self.binary = choose(value, &[("text", false), ("binary", true)])?,
            "--deflate" => {
                let choices = [
                    ("off", Deflate::Off),
                    ("takeover", Deflate::Takeover),
                    ("no-takeover", Deflate::NoTakeover),
                ];
                self.deflate = choose(value, &choices)?;
            }
            "--placement" => self.apart = choose(value, &[("free", false), ("apart", true)])?,
            "--seconds" => self.seconds = seconds(value)?,
            "--warmup" => self.warmup = seconds(value)?,
            "--settle" => self.settle = seconds(value)?,
            _ => return Err("no such option".into()),
        }
        Ok(())
    }
}

fn at_least_one(value: &str) -> Outcome<usize> {
    match value.parse()? {
        0 => Err("must be at least 1".into()),
        number => Ok(number),
    }
}

fn seconds(value: &str) -> Outcome<Duration> {
    Ok(Duration::try_from_secs_f64(value.parse()?)?)
}

fn choose<T: Copy>(value: &str, choices: &[(&str, T)]) -> Outcome<T> {
    let choice = choices.iter().find(|(name, _)| *name == value);
    choice
        .map(|(_, choice)| *choice)
        .ok_or_else(|| "no such choice".into())
}
