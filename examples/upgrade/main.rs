//! A server that begins as HTTP/1.1 and goes on as WebSocket where a client asks for it (RFC 9112, RFC 6455): one handler reads
//! requests, and another one, for the same connection, echoes messages.
//!
//! `upgrade [ADDRESS]`, by default `tcp://127.0.0.1:0`. Talk to it with `curl http://HOST:PORT/`, or from a browser's console:
//! `s = new WebSocket("ws://HOST:PORT/"); s.onmessage = m => console.log(m.data); s.onopen = () => s.send("hello")`.

mod echo;

use echo::Echo;
use std::time::Duration;
use tungstenite::error::{Error as Refused, ProtocolError};
use tungstenite::handshake::machine::TryParse;
use tungstenite::handshake::server::{Request, create_response, write_response};
use windlass::{Address, Conn, Error, Handler, Limits, ListenConfig, Reactor, ReactorConfig};

/// Longer heads are refused.
const HEAD_BYTES_MAX: usize = 8 * 1024;

/// For a whole request, from the end of the one before.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(10);

/// A peer that says nothing for so long is gone.
const IDLE_TIMEOUT: Duration = Duration::from_secs(60);

const PAGE: &str = "This server echoes WebSockets.\n";

struct Http;

impl Handler for Http {
    fn on_open(&mut self, conn: &mut Conn<'_>) {
        conn.set_timer(REQUEST_TIMEOUT);
    }

    /// Called again at once while another request is left; what is left behind an upgrade is shown to `Echo`.
    fn on_data(&mut self, conn: &mut Conn<'_>, data: &[u8]) -> usize {
        let (length, answered) = match Request::try_parse(&data[..data.len().min(HEAD_BYTES_MAX)]) {
            Ok(Some((length, request))) => (length, answer(conn, &request)),
            Ok(None) if data.len() < HEAD_BYTES_MAX => return 0,
            Ok(None) => (0, refuse(conn, "431 Request Header Fields Too Large")),
            Err(Refused::Protocol(ProtocolError::WrongHttpMethod)) => {
                (0, refuse(conn, "405 Method Not Allowed\r\nAllow: GET"))
            }
            Err(_) => (0, refuse(conn, "400 Bad Request")),
        };
        match answered {
            Ok(()) => return length,
            // The client does not read its answers: shown again when there is room.
            Err(Error::Full { .. }) => {}
            Err(_) => conn.abort(),
        }
        0
    }

    fn on_timer(&mut self, conn: &mut Conn<'_>) {
        conn.close();
    }
}

fn answer(conn: &mut Conn<'_>, request: &Request) -> Result<(), Error> {
    let headers = request.headers();
    let has_body = headers.contains_key("content-length") || headers.contains_key("transfer-encoding");
    if has_body || headers.get_all("host").iter().count() != 1 {
        // A body would pass for the next request.
        return refuse(conn, "400 Bad Request");
    }
    if !headers.contains_key("upgrade") {
        let closes = headers.get("connection").is_some_and(|value| value.as_bytes().eq_ignore_ascii_case(b"close"));
        let connection = if closes { "Connection: close\r\n" } else { "" };
        let head = format!("HTTP/1.1 200 OK\r\n{connection}Content-Type: text/plain\r\nContent-Length: {}", PAGE.len());
        conn.write_vectored(&[head.as_bytes(), b"\r\n\r\n", PAGE.as_bytes()])?;
        conn.set_timer(REQUEST_TIMEOUT);
        if closes {
            conn.close();
        }
        return Ok(());
    }
    // A server with cookies would look at `Origin` as well: browsers let any page open a WebSocket to any server.
    let mut accepted = Vec::new();
    match create_response(request).and_then(|response| write_response(&mut accepted, &response)) {
        Ok(()) => {
            conn.write(&accepted)?;
            // It goes on with what came behind the request. The timer of this handler is forgotten.
            conn.set_handler(Echo::new())
        }
        Err(Refused::Protocol(ProtocolError::MissingSecWebSocketVersionHeader)) => {
            refuse(conn, "426 Upgrade Required\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13")
        }
        Err(_) => refuse(conn, "400 Bad Request"),
    }
}

fn refuse(conn: &mut Conn<'_>, status: &str) -> Result<(), Error> {
    conn.write(format!("HTTP/1.1 {status}\r\nConnection: close\r\nContent-Length: 0\r\n\r\n").as_bytes())?;
    conn.close();
    Ok(())
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let address: Address = std::env::args().nth(1).unwrap_or("tcp://127.0.0.1:0".to_owned()).parse()?;
    let limits = Limits { idle_timeout: Some(IDLE_TIMEOUT), ..Limits::default() };
    let mut reactor = Reactor::new(ReactorConfig::default())?;
    let id = reactor.listen(&address, ListenConfig { limits, ..ListenConfig::default() }, |_: &Conn<'_>| Http)?;
    let real = reactor.listener_address(id).ok_or("the listener is gone")?;
    println!("listening on {real}");
    reactor.run()?;
    Ok(())
}
