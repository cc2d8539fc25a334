//! A chat: every line goes to everybody, sent from another thread as shared bytes.
//!
//! The reactor's thread cuts lines and hands them to a thread that knows the members. That thread sends each line once
//! to every member through a `Remote`: the bytes are shared, not copied. Whoever reads too slowly loses lines, is told
//! how many, and holds up nobody.
//!
//! `chat` serves on a free port; several `nc` or `socat` are its clients.

use std::collections::HashMap;
use std::process::ExitCode;
use std::sync::mpsc::{Receiver, Sender, channel};
use windlass::framing::{Found, Lines};
use windlass::{Bytes, Conn, ConnId, Handler, ListenConfig, Reactor, ReactorConfig, Reason, Remote};

/// The longest line that is taken; a longer one ends its connection.
const LINE_BYTES_MAX: usize = 4096;

enum Told {
    Joined(ConnId),
    Line(ConnId, Bytes),
    Lost(ConnId),
    Left(ConnId),
}

struct Member {
    told: Sender<Told>,
    lines: Lines,
}

impl Member {
    fn tell(&self, told: Told) {
        // The other thread lives as long as the process.
        let _ = self.told.send(told);
    }
}

impl Handler for Member {
    fn on_open(&mut self, conn: &mut Conn<'_>) {
        self.tell(Told::Joined(conn.id()));
    }

    /// Called again at once while a whole line is left.
    fn on_data(&mut self, conn: &mut Conn<'_>, data: &[u8]) -> usize {
        match self.lines.first(data) {
            Ok(Found::Frame { used, .. }) => {
                self.tell(Told::Line(conn.id(), Bytes::copy_from_slice(&data[..used])));
                return used;
            }
            Ok(Found::Incomplete { .. }) => {}
            Err(_) => conn.close(),
        }
        0
    }

    fn on_close(&mut self, conn: &mut Conn<'_>, _: Reason) {
        self.tell(Told::Left(conn.id()));
    }
}

/// Knows the members, and sends each line to all of them but its author.
fn broadcast(remote: &Remote, told: &Receiver<Told>) {
    let mut members: HashMap<ConnId, u64> = HashMap::new();
    while let Ok(told) = told.recv() {
        match told {
            Told::Joined(id) => {
                members.insert(id, 0);
                let _ = remote.send(id, Bytes::from(format!("{} here\n", members.len())));
            }
            Told::Left(id) => {
                members.remove(&id);
            }
            Told::Lost(id) => {
                if let Some(lost) = members.get_mut(&id) {
                    *lost += 1;
                }
            }
            Told::Line(author, line) => {
                for (id, lost) in members.iter_mut().filter(|(id, _)| **id != author) {
                    if *lost > 0 && remote.send(*id, Bytes::from(format!("({lost} lines lost)\n"))).is_ok() {
                        *lost = 0;
                    }
                    if remote.send(*id, line.clone()).is_err() {
                        *lost += 1;
                    }
                }
            }
        }
    }
}

fn serve() -> Result<(), Box<dyn std::error::Error>> {
    let (sender, receiver) = channel();
    let mut reactor = Reactor::new(ReactorConfig::default())?;
    let undelivered = sender.clone();
    reactor.on_undelivered(move |id, _, _| {
        let _ = undelivered.send(Told::Lost(id));
    });
    let remote = reactor.remote();
    std::thread::spawn(move || broadcast(&remote, &receiver));
    let make = move |_: &Conn<'_>| Member { told: sender.clone(), lines: Lines::new(LINE_BYTES_MAX) };
    let id = reactor.listen(&"tcp://127.0.0.1:0".parse()?, ListenConfig::default(), make)?;
    println!("listening on {}", reactor.listener_address(id).ok_or("the listener is gone")?);
    reactor.run()?;
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
