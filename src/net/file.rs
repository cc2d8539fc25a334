//! A range of a file, on its way out.
//!
//! Owns the position in it, and the calls that read it or send it. Knows nothing of links or of what goes before it.
//! A page that is not in the system's cache is waited for: files are never "not ready".

use crate::error::{Reason, WriteError, error_number};
use crate::net::system;
use std::fs::File;
use std::io;
use std::ops::Range;
use std::os::fd::AsFd;
use std::sync::Arc;

/// What of a file is still to be sent.
#[derive(Clone, Debug)]
pub(crate) struct FileRange {
    file: Arc<File>,
    at: u64,
    end: u64,
    method: Method,
}

/// How it gets to a plain socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Method {
    /// By sendfile(2), within the kernel.
    Sent,
    /// So, and until its end only full packets leave.
    Corked,
    /// So, on a socket that knows no packets.
    Uncorkable,
    /// The system cannot send this file so: it is read, and written.
    Read,
}

/// A longer range leaves in full packets, TCP_CORK of tcp(7): sendfile(2) hands the kernel 64 KiB at a time, and each piece
/// would else end in a packet of its own (measured on loopback: 1.7 times the packets, and a quarter more processor time).
const CORK_BYTES: u64 = 64 * 1024;

/// What a call for some bytes of a file has come to.
pub(crate) enum Sent {
    /// The socket took so many, or failed.
    Socket(io::Result<usize>),
    /// The file failed.
    File(Reason),
    /// This file must be read.
    MustRead,
}

impl FileRange {
    /// # Errors
    /// `Range` for a range that ends before it starts.
    pub(crate) fn new(file: Arc<File>, range: Range<u64>) -> Result<FileRange, WriteError> {
        let Range { start, end } = range.clone();
        if start > end || end > i64::MAX as u64 {
            return Err(WriteError::Range(range));
        }
        Ok(FileRange { file, at: start, end, method: Method::Sent })
    }

    /// Bytes that are still to be sent.
    pub(crate) fn left(&self) -> u64 {
        self.end - self.at
    }

    /// The file, and what of it is still to be sent; `socket` is the one that it was on its way to.
    pub(crate) fn into_parts(mut self, socket: impl AsFd) -> (Arc<File>, Range<u64>) {
        self.uncork(socket);
        (self.file, self.at..self.end)
    }

    /// Whether its bytes go to a plain socket through our memory.
    pub(crate) fn must_be_read(&self) -> bool {
        self.method == Method::Read
    }

    /// Reads the next bytes into `buffer`, at most what is left; pread(2).
    ///
    /// # Errors
    /// `FileTruncated` if the file ends before the range, `FileUnreadable`.
    pub(crate) fn read(&mut self, buffer: &mut [u8]) -> Result<usize, Reason> {
        use std::os::unix::fs::FileExt;
        let asked = buffer.len().min(usize::try_from(self.left()).unwrap_or(usize::MAX));
        let mut read = 0;
        while read < asked {
            match self.file.read_at(&mut buffer[read..asked], self.at) {
                Ok(0) => return Err(Reason::FileTruncated),
                Ok(n) => {
                    read += n;
                    self.at += n as u64;
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(Reason::FileUnreadable(error_number(&error).unwrap_or(0))),
            }
        }
        Ok(read)
    }

    /// Has the kernel send the next bytes, at most `bytes_max`, to `socket`; sendfile(2).
    pub(crate) fn send(&mut self, socket: impl AsFd, bytes_max: usize) -> Sent {
        use rustix::io::Errno;
        let socket = socket.as_fd();
        if self.method == Method::Sent && self.left() > CORK_BYTES {
            let is_corked = system::set_cork(socket, true).is_ok();
            self.method = if is_corked { Method::Corked } else { Method::Uncorkable };
        }
        let count = bytes_max.min(usize::try_from(self.left()).unwrap_or(usize::MAX));
        let mut at = self.at;
        match system::send_file(socket, &self.file, &mut at, count) {
            Ok(0) => Sent::File(Reason::FileTruncated),
            Ok(sent) => {
                self.at += sent as u64;
                if self.left() == 0 {
                    self.uncork(socket);
                }
                Sent::Socket(Ok(sent))
            }
            // The file's errors: it is not one that can be mapped, or cannot be read. To read it tells more.
            Err(
                Errno::INVAL | Errno::NOSYS | Errno::SPIPE | Errno::ISDIR | Errno::IO | Errno::OVERFLOW | Errno::BADF,
            ) => {
                self.uncork(socket);
                self.method = Method::Read;
                Sent::MustRead
            }
            Err(error) => Sent::Socket(Err(error.into())),
        }
    }

    /// Lets packets leave as they come again.
    pub(crate) fn uncork(&mut self, socket: impl AsFd) {
        if self.method == Method::Corked {
            self.method = Method::Sent;
            // A socket that it fails on is dead, and has nothing that could leave.
            let _ = system::set_cork(socket.as_fd(), false);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    fn file(bytes: &[u8]) -> Arc<File> {
        let mut file = tempfile::tempfile().expect("a file");
        file.write_all(bytes).expect("written");
        file.into()
    }

    #[test]
    fn what_is_read_is_the_range_and_no_byte_more() {
        let mut range = FileRange::new(file(b"0123456789"), 2..9).expect("a range");
        let mut buffer = [0; 5];
        assert_eq!((range.read(&mut buffer), &buffer), (Ok(5), b"23456"));
        assert_eq!((range.left(), range.read(&mut buffer), &buffer[..2]), (2, Ok(2), &b"78"[..]));
        assert_eq!((range.left(), range.read(&mut buffer)), (0, Ok(0)));
    }

    #[test]
    fn a_file_that_is_shorter_than_the_range_is_told_when_its_end_is_reached() {
        let mut range = FileRange::new(file(b"0123"), 2..9).expect("a range");
        assert_eq!(range.read(&mut [0; 5]), Err(Reason::FileTruncated));
    }

    #[test]
    #[expect(clippy::reversed_empty_ranges, reason = "that is what is refused")]
    fn a_range_that_ends_before_it_starts_is_refused_by_name() {
        let error = FileRange::new(file(b""), 5..4).expect_err("refused");
        assert!(error.to_string().starts_with("range cannot be 5..4: "), "{error}");
    }
}
