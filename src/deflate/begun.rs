//! What is kept of a message of which only some frames have come, so that it can be decompressed once more.

use super::history::History;

/// Longer messages are not repeated. They would take as much memory again, and several times as long.
pub(super) const MOST_REPEATED: usize = 1024 * 1024;

/// The frames so far, for the rare case that they must be decompressed once more.
pub(super) struct Begun {
    /// The compressed frames, one after the other.
    input: Vec<u8>,
    /// Where each of them ends.
    ends: Vec<usize>,
    /// The frames became too long to be kept.
    is_cut: bool,
    /// How much text they gave.
    length: usize,
    /// The last window of it. The history is what it was before them.
    text: History,
    /// How full Node's chunk was before them.
    filled: usize,
}

impl Begun {
    pub(super) fn new(window: usize, filled: usize) -> Self {
        Self {
            input: Vec::new(),
            ends: Vec::new(),
            is_cut: false,
            length: 0,
            text: History::new(window, Vec::new()),
            filled,
        }
    }

    /// Adds a frame.
    pub(super) fn push(&mut self, input: &[u8]) {
        let frames = size_of_val(self.ends.as_slice());
        let kept = self.input.len().saturating_add(frames);
        self.is_cut |= kept.saturating_add(input.len()) > MOST_REPEATED;
        if self.is_cut {
            self.input = Vec::new();
            self.ends = Vec::new();
        } else {
            self.input.extend_from_slice(input);
            self.ends.push(self.input.len());
        }
    }

    /// Notes how much text a frame gave.
    pub(super) fn count(&mut self, length: usize) {
        self.length = self.length.saturating_add(length);
    }

    /// How much text the frames gave.
    pub(super) fn length(&self) -> usize {
        self.length
    }

    /// Adds the text of a frame.
    pub(super) fn record(&mut self, text: &[u8]) {
        self.text.record(text);
    }

    /// Whether all frames are there.
    pub(super) fn is_complete(&self) -> bool {
        !self.is_cut
    }

    /// The frames in the order they came.
    pub(super) fn frames(&self) -> impl Iterator<Item = &[u8]> {
        let starts = std::iter::once(0).chain(self.ends.iter().copied());
        let ranges = starts.zip(self.ends.iter().copied());
        ranges.map(|(start, end)| self.input.get(start..end).unwrap_or_default())
    }

    /// The last window of text, the older part first.
    pub(super) fn text(&self) -> (&[u8], &[u8]) {
        self.text.parts()
    }

    /// How full Node's chunk was before the frames.
    pub(super) fn filled(&self) -> usize {
        self.filled
    }

    /// Bytes allocated.
    #[cfg(test)]
    pub(super) fn memory(&self) -> usize {
        let ends = self.ends.capacity().saturating_mul(size_of::<usize>());
        self.text
            .memory()
            .saturating_add(self.input.capacity())
            .saturating_add(ends)
    }
}
