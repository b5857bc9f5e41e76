//! A WebSocket echo server with nothing but epoll beneath it and no checks: the limit of what a
//! single thread can do on this machine. It serves the echo scenarios, idle connections and
//! handshakes; it knows neither compression nor control frames.
//!
//! Prints `listening PORT` when it is ready.

use std::io::{ErrorKind, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::fd::AsFd;
use std::process::ExitCode;

use loadgen::epoll::Epoll;
use loadgen::{handshake, usage, Outcome};

const LISTENER: usize = usize::MAX;
const READ_BUFFER: usize = 256 * 1024;
/// An echo that its sender does not read must not fill the memory.
const MAX_OUTGOING: usize = 64 * 1024 * 1024;
/// How many bytes that are sent may stay in front of those that are not.
const COMPACT_AT: usize = 4 * 1024 * 1024;

struct Connection {
    stream: TcpStream,
    open: bool,
    /// Bytes read that are not a whole header, or not a whole request.
    partial: Vec<u8>,
    /// The payload being echoed: how much of it is still to come, and its mask, turned to the next
    /// byte.
    remaining: u64,
    mask: [u8; 4],
    /// Bytes that the socket had no room for, and how many of them it took since.
    outgoing: Vec<u8>,
    sent: usize,
    watching_writable: bool,
}

fn main() -> ExitCode {
    usage::raise_open_files();
    // The generator asks all servers to collect garbage with this signal; here is none.
    // SAFETY: sets a disposition, with no handler to run.
    unsafe { libc::signal(libc::SIGUSR2, libc::SIG_IGN) };
    match serve() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("epoll-echo: {error}");
            ExitCode::FAILURE
        }
    }
}

fn serve() -> Outcome<()> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    listener.set_nonblocking(true)?;
    let mut epoll = Epoll::new()?;
    epoll.add(listener.as_fd(), LISTENER)?;
    println!("listening {}", listener.local_addr()?.port());

    let mut connections: Vec<Option<Connection>> = Vec::new();
    let mut buffer = vec![0; READ_BUFFER];
    let mut echo = Vec::with_capacity(2 * READ_BUFFER);
    loop {
        for index in 0..epoll.wait(-1)? {
            let news = epoll.ready(index);
            if news.token == LISTENER {
                accept(&listener, &epoll, &mut connections)?;
                continue;
            }
            let Some(connection) = &mut connections[news.token] else {
                continue;
            };
            let served = connection.serve(news.readable, &mut buffer, &mut echo);
            if !matches!(served, Ok(true)) || connection.watch(&epoll, news.token).is_err() {
                // Dropping the stream closes it, and so takes it out of the epoll.
                connections[news.token] = None;
            }
        }
    }
}

fn accept(
    listener: &TcpListener,
    epoll: &Epoll,
    connections: &mut Vec<Option<Connection>>,
) -> Outcome<()> {
    loop {
        let stream = match listener.accept() {
            Ok((stream, _)) => stream,
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
            Err(error) => return Err(error.into()),
        };
        stream.set_nonblocking(true)?;
        stream.set_nodelay(true)?;
        epoll.add(stream.as_fd(), connections.len())?;
        connections.push(Some(Connection {
            stream,
            open: false,
            partial: Vec::new(),
            remaining: 0,
            mask: [0; 4],
            outgoing: Vec::new(),
            sent: 0,
            watching_writable: false,
        }));
    }
}

impl Connection {
    /// Reads once and answers; `false` when the peer has closed.
    fn serve(&mut self, readable: bool, buffer: &mut [u8], echo: &mut Vec<u8>) -> Outcome<bool> {
        echo.clear();
        if readable {
            match self.stream.read(buffer) {
                Ok(0) => return Ok(false),
                Ok(count) if self.open => self.echo(&mut buffer[..count], echo)?,
                Ok(count) => self.shake_hands(&buffer[..count], echo)?,
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                Err(error) => return Err(error.into()),
            }
        }
        self.write(echo)?;
        Ok(true)
    }

    fn shake_hands(&mut self, bytes: &[u8], out: &mut Vec<u8>) -> Outcome<()> {
        self.partial.extend_from_slice(bytes);
        if !self.partial.ends_with(b"\r\n\r\n") {
            return Ok(());
        }
        // The generator always sends the same key, so the answer is always the same, too.
        let request = String::from_utf8_lossy(&self.partial);
        if !request.contains(handshake::KEY) {
            return Err("a client that is not the load generator".into());
        }
        out.extend_from_slice(
            b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n",
        );
        out.extend_from_slice(
            format!("Sec-WebSocket-Accept: {}\r\n\r\n", handshake::ACCEPT).as_bytes(),
        );
        self.partial = Vec::new();
        self.open = true;
        Ok(())
    }

    /// Turns masked frames into the same frames without a mask.
    fn echo(&mut self, mut bytes: &mut [u8], out: &mut Vec<u8>) -> Outcome<()> {
        loop {
            let here = bytes.len().min(usize::try_from(self.remaining)?);
            let (payload, rest) = bytes.split_at_mut(here);
            unmask(payload, &mut self.mask);
            out.extend_from_slice(payload);
            self.remaining -= here as u64;
            bytes = rest;
            if bytes.is_empty() {
                return Ok(());
            }
            if !self.take_header(&mut bytes, out)? {
                return Ok(());
            }
        }
    }

    /// Takes a header off the front and writes its unmasked form; `false` if it is not complete.
    fn take_header(&mut self, bytes: &mut &mut [u8], out: &mut Vec<u8>) -> Outcome<bool> {
        let earlier = self.partial.len();
        let whole;
        let header: &[u8] = if earlier == 0 {
            bytes
        } else {
            whole = [&self.partial, &bytes[..bytes.len().min(14)]].concat();
            &whole
        };
        let Some(size) = header_size(header) else {
            self.partial.extend_from_slice(bytes);
            return Ok(false);
        };
        out.extend_from_slice(&[header[0], header[1] & 0x7f]);
        out.extend_from_slice(&header[2..size - 4]);
        self.remaining = match &header[2..size - 4] {
            [] => u64::from(header[1] & 0x7f),
            length => length
                .iter()
                .fold(0, |sum, byte| sum << 8 | u64::from(*byte)),
        };
        self.mask.copy_from_slice(&header[size - 4..size]);
        *bytes = &mut std::mem::take(bytes)[size - earlier..];
        self.partial.clear();
        Ok(true)
    }

    fn write(&mut self, echo: &[u8]) -> Outcome<()> {
        if self.outgoing.is_empty() {
            let taken = write_some(&mut self.stream, echo)?;
            self.outgoing.extend_from_slice(&echo[taken..]);
            return Ok(());
        }
        if self.outgoing.len() + echo.len() > MAX_OUTGOING {
            return Err("a client that sends without reading".into());
        }
        self.outgoing.extend_from_slice(echo);
        self.sent += write_some(&mut self.stream, &self.outgoing[self.sent..])?;
        if self.sent == self.outgoing.len() || self.sent > COMPACT_AT {
            self.outgoing.drain(..self.sent);
            self.sent = 0;
        }
        Ok(())
    }

    fn watch(&mut self, epoll: &Epoll, token: usize) -> Outcome<()> {
        let wanted = !self.outgoing.is_empty();
        if wanted != self.watching_writable {
            epoll.watch_writable(self.stream.as_fd(), token, wanted)?;
            self.watching_writable = wanted;
        }
        Ok(())
    }
}

fn write_some(stream: &mut TcpStream, bytes: &[u8]) -> Outcome<usize> {
    if bytes.is_empty() {
        return Ok(0);
    }
    match stream.write(bytes) {
        Ok(count) => Ok(count),
        Err(error) if error.kind() == ErrorKind::WouldBlock => Ok(0),
        Err(error) => Err(error.into()),
    }
}

/// The size of a masked frame's header, once enough of it is there.
fn header_size(bytes: &[u8]) -> Option<usize> {
    let size = match bytes.get(1)? & 0x7f {
        126 => 8,
        127 => 14,
        _ => 6,
    };
    (bytes.len() >= size).then_some(size)
}

/// Unmasks eight bytes at a time, and turns the mask to where the next piece of the payload starts.
fn unmask(payload: &mut [u8], mask: &mut [u8; 4]) {
    let [a, b, c, d] = *mask;
    let wide = u64::from_ne_bytes([a, b, c, d, a, b, c, d]);
    let mut chunks = payload.chunks_exact_mut(8);
    for chunk in &mut chunks {
        if let Ok(bytes) = <[u8; 8]>::try_from(&*chunk) {
            chunk.copy_from_slice(&(u64::from_ne_bytes(bytes) ^ wide).to_ne_bytes());
        }
    }
    for (byte, key) in chunks.into_remainder().iter_mut().zip(mask.iter().cycle()) {
        *byte ^= key;
    }
    mask.rotate_left(payload.len() % 4);
}

#[cfg(test)]
mod tests {
    use super::unmask;

    #[test]
    fn a_payload_in_pieces_is_unmasked_as_in_one() {
        let payload: Vec<u8> = (0..100).collect();
        let key = [1, 20, 70, 255];
        let expected: Vec<u8> = payload
            .iter()
            .zip(key.iter().cycle())
            .map(|(a, b)| a ^ b)
            .collect();
        for size in 1..payload.len() {
            let (mut pieces, mut mask) = (payload.clone(), key);
            pieces
                .chunks_mut(size)
                .for_each(|piece| unmask(piece, &mut mask));
            assert_eq!(pieces, expected);
        }
    }
}
