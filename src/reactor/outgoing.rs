//! Handing bytes over to the kernel.

use std::io::{self, IoSlice};
use std::os::fd::{AsRawFd, BorrowedFd};

/// The most pieces one system call takes (`IOV_MAX` on Linux and macOS).
const MAX_PIECES: usize = 1024;

/// How an attempt to send ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sent {
    /// Everything is with the kernel.
    All,
    /// The kernel took this many bytes and is full. It tells when it is not any more.
    Part(usize),
    /// The kernel took this many bytes and has no memory for more. It does not tell when it has: for all it knows, the
    /// socket can be written to.
    Short(usize),
}

/// Hands `pieces` over to the kernel, in as few system calls as their number allows.
pub fn send(socket: BorrowedFd, pieces: &[IoSlice]) -> io::Result<Sent> {
    let mut total = 0;
    for batch in pieces.chunks(MAX_PIECES) {
        let wanted: usize = batch.iter().map(|piece| piece.len()).sum();
        let count = match send_batch(socket, batch) {
            Ok(count) => count,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => 0,
            Err(error) if error.raw_os_error() == Some(libc::ENOBUFS) => {
                return Ok(Sent::Short(total));
            }
            Err(error) => return Err(error),
        };
        total += count;
        if count < wanted {
            return Ok(Sent::Part(total));
        }
    }
    Ok(Sent::All)
}

// A peer that is gone must be an error, not a signal. Where there is no such flag, Node and libuv see to that.
#[cfg(any(target_os = "linux", target_os = "android"))]
const FLAGS: libc::c_int = libc::MSG_DONTWAIT | libc::MSG_NOSIGNAL;
#[cfg(not(any(target_os = "linux", target_os = "android")))]
const FLAGS: libc::c_int = libc::MSG_DONTWAIT;

fn send_batch(socket: BorrowedFd, batch: &[IoSlice]) -> io::Result<usize> {
    loop {
        let result = match batch {
            // SAFETY: pointer and length describe `piece`, and the descriptor is open.
            [piece] => unsafe {
                libc::send(
                    socket.as_raw_fd(),
                    piece.as_ptr().cast(),
                    piece.len(),
                    FLAGS,
                )
            },
            _ => {
                // SAFETY: all of the structure's fields may be zero or null.
                let mut message: libc::msghdr = unsafe { std::mem::zeroed() };
                // An `IoSlice` is laid out as an `iovec`, and sending does not write to it.
                message.msg_iov = batch.as_ptr().cast_mut().cast();
                message.msg_iovlen = batch.len() as _;
                // SAFETY: the message describes `batch`, whose pieces are borrowed for the call.
                unsafe { libc::sendmsg(socket.as_raw_fd(), &message, FLAGS) }
            }
        };
        if let Ok(count) = usize::try_from(result) {
            return Ok(count);
        }
        let error = io::Error::last_os_error();
        if error.kind() != io::ErrorKind::Interrupted {
            return Err(error);
        }
    }
}
