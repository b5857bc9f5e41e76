//! The decoder: received bytes to events.
//!
//! The input is a sequence of items: the two bytes of a head, an extended length, a masking key, a
//! payload. A header item is judged once all of it is there, and consumed only if it is found good. Data
//! payload is reported as it arrives, and judged when its frame or message ends.

mod ahead;
mod resume;

use super::config::{Config, Role};
use super::error::ProtocolError;
use super::event::{Close, ControlBuffer, DataPiece, Event, MessageKind, Payload};
use super::head::{FrameKind, Head, HeadLength};
use super::mask::{mask, mask_and_scan};
use super::utf8::{validate_utf8, Utf8Stream};
use tungstenite::protocol::frame::coding::CloseCode;

/// The longest payload whose length is a safe integer in JavaScript.
const MAX_SAFE_LENGTH: u64 = (1 << 53) - 1;

/// The item that comes next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Item {
    Head,
    Length16,
    Length64,
    Key,
    Payload,
    /// None: the key of what would come next is gone.
    Lost,
}

/// The frame whose header was begun last.
#[derive(Debug, Clone, Copy)]
struct Frame {
    kind: FrameKind,
    fin: bool,
    key: [u8; 4],
    length: u64,
    /// Payload bytes still to come.
    left: u64,
}

/// The message whose frame came last.
#[derive(Debug, Clone, Copy)]
struct Message {
    kind: MessageKind,
    compressed: bool,
    /// A frame without FIN has begun it, so continuation frames must follow.
    unfinished: bool,
    /// Whether its text is validated here.
    validate: bool,
    text: Utf8Stream,
    /// The sum of the lengths its frames declare.
    length: u64,
    /// Its completed frames.
    frames: u32,
}

/// Decodes what one connection receives.
///
/// For each chunk call [`begin_chunk`](Self::begin_chunk), then [`next`](Self::next) until it returns
/// `None`. An error that a header or a limit causes leaves the decoder and the position as they were, so
/// after a change through [`config_mut`](Self::config_mut) the same call can be repeated. Every other
/// error is final. To decode what follows an error, call [`go_on_after`](Self::go_on_after).
#[derive(Debug, Clone)]
pub struct Decoder {
    config: Config,
    item: Item,
    concluded: bool,
    /// The bytes of an unfinished header item that earlier chunks ended with.
    held: [u8; 8],
    held_len: u8,
    /// How many chunks hold bytes of the item that comes next.
    chunks: u32,
    frame: Frame,
    message: Message,
    /// The bytes of an unfinished control payload that earlier chunks ended with, unmasked. Few connections ever have any.
    control: Option<Box<ControlBuffer>>,
}

impl Decoder {
    /// A decoder for a new connection.
    pub fn new(config: Config) -> Self {
        Decoder {
            config,
            item: Item::Head,
            concluded: false,
            held: [0; 8],
            held_len: 0,
            chunks: 0,
            frame: Frame {
                kind: FrameKind::Continuation,
                fin: true,
                key: [0; 4],
                length: 0,
                left: 0,
            },
            message: Message {
                kind: MessageKind::Binary,
                compressed: false,
                unfinished: false,
                validate: false,
                text: Utf8Stream::default(),
                length: 0,
                frames: 0,
            },
            control: None,
        }
    }

    /// The settings.
    #[inline]
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// The settings, to change them between events.
    #[inline]
    pub fn config_mut(&mut self) -> &mut Config {
        &mut self.config
    }

    /// Whether a close frame was seen. What follows one is ignored.
    #[inline]
    pub fn is_concluded(&self) -> bool {
        self.concluded
    }

    /// How many payload bytes of the current data frame are still to come; 0 outside of one.
    #[inline]
    pub fn payload_remaining(&self) -> u64 {
        if self.in_data_payload() {
            self.frame.left
        } else {
            0
        }
    }

    /// How many payload bytes the current data frame declares; 0 outside of one.
    #[cfg(test)]
    pub fn payload_length(&self) -> u64 {
        if self.in_data_payload() {
            self.frame.length
        } else {
            0
        }
    }

    #[inline]
    fn in_data_payload(&self) -> bool {
        self.item == Item::Payload && self.frame.kind.is_data()
    }

    /// Counts a received chunk; call it once per chunk, before decoding it.
    #[inline]
    pub fn begin_chunk(&mut self) -> Result<(), ProtocolError> {
        if self.concluded {
            return Ok(());
        }
        let max = self.config.limits.max_buffered_chunks;
        if max > 0 && self.chunks >= max {
            return Err(ProtocolError::TooManyBufferedChunks);
        }
        self.chunks = self.chunks.saturating_add(1);
        Ok(())
    }

    /// Counts the chunk under way no more, of which the rest will come again as a chunk.
    pub fn recount_chunk(&mut self) {
        self.chunks = self.chunks.saturating_sub(1);
    }

    /// Decodes from `chunk[*pos..]` to the next event, unmasking payload in place and advancing `pos`.
    /// `None` means that the chunk is used up.
    // Nearly all messages take the shortcut, so the way there is inlined into the loops over a chunk.
    #[inline(always)]
    pub fn next(
        &mut self,
        chunk: &mut [u8],
        pos: &mut usize,
    ) -> Result<Option<Event>, ProtocolError> {
        match self.whole_message(chunk, pos) {
            Some(result) => result.map(Some),
            None => self.next_by_items(chunk, pos),
        }
    }

    /// The shortcut for a message in a single frame that lies in the chunk, header and payload. Whatever
    /// is not that, or at fault, is left to [`next_by_items`](Self::next_by_items).
    #[inline(always)]
    fn whole_message(
        &mut self,
        chunk: &mut [u8],
        pos: &mut usize,
    ) -> Option<Result<Event, ProtocolError>> {
        if self.item != Item::Head
            || self.held_len > 0
            || self.message.unfinished
            || self.message.length > 0
            || self.concluded
        {
            return None;
        }
        let chunk_len = chunk.len();
        let (head, rest) = chunk.get_mut(*pos..)?.split_first_chunk_mut()?;
        let head = Head::parse(*head, &self.config, false).ok()?;
        let FrameKind::First(kind) = head.kind else {
            return None;
        };
        if !head.fin {
            return None;
        }
        let (length, rest) = match head.length {
            HeadLength::Here(length) => (usize::from(length), rest),
            HeadLength::Next16 => {
                let (length, rest) = rest.split_first_chunk_mut()?;
                (usize::from(u16::from_be_bytes(*length)), rest)
            }
            HeadLength::Next64 => return None,
        };
        self.check_length(head.kind, bytes(length)).ok()?;
        let (key, rest) = match self.config.role {
            Role::Server => {
                let (key, rest) = rest.split_first_chunk_mut()?;
                (*key, rest)
            }
            Role::Client => ([0; 4], rest),
        };
        let (payload, rest) = rest.split_at_mut_checked(length)?;
        let ascii = mask_and_scan(payload, key, 0);
        let valid = ascii || !self.must_validate(kind, head.rsv1) || validate_utf8(payload);

        let end = chunk_len.saturating_sub(rest.len());
        self.move_to(end, chunk, pos);
        if !valid {
            self.begin_frame(&head);
            self.frame.length = bytes(length);
            return Some(Err(ProtocolError::InvalidUtf8));
        }
        Some(Ok(Event::Data(DataPiece {
            range: end.saturating_sub(length)..end,
            kind,
            compressed: head.rsv1,
            message_start: true,
            frame_start: true,
            frame_end: true,
            message_end: true,
        })))
    }

    /// Whether the text of a message that begins now is validated here.
    #[inline]
    fn must_validate(&self, kind: MessageKind, compressed: bool) -> bool {
        kind == MessageKind::Text && !compressed && !self.config.skip_utf8_validation
    }

    /// Decodes item by item.
    fn next_by_items(
        &mut self,
        chunk: &mut [u8],
        pos: &mut usize,
    ) -> Result<Option<Event>, ProtocolError> {
        if self.concluded {
            *pos = chunk.len();
            return Ok(None);
        }

        loop {
            match self.item {
                Item::Head => {
                    let Some(item) = self.peek(chunk, *pos) else {
                        break;
                    };
                    self.head(item)?;
                    self.consume(item, chunk, pos);
                }
                Item::Length16 => {
                    let Some(item) = self.peek(chunk, *pos) else {
                        break;
                    };
                    let length = u64::from(u16::from_be_bytes(item));
                    self.check_length(self.frame.kind, length)?;
                    self.set_length(length);
                    self.consume(item, chunk, pos);
                }
                Item::Length64 => {
                    let Some(item) = self.peek(chunk, *pos) else {
                        break;
                    };
                    let length = u64::from_be_bytes(item);
                    if length > MAX_SAFE_LENGTH {
                        return Err(ProtocolError::UnsupportedDataPayloadLength);
                    }
                    self.check_length(self.frame.kind, length)?;
                    self.set_length(length);
                    self.consume(item, chunk, pos);
                }
                Item::Key => {
                    let Some(item) = self.peek(chunk, *pos) else {
                        break;
                    };
                    self.frame.key = item;
                    self.item = Item::Payload;
                    self.consume(item, chunk, pos);
                }
                Item::Payload if self.frame.kind.is_data() => return self.data(chunk, pos),
                Item::Payload => return self.control(chunk, pos),
                Item::Lost => {
                    *pos = chunk.len();
                    return Ok(None);
                }
            }
        }

        self.hold(chunk, pos);
        Ok(None)
    }

    /// The next `N` bytes, if all of them are there.
    #[inline]
    fn peek<const N: usize>(&self, chunk: &[u8], pos: usize) -> Option<[u8; N]> {
        let fresh = chunk.get(pos..)?;
        if self.held_len == 0 {
            return fresh.first_chunk().copied();
        }
        let held = self.held.get(..usize::from(self.held_len))?;
        let mut item = [0; N];
        let (front, back) = item.split_at_mut_checked(held.len())?;
        front.copy_from_slice(held);
        back.copy_from_slice(fresh.get(..back.len())?);
        Some(item)
    }

    /// Moves past the item that was peeked.
    #[inline]
    fn consume<const N: usize>(&mut self, _item: [u8; N], chunk: &[u8], pos: &mut usize) {
        let fresh = N.saturating_sub(usize::from(self.held_len));
        self.held_len = 0;
        self.move_to(pos.saturating_add(fresh), chunk, pos);
    }

    /// Moves to the end of an item. No earlier chunk is needed any more, and this one only for its rest.
    #[inline]
    fn move_to(&mut self, end: usize, chunk: &[u8], pos: &mut usize) {
        *pos = end;
        self.chunks = u32::from(end < chunk.len());
    }

    /// Keeps the rest of the chunk, which is the beginning of a header item.
    fn hold(&mut self, chunk: &[u8], pos: &mut usize) {
        for byte in chunk.get(*pos..).unwrap_or_default() {
            if let Some(slot) = self.held.get_mut(usize::from(self.held_len)) {
                *slot = *byte;
                self.held_len = self.held_len.saturating_add(1);
            }
        }
        *pos = chunk.len();
    }

    /// Begins a frame, and with it a message if the frame is the first of one.
    #[inline]
    fn head(&mut self, bytes: [u8; 2]) -> Result<(), ProtocolError> {
        let head = Head::parse(bytes, &self.config, self.message.unfinished)?;
        if let HeadLength::Here(length) = head.length {
            self.check_length(head.kind, u64::from(length))?;
        }

        self.begin_frame(&head);
        match head.length {
            HeadLength::Here(length) => self.set_length(u64::from(length)),
            HeadLength::Next16 => self.item = Item::Length16,
            HeadLength::Next64 => self.item = Item::Length64,
        }
        Ok(())
    }

    #[inline]
    fn begin_frame(&mut self, head: &Head) {
        self.frame.kind = head.kind;
        self.frame.fin = head.fin;
        if let FrameKind::First(kind) = head.kind {
            self.message.kind = kind;
            self.message.compressed = head.rsv1;
            self.message.unfinished = !head.fin;
            self.message.validate = self.must_validate(kind, head.rsv1);
        }
    }

    /// Whether the message may have another frame of `length` bytes.
    #[inline]
    fn check_length(&self, kind: FrameKind, length: u64) -> Result<(), ProtocolError> {
        let max = self.config.limits.max_payload;
        let total = self.message.length.saturating_add(length);
        if max > 0 && total > max && length > 0 && kind.is_data() {
            return Err(ProtocolError::MaxPayloadExceeded);
        }
        Ok(())
    }

    #[inline]
    fn set_length(&mut self, length: u64) {
        self.frame.length = length;
        self.frame.left = length;
        if self.frame.kind.is_data() {
            self.message.length = self.message.length.saturating_add(length);
        } else {
            self.control = None;
        }
        self.item = match self.config.role {
            Role::Server => Item::Key,
            Role::Client => Item::Payload,
        };
    }

    /// Unmasks what the chunk has of the current payload and returns where it lies. Leaves `pos` alone.
    #[inline]
    fn unmask(&self, chunk: &mut [u8], pos: usize, take: usize) -> std::ops::Range<usize> {
        let range = pos..pos.saturating_add(take);
        if self.config.role == Role::Server {
            if let Some(payload) = chunk.get_mut(range.clone()) {
                // Only its remainder by four counts, which survives any truncation.
                let done = self.frame.length.saturating_sub(self.frame.left) & 3;
                mask(payload, self.frame.key, usize::try_from(done).unwrap_or(0));
            }
        }
        range
    }

    /// How much of the current payload the chunk has.
    #[inline]
    fn available(&self, chunk: &[u8], pos: usize) -> usize {
        let rest = chunk.len().saturating_sub(pos);
        usize::try_from(self.frame.left).map_or(rest, |left| left.min(rest))
    }

    /// Reports the data payload that the chunk has.
    #[inline]
    fn data(&mut self, chunk: &mut [u8], pos: &mut usize) -> Result<Option<Event>, ProtocolError> {
        let take = self.available(chunk, *pos);
        let left = self.frame.left.saturating_sub(bytes(take));
        let frame_start = self.frame.left == self.frame.length;
        let frame_end = left == 0;

        if frame_end {
            let max = self.config.limits.max_fragments;
            if max > 0 {
                if self.message.frames >= max {
                    return Err(ProtocolError::TooManyFragments);
                }
                self.message.frames = self.message.frames.saturating_add(1);
            }
        } else if take == 0 {
            return Ok(None);
        }

        let range = self.unmask(chunk, *pos, take);
        let payload = chunk.get(range.clone()).unwrap_or_default();
        let begins = matches!(self.frame.kind, FrameKind::First(_)) && frame_start;
        let ends = frame_end && self.frame.fin;
        let valid = if !self.message.validate {
            true
        } else if begins && ends {
            validate_utf8(payload)
        } else {
            self.message.text.feed(payload);
            !ends || self.message.text.is_valid()
        };

        let piece = DataPiece {
            range,
            kind: self.message.kind,
            compressed: self.message.compressed,
            message_start: begins,
            frame_start,
            frame_end,
            message_end: ends,
        };

        self.frame.left = left;
        if frame_end {
            self.item = Item::Head;
            self.finish_payload(take, chunk, pos);
        } else {
            *pos = chunk.len();
        }
        if ends {
            self.message.unfinished = false;
            self.message.text = Utf8Stream::default();
            self.message.length = 0;
            self.message.frames = 0;
        }
        if valid {
            Ok(Some(Event::Data(piece)))
        } else {
            Err(ProtocolError::InvalidUtf8)
        }
    }

    /// Moves past the end of a payload. An empty one is no item: it moves nothing and frees no chunk.
    #[inline]
    fn finish_payload(&mut self, take: usize, chunk: &[u8], pos: &mut usize) {
        if take > 0 {
            self.move_to(pos.saturating_add(take), chunk, pos);
        }
    }

    /// Reports a control frame once its payload is complete.
    fn control(
        &mut self,
        chunk: &mut [u8],
        pos: &mut usize,
    ) -> Result<Option<Event>, ProtocolError> {
        let take = self.available(chunk, *pos);
        let range = self.unmask(chunk, *pos, take);
        let left = self.frame.left.saturating_sub(bytes(take));
        let whole = left == 0 && self.frame.left == self.frame.length;
        if !whole {
            self.control
                .get_or_insert_with(|| Box::new(ControlBuffer::EMPTY))
                .append(chunk.get(range.clone()).unwrap_or_default());
        }

        self.frame.left = left;
        if left > 0 {
            *pos = chunk.len();
            return Ok(None);
        }
        self.item = Item::Head;
        self.finish_payload(take, chunk, pos);

        let payload = if whole {
            Payload::Chunk(range)
        } else {
            Payload::Buffered(
                self.control
                    .take()
                    .map_or(ControlBuffer::EMPTY, |buffer| *buffer),
            )
        };
        match self.frame.kind {
            FrameKind::Close => self.close(payload, chunk).map(Some),
            FrameKind::Ping => Ok(Some(Event::Ping(payload))),
            _ => Ok(Some(Event::Pong(payload))),
        }
    }

    /// Judges the payload of a close frame.
    fn close(&mut self, payload: Payload, chunk: &[u8]) -> Result<Event, ProtocolError> {
        let bytes = payload.as_slice(chunk);
        let code = bytes.first_chunk().copied().map(u16::from_be_bytes);
        if let Some(code) = code.filter(|code| !is_valid_close_code(*code)) {
            return Err(ProtocolError::InvalidCloseCode(code));
        }
        let reason = bytes.get(2..).unwrap_or_default();
        if !self.config.skip_utf8_validation && !validate_utf8(reason) {
            return Err(ProtocolError::InvalidUtf8);
        }
        self.concluded = true;
        Ok(Event::Close(Close {
            code,
            reason: payload.skip(2),
        }))
    }
}

/// Whether a close frame may carry `code`. 1014, bad gateway, is registered but unknown to tungstenite.
fn is_valid_close_code(code: u16) -> bool {
    code == 1014 || CloseCode::from(code).is_allowed()
}

/// A length in memory as a length on the wire.
#[inline]
fn bytes(len: usize) -> u64 {
    u64::try_from(len).unwrap_or(u64::MAX)
}
