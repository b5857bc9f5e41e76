//! The last window of plain text: all that a compression context means to the other side.

/// A ring of the most recent plain text, never longer than the window it stands for. It grows with
/// what was really seen, so a connection that exchanged 300 bytes keeps 300 bytes.
#[derive(Clone)]
pub(super) struct History {
    window: usize,
    /// What every context starts with: zlib's `dictionary` option.
    preset: Vec<u8>,
    /// Empty until something was recorded in this context, the preset and more afterwards.
    bytes: Vec<u8>,
    /// Where the oldest byte is once the ring is full; 0 before that.
    oldest: usize,
}

impl History {
    /// The history of a context in which `window` bytes matter.
    pub(super) fn new(window: usize, mut preset: Vec<u8>) -> Self {
        preset.drain(..preset.len().saturating_sub(window));
        Self {
            window,
            preset,
            bytes: Vec::new(),
            oldest: 0,
        }
    }

    /// How many bytes matter.
    pub(super) fn window(&self) -> usize {
        self.window
    }

    /// Back to the beginning of a context.
    pub(super) fn restart(&mut self) {
        self.bytes = Vec::new();
        self.oldest = 0;
    }

    /// Whether nothing was recorded in this context.
    pub(super) fn is_as_new(&self) -> bool {
        self.bytes.is_empty()
    }

    /// How many bytes there are.
    pub(super) fn length(&self) -> usize {
        let (older, newer) = self.parts();
        older.len().saturating_add(newer.len())
    }

    /// The text in two parts, the older one first.
    pub(super) fn parts(&self) -> (&[u8], &[u8]) {
        if self.bytes.is_empty() {
            return (&self.preset, &[]);
        }
        let (newer, older) = self.bytes.split_at(self.oldest.min(self.bytes.len()));
        (older, newer)
    }

    /// What lies so far back from the end, the last byte being 1 back, as far as it is in one piece.
    pub(super) fn from(&self, distance: usize) -> Option<&[u8]> {
        let (older, newer) = self.parts();
        let (part, distance) = match distance.checked_sub(newer.len()) {
            None | Some(0) => (newer, distance),
            Some(before) => (older, before),
        };
        part.get(part.len().checked_sub(distance)?..)
    }

    /// Appends text, forgetting what falls out of the window.
    pub(super) fn record(&mut self, text: &[u8]) {
        if text.is_empty() {
            return;
        }
        if self.bytes.is_empty() && !self.preset.is_empty() {
            self.bytes = self.preset.clone();
        }
        // Only the last window of the text can matter.
        let start = text.len().saturating_sub(self.window);
        let text = text.get(start..).unwrap_or_default();

        let free = self.window.saturating_sub(self.bytes.len());
        let (appended, wrapped) = text.split_at(free.min(text.len()));
        self.append(appended);
        self.overwrite(wrapped);
    }

    /// Adds to a ring that is not full yet.
    fn append(&mut self, text: &[u8]) {
        let needed = self.bytes.len().saturating_add(text.len());
        if needed > self.bytes.capacity() {
            let doubled = self.bytes.capacity().saturating_mul(2).max(256);
            let capacity = needed.max(doubled.min(self.window));
            self.bytes
                .reserve_exact(capacity.saturating_sub(self.bytes.len()));
        }
        self.bytes.extend_from_slice(text);
    }

    /// Replaces the oldest bytes of a full ring. The text is at most one window long.
    fn overwrite(&mut self, text: &[u8]) {
        let oldest = self.oldest.min(self.bytes.len());
        let (front, back) = self.bytes.split_at_mut(oldest);
        let until_end = text.len().min(back.len());
        let (first, rest) = text.split_at(until_end);
        for (target, source) in [(back, first), (front, rest)] {
            if let Some(target) = target.get_mut(..source.len()) {
                target.copy_from_slice(source);
            }
        }
        self.oldest = if rest.is_empty() {
            self.oldest.saturating_add(first.len())
        } else {
            rest.len()
        };
        if self.oldest >= self.window {
            self.oldest = 0;
        }
    }

    /// Gives spare capacity back to the allocator.
    pub(super) fn shrink(&mut self) {
        self.bytes.shrink_to_fit();
    }

    /// Bytes allocated.
    #[cfg(test)]
    pub(super) fn memory(&self) -> usize {
        self.preset.capacity().saturating_add(self.bytes.capacity())
    }
}
