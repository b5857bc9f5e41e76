//! How much a frame may produce, in which pieces, and whether it is still wanted.

use super::error::InflateError;
use super::pool::Pool;

/// What comes out is checked against the limit whenever a chunk of this size is full, and at the end of the input. It is
/// Node's chunk size: a stream that is too big and then corrupt fails for the same reason as there.
pub(super) const CHUNK: usize = 16 * 1024;
/// The least room zlib gets, unless the chunk ends before.
const MIN_ROOM: usize = 256;

/// Counts what a frame produces.
pub(super) struct Budget {
    pool: Pool,
    limit: u64,
    /// Bytes that came out.
    produced: u64,
    /// Bytes in the chunk at hand. It may have begun with an earlier frame.
    filled: usize,
    /// Of those, the ones that came out with this frame.
    fresh: usize,
    /// How much more may come out before it is in doubt.
    trusted: usize,
}

impl Budget {
    /// For a frame that finds so many bytes in the chunk at hand. A limit of 0 is none.
    pub(super) fn new(pool: &Pool, limit: u64, filled: usize) -> Self {
        Self {
            pool: pool.clone(),
            limit: if limit == 0 { u64::MAX } else { limit },
            produced: 0,
            filled: filled.min(CHUNK),
            fresh: 0,
            trusted: usize::MAX,
        }
    }

    /// With more text than this, the frame is in doubt.
    pub(super) fn trusting(mut self, trusted: usize) -> Self {
        self.trusted = trusted;
        self
    }

    /// Whether more came out than is trusted.
    pub(super) fn is_doubtful(&self, bytes: usize) -> bool {
        bytes > self.trusted
    }

    /// Room for the next piece of output: a small multiple of what is expected to fill it. Where it may be too much, it ends
    /// with the chunk.
    pub(super) fn room(&self, input: usize) -> usize {
        let most = if self.is_near_limit() {
            self.whole_room()
        } else {
            CHUNK
        };
        input
            .saturating_mul(4)
            .max(self.fresh)
            .max(MIN_ROOM)
            .min(most)
    }

    /// Whether the next piece could exceed the limit.
    fn is_near_limit(&self) -> bool {
        let unchecked = self.fresh.saturating_add(CHUNK);
        let reached = u64::try_from(unchecked).map(|bytes| self.produced.saturating_add(bytes));
        reached.is_ok_and(|reached| reached > self.limit)
    }

    /// All the room that the chunk has.
    pub(super) fn whole_room(&self) -> usize {
        CHUNK.saturating_sub(self.filled)
    }

    /// Bytes in the chunk at hand.
    pub(super) fn filled(&self) -> usize {
        self.filled
    }

    /// Notes what came out, and fails if a full chunk goes beyond the limit.
    pub(super) fn add(&mut self, bytes: usize) -> Result<(), InflateError> {
        self.fresh = self.fresh.saturating_add(bytes);
        self.filled = self.filled.saturating_add(bytes);
        if self.filled < CHUNK {
            return Ok(());
        }
        self.filled = self.filled.saturating_sub(CHUNK);
        self.check()
    }

    /// Fails if nobody wants the result any more.
    pub(super) fn check_cancelled(&self) -> Result<(), InflateError> {
        if self.pool.is_closed() {
            return Err(InflateError::stream());
        }
        Ok(())
    }

    /// Fails if what came out goes beyond the limit.
    pub(super) fn check(&mut self) -> Result<(), InflateError> {
        let fresh = u64::try_from(std::mem::take(&mut self.fresh)).unwrap_or(u64::MAX);
        self.produced = self.produced.saturating_add(fresh);
        if self.produced > self.limit {
            return Err(InflateError::TooBig);
        }
        Ok(())
    }
}
