//! Decompression with zlib-rs, call by call.

use std::cmp::Ordering;

use zlib_rs::{Inflate, InflateFlush, Status};

use super::budget::Budget;
use super::error::InflateError;
use super::history::History;
use super::pool::Pool;
use super::{advance, MESSAGE_TAIL};

/// zlib gets so many bytes at once: even if nothing comes out of them, they take no more than some milliseconds.
const INPUT_AT_ONCE: usize = 256 * 1024;

/// A decompressor that knows the text of the history and stands between two blocks.
pub(super) fn wake(pool: &Pool, history: &History) -> Result<Inflate, InflateError> {
    let mut decompressor = pool.take_decompressor();
    let (older, newer) = history.parts();
    for text in [older, newer] {
        if text.is_empty() {
            continue;
        }
        if let Err(error) = decompressor.set_dictionary(text) {
            let error = failed(&decompressor, error);
            pool.give_decompressor(decompressor);
            return Err(error);
        }
    }
    Ok(decompressor)
}

/// What one call of zlib did.
struct Step {
    read: usize,
    /// All room was used.
    is_full: bool,
    status: Status,
}

impl Step {
    /// Calls zlib, and says how much it read and wrote.
    fn take(
        decompressor: &mut Inflate,
        input: &[u8],
        output: &mut [u8],
        flush: InflateFlush,
    ) -> Result<(usize, usize, Status), InflateError> {
        let (read_before, written_before) = (decompressor.total_in(), decompressor.total_out());
        let status = decompressor
            .decompress(input, output, flush)
            .map_err(|error| failed(decompressor, error))?;
        let read = advance(read_before, decompressor.total_in());
        let written = advance(written_before, decompressor.total_out());
        Ok((read, written, status))
    }

    /// Calls zlib, and appends what comes out as far as the budget goes.
    fn append(
        decompressor: &mut Inflate,
        input: &[u8],
        flush: InflateFlush,
        budget: &mut Budget,
        out: &mut Vec<u8>,
    ) -> Result<Self, InflateError> {
        let start = out.len();
        let room = budget.room(input.len());
        out.resize(start.saturating_add(room), 0);
        let target = out.get_mut(start..).unwrap_or_default();
        let (read, written, status) = Self::take(decompressor, input, target, flush)?;
        out.truncate(start.saturating_add(written));
        budget.add(written)?;
        Ok(Self {
            read,
            is_full: written == room,
            status,
        })
    }
}

/// What follows the payload of a frame.
#[derive(Clone, Copy)]
pub(super) enum Tail {
    /// Nothing: the message goes on.
    None,
    /// The end of the message.
    Plain,
    /// The end of the message, after which it is to be seen where the stream stands.
    Seen,
}

/// How a frame ended.
pub(super) enum FrameEnd {
    /// All input is used up. After [`Tail::Seen`] the stream stands between two blocks or after the final one.
    Done,
    /// The stream came to its final block, and input is left.
    StreamEnded,
    /// The end of the message did not end a block, as it should, or more came out than is trusted. What came out may be
    /// wrong, and the state is spoilt.
    Doubtful,
}

/// Decompresses a frame.
pub(super) fn decompress_frame(
    decompressor: &mut Inflate,
    input: &[u8],
    tail: Tail,
    budget: &mut Budget,
    out: &mut Vec<u8>,
) -> Result<FrameEnd, InflateError> {
    let end = decompress(decompressor, input, budget, out)?;
    match (end, tail) {
        (FrameEnd::Done, Tail::Plain) => decompress(decompressor, &MESSAGE_TAIL, budget, out),
        (FrameEnd::Done, Tail::Seen) => Ok(end_message(decompressor, budget, out)),
        (end, _) => Ok(end),
    }
}

/// Decompresses until the input is used up or the stream ends before it.
fn decompress(
    decompressor: &mut Inflate,
    mut input: &[u8],
    budget: &mut Budget,
    out: &mut Vec<u8>,
) -> Result<FrameEnd, InflateError> {
    // A call that fills its room may leave output behind, even when no input is left.
    let mut more_output = false;
    let start = out.len();
    while more_output || !input.is_empty() {
        budget.check_cancelled()?;
        let piece = input.get(..INPUT_AT_ONCE).unwrap_or(input);
        let step = Step::append(decompressor, piece, InflateFlush::NoFlush, budget, out)?;
        input = input.get(step.read..).unwrap_or_default();
        more_output = step.is_full;
        if budget.is_doubtful(out.len().saturating_sub(start)) {
            return Ok(FrameEnd::Doubtful);
        }
        if step.status == Status::StreamEnd {
            if !input.is_empty() {
                budget.check()?;
                return Ok(FrameEnd::StreamEnded);
            }
            break;
        }
    }
    budget.check()?;
    Ok(FrameEnd::Done)
}

/// Decompresses the end of a message in a way that shows whether a block ends with it. zlib can be told to stop there, and
/// then it leaves the byte that follows.
fn end_message(decompressor: &mut Inflate, budget: &mut Budget, out: &mut Vec<u8>) -> FrameEnd {
    let [a, b, c, d] = MESSAGE_TAIL;
    let tail_and_next = [a, b, c, d, 0];
    let start = out.len();
    let mut read = 0_usize;
    loop {
        let input = tail_and_next.get(read..).unwrap_or_default();
        let Ok(step) = Step::append(decompressor, input, InflateFlush::Block, budget, out) else {
            return FrameEnd::Doubtful;
        };
        if out.len() > start {
            // The block that the tail belongs to has no text, so this is another one.
            return FrameEnd::Doubtful;
        }
        read = read.saturating_add(step.read);
        let is_ended = step.status == Status::StreamEnd;
        match read.cmp(&MESSAGE_TAIL.len()) {
            Ordering::Less if is_ended => return FrameEnd::StreamEnded,
            // An earlier block ended within the tail.
            Ordering::Less => {}
            Ordering::Equal if !is_ended => return FrameEnd::Done,
            _ => return FrameEnd::Doubtful,
        }
    }
}

/// Where a stream stands when nothing of it is left to be decompressed.
#[derive(PartialEq)]
pub(super) enum Standing {
    BetweenBlocks,
    AfterFinalBlock,
    WithinBlock,
}

/// Finds out where the stream stands, at the cost of the decompressor's state: a final empty block ends the stream between
/// two blocks, and nowhere else.
pub(super) fn standing(decompressor: &mut Inflate) -> Standing {
    const FINAL_EMPTY_BLOCK: [u8; 5] = [0x01, 0x00, 0x00, 0xff, 0xff];
    let flush = InflateFlush::NoFlush;
    match Step::take(decompressor, &FINAL_EMPTY_BLOCK, &mut [0], flush) {
        Ok((read, 0, Status::StreamEnd)) if read == FINAL_EMPTY_BLOCK.len() => {
            Standing::BetweenBlocks
        }
        Ok((0, 0, Status::StreamEnd)) => Standing::AfterFinalBlock,
        _ => Standing::WithinBlock,
    }
}

fn failed(decompressor: &Inflate, error: zlib_rs::InflateError) -> InflateError {
    match error {
        zlib_rs::InflateError::DataError => InflateError::data(decompressor.error_message()),
        zlib_rs::InflateError::MemError => InflateError::memory(),
        zlib_rs::InflateError::StreamError | zlib_rs::InflateError::NeedDict { .. } => {
            InflateError::stream()
        }
    }
}
