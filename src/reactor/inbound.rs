//! The way in: received bytes become items that JavaScript can deliver.
//!
//! An [`Inbound`] belongs to one connection (or one standalone `Receiver`). It drives the protocol decoder over
//! each received chunk, puts together what arrives in pieces, hands out compressed frames to be inflated, and says for
//! every item where its bytes lie: in the chunk itself, or in memory of its own until the item is taken.

// What the peer sends goes through here, as through `protocol`.
#![deny(
    clippy::arithmetic_side_effects,
    clippy::as_conversions,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unreachable,
    clippy::unwrap_used
)]

use crate::deflate::{DeflateError, InflateError};
use crate::protocol::{
    validate_utf8, Assembly, Config, Decoder, Event, MessageKind, Payload, ProtocolError,
};
use std::ops::Range;

/// The most that Node reads at once. Listeners can notice that, so larger reads are handled as several chunks.
pub const CHUNK: usize = 64 * 1024;
/// When less of a message than this is still to come, it is not worth memory of its own.
const LARGE: usize = 64 * 1024;
/// A message may get at most so many times as much memory as has arrived of it.
const MOST_AHEAD: usize = 8;

/// Where the bytes of an item lie.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Place {
    /// In the chunk given to [`Inbound::next`].
    Chunk(Range<usize>),
    /// In [`Inbound::stored`], valid until the next chunk begins.
    Store(Range<usize>),
    /// In [`Inbound::control_bytes`]: a control frame that arrived in pieces.
    Control(usize),
    /// In [`Inbound::compressed_bytes`]: a compressed frame that arrived in pieces.
    Compressed(usize),
    /// In the contents that [`Inbound::supply`] was just given, all of them.
    Supplied(usize),
    /// In memory of the caller's, of which [`Inbound::next_apart`] was just given the last bytes.
    Apart(usize),
}

/// Why a connection must fail.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Failure {
    /// The peer broke the protocol or a limit.
    Protocol(ProtocolError),
    /// The compressed data of a message are corrupt.
    Inflate {
        /// zlib's description.
        message: &'static str,
        /// zlib's name of the error, as Node reports it.
        code: &'static str,
        /// zlib's number of the error.
        errno: i32,
    },
    /// A defect of ours, or of a library.
    Internal(&'static str),
}

impl From<ProtocolError> for Failure {
    fn from(error: ProtocolError) -> Self {
        Failure::Protocol(error)
    }
}

impl From<InflateError> for Failure {
    fn from(error: InflateError) -> Self {
        match error {
            InflateError::TooBig => Failure::Protocol(ProtocolError::MaxPayloadExceeded),
            InflateError::Corrupt {
                message,
                code,
                errno,
            } => Failure::Inflate {
                message,
                code,
                errno,
            },
        }
    }
}

impl From<DeflateError> for Failure {
    fn from(error: DeflateError) -> Self {
        Failure::Internal(error.message)
    }
}

/// What there is to deliver.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Item {
    /// A complete message.
    Message(MessageKind, Place),
    /// A ping frame.
    Ping(Place),
    /// A pong frame.
    Pong(Place),
    /// A close frame: its status code, if it has one, and its reason.
    Close(Option<u16>, Place),
    /// A complete compressed frame. Nothing more is decoded until [`Inbound::supply`] brought its contents.
    Compressed {
        /// Where the frame's payload lies.
        place: Place,
        /// Whether it is the last frame of its message.
        fin: bool,
    },
    /// The connection has failed.
    Failed {
        /// Why.
        failure: Failure,
        /// Whether the bytes that failed are still to be decoded, so that a setting changed since may let them pass.
        retry: bool,
    },
}

impl Item {
    /// A failure after which nothing is decoded.
    pub fn failed(failure: impl Into<Failure>) -> Self {
        Item::Failed {
            failure: failure.into(),
            retry: false,
        }
    }

    /// Where its bytes lie, unless it has none.
    pub fn place(&self) -> Option<&Place> {
        match self {
            Item::Message(_, place)
            | Item::Ping(place)
            | Item::Pong(place)
            | Item::Close(_, place)
            | Item::Compressed { place, .. } => Some(place),
            Item::Failed { .. } => None,
        }
    }

    /// As [`Item::place`], to be changed.
    pub fn place_mut(&mut self) -> Option<&mut Place> {
        match self {
            Item::Message(_, place)
            | Item::Ping(place)
            | Item::Pong(place)
            | Item::Close(_, place)
            | Item::Compressed { place, .. } => Some(place),
            Item::Failed { .. } => None,
        }
    }
}

/// A compressed frame that waits for its contents.
#[derive(Debug, Clone, Copy)]
struct Waiting {
    kind: MessageKind,
    message_end: bool,
}

/// Payloads that do not lie in the current chunk.
#[derive(Default)]
struct Pieces {
    /// Messages, and parts of one.
    store: Assembly,
    /// The payload of a compressed frame of which some bytes are still to arrive.
    compressed: Vec<u8>,
    /// The payload of a control frame.
    control: Vec<u8>,
}

/// The receiving half of one connection.
pub struct Inbound {
    decoder: Decoder,
    /// What arrived in pieces. Most connections are idle or send small messages, and never have any.
    pieces: Option<Box<Pieces>>,
    waiting: Option<Waiting>,
    /// What the decoder has refused last.
    refused: Option<ProtocolError>,
}

impl Inbound {
    /// A receiver for a connection with the given role and limits.
    pub fn new(config: Config) -> Self {
        Self {
            decoder: Decoder::new(config),
            pieces: None,
            waiting: None,
            refused: None,
        }
    }

    /// The settings, which may change between items.
    pub fn config_mut(&mut self) -> &mut Config {
        self.decoder.config_mut()
    }

    /// Starts a new chunk: forgets the messages stored for the last one, counts the chunk against the limit.
    pub fn begin_chunk(&mut self) -> Result<(), Failure> {
        if let Some(pieces) = &mut self.pieces {
            pieces.store.drain_finished();
        }
        self.decoder.begin_chunk().map_err(|error| {
            self.refused = Some(error);
            Failure::Protocol(error)
        })
    }

    /// What is left of the chunk under way will come again, as a chunk.
    pub fn recount_chunk(&mut self) {
        self.decoder.recount_chunk();
    }

    /// Lends memory for messages in pieces, to be given back by [`Inbound::give_back`] when nothing lies in it.
    pub fn lend(&mut self, memory: &mut Vec<u8>) {
        if let Some(pieces) = &mut self.pieces {
            pieces.store.lend(memory);
        }
    }

    /// Passes memory on in which nothing lies.
    pub fn give_back(&mut self, memory: &mut Vec<u8>) {
        if let Some(pieces) = &mut self.pieces {
            pieces.store.give_back(memory);
        }
    }

    /// Where in `chunk` the message ends that begins at `position`, if it consists of one frame.
    pub fn message_end(&self, chunk: &[u8], position: usize) -> Option<usize> {
        self.decoder.message_end(chunk, position)
    }

    /// Whether a close frame was received; whatever follows it is ignored.
    pub fn is_concluded(&self) -> bool {
        self.decoder.is_concluded()
    }

    /// Whether a compressed frame waits for [`Inbound::supply`].
    pub fn is_waiting(&self) -> bool {
        self.waiting.is_some()
    }

    /// How many bytes of payload the frame under way still lacks.
    pub fn payload_remaining(&self) -> u64 {
        self.decoder.payload_remaining()
    }

    /// The next item of `chunk`, starting at `position`, or `None` when the chunk is used up.
    // Inlined, as what it calls: otherwise each layer writes to memory what the next one reads from there.
    #[inline(always)]
    pub fn next(&mut self, chunk: &mut [u8], position: &mut usize) -> Option<Item> {
        if self.waiting.is_some() {
            return None;
        }
        loop {
            let event = match self.decoder.next(chunk, position) {
                Ok(Some(event)) => event,
                Ok(None) => return None,
                Err(error) => {
                    self.refused = Some(error);
                    let retry = matches!(
                        error,
                        ProtocolError::MaxPayloadExceeded | ProtocolError::UnexpectedRsv1
                    );
                    return Some(Item::Failed {
                        failure: Failure::Protocol(error),
                        retry,
                    });
                }
            };
            match event {
                Event::Data(piece) => {
                    if piece.compressed {
                        let Some(bytes) = chunk.get(piece.range.clone()) else {
                            continue;
                        };
                        if !piece.frame_end {
                            let pieces = self.pieces.get_or_insert_default();
                            pieces.compressed.extend_from_slice(bytes);
                            continue;
                        }
                        self.waiting = Some(Waiting {
                            kind: piece.kind,
                            message_end: piece.message_end,
                        });
                        let place = match &mut self.pieces {
                            Some(pieces) if !pieces.compressed.is_empty() => {
                                pieces.compressed.extend_from_slice(bytes);
                                Place::Compressed(pieces.compressed.len())
                            }
                            _ => Place::Chunk(piece.range),
                        };
                        return Some(Item::Compressed {
                            place,
                            fin: piece.message_end,
                        });
                    } else if piece.message_start && piece.message_end {
                        return Some(Item::Message(piece.kind, Place::Chunk(piece.range)));
                    } else {
                        let store = &mut self.pieces.get_or_insert_default().store;
                        store.append(chunk.get(piece.range).unwrap_or_default());
                        if piece.frame_end {
                            store.end_frame();
                        }
                        if piece.message_end {
                            let place = Place::Store(store.finish_message());
                            return Some(Item::Message(piece.kind, place));
                        }
                    }
                }
                Event::Ping(payload) => return Some(Item::Ping(self.control_place(payload))),
                Event::Pong(payload) => return Some(Item::Pong(self.control_place(payload))),
                Event::Close(close) => {
                    let place = self.control_place(close.reason);
                    return Some(Item::Close(close.code, place));
                }
            }
        }
    }

    /// Moves `position` past what has failed in `chunk`, for chunks that come in spite of it. Those, and the rest of
    /// this one, begin anew.
    pub fn go_on(&mut self, chunk: &[u8], position: &mut usize) {
        let Some(error) = self.refused.take() else {
            return;
        };
        if self.decoder.go_on_after(error, chunk, position) {
            self.pieces.get_or_insert_default().store.finish_message();
        }
    }

    /// After [`Inbound::go_on`]: as [`Decoder::keyless_payload`].
    pub fn keyless_payload(&self) -> u64 {
        self.decoder.keyless_payload()
    }

    /// How much memory it takes to put the message under way where its receiver wants it, so that the bytes that are still
    /// to come are read straight into it. Only for large messages of one frame, and only when enough has arrived: what a
    /// peer declares without sending it must not cost memory.
    pub fn wants_memory(&self) -> Option<usize> {
        if !self.decoder.is_in_single_frame() {
            return None;
        }
        let left = usize::try_from(self.decoder.payload_remaining()).ok()?;
        let arrived = self.in_progress_len();
        let total = arrived.checked_add(left)?;
        (left >= LARGE && total.checked_div(MOST_AHEAD)? <= arrived).then_some(total)
    }

    /// Takes out what has arrived of the message under way. The rest of it is to be decoded with
    /// [`Inbound::next_apart`], or what was taken out to be put back.
    pub fn take_in_progress(&mut self) -> Vec<u8> {
        let Some(pieces) = &mut self.pieces else {
            return Vec::new();
        };
        pieces.store.drain_finished();
        pieces.store.take_in_progress()
    }

    /// Puts back what [`Inbound::take_in_progress`] has taken out, and what came after it.
    pub fn put_back(&mut self, bytes: &[u8]) {
        self.pieces.get_or_insert_default().store.append(bytes);
    }

    /// How many bytes [`Inbound::next_apart`] may be given.
    pub fn wanted_apart(&self) -> usize {
        usize::try_from(self.decoder.payload_remaining()).unwrap_or(usize::MAX)
    }

    /// Decodes `bytes`, which lie in memory of the caller's behind `before` others of the same message and do not reach
    /// beyond its end. Returns an item when the message is complete, or has failed.
    pub fn next_apart(&mut self, bytes: &mut [u8], before: usize) -> Option<Item> {
        for _ in 0..bytes.len().div_ceil(CHUNK) {
            if let Err(failure) = self.begin_chunk() {
                return Some(Item::failed(failure));
            }
        }
        let mut position = 0;
        match self.decoder.next(bytes, &mut position) {
            Ok(Some(Event::Data(piece))) if piece.message_end => {
                let length = before.saturating_add(bytes.len());
                Some(Item::Message(piece.kind, Place::Apart(length)))
            }
            Ok(_) => None,
            Err(error) => {
                self.refused = Some(error);
                Some(Item::failed(Failure::Protocol(error)))
            }
        }
    }

    /// Takes the inflated contents of the frame that was handed out last; with the last frame of a message, there is
    /// an item to deliver.
    pub fn supply(&mut self, contents: &[u8]) -> Option<Item> {
        let waiting = self.waiting.take()?;
        if let Some(pieces) = &mut self.pieces {
            pieces.compressed = Vec::new();
        }
        self.refused = None;
        let config = self.decoder.config();
        let (limit, skip) = (config.limits.max_payload, config.skip_utf8_validation);
        let before = self.in_progress_len();
        let total = u64::try_from(before.saturating_add(contents.len())).unwrap_or(u64::MAX);
        if limit > 0 && total > limit {
            return Some(Item::failed(InflateError::TooBig));
        }

        let (text, place) = if waiting.message_end && before == 0 {
            (contents, Place::Supplied(contents.len()))
        } else {
            let store = &mut self.pieces.get_or_insert_default().store;
            store.append(contents);
            store.end_frame();
            if !waiting.message_end {
                return None;
            }
            let range = store.finish_message();
            let message = store.bytes().get(range.clone()).unwrap_or_default();
            (message, Place::Store(range))
        };
        if waiting.kind == MessageKind::Text && !skip && !validate_utf8(text) {
            return Some(Item::failed(Failure::Protocol(ProtocolError::InvalidUtf8)));
        }
        Some(Item::Message(waiting.kind, place))
    }

    /// How many bytes of the message under way have been put together.
    pub fn in_progress_len(&self) -> usize {
        let pieces = self.pieces.as_ref();
        pieces.map_or(0, |pieces| pieces.store.in_progress_len())
    }

    /// The bytes of items placed in the store.
    pub fn stored(&self) -> &[u8] {
        let pieces = self.pieces.as_ref();
        pieces.map_or(&[], |pieces| pieces.store.bytes())
    }

    /// Where the frames of a stored message end, as offsets into [`Inbound::stored`].
    pub fn frame_ends(&self, message: Range<usize>) -> impl Iterator<Item = usize> + '_ {
        let pieces = self.pieces.as_ref();
        let ends = pieces.map_or(&[][..], |pieces| pieces.store.frame_ends());
        // They rise: a chunk full of messages must not have all of them looked at for each.
        let first = ends.partition_point(|end| *end <= message.start);
        ends.iter()
            .skip(first)
            .copied()
            .take_while(move |end| *end <= message.end)
    }

    /// The payload of a control frame that arrived in pieces.
    pub fn control_bytes(&self) -> &[u8] {
        let pieces = self.pieces.as_ref();
        pieces.map_or(&[], |pieces| &pieces.control)
    }

    /// The payload of a compressed frame that arrived in pieces.
    pub fn compressed_bytes(&self) -> &[u8] {
        let pieces = self.pieces.as_ref();
        pieces.map_or(&[], |pieces| &pieces.compressed)
    }

    fn control_place(&mut self, payload: Payload) -> Place {
        match payload {
            Payload::Chunk(range) => Place::Chunk(range),
            Payload::Buffered(buffer) => {
                let control = &mut self.pieces.get_or_insert_default().control;
                control.clear();
                control.extend_from_slice(buffer.as_slice());
                Place::Control(control.len())
            }
        }
    }
}
