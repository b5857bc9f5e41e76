//! permessage-deflate (RFC 7692) as the load generator needs it: messages compressed ahead of the
//! run, and replies inflated to see that they are what was sent.

use flate2::{Compress, Compression, Decompress, FlushCompress, FlushDecompress};

use crate::Outcome;

/// The end of a sync flush, which the sender leaves out and the receiver puts back (section 7.2.1).
const TAIL: [u8; 4] = [0x00, 0x00, 0xff, 0xff];

/// Compresses messages one after another, in one context if `takeover`, else each in a fresh one.
pub fn compress_each<'a>(
    messages: impl Iterator<Item = &'a Vec<u8>>,
    takeover: bool,
) -> Vec<Vec<u8>> {
    let mut context = Compress::new(Compression::default(), false);
    let compress = |message: &'a Vec<u8>| {
        if !takeover {
            context.reset();
        }
        let mut payload = Vec::new();
        let mut taken = 0;
        // A sync flush is complete once the output did not fill the room it was given.
        loop {
            payload.reserve(message.len() + 64);
            let before = context.total_in();
            // Cannot fail: the only errors of compressing are those of the arguments.
            let _ = context.compress_vec(&message[taken..], &mut payload, FlushCompress::Sync);
            taken += (context.total_in() - before) as usize;
            if taken == message.len() && payload.len() < payload.capacity() {
                break;
            }
        }
        payload.truncate(payload.len() - TAIL.len());
        payload
    };
    messages.map(compress).collect()
}

/// Inflates the messages that a server sent on one connection.
pub struct Inflater {
    context: Decompress,
    takeover: bool,
    plain: Vec<u8>,
}

impl Inflater {
    pub fn new(takeover: bool) -> Self {
        Self {
            context: Decompress::new(false),
            takeover,
            plain: Vec::new(),
        }
    }

    /// Whether the server may refer to earlier messages, so that none may be left out.
    pub fn takeover(&self) -> bool {
        self.takeover
    }

    /// The plain bytes of a message, which may have at most `limit` bytes. `wire` is used up.
    pub fn inflate(&mut self, wire: &mut Vec<u8>, limit: usize) -> Outcome<&[u8]> {
        if !self.takeover {
            self.context.reset(false);
        }
        wire.extend_from_slice(&TAIL);
        self.plain.clear();
        // One byte more than allowed, so that a message that is too long shows.
        self.plain.reserve(limit + 1);
        let before = self.context.total_in();
        self.context
            .decompress_vec(wire, &mut self.plain, FlushDecompress::Sync)?;
        if self.context.total_in() - before != wire.len() as u64 {
            return Err("a compressed reply inflates to more than was sent".into());
        }
        wire.clear();
        Ok(&self.plain)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::messages::Messages;

    #[test]
    fn every_lap_of_the_cycle_inflates_to_the_same_messages() {
        let messages = Messages::new(1024, false);
        let plain: Vec<Vec<u8>> = (0..41)
            .map(|number| messages.plain(number).to_vec())
            .collect();
        for takeover in [true, false] {
            let laps = compress_each(plain.iter().chain(&plain), takeover);
            let mut inflater = Inflater::new(takeover);
            for lap in [&laps[..41], &laps[41..], &laps[41..], &laps[41..]] {
                for (wire, expected) in lap.iter().zip(&plain) {
                    assert_eq!(inflater.inflate(&mut wire.clone(), 1024).unwrap(), expected);
                }
            }
        }
    }

    #[test]
    fn a_reply_longer_than_what_was_sent_is_refused() {
        let compressed = compress_each([vec![b'x'; 5000]].iter(), false);
        let mut inflater = Inflater::new(false);
        assert!(inflater.inflate(&mut compressed[0].clone(), 4000).is_err());
    }
}
