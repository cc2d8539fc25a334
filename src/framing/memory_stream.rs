//! A stream in memory, for crates that want `Read` and `Write`.
//!
//! Owns what was received and not read yet, and what was written and not sent yet. Knows no connection.

use std::collections::VecDeque;
use std::io::{self, ErrorKind, Read, Write};

/// How much memory an empty queue keeps.
const KEPT_BYTES_MAX: usize = 4096;

/// A stream in memory, for crates that speak a protocol over anything that is [`Read`] and [`Write`], such as tungstenite, rustls
/// and others. The handler puts received bytes in, and the crate reads them; the crate writes, and the handler passes its
/// output to the connection.
///
/// * A read fails with `WouldBlock` when nothing is left, and returns 0 once [`MemoryStream::end`] was called.
/// * A write takes what fits below the limit for output, and fails with `WouldBlock` when nothing fits. `flush` succeeds: it is
///   [`MemoryStream::send`] that moves the bytes on.
///
/// Bytes are copied once in each direction. A stream keeps up to 4 KiB of memory in each direction while it is empty, and none
/// before its first use.
///
/// ```
/// use std::io::{self, ErrorKind, Read, Write};
/// use windlass::framing::MemoryStream;
/// use windlass::{Conn, Handler};
///
/// /// What such a crate looks like from outside: it owns its stream, and keeps what it cannot write now.
/// struct Shouting<S> {
///     stream: S,
///     unwritten: Option<u8>,
/// }
///
/// impl<S: Read + Write> Shouting<S> {
///     fn step(&mut self) -> io::Result<()> {
///         if self.unwritten.is_none() {
///             let mut byte = [0];
///             self.stream.read_exact(&mut byte)?;
///             self.unwritten = Some(byte[0].to_ascii_uppercase());
///         }
///         self.stream.write_all(self.unwritten.as_slice())?;
///         self.unwritten = None;
///         Ok(())
///     }
/// }
///
/// struct Session(Shouting<MemoryStream>);
///
/// impl Session {
///     /// Lets the crate do what it can, and hands on what it wrote, as long as that makes room for more.
///     fn advance(&mut self, conn: &mut Conn<'_>) {
///         loop {
///             let is_over = loop {
///                 match self.0.step() {
///                     Ok(()) => {}
///                     Err(error) if error.kind() == ErrorKind::WouldBlock => break false,
///                     Err(_) => break true, // the end of the input, or a fault in it
///                 }
///             };
///             let sent = self.0.stream.send(|bytes| conn.write_some(bytes));
///             match self.0.stream.unsent_bytes() {
///                 0 if is_over => return conn.close(),
///                 0 if sent > 0 => {}
///                 _ => return, // more input or `on_writable` follows
///             }
///         }
///     }
/// }
///
/// impl Handler for Session {
///     fn on_data(&mut self, conn: &mut Conn<'_>, data: &[u8]) -> usize {
///         let used = self.0.stream.receive(data);
///         self.advance(conn);
///         used
///     }
///
///     fn on_writable(&mut self, conn: &mut Conn<'_>) {
///         self.advance(conn);
///     }
///
///     fn on_end(&mut self, conn: &mut Conn<'_>, _: &[u8]) {
///         self.0.stream.end();
///         self.advance(conn);
///     }
/// }
///
/// let mut shouting = Shouting { stream: MemoryStream::new(1024, 1024), unwritten: None };
/// assert_eq!(shouting.stream.receive(b"hello"), 5);
/// while shouting.step().is_ok() {}
/// let mut sent = Vec::new();
/// shouting.stream.send(|bytes| {
///     sent.extend_from_slice(bytes);
///     bytes.len()
/// });
/// assert_eq!(sent, b"HELLO");
/// ```
#[derive(Debug)]
pub struct MemoryStream {
    input: VecDeque<u8>,
    input_bytes_max: usize,
    end: End,
    output: VecDeque<u8>,
    output_bytes_max: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    Open,
    Ended,
}

impl MemoryStream {
    /// A stream that holds up to `input_bytes_max` bytes that were received and not read yet, and up to `output_bytes_max` bytes
    /// that were written and not sent yet. A limit of 0 blocks that direction.
    pub fn new(input_bytes_max: usize, output_bytes_max: usize) -> MemoryStream {
        let (input, output) = (VecDeque::new(), VecDeque::new());
        MemoryStream { input, input_bytes_max, end: End::Open, output, output_bytes_max }
    }

    /// Keeps as many of the received bytes as fit, for the next reads. Returns how many, which is what `on_data` returns; 0 after
    /// [`MemoryStream::end`].
    pub fn receive(&mut self, bytes: &[u8]) -> usize {
        match self.end {
            End::Open => push(&mut self.input, bytes, self.input_bytes_max),
            End::Ended => 0,
        }
    }

    /// The peer has ended: once all input is read, reads return 0.
    pub fn end(&mut self) {
        self.end = End::Ended;
    }

    /// How many bytes were received and not read yet.
    pub fn unread_bytes(&self) -> usize {
        self.input.len()
    }

    /// How many bytes were written and not sent yet.
    pub fn unsent_bytes(&self) -> usize {
        self.output.len()
    }

    /// Passes what was written to `write`, for instance [`Conn::write_some`](crate::Conn::write_some), which returns how many
    /// bytes it took. Stops when it takes fewer than it was given: call this again in `on_writable`. Returns how many bytes were
    /// taken in all.
    ///
    /// # Panics
    /// If `write` returns more than it was given.
    pub fn send(&mut self, mut write: impl FnMut(&[u8]) -> usize) -> usize {
        let mut sent = 0;
        while !self.output.is_empty() {
            let (front, _) = self.output.as_slices();
            let (given, taken) = (front.len(), write(front));
            assert!(taken <= given, "write took {taken} of {given} bytes");
            self.output.drain(..taken);
            sent += taken;
            if taken < given {
                break;
            }
        }
        release(&mut self.output);
        sent
    }
}

impl Read for MemoryStream {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.input.is_empty() && self.end == End::Open && !buffer.is_empty() {
            return Err(ErrorKind::WouldBlock.into());
        }
        let count = self.input.read(buffer)?;
        release(&mut self.input);
        Ok(count)
    }
}

impl Write for MemoryStream {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match push(&mut self.output, bytes, self.output_bytes_max) {
            0 if !bytes.is_empty() => Err(ErrorKind::WouldBlock.into()),
            taken => Ok(taken),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Appends what fits below `limit`, and says how much.
fn push(queue: &mut VecDeque<u8>, bytes: &[u8], limit: usize) -> usize {
    let taken = bytes.len().min(limit.saturating_sub(queue.len()));
    queue.extend(&bytes[..taken]);
    taken
}

/// Gives memory back that an empty queue does not need.
fn release(queue: &mut VecDeque<u8>) {
    if queue.is_empty() && queue.capacity() > KEPT_BYTES_MAX {
        *queue = VecDeque::new();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::sync::Arc;

    #[test]
    fn an_empty_stream_blocks_and_an_ended_one_ends() {
        let mut stream = MemoryStream::new(4, 4);
        let mut buffer = [0; 8];
        assert_eq!(stream.read(&mut buffer).expect_err("nothing is there").kind(), ErrorKind::WouldBlock);
        assert_eq!(stream.read(&mut []).expect("nothing was asked for"), 0);
        assert_eq!((stream.receive(b"abcdef"), stream.unread_bytes()), (4, 4));
        stream.end();
        assert_eq!(stream.receive(b"more"), 0);
        assert_eq!(stream.read(&mut buffer).expect("what came before the end"), 4);
        assert_eq!(stream.read(&mut buffer).expect("the end"), 0);
    }

    #[test]
    fn output_stops_at_its_limit_and_goes_on_once_some_was_sent() {
        let mut stream = MemoryStream::new(4, 4);
        assert_eq!(stream.write(b"abcdef").expect("room for four"), 4);
        assert_eq!(stream.write(b"ef").expect_err("no room").kind(), ErrorKind::WouldBlock);
        assert_eq!(stream.write(b"").expect("nothing needs no room"), 0);
        assert_eq!((stream.send(|bytes| bytes.len().min(1)), stream.unsent_bytes()), (1, 3));
        assert_eq!(stream.write(b"ef").expect("room for one"), 1);
        let mut sent = Vec::new();
        let taken = stream.send(|bytes| {
            sent.extend_from_slice(bytes);
            bytes.len()
        });
        assert_eq!((taken, &sent[..]), (4, &b"bcde"[..]));
        stream.flush().expect("nothing to flush");
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn all_bytes_pass_in_order_and_an_empty_stream_keeps_little(
            steps in prop::collection::vec((0usize..9_000, 0usize..9_000), 1..40)
        ) {
            let mut stream = MemoryStream::new(10_000, 10_000);
            let (mut given, mut passed) = (Vec::new(), Vec::new());
            for (more, less) in steps {
                let bytes: Vec<u8> = (given.len()..given.len() + more).map(|at| (at % 251) as u8).collect();
                let taken = stream.receive(&bytes);
                given.extend_from_slice(&bytes[..taken]);
                let mut buffer = vec![0; less];
                let read = stream.read(&mut buffer).unwrap_or(0);
                let written = stream.write(&buffer[..read]).unwrap_or(0);
                prop_assert_eq!(read, written, "output is sent at once, so there is room");
                stream.send(|bytes| {
                    passed.extend_from_slice(bytes);
                    bytes.len()
                });
                prop_assert!(stream.unread_bytes() <= 10_000);
                prop_assert!(stream.unread_bytes() > 0 || stream.input.capacity() <= KEPT_BYTES_MAX);
                prop_assert!(stream.output.capacity() <= KEPT_BYTES_MAX);
                prop_assert_eq!(given.len(), passed.len() + stream.unread_bytes());
            }
            prop_assert_eq!(&given[..passed.len()], &passed[..]);
        }
    }

    /// Moves what one side wrote to where the other reads, in small pieces.
    fn carry(from: &mut MemoryStream, to: &mut MemoryStream) -> usize {
        from.send(|bytes| to.receive(&bytes[..bytes.len().min(100)]))
    }

    #[test]
    fn a_tls_handshake_and_data_pass_between_two_of_them_by_rustls() {
        let certified = rcgen::generate_simple_self_signed(["a.test".to_owned()]).expect("a certificate");
        let key = rustls::pki_types::PrivateKeyDer::try_from(certified.signing_key.serialize_der()).expect("a key");
        let chain = vec![certified.cert.der().clone()];
        let mut roots = rustls::RootCertStore::empty();
        roots.add(chain[0].clone()).expect("a root");
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let server = rustls::ServerConfig::builder_with_provider(provider.clone())
            .with_safe_default_protocol_versions()
            .and_then(|builder| builder.with_no_client_auth().with_single_cert(chain, key))
            .expect("a configuration");
        let client = rustls::ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .expect("versions")
            .with_root_certificates(roots)
            .with_no_client_auth();
        let name = "a.test".try_into().expect("a name");
        let client = rustls::ClientConnection::new(Arc::new(client), name).expect("a client");
        let server = rustls::ServerConnection::new(Arc::new(server)).expect("a server");
        let mut client = rustls::StreamOwned::new(client, MemoryStream::new(1000, 1000));
        let mut server = rustls::StreamOwned::new(server, MemoryStream::new(1000, 1000));
        let (question, mut unwritten, mut read) = ([7; 5000], 5000, Vec::new());
        for _ in 0..1000 {
            let wrote = client.write(&question[..unwritten]);
            unwritten -= wrote.unwrap_or(0);
            let _ = client.flush();
            carry(&mut client.sock, &mut server.sock);
            let mut buffer = [0; 512];
            match server.read(&mut buffer) {
                Ok(count) => read.extend_from_slice(&buffer[..count]),
                Err(error) => assert_eq!(error.kind(), ErrorKind::WouldBlock, "{error}"),
            }
            carry(&mut server.sock, &mut client.sock);
        }
        assert_eq!((unwritten, &read[..]), (0, &question[..]));
    }
}
