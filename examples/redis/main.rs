//! A server for `redis-cli` and `redis-benchmark`: keys and values in memory, and messages to subscribers.
//!
//! `cargo run --release --example redis --features signals -- tcp://127.0.0.1:6379`; without an address it listens on a free
//! port. It speaks RESP2: GET, SET, DEL, INCR, PING, ECHO, PUBLISH, SUBSCRIBE, UNSUBSCRIBE, QUIT, and as much of COMMAND and
//! CONFIG as clients need to start. There is no password, and stored values have no limit in total: do not expose it to clients
//! that you do not trust. SIGTERM and SIGINT drain it.
//!
//! It has one reactor, so all state is in an `Rc<RefCell<…>>`. Requests are parsed in the buffer that they were read into, and
//! the answers of pipelined ones leave together. A client that does not read its answers is not read either, and a
//! subscriber that does not read its messages is reset.

mod resp;

use resp::{Fault, array, bulk, line};
use std::cell::RefCell;
use std::collections::{BTreeSet, HashMap, HashSet};
use std::rc::Rc;
use std::time::Duration;
use windlass::framing::{Found, Lines};
use windlass::{Bytes, Conn, ConnId, EngineConfig, Handler, Limits, ListenConfig, Reason, Server};

/// The longest request, and the longest inline request.
const REQUEST_BYTES_MAX: usize = 2 * 1024 * 1024;
const INLINE_BYTES_MAX: usize = 64 * 1024;
/// A client with more waiting output than this is paused. It must be well above `Limits::outbox_bytes_high`: then `on_writable`
/// follows, and resumes the client.
const UNREAD_BYTES: usize = 512 * 1024;
/// Output that may wait for one client, and for all clients. Above `UNREAD_BYTES` there is room for messages, and for one more
/// answer.
const OUTPUT_BYTES_MAX: usize = 8 * 1024 * 1024;
const QUEUED_MAX: usize = 512 * 1024 * 1024;
/// Channels that one client may subscribe to, and the longest name of a channel.
const CHANNELS_MAX: usize = 1024;
const CHANNEL_BYTES_MAX: usize = 512;
/// How long a drain may take.
const DRAIN: Duration = Duration::from_secs(10);

/// What all clients share. Callbacks never nest, so `borrow_mut` never fails.
#[derive(Default)]
struct Shared {
    values: HashMap<Box<[u8]>, Box<[u8]>>,
    channels: HashMap<Box<[u8]>, HashSet<ConnId>>,
    /// The answer of the current `on_data`; otherwise empty.
    out: Vec<u8>,
}

struct Client {
    shared: Rc<RefCell<Shared>>,
    lines: Lines,
    channels: BTreeSet<Box<[u8]>>,
}

impl Handler for Client {
    /// Called again at once while a whole request is left; what is written meanwhile leaves together.
    fn on_data(&mut self, conn: &mut Conn<'_>, data: &[u8]) -> usize {
        let shared = self.shared.clone();
        let shared = &mut *shared.borrow_mut();
        let mut args = Vec::new();
        let (used, done) = match resp::first(data, &mut self.lines, &mut args) {
            Ok(Found::Frame { used, .. }) => (used, self.answer(conn, shared, &args)),
            Ok(Found::Incomplete { need }) if conn.need(need).is_ok() => return 0,
            Ok(Found::Incomplete { .. }) => (0, Err("-ERR Protocol error: too big request")),
            Err(fault) => (0, Err(fault)),
        };
        let done = done.inspect_err(|fault| line(&mut shared.out, fault));
        match conn.write(&shared.out) {
            Err(_) => conn.abort(), // a subscriber that does not read its messages
            Ok(()) if done.is_err() => conn.close(),
            Ok(()) if conn.unsent_bytes() > UNREAD_BYTES => conn.pause(), // until it has read its answers
            Ok(()) => {}
        }
        shared.out.clear();
        used
    }

    fn on_writable(&mut self, conn: &mut Conn<'_>) {
        conn.resume();
    }

    fn on_close(&mut self, conn: &mut Conn<'_>, _: Reason) {
        let mut shared = self.shared.borrow_mut();
        self.channels.iter().for_each(|name| shared.leave(name, conn.id()));
    }
}

impl Client {
    /// Answers one request. `Err` is the last answer: the connection is closed after it.
    fn answer(&mut self, conn: &mut Conn<'_>, shared: &mut Shared, args: &[&[u8]]) -> Result<(), Fault> {
        let Some((name, args)) = args.split_first() else { return Ok(()) }; // an empty line, or an array of no arguments
        let (id, Shared { values, out, .. }) = (conn.id(), &mut *shared);
        match (&name.to_ascii_uppercase()[..], args) {
            (b"QUIT", _) => return Err("+OK"),
            // A web page can make a browser send this, and each line of the body would be an inline request.
            (b"POST" | b"HOST:", _) => return Err("-ERR this is not HTTP"),
            (b"SUBSCRIBE", [_, ..]) => args.iter().for_each(|name| self.subscribe(id, shared, name)),
            (b"UNSUBSCRIBE", []) if self.channels.is_empty() => line(out, "*3\r\n$11\r\nunsubscribe\r\n$-1\r\n:0"),
            (b"UNSUBSCRIBE", []) => self.channels.clone().iter().for_each(|name| self.unsubscribe(id, shared, name)),
            (b"UNSUBSCRIBE", _) => args.iter().for_each(|name| self.unsubscribe(id, shared, name)),
            (b"PING", _) if !self.channels.is_empty() => array(out, 2, &[b"pong", args.first().unwrap_or(&&b""[..])]),
            _ if !self.channels.is_empty() => line(out, "-ERR only (UN)SUBSCRIBE, PING and QUIT while subscribed"),
            (b"PING", []) => line(out, "+PONG"),
            (b"PING" | b"ECHO", [text]) => bulk(out, Some(text)),
            (b"GET", [key]) => bulk(out, values.get(*key).map(AsRef::as_ref)),
            (b"SET", [key, value]) => {
                values.insert((*key).into(), (*value).into());
                line(out, "+OK");
            }
            (b"DEL", [_, ..]) => {
                line(out, format_args!(":{}", args.iter().flat_map(|key| values.remove(*key)).count()))
            }
            (b"INCR", [key]) => {
                let old = values.get(*key).map_or(Some(0), |old| std::str::from_utf8(old).ok()?.parse::<i64>().ok());
                let Some(new) = old.and_then(|old| old.checked_add(1)) else {
                    line(out, "-ERR value is not an integer or out of range");
                    return Ok(());
                };
                values.insert((*key).into(), new.to_string().into_bytes().into());
                line(out, format_args!(":{new}"));
            }
            (b"PUBLISH", [channel, text]) => shared.publish(conn, channel, text),
            (b"COMMAND", _) => line(out, "*0"), // redis-cli shows no hints then
            (b"CONFIG", [_, setting]) => array(out, 2, &[setting, b""]),
            _ => line(out, "-ERR unknown command, or wrong number of arguments"),
        }
        Ok(())
    }

    fn subscribe(&mut self, id: ConnId, shared: &mut Shared, name: &[u8]) {
        if name.len() > CHANNEL_BYTES_MAX || self.channels.len() >= CHANNELS_MAX {
            return line(&mut shared.out, "-ERR too many channels, or the name of one is too long");
        }
        self.channels.insert(name.into());
        shared.channels.entry(name.into()).or_default().insert(id);
        array(&mut shared.out, 3, &[b"subscribe", name]);
        line(&mut shared.out, format_args!(":{}", self.channels.len()));
    }

    fn unsubscribe(&mut self, id: ConnId, shared: &mut Shared, name: &[u8]) {
        self.channels.remove(name);
        shared.leave(name, id);
        array(&mut shared.out, 3, &[b"unsubscribe", name]);
        line(&mut shared.out, format_args!(":{}", self.channels.len()));
    }
}

impl Shared {
    /// Sends `text` to all subscribers of the channel, as shared bytes, and answers how many there are.
    fn publish(&mut self, conn: &mut Conn<'_>, channel: &[u8], text: &[u8]) {
        let (mut message, mut reached) = (Vec::new(), 0);
        array(&mut message, 3, &[b"message", channel, text]);
        let message = Bytes::from(message);
        for id in self.channels.get(channel).into_iter().flatten() {
            let Some(mut subscriber) = conn.other(*id) else { continue };
            match subscriber.write_bytes(message.clone()) {
                Ok(()) => reached += 1,
                Err(_) => subscriber.abort(), // it does not read its messages
            }
        }
        line(&mut self.out, format_args!(":{reached}"));
    }

    fn leave(&mut self, channel: &[u8], id: ConnId) {
        if self.channels.get_mut(channel).is_some_and(|ids| ids.remove(&id) && ids.is_empty()) {
            self.channels.remove(channel);
        }
    }
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let limits = Limits { inbox_bytes_max: REQUEST_BYTES_MAX, outbox_bytes_max: OUTPUT_BYTES_MAX, ..Limits::default() };
    let server = Server::builder()
        .address(std::env::args().nth(1).as_deref().unwrap_or("tcp://127.0.0.1:0").parse()?)
        .listen_config(ListenConfig { limits, ..ListenConfig::default() })
        .engine_config(EngineConfig { reactors: 1, queued_bytes_max: Some(QUEUED_MAX), ..EngineConfig::default() })
        .handler(|| {
            let (shared, lines) = (Rc::<RefCell<Shared>>::default(), Lines::new(INLINE_BYTES_MAX));
            move |_: &Conn<'_>| Client { shared: shared.clone(), lines: lines.clone(), channels: BTreeSet::new() }
        })
        .on_event(|event| println!("{event}"))
        .build()?;
    server.run_until_signal(DRAIN)?;
    Ok(())
}
