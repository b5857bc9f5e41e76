//! The connections of a run and the epoll that tells which of them have news.

use std::collections::VecDeque;
use std::io::{ErrorKind, IoSlice, Read, Write};
use std::net::TcpStream;
use std::os::fd::AsFd;
use std::time::Instant;

use crate::epoll::Epoll;
use crate::frame::FrameReader;
use crate::handshake::{self, Negotiated, Opened};
use crate::messages::{Messages, Progress, Script};
use crate::options::Options;
use crate::replies::ReplyCheck;
use crate::Outcome;

const READ_BUFFER: usize = 256 * 1024;
/// A connection that is never empty must not keep the others waiting.
const READS_PER_TURN: usize = 4;
/// How many handshakes are in the making while the connections of a run are opened.
const OPENING_AT_ONCE: usize = 32;
const STALL_MS: i32 = 10_000;

struct Connection {
    stream: TcpStream,
    reader: FrameReader,
    replies: ReplyCheck,
    progress: Progress,
    watching_writable: bool,
}

/// What to do after some messages came in: let one connection send some more.
pub struct Send {
    pub connection: usize,
    pub count: u64,
}

/// Open connections with their script.
pub struct Session {
    epoll: Epoll,
    connections: Vec<Connection>,
    messages: Messages,
    script: Script,
    negotiated: Negotiated,
    buffer: Vec<u8>,
}

impl Session {
    /// Opens the connections of a run. Servers must agree to the same on all of them.
    pub fn open(options: &Options, messages: Messages) -> Outcome<Self> {
        let opened = handshake::open(
            options.port,
            options.deflate,
            options.connections,
            OPENING_AT_ONCE,
        )?;
        let negotiated = opened[0].negotiated.clone();
        let script = messages.script(&negotiated);
        let mut session = Self {
            epoll: Epoll::new()?,
            connections: Vec::with_capacity(opened.len()),
            messages,
            script,
            negotiated,
            buffer: vec![0; READ_BUFFER],
        };
        for opened in opened {
            session.add(opened)?;
        }
        Ok(session)
    }

    fn add(&mut self, opened: Opened) -> Outcome<()> {
        let index = self.connections.len();
        self.epoll.add(opened.stream.as_fd(), index)?;
        let mut connection = Connection {
            stream: opened.stream,
            reader: FrameReader::default(),
            replies: ReplyCheck::new(&self.negotiated, index == 0),
            progress: Progress::default(),
            watching_writable: false,
        };
        let mut sink = connection
            .replies
            .with(&self.messages, self.negotiated.deflate);
        connection.reader.read(&opened.early, &mut sink)?;
        drop(sink);
        self.connections.push(connection);
        Ok(())
    }

    pub fn negotiated(&self) -> &Negotiated {
        &self.negotiated
    }

    /// Uncompressed messages that came although compression was negotiated.
    pub fn uncompressed(&self) -> u64 {
        self.connections
            .iter()
            .map(|connection| connection.replies.uncompressed)
            .sum()
    }

    /// Lets one connection send its next `count` messages.
    pub fn send(&mut self, what: &Send) -> Outcome<()> {
        let connection = &mut self.connections[what.connection];
        for _ in 0..what.count {
            connection.progress.queue(&self.script);
        }
        connection.flush(&self.script)?;
        connection.watch(&self.epoll, what.connection)
    }

    /// Waits for news once. `react` gets the connection, how many whole messages came on it, and
    /// the time, and says what to send in return.
    pub fn turn(&mut self, mut react: impl FnMut(usize, u64, Instant) -> Send) -> Outcome<()> {
        let ready = self.epoll.wait(STALL_MS)?;
        if ready == 0 {
            return Err(format!("the server sent nothing for {} s", STALL_MS / 1000).into());
        }
        for index in 0..ready {
            let news = self.epoll.ready(index);
            let connection = &mut self.connections[news.token];
            if news.writable {
                connection.flush(&self.script)?;
                connection.watch(&self.epoll, news.token)?;
            }
            if news.readable {
                let count = connection.receive(
                    &mut self.buffer,
                    &self.messages,
                    self.negotiated.deflate,
                )?;
                if count > 0 {
                    let answer = react(news.token, count, Instant::now());
                    if answer.count > 0 {
                        self.send(&answer)?;
                    }
                }
            }
        }
        Ok(())
    }
}

impl Connection {
    /// Reads what is there and returns how many messages became complete.
    fn receive(&mut self, buffer: &mut [u8], messages: &Messages, deflate: bool) -> Outcome<u64> {
        let before = self.replies.completed();
        for _ in 0..READS_PER_TURN {
            match self.stream.read(buffer) {
                Ok(0) => return Err("the server closed a connection".into()),
                Ok(count) => {
                    self.reader
                        .read(&buffer[..count], &mut self.replies.with(messages, deflate))?;
                    // A short read emptied the socket: another would only tell so.
                    if count < buffer.len() {
                        break;
                    }
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) => return Err(error.into()),
            }
        }
        Ok(self.replies.completed() - before)
    }

    /// Writes until everything is sent or the socket is full.
    fn flush(&mut self, script: &Script) -> Outcome<()> {
        while !self.progress.is_idle() {
            let [first, second] = self.progress.pieces(script);
            match self
                .stream
                .write_vectored(&[IoSlice::new(first), IoSlice::new(second)])
            {
                Ok(count) => self.progress.advance(script, count),
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }

    /// Has epoll tell when the socket has room again, as long as something waits for it.
    fn watch(&mut self, epoll: &Epoll, token: usize) -> Outcome<()> {
        let wanted = !self.progress.is_idle();
        if wanted != self.watching_writable {
            epoll.watch_writable(self.stream.as_fd(), token, wanted)?;
            self.watching_writable = wanted;
        }
        Ok(())
    }
}

/// When the messages in flight were sent, oldest first.
pub type SentAt = VecDeque<Instant>;
