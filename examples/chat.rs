//! A chat with rooms, over several reactors and any stream transport at once, without a lock.
//!
//! Each reactor keeps the members that it serves, by room, as its local state. A line goes to every reactor as a closure, and
//! each writes it to its own members: the bytes are shared, not copied. Who reads too slowly loses lines, is told how many,
//! and holds up nobody.
//!
//! `chat [ADDRESS]... [--cert PEM --key PEM]`: without an address it serves on a free port. A line `/join ROOM` changes the
//! room; several `nc`, `socat` or `openssl s_client -quiet` are its clients.

use std::collections::HashMap;
use std::error::Error;
use std::process::ExitCode;
use std::time::Duration;
use windlass::framing::{Found, Lines};
use windlass::tls::Pem;
use windlass::{Bytes, Conn, ConnId, Context, EngineConfig, Handler, ListenConfig, Reason, Server, TlsServer};

/// The longest line that is taken; a longer one ends its connection.
const LINE_BYTES_MAX: usize = 4096;

/// Where everybody begins.
const LOBBY: &str = "lobby";

/// The members that a reactor serves, each with how many lines it has lost, by room.
#[derive(Default)]
struct Rooms(HashMap<String, HashMap<ConnId, usize>>);

impl Rooms {
    fn join(&mut self, room: &str, id: ConnId) {
        self.0.entry(room.to_owned()).or_default().insert(id, 0);
    }

    fn leave(&mut self, room: &str, id: ConnId) {
        if let Some(members) = self.0.get_mut(room) {
            members.remove(&id);
            if members.is_empty() {
                self.0.remove(room);
            }
        }
    }
}

struct Member {
    room: String,
    lines: Lines,
}

impl Handler for Member {
    fn on_open(&mut self, conn: &mut Conn<'_>) {
        self.enter(conn, LOBBY.to_owned());
    }

    /// Called again at once while a whole line is left.
    fn on_data(&mut self, conn: &mut Conn<'_>, data: &[u8]) -> usize {
        match self.lines.first(data) {
            Ok(Found::Frame { payload, used }) => {
                match payload.strip_prefix(b"/join ") {
                    Some(room) => self.enter(conn, String::from_utf8_lossy(room).trim().to_owned()),
                    None => self.say(conn, Bytes::copy_from_slice(&data[..used])),
                }
                return used;
            }
            Ok(Found::Incomplete { .. }) => {}
            Err(_) => conn.close(),
        }
        0
    }

    /// There is room again: it hears what it has missed.
    fn on_writable(&mut self, conn: &mut Conn<'_>) {
        let id = conn.id();
        let lost = conn.context().local::<Rooms>().and_then(|rooms| rooms.0.get_mut(&self.room)?.get_mut(&id));
        if let Some(lost) = lost.map(std::mem::take).filter(|lost| *lost > 0) {
            let _ = conn.write(format!("* {lost} lines lost\n").as_bytes());
        }
    }

    fn on_close(&mut self, conn: &mut Conn<'_>, _: Reason) {
        let id = conn.id();
        conn.context().with_local(|rooms: &mut Rooms, _| rooms.leave(&self.room, id));
    }
}

impl Member {
    fn enter(&mut self, conn: &mut Conn<'_>, room: String) {
        let id = conn.id();
        let before = std::mem::replace(&mut self.room, room);
        conn.context().with_local(|rooms: &mut Rooms, _| {
            rooms.leave(&before, id);
            rooms.join(&self.room, id);
        });
        let _ = conn.write(format!("* this is {}\n", self.room).as_bytes());
    }

    /// Sends a line to all who are in the room, on every reactor.
    fn say(&self, conn: &mut Conn<'_>, line: Bytes) {
        let author = conn.id();
        for remote in conn.context().remotes().iter() {
            let (room, line) = (self.room.clone(), line.clone());
            if let Err(error) = remote.run(move |cx| deliver(cx, &room, author, &line)) {
                let _ = conn.write(format!("* not everybody hears you: {error}\n").as_bytes());
            }
        }
    }
}

fn deliver(cx: &mut Context<'_>, room: &str, author: ConnId, line: &Bytes) {
    cx.with_local(|rooms: &mut Rooms, cx| {
        for (id, lost) in rooms.0.get_mut(room).into_iter().flatten().filter(|(id, _)| **id != author) {
            let is_written = cx.other(*id).is_some_and(|mut other| other.write_bytes(line.clone()).is_ok());
            *lost += usize::from(!is_written);
        }
    });
}

fn serve() -> Result<(), Box<dyn Error>> {
    let mut args: Vec<String> = std::env::args().skip(1).collect();
    let option = |args: &mut Vec<String>, name| {
        let at = args.iter().position(|arg| arg == name)?;
        (at + 1 < args.len()).then(|| args.drain(at..at + 2).nth(1)).flatten()
    };
    let mut config = ListenConfig::default();
    if let (Some(cert), Some(key)) = (option(&mut args, "--cert"), option(&mut args, "--key")) {
        config.tls = Some(TlsServer::builder().certificate(Pem::file(cert), Pem::file(key)).build()?);
    }
    if args.is_empty() {
        args.push("tcp://127.0.0.1:0".to_owned());
    }
    let mut server = Server::builder()
        .engine_config(EngineConfig { reactors: 2, ..EngineConfig::default() })
        .listen_config(config)
        .handler(|cx: &mut Context<'_>| {
            cx.set_local(Rooms::default());
            |_: &Conn<'_>| Member { room: String::new(), lines: Lines::new(LINE_BYTES_MAX) }
        });
    for address in args {
        server = server.address(address.parse()?);
    }
    let server = server.build()?;
    server.listen()?;
    server.local_addresses().iter().for_each(|address| println!("listening on {address}"));
    server.wait(Duration::MAX)?;
    Ok(())
}

fn main() -> ExitCode {
    match serve() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("chat: {error}");
            ExitCode::FAILURE
        }
    }
}
