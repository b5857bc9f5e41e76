//! Decompression with all that can be told of Node's zlib from outside.
//!
//! zlib-rs is fast, but it differs in what it makes of a stream that is not well-formed: its fast path loses the
//! explanation, every window is the largest one, and where it stands within the stream cannot be seen or kept. This
//! decompressor is slower, small and exact. It runs only where that matters: once more over a message that zlib-rs refused,
//! from the end of a message within a block, where a well-formed stream never stops, and over messages of which zlib-rs may
//! accept more than the negotiated window allows.

use std::sync::Arc;

use super::budget::Budget;
use super::error::InflateError;
use super::history::History;
use super::huffman::{Code, Huffman, InvalidLengths};
use super::symbols::{
    CODE_LENGTHS, CODE_LENGTHS_ORDER, DISTANCES, END_OF_BLOCK, FIRST_LENGTH, LENGTHS, LONGEST_MATCH,
};
use super::MESSAGE_TAIL;

/// After so many steps it is seen whether somebody still wants the result. They take about a millisecond.
const STEPS_AT_ONCE: usize = 32 * 1024;

/// A code and 5 more bits for the length of a match, a code and 13 more bits for its distance.
const LONGEST_SYMBOL: u32 = 15 + 5 + 15 + 13;
/// With less input symbols are read one by one.
const WORTHWHILE: usize = 16;

/// How a run over some input ended.
#[derive(Debug, PartialEq)]
pub(super) enum Run {
    /// All input is used up.
    Done,
    /// The stream came to its final block, and input is left.
    StreamEnded,
}

/// What is to be read next.
#[derive(Clone, Copy, PartialEq)]
enum Mode {
    BlockHeader,
    StoredLengths,
    Stored,
    TableSizes,
    LengthsOfLengths,
    Lengths,
    Symbol,
    Literal,
    LengthExtra,
    Distance,
    DistanceExtra,
    Match,
    Ended,
}

/// Why a step could not be taken.
enum Stop {
    /// Input or room is missing.
    Pause,
    /// The final block is over.
    End,
    /// zlib's explanation.
    Bad(&'static str),
}

type Step<T> = Result<T, Stop>;

/// What one call of zlib works on.
struct Call<'i, 'a> {
    input: &'i [u8],
    /// The text of earlier calls, as far as the window goes.
    history: &'a History,
    /// The text of this call follows here.
    out: &'a mut Vec<u8>,
    start: usize,
    /// The length of `out` when the room is used up.
    end: usize,
}

impl Call<'_, '_> {
    fn is_full(&self) -> bool {
        self.out.len() >= self.end
    }

    /// Whether there is room for so many bytes.
    fn has_room(&self, bytes: usize) -> bool {
        self.end.saturating_sub(self.out.len()) >= bytes
    }

    /// Repeats what is so far back, at most so many bytes of it and as far as there is room. Says how many were repeated;
    /// `None` if zlib knows nothing so far back.
    fn repeat(&mut self, distance: usize, length: usize) -> Option<usize> {
        let before = self.out.len();
        let length = length.min(self.end.saturating_sub(before));
        match distance.checked_sub(before.saturating_sub(self.start)) {
            None | Some(0) => {
                // Where the text overlaps itself, what can be copied at once doubles each time.
                let from = before.checked_sub(distance)?;
                let mut left = length;
                while left > 0 {
                    let count = left.min(self.out.len().saturating_sub(from));
                    self.out
                        .extend_from_within(from..from.saturating_add(count));
                    left = left.checked_sub(count).filter(|_| count > 0)?;
                }
                Some(length)
            }
            Some(earlier) => {
                let text = self.history.from(earlier)?;
                let text = text.get(..length).unwrap_or(text);
                self.out.extend_from_slice(text);
                Some(text.len())
            }
        }
    }
}

/// Where a stream stands.
pub(super) struct Exact {
    mode: Mode,
    is_last_block: bool,
    /// Bits that were read and not used yet, the next one lowest.
    held: u64,
    held_bits: u32,
    /// Bytes of a stored block or of a match that are still to come, or a literal.
    length: usize,
    distance: usize,
    /// How many bits the length or distance has besides its code.
    extra: u32,
    /// The sizes of the three codes of a dynamic block.
    sizes: [usize; 3],
    lengths_of_lengths: Vec<u8>,
    lengths: Vec<u8>,
    /// The codes of code lengths, of literals and lengths, and of distances.
    meta: Huffman,
    symbols: Arc<Huffman>,
    distances: Arc<Huffman>,
    /// The codes of blocks that bring none, once there was such a block: making them takes far longer than reading an empty
    /// one.
    fixed: Option<(Arc<Huffman>, Arc<Huffman>)>,
}

impl Exact {
    /// At the start of a stream, or between two blocks.
    pub(super) fn new() -> Self {
        Self {
            mode: Mode::BlockHeader,
            is_last_block: false,
            held: 0,
            held_bits: 0,
            length: 0,
            distance: 0,
            extra: 0,
            sizes: [0; 3],
            lengths_of_lengths: Vec::new(),
            lengths: Vec::new(),
            meta: Huffman::default(),
            symbols: Arc::default(),
            distances: Arc::default(),
            fixed: None,
        }
    }

    /// At the end of a stream.
    pub(super) fn ended() -> Self {
        Self {
            mode: Mode::Ended,
            ..Self::new()
        }
    }

    /// Whether it stands as a new one does, so that any other decompressor can go on.
    pub(super) fn is_between_blocks(&self) -> bool {
        self.mode == Mode::BlockHeader && self.held_bits == 0
    }

    /// Decompresses a frame, and the end of the message with the last one.
    pub(super) fn write_frame(
        &mut self,
        input: &[u8],
        fin: bool,
        history: &mut History,
        budget: &mut Budget,
        out: &mut Vec<u8>,
    ) -> Result<Run, InflateError> {
        let run = self.write(input, history, budget, out)?;
        if fin && run == Run::Done {
            return self.write(&MESSAGE_TAIL, history, budget, out);
        }
        Ok(run)
    }

    /// Decompresses one piece of input as one `write` to Node's stream does, and records the text.
    fn write(
        &mut self,
        mut input: &[u8],
        history: &mut History,
        budget: &mut Budget,
        out: &mut Vec<u8>,
    ) -> Result<Run, InflateError> {
        loop {
            let (start, room) = (out.len(), budget.whole_room());
            let mut call = Call {
                input,
                history,
                end: start.saturating_add(room),
                out,
                start,
            };
            let stop = self.run(&mut call, budget)?;
            input = call.input;
            let text = out.get(start..).unwrap_or_default();
            let written = text.len();
            history.record(text);
            if let Stop::Bad(message) = stop {
                return Err(InflateError::data(Some(message)));
            }
            budget.add(written)?;
            if matches!(stop, Stop::End) && !input.is_empty() {
                budget.check()?;
                return Ok(Run::StreamEnded);
            }
            if written < room {
                budget.check()?;
                return Ok(Run::Done);
            }
        }
    }

    fn run(&mut self, call: &mut Call, budget: &Budget) -> Result<Stop, InflateError> {
        loop {
            for _ in 0..STEPS_AT_ONCE {
                if let Err(stop) = self.step(call) {
                    return Ok(stop);
                }
            }
            budget.check_cancelled()?;
        }
    }

    fn step(&mut self, call: &mut Call) -> Step<()> {
        match self.mode {
            Mode::BlockHeader => self.read_block_header(call),
            Mode::StoredLengths => self.read_stored_lengths(call),
            Mode::Stored => self.copy_stored(call),
            Mode::TableSizes => self.read_table_sizes(call),
            Mode::LengthsOfLengths => self.read_lengths_of_lengths(call),
            Mode::Lengths => self.read_lengths(call),
            Mode::Symbol => self.read_symbol(call),
            Mode::Literal => self.write_literal(call),
            Mode::LengthExtra => self.read_length_extra(call),
            Mode::Distance => self.read_distance(call),
            Mode::DistanceExtra => self.read_distance_extra(call),
            Mode::Match => self.copy_match(call),
            Mode::Ended => Err(Stop::End),
        }
    }

    fn read_block_header(&mut self, call: &mut Call) -> Step<()> {
        if self.is_last_block {
            self.mode = Mode::Ended;
            return Ok(());
        }
        self.need(3, call)?;
        self.is_last_block = self.take(1) == 1;
        match self.take(2) {
            0 => self.mode = Mode::StoredLengths,
            1 => {
                self.use_fixed_codes()
                    .map_err(|_| Stop::Bad("invalid block type"))?;
                self.mode = Mode::Symbol;
            }
            2 => self.mode = Mode::TableSizes,
            _ => return Err(Stop::Bad("invalid block type")),
        }
        Ok(())
    }

    fn use_fixed_codes(&mut self) -> Result<(), InvalidLengths> {
        let (symbols, distances) = match &self.fixed {
            Some(fixed) => fixed,
            None => self.fixed.insert((
                Arc::new(Huffman::fixed_lengths()?),
                Arc::new(Huffman::fixed_distances()?),
            )),
        };
        self.symbols = Arc::clone(symbols);
        self.distances = Arc::clone(distances);
        Ok(())
    }

    fn read_stored_lengths(&mut self, call: &mut Call) -> Step<()> {
        self.take(self.held_bits % 8);
        self.need(32, call)?;
        let (length, complement) = (self.take(16), self.take(16));
        if length != complement ^ 0xffff {
            return Err(Stop::Bad("invalid stored block lengths"));
        }
        self.length = length;
        self.mode = Mode::Stored;
        Ok(())
    }

    fn copy_stored(&mut self, call: &mut Call) -> Step<()> {
        if self.length == 0 {
            self.mode = Mode::BlockHeader;
            return Ok(());
        }
        let room = call.end.saturating_sub(call.out.len());
        let (text, rest) = call
            .input
            .split_at(self.length.min(call.input.len()).min(room));
        if text.is_empty() {
            return Err(Stop::Pause);
        }
        call.out.extend_from_slice(text);
        call.input = rest;
        self.length = self.length.saturating_sub(text.len());
        Ok(())
    }

    fn read_table_sizes(&mut self, call: &mut Call) -> Step<()> {
        self.need(14, call)?;
        let symbols = self.take(5).saturating_add(257);
        let distances = self.take(5).saturating_add(1);
        let lengths = self.take(4).saturating_add(4);
        if symbols > 286 || distances > 30 {
            return Err(Stop::Bad("too many length or distance symbols"));
        }
        self.sizes = [lengths, symbols, distances];
        self.lengths_of_lengths.clear();
        self.mode = Mode::LengthsOfLengths;
        Ok(())
    }

    fn read_lengths_of_lengths(&mut self, call: &mut Call) -> Step<()> {
        let [wanted, ..] = self.sizes;
        while self.lengths_of_lengths.len() < wanted {
            self.need(3, call)?;
            let length = self.take_byte(3);
            self.lengths_of_lengths.push(length);
        }
        let mut lengths = [0_u8; CODE_LENGTHS];
        for (symbol, length) in CODE_LENGTHS_ORDER.into_iter().zip(&self.lengths_of_lengths) {
            if let Some(place) = lengths.get_mut(symbol) {
                *place = *length;
            }
        }
        self.meta =
            Huffman::new(&lengths, false).map_err(|_| Stop::Bad("invalid code lengths set"))?;
        self.lengths.clear();
        self.mode = Mode::Lengths;
        Ok(())
    }

    fn read_lengths(&mut self, call: &mut Call) -> Step<()> {
        let [_, symbols, distances] = self.sizes;
        let wanted = symbols.saturating_add(distances);
        while self.lengths.len() < wanted {
            let (symbol, bits) = loop {
                match self.meta.decode(self.held, self.held_bits) {
                    Code::Symbol(symbol, bits) => break (symbol, bits),
                    // Without any code zlib reads lengths of 0.
                    Code::Nothing(bits) => break (0, bits),
                    Code::Unfinished => self.pull(call)?,
                }
            };
            let (extra, least) = match symbol {
                16 => (2, 3),
                17 => (3, 3),
                18 => (7, 11),
                length => {
                    self.take(bits);
                    self.lengths.push(u8::try_from(length).unwrap_or_default());
                    continue;
                }
            };
            self.need(bits.saturating_add(extra), call)?;
            self.take(bits);
            let repeated = if symbol == 16 {
                let last = self.lengths.last().copied();
                last.ok_or(Stop::Bad("invalid bit length repeat"))?
            } else {
                0
            };
            let times = self.take(extra).saturating_add(least);
            let length = self.lengths.len().saturating_add(times);
            if length > wanted {
                return Err(Stop::Bad("invalid bit length repeat"));
            }
            self.lengths.resize(length, repeated);
        }
        let (of_symbols, of_distances) = self.lengths.split_at(symbols.min(self.lengths.len()));
        if of_symbols
            .get(END_OF_BLOCK)
            .is_none_or(|length| *length == 0)
        {
            return Err(Stop::Bad("invalid code -- missing end-of-block"));
        }
        let symbols =
            Huffman::new(of_symbols, true).map_err(|_| Stop::Bad("invalid literal/lengths set"))?;
        let distances =
            Huffman::new(of_distances, true).map_err(|_| Stop::Bad("invalid distances set"))?;
        self.symbols = Arc::new(symbols);
        self.distances = Arc::new(distances);
        self.mode = Mode::Symbol;
        Ok(())
    }

    /// Reads symbols as long as there are input and room for any of them, which takes a fraction of the time.
    fn read_symbols(&mut self, call: &mut Call) -> Step<()> {
        let (symbols, distances) = (Arc::clone(&self.symbols), Arc::clone(&self.distances));
        let mut read = 0_usize;
        while self.mode == Mode::Symbol && call.has_room(LONGEST_MATCH) {
            if self.held_bits < LONGEST_SYMBOL {
                let Some(next) = call.input.get(read..).and_then(<[u8]>::first_chunk) else {
                    break;
                };
                // What does not fit as whole bytes is read again the next time, and is the same then.
                self.held |= u64::from_le_bytes(*next)
                    .checked_shl(self.held_bits)
                    .unwrap_or(0);
                let bytes = 63_u32.saturating_sub(self.held_bits) / 8;
                self.held_bits = self.held_bits.saturating_add(bytes.saturating_mul(8));
                read = read.saturating_add(usize::try_from(bytes).unwrap_or_default());
            }
            let symbol = self.take_symbol(&symbols, "invalid literal/length code")?;
            let Some(length) = symbol.checked_sub(FIRST_LENGTH) else {
                match u8::try_from(symbol) {
                    Ok(literal) => call.out.push(literal),
                    Err(_) => self.mode = Mode::BlockHeader,
                }
                continue;
            };
            let (least, extra) = LENGTHS
                .get(length)
                .ok_or(Stop::Bad("invalid literal/length code"))?;
            self.length = least.saturating_add(self.take(*extra));
            let symbol = self.take_symbol(&distances, "invalid distance code")?;
            let (least, extra) = DISTANCES
                .get(symbol)
                .ok_or(Stop::Bad("invalid distance code"))?;
            self.distance = least.saturating_add(self.take(*extra));
            self.copy_match(call)?;
        }
        // Whole bytes that are held go back.
        let unused = usize::try_from(self.held_bits / 8).unwrap_or_default();
        let read = read.saturating_sub(unused);
        call.input = call.input.get(read..).unwrap_or_default();
        self.held_bits %= 8;
        self.held &= 1_u64
            .checked_shl(self.held_bits)
            .unwrap_or(0)
            .wrapping_sub(1);
        Ok(())
    }

    /// Uses up the bits of a symbol, all of which are held.
    fn take_symbol(&mut self, code: &Huffman, otherwise: &'static str) -> Step<usize> {
        match code.decode(self.held, self.held_bits) {
            Code::Symbol(symbol, bits) => {
                self.held = self.held.checked_shr(bits).unwrap_or(0);
                self.held_bits = self.held_bits.saturating_sub(bits);
                Ok(usize::from(symbol))
            }
            _ => Err(Stop::Bad(otherwise)),
        }
    }

    fn read_symbol(&mut self, call: &mut Call) -> Step<()> {
        if self.held_bits < 8 && call.input.len() >= WORTHWHILE && call.has_room(LONGEST_MATCH) {
            return self.read_symbols(call);
        }
        let symbol = loop {
            match self.symbols.decode(self.held, self.held_bits) {
                Code::Symbol(symbol, bits) => {
                    self.take(bits);
                    break usize::from(symbol);
                }
                Code::Nothing(_) => return Err(Stop::Bad("invalid literal/length code")),
                Code::Unfinished => self.pull(call)?,
            }
        };
        match symbol.checked_sub(FIRST_LENGTH) {
            None if symbol == END_OF_BLOCK => self.mode = Mode::BlockHeader,
            None => {
                self.length = symbol;
                self.mode = Mode::Literal;
            }
            Some(at) => {
                let (least, extra) = LENGTHS
                    .get(at)
                    .ok_or(Stop::Bad("invalid literal/length code"))?;
                self.length = *least;
                self.extra = *extra;
                self.mode = Mode::LengthExtra;
            }
        }
        Ok(())
    }

    fn write_literal(&mut self, call: &mut Call) -> Step<()> {
        if call.is_full() {
            return Err(Stop::Pause);
        }
        call.out.push(u8::try_from(self.length).unwrap_or_default());
        self.mode = Mode::Symbol;
        Ok(())
    }

    fn read_length_extra(&mut self, call: &mut Call) -> Step<()> {
        self.need(self.extra, call)?;
        self.length = self.length.saturating_add(self.take(self.extra));
        self.mode = Mode::Distance;
        Ok(())
    }

    fn read_distance(&mut self, call: &mut Call) -> Step<()> {
        let symbol = loop {
            match self.distances.decode(self.held, self.held_bits) {
                Code::Symbol(symbol, bits) => {
                    self.take(bits);
                    break usize::from(symbol);
                }
                Code::Nothing(_) => return Err(Stop::Bad("invalid distance code")),
                Code::Unfinished => self.pull(call)?,
            }
        };
        let (least, extra) = DISTANCES
            .get(symbol)
            .ok_or(Stop::Bad("invalid distance code"))?;
        self.distance = *least;
        self.extra = *extra;
        self.mode = Mode::DistanceExtra;
        Ok(())
    }

    fn read_distance_extra(&mut self, call: &mut Call) -> Step<()> {
        self.need(self.extra, call)?;
        self.distance = self.distance.saturating_add(self.take(self.extra));
        self.mode = Mode::Match;
        Ok(())
    }

    /// A match that goes on in the next call is looked for anew: the text of this one is then seen through the window.
    fn copy_match(&mut self, call: &mut Call) -> Step<()> {
        while self.length > 0 {
            if call.is_full() {
                return Err(Stop::Pause);
            }
            let repeated = call
                .repeat(self.distance, self.length)
                .ok_or(Stop::Bad("invalid distance too far back"))?;
            self.length = self.length.saturating_sub(repeated);
        }
        self.mode = Mode::Symbol;
        Ok(())
    }

    /// Reads until so many bits are held, at most 32.
    fn need(&mut self, bits: u32, call: &mut Call) -> Step<()> {
        while self.held_bits < bits {
            self.pull(call)?;
        }
        Ok(())
    }

    fn pull(&mut self, call: &mut Call) -> Step<()> {
        let (byte, rest) = call.input.split_first().ok_or(Stop::Pause)?;
        call.input = rest;
        self.held |= u64::from(*byte).checked_shl(self.held_bits).unwrap_or(0);
        self.held_bits = self.held_bits.saturating_add(8);
        Ok(())
    }

    /// Uses up bits that are held, at most 16.
    fn take(&mut self, bits: u32) -> usize {
        let mask = 1_u64.checked_shl(bits).unwrap_or(0).wrapping_sub(1);
        let value = usize::try_from(self.held & mask).unwrap_or_default();
        self.held = self.held.checked_shr(bits).unwrap_or(0);
        self.held_bits = self.held_bits.saturating_sub(bits);
        value
    }

    fn take_byte(&mut self, bits: u32) -> u8 {
        u8::try_from(self.take(bits)).unwrap_or_default()
    }
}
