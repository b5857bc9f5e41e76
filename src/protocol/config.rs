//! What a [`Decoder`](super::Decoder) is told about its connection.

/// Which end of the connection this endpoint is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// Every frame received must be masked.
    Server,
    /// No frame received may be masked.
    Client,
}

/// Bounds on what the peer can make this endpoint hold. Zero means no limit.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Limits {
    /// Payload bytes of one message as the frames declare them (`maxPayload`); for a compressed message
    /// this bounds the compressed bytes, whoever inflates it bounds the rest.
    pub max_payload: u64,
    /// Frames of one message, empty ones included (`maxFragments`).
    pub max_fragments: u32,
    /// Received chunks that a single unfinished frame may be spread over (`maxBufferedChunks`).
    pub max_buffered_chunks: u32,
}

/// The settings of one connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Config {
    /// This endpoint's role.
    pub role: Role,
    /// What the peer may make this endpoint hold.
    pub limits: Limits,
    /// Whether permessage-deflate was negotiated, so that the first frame of a message may carry RSV1.
    pub deflate: bool,
    /// Accept text and close reasons without looking whether they are UTF-8. For a text message the
    /// value at its first frame counts.
    pub skip_utf8_validation: bool,
}
