//! A chat with rooms, over several reactors and any stream transport at once, without a lock.
//!
//! Each reactor keeps the members that it serves as its local state. A line goes to every reactor as a closure, and each writes
//! it to its own members in the room: the bytes are shared, not copied. Who reads too slowly loses lines, is told how many, and
//! holds up nobody.
//!
//! `chat [ADDRESS]... [--cert PEM --key PEM]`: without an address it serves on a free port. A line `/join ROOM` changes the
//! room; several `nc`, `socat` or `openssl s_client -quiet` are its clients.

use std::collections::HashMap;
use std::error::Error;
use std::time::Duration;
use windlass::framing::{Found, Lines};
use windlass::tls::Pem;
use windlass::{Bytes, Conn, ConnId, Context, EngineConfig, Handler, ListenConfig, Reason, Server, ServerTls};

/// The longest line that is taken; a longer one ends its connection.
const LINE_BYTES_MAX: usize = 4096;

/// The members that a reactor serves: the room of each, and how many lines it has lost.
#[derive(Default)]
struct Members(HashMap<ConnId, (String, usize)>);

struct Member(Lines);

impl Handler for Member {
    fn on_open(&mut self, conn: &mut Conn<'_>) {
        enter(conn, "lobby");
    }

    /// Called again at once while a whole line is left.
    fn on_data(&mut self, conn: &mut Conn<'_>, data: &[u8]) -> usize {
        let found = self.0.first(data).inspect_err(|_| conn.close());
        let Ok(Found::Frame { payload, used }) = found else { return 0 };
        match payload.strip_prefix(b"/join ") {
            Some(room) => enter(conn, String::from_utf8_lossy(room).trim()),
            None => say(conn, Bytes::copy_from_slice(&data[..used])),
        }
        used
    }

    /// There is room again: it hears what it has missed.
    fn on_writable(&mut self, conn: &mut Conn<'_>) {
        let id = conn.id();
        let member = conn.context().local_or_default::<Members>().0.get_mut(&id);
        let lost = member.map_or(0, |(_, lost)| std::mem::take(lost));
        if lost > 0 {
            let _ = conn.write(format!("* {lost} lines lost\n").as_bytes());
        }
    }

    fn on_close(&mut self, conn: &mut Conn<'_>, _: Reason) {
        let id = conn.id();
        conn.context().local_or_default::<Members>().0.remove(&id);
    }
}

fn enter(conn: &mut Conn<'_>, room: &str) {
    let id = conn.id();
    conn.context().local_or_default::<Members>().0.insert(id, (room.to_owned(), 0));
    let _ = conn.write(format!("* this is {room}\n").as_bytes());
}

/// Sends a line to all who are in the room of its author, on every reactor.
fn say(conn: &mut Conn<'_>, line: Bytes) {
    let author = conn.id();
    let Some((room, _)) = conn.context().local_or_default::<Members>().0.get(&author).cloned() else { return };
    let told = conn.context().tell_all(move |cx| deliver(cx, &room, author, &line));
    if let Some(error) = told.into_iter().find_map(Result::err) {
        let _ = conn.write(format!("* not everybody hears you: {error}\n").as_bytes());
    }
}

fn deliver(cx: &mut Context<'_>, room: &str, author: ConnId, line: &Bytes) {
    cx.with_local(|members: &mut Members, cx| {
        for (id, (_, lost)) in members.0.iter_mut().filter(|(id, (at, _))| at == room && **id != author) {
            let is_written = cx.other(*id).is_some_and(|mut other| other.write_bytes(line.clone()).is_ok());
            *lost += usize::from(!is_written);
        }
    });
}

fn main() -> Result<(), Box<dyn Error>> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let mut args: Vec<&str> = args.iter().map(String::as_str).collect();
    let mut config = ListenConfig::default();
    if let [.., "--cert", cert, "--key", key] = args[..] {
        config.tls = Some(ServerTls::builder().certificate(Pem::file(cert), Pem::file(key)).build()?);
        args.truncate(args.len() - 4);
    }
    if args.is_empty() {
        args.push("tcp://127.0.0.1:0");
    }
    let mut server = Server::builder().handler(|| |_: &Conn<'_>| Member(Lines::new(LINE_BYTES_MAX)));
    for address in args {
        server = server.address(address.parse()?);
    }
    let engine = EngineConfig { reactors: 2, ..EngineConfig::default() };
    let server = server.listen_config(config).engine_config(engine).on_event(|event| println!("{event}")).build()?;
    server.listen()?;
    server.wait(Duration::MAX)?;
    Ok(())
}
