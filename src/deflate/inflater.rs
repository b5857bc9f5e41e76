//! Decompression of incoming messages.

use zlib_rs::{Inflate, InflateFlush, Status};

use super::error::InflateError;
use super::history::History;
use super::pool::Pool;
#[cfg(test)]
use super::pool::DECOMPRESSOR_MEMORY;
use super::{advance, window_size, MESSAGE_TAIL};

/// What the decompressor must know about the peer's compressor.
#[derive(Clone, Debug)]
pub struct InflateOptions {
    /// The negotiated window, 8 to 15.
    pub window_bits: u8,
    /// Text both sides know at the start of every context.
    pub dictionary: Option<Vec<u8>>,
}

impl Default for InflateOptions {
    fn default() -> Self {
        Self {
            window_bits: 15,
            dictionary: None,
        }
    }
}

/// The decompressing half of one connection.
pub struct Inflater {
    no_context_takeover: bool,
    pool: Pool,
    /// The zlib state, while one is needed.
    decompressor: Option<Inflate>,
    /// The negotiated window is smaller than the one zlib-rs always decompresses with.
    small_window: bool,
    /// With context takeover: the plain text that a later message may refer to.
    history: History,
    in_message: bool,
    /// With a small window: what it takes to repeat the frames of the message so far.
    begun: Option<Begun>,
    /// With context takeover: the compressed bytes of the first message, until the next one begins or the connection
    /// sleeps. It may do so right after the first message, and that is the one most often at fault.
    first: Option<Vec<u8>>,
    /// A message stopped within a block, which the next one goes on with. From then on only zlib knows where in the
    /// stream it stands, so its state is kept until the context ends.
    within_block: bool,
    /// The last message stopped within a block, and what zlib knew of that block is gone.
    lost_block: bool,
}

/// A message that came in part.
struct Begun {
    /// The history at the start of the message.
    history: History,
    /// The compressed frames.
    input: Vec<u8>,
}

/// How a run over some input ended.
#[derive(PartialEq)]
enum Run {
    /// All input is used up.
    Done,
    /// The stream came to its final block, and input is left.
    StreamEnded,
}

impl Inflater {
    /// A decompressor that allocates nothing before its first message.
    pub fn new(options: InflateOptions, no_context_takeover: bool, pool: &Pool) -> Self {
        let window_bits = options.window_bits.clamp(8, 15);
        Self {
            no_context_takeover,
            pool: pool.clone(),
            decompressor: None,
            small_window: window_bits < 15,
            history: History::new(
                window_size(window_bits),
                options.dictionary.unwrap_or_default(),
            ),
            in_message: false,
            first: (!no_context_takeover).then(Vec::new),
            begun: None,
            within_block: false,
            lost_block: false,
        }
    }

    /// Appends the decompressed payload of one frame to `out`; `fin` marks the last frame of a message.
    ///
    /// `limit` bounds what this one call may produce, 0 is no limit. As in ws it counts per frame: a caller that bounds
    /// whole messages passes what is left of the bound, but at least 1, and refuses the message when the sum exceeds
    /// the bound. The output is produced piece by piece, and never goes further than one piece (16 KiB) over the limit.
    ///
    /// After an error nothing was appended, and the next call starts a fresh context.
    pub fn inflate(
        &mut self,
        input: &[u8],
        fin: bool,
        limit: u64,
        out: &mut Vec<u8>,
    ) -> Result<(), InflateError> {
        if !self.in_message && self.first.as_ref().is_some_and(|first| !first.is_empty()) {
            self.first = None;
        }
        let start = out.len();
        let mut result = self.run_frame(input, fin, limit, out);
        if result == Ok(Run::Done) {
            let text = out.get(start..).unwrap_or_default();
            result = self.end_frame(input, fin, text).map(|()| Run::Done);
        }
        match &mut result {
            Ok(Run::Done) => {}
            Ok(Run::StreamEnded) => self.restart(),
            Err(error) => {
                if error.lacks_text() {
                    *error = self.explain(input, fin);
                }
                out.truncate(start);
                self.restart();
            }
        }
        self.in_message = !fin;
        result.map(|_| ())
    }

    /// Gives the zlib state back to the pool. With context takeover the last window of plain text stays, and is set as
    /// the dictionary when the next message comes. Nothing happens in the middle of a message, or after one that seems
    /// to have stopped within a block: only zlib knows where.
    pub fn sleep(&mut self) {
        if self.in_message || self.within_block {
            return;
        }
        if let Some(mut decompressor) = self.decompressor.take() {
            let is_open = !is_between_blocks(&mut decompressor);
            self.pool.give_decompressor(decompressor);
            if is_open {
                self.reopen_block();
            }
        }
        self.first = None;
        self.history.shrink();
    }

    /// Repeats the first message to get back to the block that it left open. If another message did so, the block is lost.
    fn reopen_block(&mut self) {
        let mut start = self.history.clone();
        start.restart();
        if let (Some(first), Ok(mut decompressor)) = (&self.first, wake(&self.pool, &start)) {
            let message: [&[u8]; 2] = [first, &MESSAGE_TAIL];
            self.within_block = repeat(&mut decompressor, &message, &mut [0; CHUNK]).is_ok();
            self.decompressor = Some(decompressor);
        }
        if !self.within_block {
            self.release();
            self.lost_block = true;
        }
    }

    /// Whether a decompressor made anew would do the same from here on.
    pub fn is_as_new(&self) -> bool {
        let is_open = self.in_message || self.within_block || self.lost_block;
        self.decompressor.is_none() && self.history.is_as_new() && !is_open
    }

    /// Bytes of memory that this connection holds.
    #[cfg(test)]
    pub fn memory(&self) -> usize {
        let decompressor = match self.decompressor {
            Some(_) => DECOMPRESSOR_MEMORY,
            None => 0,
        };
        let begun = self.begun.as_ref().map_or(0, Begun::memory);
        let first = self.first.as_ref().map_or(0, Vec::capacity);
        self.history
            .memory()
            .saturating_add(decompressor)
            .saturating_add(begun)
            .saturating_add(first)
    }

    fn run_frame(
        &mut self,
        input: &[u8],
        fin: bool,
        limit: u64,
        out: &mut Vec<u8>,
    ) -> Result<Run, InflateError> {
        if std::mem::take(&mut self.lost_block) {
            return Err(InflateError::data(Some("invalid stored block lengths")));
        }
        let most_room = if self.within_block {
            // An error could not be explained afterwards.
            LESS_THAN_FAST_PATH_NEEDS
        } else {
            CHUNK
        };
        let mut budget = Budget::new(limit, most_room);
        let decompressor = match &mut self.decompressor {
            Some(decompressor) => decompressor,
            none => none.insert(wake(&self.pool, &self.history)?),
        };
        let mut end = decompress(decompressor, input, &mut budget, out)?;
        if fin && end == Run::Done {
            let before_tail = out.len();
            end = decompress(decompressor, &MESSAGE_TAIL, &mut budget, out)?;
            // The tail completes an empty block, which starts before it.
            let no_block_to_complete = input.is_empty() && !self.in_message;
            self.within_block |= no_block_to_complete || out.len() > before_tail;
        }
        Ok(end)
    }

    /// Finds out what is wrong with a frame that zlib-rs refused without a word.
    ///
    /// Its fast path loses the explanation, so the message is decompressed once more without the fast path. Where the
    /// earlier frames of the message are gone, it is the most common one of the errors that the fast path can find.
    fn explain(&self, input: &[u8], fin: bool) -> InflateError {
        let tail: &[u8] = if fin { &MESSAGE_TAIL } else { &[] };
        if !self.in_message || self.begun.is_some() {
            match self.decompress_slowly(input, tail) {
                Err(error) if !error.lacks_text() => return error,
                _ => {}
            }
        }
        InflateError::data(Some("invalid distance too far back"))
    }

    /// Decompresses from the start of the message, for the sake of the error alone.
    fn decompress_slowly(&self, input: &[u8], tail: &[u8]) -> Result<(), InflateError> {
        let (history, earlier) = self.start_of_message();
        let mut decompressor = wake(&self.pool, history)?;
        let mut discarded = [0; LESS_THAN_FAST_PATH_NEEDS];
        let result = repeat(&mut decompressor, &[earlier, input, tail], &mut discarded);
        self.pool.give_decompressor(decompressor);
        result
    }

    /// What the context was before the message, and the frames that came since.
    fn start_of_message(&self) -> (&History, &[u8]) {
        match &self.begun {
            Some(begun) => (&begun.history, &begun.input),
            None => (&self.history, &[]),
        }
    }

    /// Ends the context: the next frame starts a new one.
    fn restart(&mut self) {
        self.release();
        self.history.restart();
        self.first = None;
        self.begun = None;
        self.within_block = false;
    }

    /// Keeps what later frames and messages may need of this one.
    fn end_frame(&mut self, input: &[u8], fin: bool, text: &[u8]) -> Result<(), InflateError> {
        if self.no_context_takeover {
            if fin {
                self.release();
                self.within_block = false;
            }
            return Ok(());
        }
        if let Some(first) = &mut self.first {
            first.extend_from_slice(input);
        }
        if self.small_window && !self.within_block {
            if fin {
                self.renew_decompressor(input)?;
            } else {
                let begun = self.begun.get_or_insert_with(|| Begun {
                    history: self.history.clone(),
                    input: Vec::new(),
                });
                begun.input.extend_from_slice(input);
            }
        }
        if fin {
            self.begun = None;
        }
        self.history.record(text);
        Ok(())
    }

    /// Releases the zlib state after a message: set anew from the history, zlib knows no more text than the peer may
    /// refer to.
    ///
    /// Whether the message left a block open can only be found out at the cost of the state. If it did, the message is
    /// repeated to get that state back. This happens once in a context at most.
    fn renew_decompressor(&mut self, input: &[u8]) -> Result<(), InflateError> {
        let Some(mut decompressor) = self.decompressor.take() else {
            return Ok(());
        };
        self.within_block = !is_between_blocks(&mut decompressor);
        self.pool.give_decompressor(decompressor);
        if self.within_block {
            let (history, earlier) = self.start_of_message();
            let mut decompressor = wake(&self.pool, history)?;
            let message = [earlier, input, &MESSAGE_TAIL];
            let result = repeat(&mut decompressor, &message, &mut [0; CHUNK]);
            self.decompressor = Some(decompressor);
            result?;
        }
        Ok(())
    }

    fn release(&mut self) {
        if let Some(decompressor) = self.decompressor.take() {
            self.pool.give_decompressor(decompressor);
        }
    }
}

impl Drop for Inflater {
    fn drop(&mut self) {
        self.release();
    }
}

#[cfg(test)]
impl Begun {
    fn memory(&self) -> usize {
        self.history.memory().saturating_add(self.input.capacity())
    }
}

/// A decompressor that knows the text of the history and stands between two blocks.
fn wake(pool: &Pool, history: &History) -> Result<Inflate, InflateError> {
    let mut decompressor = pool.take_decompressor();
    let (older, newer) = history.parts();
    for text in [older, newer] {
        if !text.is_empty() {
            decompressor
                .set_dictionary(text)
                .map_err(|error| failed(&decompressor, error))?;
        }
    }
    Ok(decompressor)
}

/// Decompresses what was decompressed before, for the sake of the state or the error alone.
fn repeat(
    decompressor: &mut Inflate,
    input: &[&[u8]],
    discarded: &mut [u8],
) -> Result<(), InflateError> {
    for mut part in input.iter().copied() {
        let mut more_output = false;
        while more_output || !part.is_empty() {
            let step = Step::take(decompressor, part, discarded)?;
            part = part.get(step.read..).unwrap_or_default();
            more_output = step.written == discarded.len();
            if step.status == Status::StreamEnd {
                return Ok(());
            }
        }
    }
    Ok(())
}

/// The output is checked against the limit whenever this much was produced, and at the end of the input. It is Node's
/// chunk size: a stream that is too big and then corrupt fails for the same reason as there.
const CHUNK: usize = 16 * 1024;
/// The least room zlib gets.
const MIN_ROOM: usize = 256;
/// With so little room zlib-rs takes its slow path, which says what is wrong with a stream.
const LESS_THAN_FAST_PATH_NEEDS: usize = 128;

/// Counts what a frame produces.
struct Budget {
    limit: u64,
    /// Bytes that zlib may produce in one call.
    most_room: usize,
    /// Bytes in finished chunks.
    produced: u64,
    /// Bytes in the chunk at hand.
    chunk: usize,
}

impl Budget {
    fn new(limit: u64, most_room: usize) -> Self {
        Self {
            limit: if limit == 0 { u64::MAX } else { limit },
            most_room,
            produced: 0,
            chunk: 0,
        }
    }

    /// Room for the next piece of output: a small multiple of what is expected to fill it, within the chunk.
    fn room(&self, input: usize) -> usize {
        input
            .saturating_mul(4)
            .max(self.chunk)
            .max(MIN_ROOM)
            .min(self.most_room)
            .min(CHUNK.saturating_sub(self.chunk))
    }

    fn add(&mut self, bytes: usize) -> Result<(), InflateError> {
        self.chunk = self.chunk.saturating_add(bytes);
        if self.chunk >= CHUNK {
            self.close_chunk()?;
        }
        Ok(())
    }

    fn close_chunk(&mut self) -> Result<(), InflateError> {
        let chunk = u64::try_from(std::mem::take(&mut self.chunk)).unwrap_or(u64::MAX);
        self.produced = self.produced.saturating_add(chunk);
        if self.produced > self.limit {
            return Err(InflateError::TooBig);
        }
        Ok(())
    }
}

/// What one call of zlib did.
struct Step {
    read: usize,
    written: usize,
    status: Status,
}

impl Step {
    fn take(
        decompressor: &mut Inflate,
        input: &[u8],
        output: &mut [u8],
    ) -> Result<Self, InflateError> {
        let (read_before, written_before) = (decompressor.total_in(), decompressor.total_out());
        let status = decompressor
            .decompress(input, output, InflateFlush::NoFlush)
            .map_err(|error| failed(decompressor, error))?;
        Ok(Self {
            read: advance(read_before, decompressor.total_in()),
            written: advance(written_before, decompressor.total_out()),
            status,
        })
    }
}

/// Decompresses until the input is used up or the stream ends before it.
fn decompress(
    decompressor: &mut Inflate,
    mut input: &[u8],
    budget: &mut Budget,
    out: &mut Vec<u8>,
) -> Result<Run, InflateError> {
    // A call that fills its room may leave output behind, even when no input is left.
    let mut more_output = false;
    while more_output || !input.is_empty() {
        let start = out.len();
        let room = budget.room(input.len());
        out.resize(start.saturating_add(room), 0);

        let target = out.get_mut(start..).unwrap_or_default();
        let step = Step::take(decompressor, input, target)?;
        out.truncate(start.saturating_add(step.written));
        input = input.get(step.read..).unwrap_or_default();
        more_output = step.written == room;
        budget.add(step.written)?;
        if step.status == Status::StreamEnd {
            if !input.is_empty() {
                budget.close_chunk()?;
                return Ok(Run::StreamEnded);
            }
            break;
        }
    }
    budget.close_chunk()?;
    Ok(Run::Done)
}

/// Whether the stream stands at the start of a block, as it does after every well-formed message. The answer costs the
/// decompressor's state: a final empty block ends the stream there, and nowhere else.
fn is_between_blocks(decompressor: &mut Inflate) -> bool {
    const FINAL_EMPTY_BLOCK: [u8; 5] = [0x01, 0x00, 0x00, 0xff, 0xff];
    let step = Step::take(decompressor, &FINAL_EMPTY_BLOCK, &mut [0]);
    step.is_ok_and(|step| {
        step.status == Status::StreamEnd
            && step.written == 0
            && step.read == FINAL_EMPTY_BLOCK.len()
    })
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
