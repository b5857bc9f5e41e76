//! What can go wrong while compressing and decompressing.

use std::error::Error;
use std::fmt;

/// The compressor refused to work. No input causes this; it would be a defect of the zlib library.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeflateError {
    /// What zlib says about it.
    pub message: &'static str,
}

impl fmt::Display for DeflateError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.message)
    }
}

impl Error for DeflateError {}

/// Why a compressed payload was refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum InflateError {
    /// More bytes would come out than the caller allows.
    TooBig,
    /// The bytes are no deflate stream. The fields are those of the error `node:zlib` emits.
    Corrupt {
        /// zlib's text.
        message: &'static str,
        /// The name of zlib's return code.
        code: &'static str,
        /// The number of zlib's return code.
        errno: i32,
    },
}

impl InflateError {
    /// Malformed input, with zlib's explanation.
    pub(super) fn data(reported: Option<&str>) -> Self {
        Self::Corrupt {
            message: known_text(reported.unwrap_or_default()),
            code: "Z_DATA_ERROR",
            errno: -3,
        }
    }

    /// Whether zlib-rs found the input malformed but did not say in which way.
    pub(super) fn lacks_text(&self) -> bool {
        matches!(self, Self::Corrupt { message, errno: -3, .. } if *message == NO_TEXT)
    }

    /// zlib could not get memory.
    pub(super) fn memory() -> Self {
        Self::Corrupt {
            message: NO_TEXT,
            code: "Z_MEM_ERROR",
            errno: -4,
        }
    }

    /// zlib considers its own state unusable.
    pub(super) fn stream() -> Self {
        Self::Corrupt {
            message: NO_TEXT,
            code: "Z_STREAM_ERROR",
            errno: -2,
        }
    }
}

impl fmt::Display for InflateError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooBig => f.write_str("Max payload size exceeded"),
            Self::Corrupt { message, .. } => f.write_str(message),
        }
    }
}

impl Error for InflateError {}

/// Node's text where zlib leaves none.
const NO_TEXT: &str = "Zlib error";

/// Every text zlib's raw inflate can report.
const DATA_ERRORS: [&str; 11] = [
    "invalid block type",
    "invalid stored block lengths",
    "too many length or distance symbols",
    "invalid code lengths set",
    "invalid bit length repeat",
    "invalid code -- missing end-of-block",
    "invalid literal/lengths set",
    "invalid distances set",
    "invalid literal/length code",
    "invalid distance code",
    "invalid distance too far back",
];

/// The text as Node's zlib has it, whichever way our zlib words it.
fn known_text(reported: &str) -> &'static str {
    if reported.ends_with("too far back") {
        return "invalid distance too far back";
    }
    DATA_ERRORS
        .into_iter()
        .find(|known| *known == reported)
        .unwrap_or(NO_TEXT)
}
