//! Why a frame was not found, or not written.
//!
//! Owns the words only.

use std::io;

/// What is wrong with a frame.
///
/// `TooLong` and `Malformed` are about received bytes: no later frame can be found, so close the connection. The others are
/// about a payload: nothing was written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
#[non_exhaustive]
pub enum FrameError {
    /// A received frame is longer than its limit.
    #[error("received {}, the limit is {limit}: close the connection, or raise the limit", announced(*length))]
    TooLong {
        /// The limit for the payload, in bytes.
        limit: usize,
        /// The length that its prefix says; `None` for a frame whose delimiter was not found within the limit.
        length: Option<u64>,
    },
    /// What was received is not in this format.
    #[error("received {why}: close the connection, the peer speaks another protocol")]
    Malformed {
        /// What was found, as a noun: "a length of more than 64 bits".
        why: &'static str,
    },
    /// A payload is longer than the limit, or than its prefix can say.
    #[error(
        "a payload of {length} bytes cannot be written as one frame, the limit is {limit}: split it, or raise the limit"
    )]
    PayloadTooLong {
        /// The limit for the payload, or the largest length that the prefix can say, in bytes.
        limit: usize,
        /// The payload's length in bytes.
        length: usize,
    },
    /// A reader would find the delimiter earlier than at the end of the payload: the payload contains it, or ends with a part of
    /// it (for lines: with a CR).
    #[error(
        "a payload cannot be written as one frame, because it contains the delimiter: escape it, or use a length prefix"
    )]
    PayloadHasDelimiter,
}

fn announced(length: Option<u64>) -> String {
    match length {
        Some(length) => format!("a frame of {length} bytes"),
        None => "a frame without an end".to_owned(),
    }
}

impl FrameError {
    /// Which kind of error of input and output it is: `InvalidData` for what was received, `InvalidInput` for a payload.
    pub fn kind(&self) -> io::ErrorKind {
        match self {
            FrameError::TooLong { .. } | FrameError::Malformed { .. } => io::ErrorKind::InvalidData,
            FrameError::PayloadTooLong { .. } | FrameError::PayloadHasDelimiter => io::ErrorKind::InvalidInput,
        }
    }
}

impl From<FrameError> for io::Error {
    fn from(error: FrameError) -> io::Error {
        io::Error::new(error.kind(), error)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_names_the_limit_what_came_and_what_to_do() {
        let cases = [
            (
                FrameError::TooLong { limit: 10, length: Some(11) },
                "received a frame of 11 bytes, the limit is 10: close the connection, or raise the limit",
            ),
            (
                FrameError::TooLong { limit: 10, length: None },
                "received a frame without an end, the limit is 10: close the connection, or raise the limit",
            ),
            (
                FrameError::PayloadTooLong { limit: 255, length: 256 },
                "a payload of 256 bytes cannot be written as one frame, the limit is 255: split it, or raise the limit",
            ),
        ];
        for (error, text) in cases {
            assert_eq!(error.to_string(), text);
            assert_eq!(io::Error::from(error).kind(), error.kind());
        }
    }
}
