//! Threads that send messages through one other thread, which has the connections: by a reactor's mailbox, or by a
//! channel and a hand-written loop.
//!
//! It prints `listening on ADDRESS`, accepts [`CONNECTIONS`], and answers lines on its input:
//!
//! | order | answer |
//! |---|---|
//! | `send COUNT` | `sent REFUSED LOST` when each sender has given away so many messages: how often there was no room, and what could not be delivered |
//! | `counters` | `counters TURNS COMMANDS`, of the reactor |
//!
//! Each sender sends to all connections in turn, so that the messages of one sender to one connection are numbered.

use std::io::{BufRead, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{self, Receiver, SyncSender, TryRecvError};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use windlass::{Address, Bytes, Conn, ConnId, Handler, ListenConfig, Message, Reactor, ReactorConfig, Remote};

use crate::rig::Outcome;
use crate::tally::{CONNECTIONS, MESSAGE_BYTES, SENDERS, message};

/// How long a sender waits that finds no room in a mailbox; the receivers miss what is not sent then.
const NO_ROOM_MAX: Duration = Duration::from_secs(60);

/// What a sender gives its messages to.
trait Way: Clone + Send + 'static {
    /// Sends, and waits while there is no room; returns how often there was none.
    fn send(&self, connection: usize, bytes: Bytes) -> u64;
}

/// Arguments: the kind, and where to listen.
pub(crate) fn run(arguments: &[String]) -> Outcome<()> {
    match arguments {
        [kind, listen, address] if listen == "--listen" => match kind.as_str() {
            "remote" => by_reactor(address, Parcel::Bytes),
            "tell" => by_reactor(address, Parcel::Message),
            "gathered" => by_channel(address, Writes::Gathered),
            "singly" => by_channel(address, Writes::Singly),
            _ => Err(format!("`{kind}` is no kind of outlet").into()),
        },
        _ => Err("--outlet wants a kind and `--listen ADDRESS`".into()),
    }
}

/// Obeys orders until the input ends; `counters` and `lost` tell what the other side has counted.
fn obey(way: &impl Way, lost: impl Fn() -> u64, counters: impl Fn() -> Outcome<String>) -> Outcome<()> {
    let mut sent = 0;
    for line in std::io::stdin().lock().lines() {
        match line?.split_once(' ') {
            Some(("send", count)) => {
                let count: u32 = count.parse()?;
                let senders = (0..SENDERS as u32).map(|sender| {
                    let way = way.clone();
                    thread::spawn(move || send_all(&way, sender, sent, count))
                });
                let senders: Vec<_> = senders.collect();
                let refused = senders.into_iter().map(|sender| sender.join().unwrap_or_default()).sum::<u64>();
                sent += count;
                println!("sent {refused} {}", lost());
            }
            _ => println!("counters {}", counters()?),
        }
    }
    Ok(())
}

/// Sends messages `first..first + count` of one sender, to the connections in turn.
fn send_all(way: &impl Way, sender: u32, first: u32, count: u32) -> u64 {
    let connections = CONNECTIONS as u32;
    let each = (first..first + count).map(|number| {
        let bytes = Bytes::copy_from_slice(&message(sender, number / connections));
        way.send((number % connections) as usize, bytes)
    });
    each.sum()
}

// --- a reactor -------------------------------------------------------------------------------------------------------

/// How a message gets to its connection.
#[derive(Clone, Copy)]
enum Parcel {
    /// The reactor queues it.
    Bytes,
    /// The handler is told it, and writes it.
    Message,
}

#[derive(Clone)]
struct Mail {
    remote: Remote,
    connections: Arc<[ConnId]>,
    parcel: Parcel,
}

impl Way for Mail {
    fn send(&self, connection: usize, bytes: Bytes) -> u64 {
        let id = self.connections[connection];
        let left = match self.parcel {
            Parcel::Bytes => self.remote.send(id, bytes).err().map(|unsent| unsent.bytes),
            Parcel::Message => self.remote.tell(id, bytes).err().map(|untold| untold.value),
        };
        let Some(bytes) = left else { return 0 };
        // What is not taken now either, the receivers will miss.
        let _ = match self.parcel {
            Parcel::Bytes => self.remote.send_timeout(id, bytes, NO_ROOM_MAX).map_err(|unsent| unsent.why),
            Parcel::Message => self.remote.tell_timeout(id, bytes, NO_ROOM_MAX).map_err(|untold| untold.why),
        };
        1
    }
}

/// Only sends what others give or tell it.
struct Spout(Arc<Mutex<Vec<ConnId>>>);

impl Handler for Spout {
    fn on_open(&mut self, conn: &mut Conn<'_>) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(conn.id());
    }

    fn on_data(&mut self, _: &mut Conn<'_>, data: &[u8]) -> usize {
        data.len()
    }

    fn on_message(&mut self, conn: &mut Conn<'_>, message: &mut Message) {
        if let Some(bytes) = message.take::<Bytes>() {
            // What waits for one connection is far below the limit; the receivers would miss it.
            let _ = conn.write(&bytes);
        }
    }
}

fn by_reactor(address: &str, parcel: Parcel) -> Outcome<()> {
    let mut reactor = Reactor::new(ReactorConfig::default())?;
    let opened: Arc<Mutex<Vec<ConnId>>> = Arc::default();
    let lost = Arc::new(AtomicU64::new(0));
    let counted = lost.clone();
    reactor.on_undelivered(move |_, _| {
        counted.fetch_add(1, Ordering::Relaxed);
    });
    let address: Address = address.parse()?;
    let made = opened.clone();
    let listener = reactor.listen(&address, ListenConfig::default(), move |_: &Conn<'_>| Spout(made.clone()))?;
    println!("listening on {}", reactor.listener_address(listener).ok_or("the listener is gone")?);
    let remote = reactor.remote();
    let orders = thread::spawn(move || {
        let outcome = obey_as_mail(&remote, parcel, &opened, &lost).map_err(|error| error.to_string());
        // It may have stopped already.
        let _ = remote.stop(Duration::ZERO);
        outcome
    });
    reactor.run()?;
    Ok(orders.join().map_err(|_| "the thread of orders panicked")??)
}

fn obey_as_mail(remote: &Remote, parcel: Parcel, opened: &Mutex<Vec<ConnId>>, lost: &AtomicU64) -> Outcome<()> {
    let connections = loop {
        let opened = opened.lock().unwrap_or_else(PoisonError::into_inner);
        if opened.len() == CONNECTIONS {
            break opened.as_slice().into();
        }
        drop(opened);
        thread::yield_now();
    };
    let counters = || -> Outcome<String> {
        let (tell, told) = mpsc::channel();
        remote.run(move |cx| {
            // Nobody waits any more if the process ends.
            let _ = tell.send((cx.counters().turns, cx.counters().commands));
        })?;
        let (turns, commands) = told.recv()?;
        Ok(format!("{turns} {commands}"))
    };
    obey(&Mail { remote: remote.clone(), connections, parcel }, || lost.load(Ordering::Relaxed), counters)
}

// --- a channel -------------------------------------------------------------------------------------------------------

/// How the thread behind the channel writes.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Writes {
    /// What is in the channel is taken out, up to what a reactor takes a turn, and each connection's share leaves in
    /// one call.
    Gathered,
    /// Each message leaves in a call of its own.
    Singly,
}

type Addressed = (usize, Bytes);

impl Way for SyncSender<Addressed> {
    fn send(&self, connection: usize, bytes: Bytes) -> u64 {
        // Nobody takes it only if the other thread has failed, and then the receivers will miss it.
        let _ = SyncSender::send(self, (connection, bytes));
        0
    }
}

fn by_channel(address: &str, writes: Writes) -> Outcome<()> {
    let listener = TcpListener::bind(address.strip_prefix("tcp://").ok_or("an outlet listens on tcp://IP:PORT")?)?;
    println!("listening on tcp://{}", listener.local_addr()?);
    let mut streams = Vec::new();
    for _ in 0..CONNECTIONS {
        let (stream, _) = listener.accept()?;
        stream.set_nodelay(true)?;
        streams.push(stream);
    }
    let limits = ReactorConfig::default();
    let (sender, messages) = mpsc::sync_channel(limits.mailbox_commands_max);
    thread::spawn(move || {
        let outcome = match writes {
            Writes::Gathered => write_gathered(&messages, &mut streams, limits.commands_per_turn),
            Writes::Singly => write_singly(&messages, &mut streams),
        };
        if let Err(error) = outcome {
            eprintln!("an outlet failed: {error}");
        }
    });
    obey(&sender, || 0, || Err("a channel has no counters".into()))
}

fn write_singly(messages: &Receiver<Addressed>, streams: &mut [TcpStream]) -> std::io::Result<()> {
    messages.iter().try_for_each(|(connection, bytes)| streams[connection].write_all(&bytes))
}

fn write_gathered(
    messages: &Receiver<Addressed>,
    streams: &mut [TcpStream],
    messages_max: usize,
) -> std::io::Result<()> {
    let mut gathered: Vec<Vec<u8>> = streams.iter().map(|_| Vec::with_capacity(16 * MESSAGE_BYTES)).collect();
    while let Ok((connection, bytes)) = messages.recv() {
        gathered[connection].extend_from_slice(&bytes);
        for _ in 1..messages_max {
            match messages.try_recv() {
                Ok((connection, bytes)) => gathered[connection].extend_from_slice(&bytes),
                Err(TryRecvError::Empty | TryRecvError::Disconnected) => break,
            }
        }
        for (stream, bytes) in streams.iter_mut().zip(&mut gathered).filter(|(_, bytes)| !bytes.is_empty()) {
            stream.write_all(bytes)?;
            bytes.clear();
        }
    }
    Ok(())
}
