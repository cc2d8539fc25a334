//! Length-prefixed requests and answers, with state that connections share and state of their own.
//!
//! A frame is four bytes of length, big-endian, and as many bytes of text. `SET key value` answers `ok`, `GET key` the
//! value or `none`, `COUNT` how many requests this connection made.
//!
//! `framed` serves on a free port; `framed ADDRESS 'SET a 1' 'GET a'` asks a server and prints the answers.

use std::cell::RefCell;
use std::collections::HashMap;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::process::ExitCode;
use std::rc::Rc;
use windlass::framing::{Found, LengthPrefixed};
use windlass::{Address, AddressError, Conn, Handler, ListenConfig, Reactor, ReactorConfig, WriteError};

/// Requests and answers; the longest is well below the inbox's limit.
const FRAMES: LengthPrefixed = LengthPrefixed::u32_be(64 * 1024);

/// What all connections of the reactor share. Callbacks never nest, so the borrow always holds.
type Store = Rc<RefCell<HashMap<String, String>>>;

struct Session {
    store: Store,
    requests: u64,
}

impl Session {
    fn answer(&mut self, request: &str) -> String {
        self.requests += 1;
        let mut words = request.splitn(3, ' ');
        match (words.next(), words.next(), words.next()) {
            (Some("SET"), Some(key), Some(value)) => {
                self.store.borrow_mut().insert(key.to_owned(), value.to_owned());
                "ok".to_owned()
            }
            (Some("GET"), Some(key), None) => self.store.borrow().get(key).cloned().unwrap_or("none".to_owned()),
            (Some("COUNT"), None, None) => self.requests.to_string(),
            _ => "what?".to_owned(),
        }
    }
}

impl Handler for Session {
    /// Called again at once while a whole frame is left.
    fn on_data(&mut self, conn: &mut Conn<'_>, data: &[u8]) -> usize {
        match FRAMES.first(data) {
            Ok(Found::Frame { payload, used }) => {
                let answer = self.answer(&String::from_utf8_lossy(payload));
                match FRAMES.write(&[answer.as_bytes()], |slices| conn.write_vectored(slices)) {
                    Ok(()) => return used,
                    // The client does not read its answers: ask again when there is room.
                    Err(WriteError::Full { .. }) => self.requests -= 1,
                    Err(_) => conn.close(),
                }
            }
            // Not shown again before it is whole.
            Ok(Found::Incomplete { need }) => conn.need(need).unwrap_or_else(|_| conn.close()),
            Err(_) => conn.close(),
        }
        0
    }
}

fn serve() -> Result<(), Box<dyn std::error::Error>> {
    let mut reactor = Reactor::new(ReactorConfig::default())?;
    let store = Store::default();
    let make = move |_: &Conn<'_>| Session { store: store.clone(), requests: 0 };
    let id = reactor.listen(&"tcp://127.0.0.1:0".parse()?, ListenConfig::default(), make)?;
    let real = reactor.listener_address(id).ok_or("the listener is gone")?;
    println!("listening on {real}");
    println!("  try: cargo run --example framed -- {real} 'SET a 1' 'GET a' COUNT");
    reactor.run()?;
    Ok(())
}

fn ask(address: &str, requests: &[String]) -> Result<(), Box<dyn std::error::Error>> {
    let address: Address = address.parse()?;
    if address.is_unspecified() {
        return Err(AddressError::NoTarget(address.to_string()).into());
    }
    let mut stream = TcpStream::connect(address.ip().ok_or("an IP address and port is needed")?)?;
    for request in requests {
        stream.write_all(&FRAMES.head(request.len())?)?;
        stream.write_all(request.as_bytes())?;
        let mut frame = Vec::new();
        // First the head, then as much as that says, which is refused if it is too much.
        while let Found::Incomplete { need } = FRAMES.first(&frame)? {
            let read = frame.len();
            frame.resize(need, 0);
            stream.read_exact(&mut frame[read..])?;
        }
        println!("{}", String::from_utf8_lossy(&frame[4..]));
    }
    Ok(())
}

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let done = match args.split_first() {
        None => serve(),
        Some((address, requests)) => ask(address, requests),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("framed: {error}");
            ExitCode::FAILURE
        }
    }
}
