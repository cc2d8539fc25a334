//! The yardstick of refusals: a hand-written loop over mio that accepts and closes at once.

use std::io::ErrorKind;
use std::thread;

use mio::net::TcpListener;
use mio::{Events, Interest, Poll, Token};

use crate::rig::Outcome;

/// Has the loop run on a thread of its own, as reactors of a server do: system calls of a process with several threads
/// take a little longer.
pub(crate) const ON_A_THREAD: [&str; 3] = ["--refuser", "--thread", "own"];

/// Serves until it is killed.
pub(crate) fn run(arguments: &[String]) -> Outcome<()> {
    let (mut listen, mut has_thread) = (None, false);
    for pair in arguments.chunks(2) {
        match pair {
            [option, address] if option == "--listen" => listen = address.strip_prefix("tcp://"),
            _ => has_thread |= ON_A_THREAD[1..] == *pair,
        }
    }
    let mut listener = TcpListener::bind(listen.ok_or("--refuser wants `--listen tcp://IP:PORT`")?.parse()?)?;
    let poll = Poll::new()?;
    poll.registry().register(&mut listener, Token(0), Interest::READABLE)?;
    println!("listening on tcp://{}", listener.local_addr()?);
    if !has_thread {
        return Ok(refuse(poll, &listener)?);
    }
    Ok(thread::spawn(move || refuse(poll, &listener)).join().map_err(|_| "its thread panicked")??)
}

fn refuse(mut poll: Poll, listener: &TcpListener) -> std::io::Result<()> {
    let mut events = Events::with_capacity(1024);
    loop {
        match poll.poll(&mut events, None) {
            Err(error) if error.kind() == ErrorKind::Interrupted => continue,
            other => other?,
        }
        loop {
            match listener.accept() {
                Ok(accepted) => drop(accepted),
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) if error.kind() == ErrorKind::ConnectionAborted => {}
                Err(error) => return Err(error),
            }
        }
    }
}
