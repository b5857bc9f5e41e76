//! Every way a peer can break the protocol or a limit, with what the user of the package gets to see.

use std::borrow::Cow;
use std::fmt;

/// The JavaScript class an error is reported with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ErrorClass {
    /// `RangeError`
    RangeError,
    /// `Error`
    Error,
}

/// A violation by the peer. It ends the connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ProtocolError {
    /// RSV2 or RSV3 is set.
    UnexpectedRsv2Or3,
    /// RSV1 is set where no compressed message can start.
    UnexpectedRsv1,
    /// An opcode that is reserved, or out of sequence in a fragmented message.
    InvalidOpcode(u8),
    /// A control frame is fragmented.
    ExpectedFin,
    /// A control frame declares a payload that is too long, or a close frame one of a single byte.
    InvalidControlPayloadLength(u8),
    /// A client sent an unmasked frame.
    ExpectedMask,
    /// A server sent a masked frame.
    UnexpectedMask,
    /// A frame declares more bytes than JavaScript can count.
    UnsupportedDataPayloadLength,
    /// A message is longer than `maxPayload`, as declared or once inflated.
    MaxPayloadExceeded,
    /// An unfinished frame came in more chunks than `maxBufferedChunks`.
    TooManyBufferedChunks,
    /// A message has more frames than `maxFragments`.
    TooManyFragments,
    /// A close frame carries a code that must not be sent.
    InvalidCloseCode(u16),
    /// A text message or a close reason is not UTF-8.
    InvalidUtf8,
}

/// One line of the table below.
struct Row {
    class: ErrorClass,
    close_code: u16,
    code: &'static str,
    message: Cow<'static, str>,
}

impl ProtocolError {
    /// The table: error, class, close code, `code`, message.
    #[rustfmt::skip]
    fn row(self) -> Row {
        use ErrorClass::{Error, RangeError};
        use ProtocolError as E;

        let row = |class, close_code, code, message: &'static str| Row { class, close_code, code, message: message.into() };
        let counted = |class, close_code, code, message: &'static str, number: u16| Row { class, close_code, code, message: format!("{message} {number}").into() };

        match self {
            E::UnexpectedRsv2Or3              => row(RangeError, 1002, "WS_ERR_UNEXPECTED_RSV_2_3", "Invalid WebSocket frame: RSV2 and RSV3 must be clear"),
            E::UnexpectedRsv1                 => row(RangeError, 1002, "WS_ERR_UNEXPECTED_RSV_1", "Invalid WebSocket frame: RSV1 must be clear"),
            E::InvalidOpcode(opcode)          => counted(RangeError, 1002, "WS_ERR_INVALID_OPCODE", "Invalid WebSocket frame: invalid opcode", opcode.into()),
            E::ExpectedFin                    => row(RangeError, 1002, "WS_ERR_EXPECTED_FIN", "Invalid WebSocket frame: FIN must be set"),
            E::InvalidControlPayloadLength(n) => counted(RangeError, 1002, "WS_ERR_INVALID_CONTROL_PAYLOAD_LENGTH", "Invalid WebSocket frame: invalid payload length", n.into()),
            E::ExpectedMask                   => row(RangeError, 1002, "WS_ERR_EXPECTED_MASK", "Invalid WebSocket frame: MASK must be set"),
            E::UnexpectedMask                 => row(RangeError, 1002, "WS_ERR_UNEXPECTED_MASK", "Invalid WebSocket frame: MASK must be clear"),
            E::UnsupportedDataPayloadLength   => row(RangeError, 1009, "WS_ERR_UNSUPPORTED_DATA_PAYLOAD_LENGTH", "Unsupported WebSocket frame: payload length > 2^53 - 1"),
            E::MaxPayloadExceeded             => row(RangeError, 1009, "WS_ERR_UNSUPPORTED_MESSAGE_LENGTH", "Max payload size exceeded"),
            E::TooManyBufferedChunks          => row(RangeError, 1008, "WS_ERR_TOO_MANY_BUFFERED_PARTS", "Too many buffered chunks"),
            E::TooManyFragments               => row(RangeError, 1008, "WS_ERR_TOO_MANY_BUFFERED_PARTS", "Too many message fragments"),
            E::InvalidCloseCode(code)         => counted(RangeError, 1002, "WS_ERR_INVALID_CLOSE_CODE", "Invalid WebSocket frame: invalid status code", code),
            E::InvalidUtf8                    => row(Error, 1007, "WS_ERR_INVALID_UTF8", "Invalid WebSocket frame: invalid UTF-8 sequence"),
        }
    }

    /// The error's whole message.
    pub fn message(self) -> Cow<'static, str> {
        self.row().message
    }

    /// The error's `code`, `'WS_ERR_…'`.
    pub fn code(self) -> &'static str {
        self.row().code
    }

    /// The code of the close frame that answers the violation.
    pub fn close_code(self) -> u16 {
        self.row().close_code
    }

    /// The JavaScript class of the error.
    pub fn class(self) -> ErrorClass {
        self.row().class
    }
}

impl fmt::Display for ProtocolError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message())
    }
}

impl std::error::Error for ProtocolError {}

#[cfg(test)]
mod tests {
    use super::ProtocolError as E;
    use super::*;

    #[test]
    fn messages_name_the_value_at_fault() {
        let messages = [
            (
                E::InvalidOpcode(5),
                "Invalid WebSocket frame: invalid opcode 5",
            ),
            (
                E::InvalidControlPayloadLength(126),
                "Invalid WebSocket frame: invalid payload length 126",
            ),
            (
                E::InvalidCloseCode(1005),
                "Invalid WebSocket frame: invalid status code 1005",
            ),
        ];
        for (error, message) in messages {
            assert_eq!(error.message(), message);
            assert_eq!(error.to_string(), message);
        }
    }

    #[test]
    fn only_text_that_is_not_utf8_is_a_plain_error() {
        assert_eq!(E::InvalidUtf8.class(), ErrorClass::Error);
        assert_eq!(E::InvalidUtf8.close_code(), 1007);
        assert_eq!(E::InvalidCloseCode(0).class(), ErrorClass::RangeError);
    }

    #[test]
    fn both_limits_on_parts_share_their_codes() {
        for error in [E::TooManyBufferedChunks, E::TooManyFragments] {
            assert_eq!(error.code(), "WS_ERR_TOO_MANY_BUFFERED_PARTS");
            assert_eq!(error.close_code(), 1008);
        }
    }
}
