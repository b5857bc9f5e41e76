//! The way in: received bytes become items that JavaScript can deliver.
//!
//! An [`Inbound`] belongs to one connection (or one standalone `Receiver`). It drives the protocol decoder over
//! each received chunk, puts together what arrives in pieces, inflates what is compressed, and says for every
//! item where its bytes lie: in the chunk itself, or in memory of its own until the item is taken.

use std::ops::Range;
use std::sync::{Arc, Mutex};

use crate::deflate::{InflateError, Inflater};
use crate::protocol::{
    validate_utf8, Assembly, Config, Decoder, Event, MessageKind, Payload, ProtocolError,
};

/// Compressed frames up to this many bytes are inflated where they are; larger ones are handed out as
/// [`Item::Compressed`] so that they can be inflated off the JavaScript thread. Inflating costs about 1 µs per
/// KiB of output, a trip to the runtime and back about 60 µs.
pub const INFLATE_IN_PLACE: usize = 32 * 1024;

/// An inflater that the decoding thread and a job on the runtime take turns in using.
pub type SharedInflater = Arc<Mutex<Inflater>>;

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
}

impl From<InflateError> for Failure {
    fn from(error: InflateError) -> Self {
        match error {
            InflateError::TooBig => Failure::Protocol(ProtocolError::MaxPayloadExceeded),
            InflateError::Corrupt { message, code, errno } => {
                Failure::Inflate { message, code, errno }
            }
        }
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
        /// Whether the bytes that failed are still to be decoded, so that a limit changed since may let them pass.
        retry: bool,
    },
}

impl Item {
    fn failed(failure: impl Into<Failure>) -> Self {
        Item::Failed { failure: failure.into(), retry: false }
    }
}

/// A compressed frame that waits for its contents.
#[derive(Debug, Clone, Copy)]
struct Waiting {
    kind: MessageKind,
    message_end: bool,
}

/// The receiving half of one connection.
pub struct Inbound {
    decoder: Decoder,
    inflater: Option<SharedInflater>,
    /// Whether compressed frames may be inflated here at all, or are always handed out.
    inflate_here: bool,
    /// Messages (and parts of one) whose bytes do not lie in the current chunk.
    store: Assembly,
    /// The payload of a compressed frame of which some bytes are still to arrive.
    compressed: Vec<u8>,
    control: [u8; 125],
    waiting: Option<Waiting>,
}

impl Inbound {
    /// A receiver for a connection with the given role and limits.
    pub fn new(config: Config, inflater: Option<SharedInflater>) -> Self {
        Self {
            decoder: Decoder::new(config),
            inflater,
            inflate_here: true,
            store: Assembly::default(),
            compressed: Vec::new(),
            control: [0; 125],
            waiting: None,
        }
    }

    /// The settings, which may change between items.
    pub fn config_mut(&mut self) -> &mut Config {
        self.decoder.config_mut()
    }

    /// Says whether small compressed frames may be inflated here, or must all be handed out.
    pub fn set_inflate_here(&mut self, here: bool) {
        self.inflate_here = here;
    }

    /// The inflater of this connection.
    pub fn inflater(&self) -> Option<&SharedInflater> {
        self.inflater.as_ref()
    }

    /// Starts a new chunk: forgets the messages stored for the last one, counts the chunk against the limit.
    pub fn begin_chunk(&mut self) -> Result<(), Failure> {
        self.store.drain_finished();
        self.decoder.begin_chunk().map_err(Failure::Protocol)
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
    pub fn next(&mut self, chunk: &mut [u8], position: &mut usize) -> Option<Item> {
        if self.waiting.is_some() {
            return None;
        }
        loop {
            let event = match self.decoder.next(chunk, position) {
                Ok(Some(event)) => event,
                Ok(None) => return None,
                Err(error) => {
                    let retry = matches!(error, ProtocolError::MaxPayloadExceeded);
                    return Some(Item::Failed { failure: Failure::Protocol(error), retry });
                }
            };
            match event {
                Event::Data(piece) => {
                    if piece.compressed {
                        let Some(bytes) = chunk.get(piece.range.clone()) else { continue };
                        if !piece.frame_end {
                            self.compressed.extend_from_slice(bytes);
                            continue;
                        }
                        let waiting =
                            Waiting { kind: piece.kind, message_end: piece.message_end };
                        let place = if self.compressed.is_empty() {
                            Place::Chunk(piece.range)
                        } else {
                            self.compressed.extend_from_slice(bytes);
                            Place::Compressed(self.compressed.len())
                        };
                        if let Some(item) = self.compressed_frame(chunk, place, waiting) {
                            return Some(item);
                        }
                    } else if piece.message_start && piece.message_end {
                        return Some(Item::Message(piece.kind, Place::Chunk(piece.range)));
                    } else {
                        self.store.append(chunk.get(piece.range).unwrap_or_default());
                        if piece.frame_end {
                            self.store.end_frame();
                        }
                        if piece.message_end {
                            return Some(self.finish(piece.kind));
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

    /// Brings the inflated contents of the frame that was handed out last, and with its last frame the message.
    pub fn supply(&mut self, contents: Result<&[u8], InflateError>) -> Option<Item> {
        let waiting = self.waiting.take()?;
        self.compressed = Vec::new();
        match contents {
            Ok(contents) => self.store.append(contents),
            Err(error) => return Some(Item::failed(error)),
        }
        self.inflated(waiting)
    }

    /// How many bytes the next compressed frame may inflate to before its inflater stops, as
    /// [`Inflater::inflate`] counts it: 0 means any number. A message that is full already is given one byte,
    /// so that an empty frame still passes and anything else is found too big afterwards.
    pub fn inflate_limit(&self) -> u64 {
        match self.decoder.config().limits.max_payload {
            0 => 0,
            limit => limit.saturating_sub(self.store.in_progress_len() as u64).max(1),
        }
    }

    /// The bytes of items placed in the store.
    pub fn stored(&self) -> &[u8] {
        self.store.bytes()
    }

    /// Where the frames of a stored message end, as offsets into [`Inbound::stored`].
    pub fn frame_ends(&self, message: Range<usize>) -> impl Iterator<Item = usize> + '_ {
        self.store
            .all_frame_ends()
            .iter()
            .copied()
            .filter(move |end| *end > message.start && *end <= message.end)
    }

    /// The payload of a control frame that arrived in pieces.
    pub fn control_bytes(&self) -> &[u8] {
        &self.control
    }

    /// The payload of a compressed frame that arrived in pieces.
    pub fn compressed_bytes(&self) -> &[u8] {
        &self.compressed
    }

    fn compressed_frame(&mut self, chunk: &[u8], place: Place, waiting: Waiting) -> Option<Item> {
        let frame = match &place {
            Place::Chunk(range) => chunk.get(range.clone()).unwrap_or_default(),
            _ => &self.compressed,
        };
        if !self.inflate_here || frame.len() > INFLATE_IN_PLACE {
            self.waiting = Some(waiting);
            return Some(Item::Compressed { place, fin: waiting.message_end });
        }
        let limit = self.inflate_limit();
        let result = match &self.inflater {
            Some(inflater) => {
                let mut inflater = inflater.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
                let fin = waiting.message_end;
                self.store.append_with(|out| inflater.inflate(frame, fin, limit, out))
            }
            None => Ok(()),
        };
        self.compressed = Vec::new();
        match result {
            Ok(()) => self.inflated(waiting),
            Err(error) => Some(Item::failed(error)),
        }
    }

    fn inflated(&mut self, waiting: Waiting) -> Option<Item> {
        let limit = self.decoder.config().limits.max_payload;
        if limit > 0 && self.store.in_progress_len() as u64 > limit {
            return Some(Item::failed(InflateError::TooBig));
        }
        self.store.end_frame();
        if !waiting.message_end {
            return None;
        }
        let item = self.finish(waiting.kind);
        if let (Item::Message(MessageKind::Text, Place::Store(range)), false) =
            (&item, self.decoder.config().skip_utf8_validation)
        {
            let text = self.store.bytes().get(range.clone()).unwrap_or_default();
            if !validate_utf8(text) {
                return Some(Item::failed(Failure::Protocol(ProtocolError::InvalidUtf8)));
            }
        }
        Some(item)
    }

    fn finish(&mut self, kind: MessageKind) -> Item {
        let finished = self.store.finish_message();
        Item::Message(kind, Place::Store(finished.start..finished.start + finished.len))
    }

    fn control_place(&mut self, payload: Payload) -> Place {
        match payload {
            Payload::Chunk(range) => Place::Chunk(range),
            Payload::Buffered(buffer) => {
                let bytes = buffer.as_slice();
                let length = bytes.len().min(self.control.len());
                for (target, byte) in self.control.iter_mut().zip(bytes) {
                    *target = *byte;
                }
                Place::Control(length)
            }
        }
    }
}
