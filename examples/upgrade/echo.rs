//! WebSocket: messages in, the same messages out. tungstenite speaks the protocol, over a stream in memory.

use std::io::ErrorKind;
use tungstenite::error::{Error, ProtocolError};
use tungstenite::protocol::frame::coding::CloseCode;
use tungstenite::protocol::{CloseFrame, Role, WebSocketConfig};
use tungstenite::{Message, WebSocket};
use windlass::framing::MemoryStream;
use windlass::{Conn, Handler};

/// Longer messages end the connection, whether they come in one frame or in many.
const MESSAGE_BYTES_MAX: usize = 1024 * 1024;

/// What waits between the connection and tungstenite, in either direction.
const STREAM_BYTES: usize = 64 * 1024;

pub(crate) struct Echo(WebSocket<MemoryStream>);

impl Echo {
    pub(crate) fn new() -> Echo {
        let config = WebSocketConfig::default()
            .max_message_size(Some(MESSAGE_BYTES_MAX))
            .max_frame_size(Some(MESSAGE_BYTES_MAX))
            .read_buffer_size(4096)
            // What is written leaves at the end of the callback, in one call: nothing is gathered here.
            .write_buffer_size(0);
        let stream = MemoryStream::new(STREAM_BYTES, STREAM_BYTES);
        Echo(WebSocket::from_raw_socket(stream, Role::Server, Some(config)))
    }

    /// Lets tungstenite do what it can, and hands on what it wrote, as long as that makes room for more.
    fn advance(&mut self, conn: &mut Conn<'_>) {
        loop {
            let is_over = loop {
                match self.step() {
                    Ok(()) => {}
                    Err(Error::Io(error)) if error.kind() == ErrorKind::WouldBlock => break false,
                    Err(_) => break true,
                }
            };
            let stream = self.0.get_mut();
            let sent = stream.send(|bytes| conn.write_some(bytes));
            match stream.unsent_bytes() {
                0 if is_over => return conn.close(),
                0 if sent > 0 => {}
                _ => return, // more input or `on_writable` follows
            }
        }
    }

    /// One message. Before it everything must be written: a client that does not read its answers is not read either.
    fn step(&mut self) -> Result<(), Error> {
        self.0.flush()?;
        if !self.0.can_write() {
            // All is said, the close frame too.
            return Err(Error::ConnectionClosed);
        }
        match self.0.read() {
            Ok(message @ (Message::Text(_) | Message::Binary(_))) => self.0.write(message),
            // Pings and the close frame are answered by tungstenite.
            Ok(Message::Ping(_) | Message::Pong(_) | Message::Close(_) | Message::Frame(_)) => Ok(()),
            Err(error) => match code(&error) {
                Some(code) => self.0.close(Some(CloseFrame { code, reason: "".into() })),
                None => Err(error),
            },
        }
    }
}

/// The close code for a client that broke the protocol; RFC 6455, section 7.4.1.
fn code(error: &Error) -> Option<CloseCode> {
    match error {
        Error::Protocol(ProtocolError::ResetWithoutClosingHandshake) => None, // it has ended
        Error::Protocol(_) => Some(CloseCode::Protocol),
        Error::Utf8(_) => Some(CloseCode::Invalid),
        Error::Capacity(_) => Some(CloseCode::Size),
        _ => None,
    }
}

impl Handler for Echo {
    fn on_data(&mut self, conn: &mut Conn<'_>, data: &[u8]) -> usize {
        let used = self.0.get_mut().receive(data);
        self.advance(conn);
        used
    }

    fn on_writable(&mut self, conn: &mut Conn<'_>) {
        self.advance(conn);
    }

    fn on_end(&mut self, conn: &mut Conn<'_>, _: &[u8]) {
        self.0.get_mut().end();
        self.advance(conn);
    }
}
