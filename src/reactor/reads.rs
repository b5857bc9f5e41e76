//! What several reads of one connection have brought.

/// Bytes that were read one behind the other, and where the reads end that a stream of Node's would keep apart: those of a
/// connection that is paused.
#[derive(Debug, Default)]
pub struct Reads {
    bytes: Vec<u8>,
    /// Where such reads begin, but for the first.
    cuts: Vec<usize>,
}

impl From<Vec<u8>> for Reads {
    fn from(bytes: Vec<u8>) -> Self {
        Self {
            bytes,
            cuts: Vec::new(),
        }
    }
}

impl Reads {
    /// How many bytes there are.
    pub fn len(&self) -> usize {
        self.bytes.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// All bytes.
    pub fn into_bytes(self) -> Vec<u8> {
        self.bytes
    }

    /// Adds what a read has brought, as a part of the last one or `apart` from it.
    pub fn add(&mut self, bytes: &[u8], apart: bool) {
        if self.bytes.is_empty() {
            self.bytes = bytes.to_vec();
            return;
        }
        if apart {
            self.cuts.push(self.bytes.len());
        }
        self.bytes.extend_from_slice(bytes);
    }

    /// Where each read ends.
    pub fn ends(&self) -> impl Iterator<Item = usize> + '_ {
        self.cuts.iter().copied().chain([self.bytes.len()])
    }

    /// The reads, one by one.
    pub fn each(&self) -> impl Iterator<Item = &[u8]> {
        let mut start = 0;
        let ranges = self
            .ends()
            .map(move |end| std::mem::replace(&mut start, end)..end);
        let reads = ranges.map(|range| self.bytes.get(range).unwrap_or_default());
        reads.filter(|read| !read.is_empty())
    }
}
