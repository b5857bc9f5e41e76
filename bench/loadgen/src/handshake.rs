//! The opening handshake (RFC 6455, section 4) from the client's side, many at a time.

use std::io::{ErrorKind, Read, Write};
use std::net::{Ipv4Addr, SocketAddrV4, TcpStream};
use std::os::fd::{AsFd, AsRawFd};
use std::time::{Duration, Instant};

use crate::epoll::Epoll;
use crate::Outcome;

/// The key of RFC 6455's example, and the value that a server must answer it with. A fixed key keeps
/// hashing out of the generator; servers compute the answer all the same.
pub const KEY: &str = "dGhlIHNhbXBsZSBub25jZQ==";
pub const ACCEPT: &str = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=";

const MAX_RESPONSE: usize = 16 * 1024;
const TIMEOUT_MS: i32 = 10_000;

/// What the client asks for in `Sec-WebSocket-Extensions`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Deflate {
    #[default]
    Off,
    Takeover,
    NoTakeover,
}

impl Deflate {
    fn offer(self) -> &'static str {
        match self {
            Self::Off => "",
            Self::Takeover => "Sec-WebSocket-Extensions: permessage-deflate\r\n",
            Self::NoTakeover => {
                "Sec-WebSocket-Extensions: permessage-deflate; server_no_context_takeover; client_no_context_takeover\r\n"
            }
        }
    }
}

/// What the server agreed to.
#[derive(Clone, Default)]
pub struct Negotiated {
    pub deflate: bool,
    pub client_takeover: bool,
    pub server_takeover: bool,
    /// The response header, for the report.
    pub extensions: String,
}

impl Negotiated {
    fn from_header(value: &str) -> Self {
        let parameters: Vec<&str> = value.split(';').map(str::trim).collect();
        Self {
            deflate: parameters.contains(&"permessage-deflate"),
            client_takeover: !parameters.contains(&"client_no_context_takeover"),
            server_takeover: !parameters.contains(&"server_no_context_takeover"),
            extensions: value.to_owned(),
        }
    }
}

/// A connection whose handshake is done.
pub struct Opened {
    pub stream: TcpStream,
    pub negotiated: Negotiated,
    /// Bytes that came right behind the response.
    pub early: Vec<u8>,
    /// From the start of the TCP connection to the end of the response.
    pub took: Duration,
}

struct Opening {
    stream: TcpStream,
    response: Vec<u8>,
    since: Instant,
}

/// Opens `count` connections, at most `concurrency` of them in the making at any time.
pub fn open(port: u16, deflate: Deflate, count: usize, concurrency: usize) -> Outcome<Vec<Opened>> {
    let mut epoll = Epoll::new()?;
    let mut opening: Vec<Option<Opening>> = Vec::new();
    let mut opened = Vec::with_capacity(count);
    while opened.len() < count {
        while opening.len() < count && opening.len() - opened.len() < concurrency {
            let started = start(port, deflate)?;
            epoll.add(started.stream.as_fd(), opening.len())?;
            opening.push(Some(started));
        }
        let ready = epoll.wait(TIMEOUT_MS)?;
        if ready == 0 {
            return Err(format!("a handshake got no answer in {} s", TIMEOUT_MS / 1000).into());
        }
        for index in 0..ready {
            let slot = &mut opening[epoll.ready(index).token];
            let Some(mut pending) = slot.take() else {
                continue;
            };
            if pending.read()? {
                epoll.remove(pending.stream.as_fd())?;
                opened.push(pending.finish()?);
            } else {
                *slot = Some(pending);
            }
        }
    }
    Ok(opened)
}

/// Connects and sends the request. A connection to the loopback interface never waits here, as long
/// as fewer are in the making than a server's backlog has room for.
fn start(port: u16, deflate: Deflate) -> Outcome<Opening> {
    let since = Instant::now();
    let mut stream = TcpStream::connect(SocketAddrV4::new(Ipv4Addr::LOCALHOST, port))?;
    stream.set_nodelay(true)?;
    reset_on_close(&stream)?;
    let request = format!(
        "GET / HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Key: {KEY}\r\nSec-WebSocket-Version: 13\r\n{}\r\n",
        deflate.offer()
    );
    stream.write_all(request.as_bytes())?;
    stream.set_nonblocking(true)?;
    Ok(Opening {
        stream,
        response: Vec::new(),
        since,
    })
}

/// Lets the kernel forget the connection at once when the run is over, instead of keeping thousands
/// of them in TIME_WAIT beneath the next run.
fn reset_on_close(stream: &TcpStream) -> Outcome<()> {
    let linger = libc::linger {
        l_onoff: 1,
        l_linger: 0,
    };
    // SAFETY: the descriptor is open, and the pointer and length describe `linger`, which outlives
    // the call.
    let result = unsafe {
        libc::setsockopt(
            stream.as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_LINGER,
            (&raw const linger).cast(),
            size_of::<libc::linger>() as libc::socklen_t,
        )
    };
    if result < 0 {
        return Err(std::io::Error::last_os_error().into());
    }
    Ok(())
}

impl Opening {
    /// Reads what is there and tells whether the response is complete.
    fn read(&mut self) -> Outcome<bool> {
        let mut buffer = [0; 4096];
        match self.stream.read(&mut buffer) {
            Ok(0) => return Err("the server closed a connection during the handshake".into()),
            Ok(count) => self.response.extend_from_slice(&buffer[..count]),
            Err(error) if error.kind() == ErrorKind::WouldBlock => {}
            Err(error) => return Err(error.into()),
        }
        let complete = self.end_of_head().is_some();
        if !complete && self.response.len() > MAX_RESPONSE {
            return Err("the answer to the handshake has no end".into());
        }
        Ok(complete)
    }

    fn end_of_head(&self) -> Option<usize> {
        let position = self
            .response
            .windows(4)
            .position(|window| window == b"\r\n\r\n")?;
        Some(position + 4)
    }

    fn finish(self) -> Outcome<Opened> {
        let end = self.end_of_head().unwrap_or(self.response.len());
        let head = String::from_utf8_lossy(&self.response[..end]);
        let mut lines = head.split("\r\n");
        let status = lines.next().unwrap_or_default();
        if !status.starts_with("HTTP/1.1 101") {
            return Err(format!("the server refused the handshake: {status}").into());
        }
        let (mut accepted, mut negotiated) = (false, Negotiated::default());
        for (name, value) in lines.filter_map(|line| line.split_once(':')) {
            let value = value.trim();
            if name.eq_ignore_ascii_case("sec-websocket-accept") {
                accepted = value == ACCEPT;
            } else if name.eq_ignore_ascii_case("sec-websocket-extensions") {
                negotiated = Negotiated::from_header(value);
            }
        }
        if !accepted {
            return Err("the server's Sec-WebSocket-Accept is wrong or missing".into());
        }
        Ok(Opened {
            negotiated,
            early: self.response[end..].to_vec(),
            took: self.since.elapsed(),
            stream: self.stream,
        })
    }
}
