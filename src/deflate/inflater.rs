//! Decompression of incoming messages.

use zlib_rs::Inflate;

use super::begun::{Begun, MOST_REPEATED};
use super::budget::{Budget, CHUNK};
use super::error::InflateError;
use super::exact::{Exact, Run};
use super::history::History;
use super::pool::Pool;
#[cfg(test)]
use super::pool::DECOMPRESSOR_MEMORY;
use super::window_size;
use super::zlib_calls::{decompress_frame, standing, wake, FrameEnd, Standing, Tail};

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
    /// With context takeover: the plain text that a later message may refer to. The one of a message is added when the
    /// message ends.
    history: History,
    in_message: bool,
    /// What it takes to repeat the frames of the message so far.
    begun: Option<Begun>,
    /// A message stopped within a block, which the next one goes on with. Until one stops between two blocks, this
    /// decompresses.
    open: Option<Box<Exact>>,
    /// A message stopped within a block, and what zlib knew of that block is gone.
    lost_block: bool,
    /// How full the chunk is that Node's zlib would write to.
    filled: usize,
}

/// What another run over a message led to.
struct Repeated {
    run: Run,
    exact: Exact,
    history: History,
    filled: usize,
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
            begun: None,
            open: None,
            lost_block: false,
            filled: 0,
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
        let start = out.len();
        let result = if self.open.is_some() {
            self.go_on_within_block(input, fin, limit, out)
        } else {
            self.run_frame(input, fin, limit, out)
        };
        match &result {
            Ok(Run::Done) => {}
            Ok(Run::StreamEnded) => self.restart(),
            Err(_) => {
                out.truncate(start);
                self.restart();
            }
        }
        self.in_message = !fin;
        result.map(|_| ())
    }

    /// Gives the zlib state back to the pool. With context takeover the last window of plain text stays, and is set as
    /// the dictionary when the next message comes. Nothing happens in the middle of a message.
    pub fn sleep(&mut self) {
        if self.in_message {
            return;
        }
        if self.stand_down() == Standing::WithinBlock {
            self.lost_block = true;
        }
        self.history.shrink();
    }

    /// Goes on in a chunk of Node's zlib that another decompressor left so full.
    pub fn within_chunk(mut self, filled: usize) -> Self {
        self.filled = filled;
        self
    }

    /// How full the chunk is that Node's zlib would write to.
    pub fn filled(&self) -> usize {
        self.filled
    }

    /// Whether a decompressor made anew, for a chunk that is as full, would do the same from here on.
    pub fn is_as_new(&self) -> bool {
        let is_open = self.in_message || self.open.is_some() || self.lost_block;
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
        self.history
            .memory()
            .saturating_add(decompressor)
            .saturating_add(begun)
    }

    /// Decompresses a frame whose message began between two blocks.
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
        let trusted = self.trusted_text();
        if input.len() > trusted {
            // So much that more than that is likely to come out.
            return self.repeat_to_go_on(input, fin, limit, out);
        }
        let start = out.len();
        let mut budget = Budget::new(&self.pool, limit, self.filled).trusting(trusted);
        let tail = match fin {
            false => Tail::None,
            true if !self.can_repeat(input) => Tail::Plain,
            // Where the context ends with the message, it does not matter where that stands.
            true if self.no_context_takeover && !self.small_window => Tail::Plain,
            true => Tail::Seen,
        };
        let decompressor = match &mut self.decompressor {
            Some(decompressor) => decompressor,
            none => none.insert(wake(&self.pool, &self.history)?),
        };
        match decompress_frame(decompressor, input, tail, &mut budget, out) {
            Ok(FrameEnd::Done) => {
                let text = out.get(start..).unwrap_or_default();
                if fin {
                    self.end_message(input, text)?;
                } else {
                    self.keep_frame(input, text);
                }
                self.filled = budget.filled();
                Ok(Run::Done)
            }
            Ok(FrameEnd::StreamEnded) => Ok(Run::StreamEnded),
            Ok(FrameEnd::Doubtful) => {
                out.truncate(start);
                self.repeat_to_go_on(input, fin, limit, out)
            }
            Err(error) => Err(self.explain(error, input, fin, limit)),
        }
    }

    /// Decompresses a frame after a message that stopped within a block.
    fn go_on_within_block(
        &mut self,
        input: &[u8],
        fin: bool,
        limit: u64,
        out: &mut Vec<u8>,
    ) -> Result<Run, InflateError> {
        let Some(exact) = &mut self.open else {
            return Err(InflateError::stream());
        };
        let mut budget = Budget::new(&self.pool, limit, self.filled);
        let run = exact.write_frame(input, fin, &mut self.history, &mut budget, out)?;
        self.filled = budget.filled();
        if exact.is_between_blocks() {
            self.open = None;
        }
        if fin && self.no_context_takeover {
            self.forget();
        }
        Ok(run)
    }

    /// Keeps of a frame what later ones, or another run over the message, may need.
    fn keep_frame(&mut self, input: &[u8], text: &[u8]) {
        let window = self.history.window();
        let begun = self
            .begun
            .get_or_insert_with(|| Begun::new(window, self.filled));
        begun.push(input);
        begun.count(text.len());
        if !self.no_context_takeover {
            begun.record(text);
        }
    }

    /// Keeps of a message what later ones may need.
    fn end_message(&mut self, input: &[u8], text: &[u8]) -> Result<(), InflateError> {
        if self.no_context_takeover {
            self.release();
            self.begun = None;
            self.forget();
            return Ok(());
        }
        // Set anew from the history, zlib knows no more text than the peer may refer to.
        if self.small_window && self.stand_down() == Standing::WithinBlock {
            if self.can_repeat(input) {
                self.repeat_to_go_on(input, true, 0, &mut Vec::new())?;
                return Ok(());
            }
            self.lost_block = true;
        }
        if let Some(begun) = self.begun.take() {
            let (older, newer) = begun.text();
            self.history.record(older);
            self.history.record(newer);
        }
        self.history.record(text);
        Ok(())
    }

    /// Repeats the message so far, so that what follows can go on where it stands: after the end of a message that did not
    /// end a block, or where the negotiated window matters.
    fn repeat_to_go_on(
        &mut self,
        input: &[u8],
        fin: bool,
        limit: u64,
        out: &mut Vec<u8>,
    ) -> Result<Run, InflateError> {
        let repeated = self.repeat(input, fin, limit, out)?;
        self.release();
        self.begun = None;
        self.history = repeated.history;
        self.filled = repeated.filled;
        if !repeated.exact.is_between_blocks() {
            self.open = Some(Box::new(repeated.exact));
        }
        if fin && self.no_context_takeover {
            self.forget();
        }
        Ok(repeated.run)
    }

    /// Finds out what Node's zlib says of a message that zlib-rs refused.
    fn explain(&self, error: InflateError, input: &[u8], fin: bool, limit: u64) -> InflateError {
        let is_certain = !error.lacks_text() && !self.small_window;
        if is_certain {
            return error;
        }
        if self.can_repeat(input) {
            if let Err(error) = self.repeat(input, fin, limit, &mut Vec::new()) {
                return error;
            }
        }
        if error.lacks_text() {
            // The most common one of the errors that zlib-rs does not tell.
            return InflateError::data(Some("invalid distance too far back"));
        }
        error
    }

    /// Decompresses from the start of the message as Node's zlib does. Appends the text of this frame.
    fn repeat(
        &self,
        input: &[u8],
        fin: bool,
        limit: u64,
        out: &mut Vec<u8>,
    ) -> Result<Repeated, InflateError> {
        let mut exact = Exact::new();
        let mut history = self.history.clone();
        let mut filled = self.filled;
        if let Some(begun) = &self.begun {
            filled = begun.filled();
            let mut discarded = Vec::new();
            for frame in begun.frames() {
                let mut budget = Budget::new(&self.pool, 0, filled);
                exact.write_frame(frame, false, &mut history, &mut budget, &mut discarded)?;
                filled = budget.filled();
                discarded.clear();
            }
        }
        let mut budget = Budget::new(&self.pool, limit, filled);
        let run = exact.write_frame(input, fin, &mut history, &mut budget, out)?;
        Ok(Repeated {
            run,
            exact,
            history,
            filled: budget.filled(),
        })
    }

    /// Whether the message so far was kept, and is not too long to be decompressed once more.
    fn can_repeat(&self, input: &[u8]) -> bool {
        input.len() <= MOST_REPEATED && self.begun.as_ref().is_none_or(Begun::is_complete)
    }

    /// How much text of the next frame zlib-rs is trusted with. It knows all of the message, and all of the negotiated window
    /// before that. Node's zlib knows the window and the text since it was called last, which it is for each frame, and
    /// for each chunk of output.
    fn trusted_text(&self) -> usize {
        if !self.small_window || !self.begun.as_ref().is_none_or(Begun::is_complete) {
            return usize::MAX;
        }
        let before = self.begun.as_ref().map_or(0, Begun::length);
        let known = self.history.length().saturating_add(before);
        let within_window = self.history.window().saturating_sub(known);
        if before > 0 {
            return within_window;
        }
        within_window.max(CHUNK.saturating_sub(self.filled))
    }

    /// Ends the context with a message where none is kept.
    fn forget(&mut self) {
        self.history.restart();
        self.open = None;
    }

    /// Ends the context: the next frame starts a new one.
    fn restart(&mut self) {
        self.release();
        self.history.restart();
        self.begun = None;
        self.open = None;
        self.filled = 0;
    }

    /// Releases the zlib state between two messages, as far as possible without a loss.
    fn stand_down(&mut self) -> Standing {
        let Some(mut decompressor) = self.decompressor.take() else {
            return Standing::BetweenBlocks;
        };
        let standing = standing(&mut decompressor);
        self.pool.give_decompressor(decompressor);
        if standing == Standing::AfterFinalBlock {
            self.open = Some(Box::new(Exact::ended()));
        }
        standing
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
