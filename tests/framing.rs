//! Frames and streams in memory over real connections, whose peers send in small pieces and read late.

mod support;

use std::cell::Cell;
use std::io::{self, ErrorKind, Read, Write};
use std::rc::Rc;
use support::{World, each_kind_at_once};
use windlass::framing::{Found, LengthPrefixed, Lines, MemoryStream};
use windlass::{Conn, Error, Handler, Limits, ListenConfig, Reason, SocketOptions, WriteError};

const KIB: usize = 1 << 10;

/// More than the buffers of both kernels' sides take.
const MANY: usize = 3 * KIB * KIB;

/// Small queues and small buffers of the kernel, so that a peer that does not read is felt soon.
fn tight() -> ListenConfig {
    let limits = Limits {
        inbox_bytes_max: 4 * KIB,
        outbox_bytes_max: 32 * KIB,
        outbox_bytes_high: 8 * KIB,
        outbox_bytes_low: KIB,
        ..Limits::default()
    };
    let socket = SocketOptions {
        send_buffer_bytes: Some(16 * KIB),
        receive_buffer_bytes: Some(16 * KIB),
        ..SocketOptions::default()
    };
    ListenConfig { limits, socket, ..ListenConfig::default() }
}

fn count(cell: &Cell<usize>) {
    cell.set(cell.get() + 1);
}

fn text(bytes: usize) -> Vec<u8> {
    (0..bytes).map(|at| b'a' + (at % 23) as u8).collect()
}

/// Sends until nothing is taken any more, reads, and so on. Returns all that came back.
fn send_and_read_late(world: &mut World, peer: &mut support::Peer, bytes: &[u8]) -> Vec<u8> {
    let (mut sent, mut back, mut buffer) = (0, Vec::new(), vec![0; 64 * KIB]);
    while sent < bytes.len() {
        let mut idle_turns = 0;
        while sent < bytes.len() && idle_turns < 20 {
            world.turn();
            let taken = peer.write_some(&bytes[sent..]).expect("a connection that is open");
            idle_turns = if taken == 0 { idle_turns + 1 } else { 0 };
            sent += taken;
        }
        while let Some(read) = peer.try_read(&mut buffer) {
            back.extend_from_slice(&buffer[..read.expect("a connection that is open")]);
            world.turn();
        }
    }
    peer.finish();
    back.extend(peer.read_to_end_while(world).expect("a clean end"));
    back
}

// --- a stream in memory -----------------------------------------------------------------------------------------------

/// A protocol as a crate has it: it owns its stream, and keeps what it cannot write now.
struct Shouting {
    stream: MemoryStream,
    unwritten: Vec<u8>,
    refusals: Rc<Cell<usize>>,
}

impl Shouting {
    fn step(&mut self) -> io::Result<()> {
        if self.unwritten.is_empty() {
            let mut buffer = [0; 100];
            let count = self.stream.read(&mut buffer)?;
            if count == 0 {
                return Err(ErrorKind::UnexpectedEof.into());
            }
            self.unwritten.extend_from_slice(&buffer[..count].to_ascii_uppercase());
        }
        let written = self.stream.write(&self.unwritten)?;
        self.unwritten.drain(..written);
        Ok(())
    }

    /// As in the documentation of `MemoryStream`.
    fn advance(&mut self, conn: &mut Conn<'_>) {
        loop {
            let is_over = loop {
                match self.step() {
                    Ok(()) => {}
                    Err(error) if error.kind() == ErrorKind::WouldBlock => break false,
                    Err(_) => break true,
                }
            };
            let sent = self.stream.send(|bytes| conn.write_some(bytes));
            match self.stream.unsent_bytes() {
                0 if is_over => return conn.close(),
                0 if sent > 0 => {}
                0 => return,
                _ => return count(&self.refusals),
            }
        }
    }
}

impl Handler for Shouting {
    fn on_data(&mut self, conn: &mut Conn<'_>, data: &[u8]) -> usize {
        let used = self.stream.receive(data);
        self.advance(conn);
        used
    }

    fn on_writable(&mut self, conn: &mut Conn<'_>) {
        self.advance(conn);
    }

    fn on_end(&mut self, conn: &mut Conn<'_>, rest: &[u8]) {
        assert!(rest.is_empty(), "a rest without room for its answer waits for room");
        self.stream.end();
        self.advance(conn);
    }
}

#[test]
fn a_protocol_over_a_stream_in_memory_loses_nothing_when_its_peer_reads_late() {
    each_kind_at_once(|kind| {
        let mut world = World::new();
        let refusals = Rc::<Cell<usize>>::default();
        let counted = refusals.clone();
        let address = world.listen(kind, tight(), move |_: &Conn<'_>| Shouting {
            stream: MemoryStream::new(700, 300),
            unwritten: Vec::new(),
            refusals: counted.clone(),
        });
        let mut peer = world.dial(&address);
        let sent = text(MANY);
        let back = send_and_read_late(&mut world, &mut peer, &sent);
        assert!(back == sent.to_ascii_uppercase(), "{} of {} bytes over {kind:?}", back.len(), sent.len());
        // Over TLS, reading stops before pieces as small as these are refused.
        assert!(refusals.get() > 0 || kind.is_tls(), "it was never short of room over {kind:?}");
        assert_eq!(world.until_empty(), [Reason::PeerClosed]);
    });
}

// --- frames -----------------------------------------------------------------------------------------------------------

const FRAMES: LengthPrefixed = LengthPrefixed::varint(2 * KIB);

/// Answers a frame by the same one; counts how often it is asked, and how often there was no room.
#[derive(Clone, Default)]
struct Echo {
    calls: Rc<Cell<usize>>,
    refusals: Rc<Cell<usize>>,
}

impl Handler for Echo {
    fn on_data(&mut self, conn: &mut Conn<'_>, data: &[u8]) -> usize {
        count(&self.calls);
        match FRAMES.first(data) {
            Ok(Found::Frame { payload, used }) => {
                match FRAMES.write(&[payload], |slices| conn.write_vectored(slices)) {
                    Ok(()) => return used,
                    Err(WriteError::Full { .. }) => count(&self.refusals),
                    Err(_) => conn.close(),
                }
            }
            Ok(Found::Incomplete { need }) => conn.need(need).expect("the limit is below the inbox's"),
            Err(_) => conn.close(),
        }
        0
    }
}

#[test]
fn frames_are_answered_in_order_when_their_peer_reads_late() {
    each_kind_at_once(|kind| {
        let mut world = World::new();
        let echo = Echo::default();
        let refusals = echo.refusals.clone();
        let address = world.listen(kind, tight(), move |_: &Conn<'_>| echo.clone());
        let mut peer = world.dial(&address);
        let mut sent = Vec::new();
        for number in 0..MANY / KIB {
            let frame = FRAMES.write(&[&text(number * 7 % (2 * KIB))], |slices| Ok::<_, Error>(slices.concat()));
            sent.extend(frame.expect("within the limit"));
        }
        let back = send_and_read_late(&mut world, &mut peer, &sent);
        assert!(back == sent, "{} of {} bytes over {kind:?}", back.len(), sent.len());
        assert!(refusals.get() > 0, "it was never short of room over {kind:?}");
        assert_eq!(world.until_empty(), [Reason::PeerClosed]);
    });
}

#[test]
fn a_frame_that_comes_byte_by_byte_is_not_offered_for_each_byte() {
    let mut world = World::new();
    let echo = Echo::default();
    let calls = echo.calls.clone();
    let address = world.listen(support::Kind::Tcp, tight(), move |_: &Conn<'_>| echo.clone());
    let mut peer = world.dial(&address);
    let frame = FRAMES.write(&[&text(500)], |slices| Ok::<_, Error>(slices.concat())).expect("within the limit");
    for byte in &frame {
        peer.send_all_while(&mut world, &[*byte]);
        world.turns(2);
    }
    assert_eq!(peer.read_exact_while(&mut world, frame.len()), frame);
    assert!(calls.get() <= 3, "{} calls: one byte, the whole length, the whole frame", calls.get());
}

/// Answers a line by a longer one.
struct Lengths(Lines, Rc<Cell<usize>>);

fn answer(line: &[u8]) -> String {
    format!("{:50}\n", line.len())
}

impl Handler for Lengths {
    /// As in the documentation of `Frames`.
    fn on_data(&mut self, conn: &mut Conn<'_>, data: &[u8]) -> usize {
        let mut used = 0;
        let mut lines = self.0.frames(data);
        while let Some(line) = lines.next() {
            match line {
                Ok(line) if conn.write(answer(line).as_bytes()).is_ok() => used = lines.used(),
                Ok(_) => {
                    count(&self.1);
                    return used;
                }
                Err(_) => {
                    conn.close();
                    return used;
                }
            }
        }
        let _ = conn.need(lines.need());
        used
    }
}

#[test]
fn lines_are_answered_in_order_when_their_peer_reads_late_and_a_long_one_ends_the_connection() {
    each_kind_at_once(|kind| {
        let mut world = World::new();
        let refusals = Rc::<Cell<usize>>::default();
        let counted = refusals.clone();
        let address = world.listen(kind, tight(), move |_: &Conn<'_>| Lengths(Lines::new(100), counted.clone()));
        let mut peer = world.dial(&address);
        let (mut sent, mut expected) = (Vec::new(), Vec::new());
        for line in 0..MANY / 50 {
            let length = if line % 1000 == 0 { 100 } else { line % 5 };
            sent.extend([&text(length)[..], if line % 3 == 0 { b"\r\n" } else { b"\n" }].concat());
            expected.extend(answer(&text(length)).into_bytes());
        }
        let back = send_and_read_late(&mut world, &mut peer, &sent);
        assert!(back == expected, "{} of {} bytes over {kind:?}", back.len(), expected.len());
        assert!(refusals.get() > 0, "it was never short of room over {kind:?}");
        assert_eq!(world.until_empty(), [Reason::PeerClosed]);

        let mut peer = world.dial(&address);
        peer.send_all_while(&mut world, &[b"one\n", &text(101)[..]].concat());
        assert_eq!(peer.read_exact_while(&mut world, 51), answer(b"one").as_bytes());
        peer.finish();
        peer.read_to_close_while(&mut world);
        assert_eq!(world.until_empty().last(), Some(&Reason::Local));
    });
}
