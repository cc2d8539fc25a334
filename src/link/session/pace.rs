//! What a session costs beside rustls alone, in memory: the same records through both, in turns.
//!
//! A measurement, run by hand or by `.ci/run long`:
//! `cargo test --release --lib link::session::pace -- --ignored --nocapture`

use super::tests::world;
use super::*;
use crate::link::buffers::Scratch;
use rustls::version::TLS13;
use std::time::{Duration, Instant};

/// Plaintext of one piece: four full records.
const PIECE_BYTES: usize = 64 * 1024;
/// Pieces of one slice, and slices of each side.
const PIECES: usize = 400;
const SLICES: usize = 25;

/// A server of each kind, and the clients at their other ends.
struct Bench {
    scratch: Scratch,
    sealed: Sealed,
    ours: Session,
    our_client: Session,
    bare: UnbufferedServerConnection,
    bare_client: Session,
}

/// The loop that a user of rustls would write.
fn bare_open(
    rustls: &mut UnbufferedServerConnection,
    wire: &mut [u8],
    plain: &mut Vec<u8>,
    out: &mut Sealed,
) -> (usize, bool) {
    let mut eaten = 0;
    loop {
        let UnbufferedStatus { discard, state, .. } = rustls.process_tls_records(&mut wire[eaten..]);
        eaten += discard;
        match state.expect("records in order") {
            ConnectionState::ReadTraffic(mut traffic) => {
                while let Some(record) = traffic.next_record() {
                    let record = record.expect("a record");
                    eaten += record.discard;
                    plain.extend_from_slice(record.payload);
                }
            }
            ConnectionState::EncodeTlsData(mut message) => {
                let written = message.encode(out.room(8 * 1024)).expect("room");
                out.written(written);
            }
            ConnectionState::TransmitTlsData(sent) => sent.done(),
            ConnectionState::WriteTraffic(_) => return (eaten, true),
            _ => return (eaten, false),
        }
    }
}

fn bare_seal(rustls: &mut UnbufferedServerConnection, plain: &[u8], out: &mut Sealed) {
    let UnbufferedStatus { state, .. } = rustls.process_tls_records(&mut []);
    let Ok(ConnectionState::WriteTraffic(mut traffic)) = state else { panic!("it takes no data") };
    let room = out.room(plain.len() + sealing_bytes(plain.len()));
    let written = traffic.encrypt(plain, room).expect("room");
    out.written(written);
}

/// Puts bytes where a read would.
fn read_into(scratch: &mut Scratch, bytes: &[u8]) {
    scratch.bytes()[..bytes.len()].copy_from_slice(bytes);
}

/// Takes what is sealed.
fn taken(sealed: &mut Sealed) -> Vec<u8> {
    let bytes = sealed.bytes().to_vec();
    sealed.clear();
    bytes
}

impl Bench {
    fn new() -> Bench {
        let world = world(&TLS13, |_, _| {});
        let client = || Session::client(&world.client, None).expect("a name");
        let mut bench = Bench {
            scratch: Scratch::new(),
            sealed: Sealed::default(),
            ours: Template::new(&world.server).session(),
            our_client: client(),
            bare: UnbufferedServerConnection::new(world.server.choose(None).expect("one").config).expect("a server"),
            bare_client: client(),
        };
        bench.shake();
        bench
    }

    fn shake(&mut self) {
        let Bench { scratch, sealed, ours, our_client, bare, bare_client } = self;
        for is_ours in [true, false] {
            let mut to_client = Vec::new();
            loop {
                read_into(scratch, &to_client);
                let (wire, plain) = scratch.wire(&[], to_client.len());
                let client = if is_ours { &mut *our_client } else { &mut *bare_client };
                assert_eq!(client.open(wire, plain, sealed).eaten, to_client.len());
                let to_server = taken(sealed);
                if to_server.is_empty() {
                    break;
                }
                read_into(scratch, &to_server);
                let (wire, plain) = scratch.wire(&[], to_server.len());
                if is_ours {
                    ours.open(wire, plain, sealed);
                } else {
                    bare_open(bare, wire, plain, sealed);
                }
                to_client = taken(sealed);
            }
        }
    }

    /// How long it takes to open so many pieces; sealing them, and the read, are not counted.
    fn receive(&mut self, is_ours: bool, piece: &[u8]) -> Duration {
        let Bench { scratch, sealed, ours, our_client, bare, bare_client } = self;
        let client = if is_ours { our_client } else { bare_client };
        let mut took = Duration::ZERO;
        for _ in 0..PIECES {
            sealed.clear();
            client.seal(piece, &mut [], sealed).expect("keys");
            read_into(scratch, sealed.bytes());
            let len = sealed.len();
            sealed.clear();
            let since = Instant::now();
            let (wire, plain) = scratch.wire(&[], len);
            let eaten =
                if is_ours { ours.open(wire, plain, sealed).eaten } else { bare_open(bare, wire, plain, sealed).0 };
            took += since.elapsed();
            assert!(eaten == len && plain.len() == piece.len());
        }
        took
    }

    fn send(&mut self, is_ours: bool, piece: &[u8]) -> Duration {
        let Bench { sealed, ours, bare, .. } = self;
        let since = Instant::now();
        for _ in 0..PIECES {
            sealed.clear();
            if is_ours {
                ours.seal(piece, &mut [], sealed).expect("keys");
            } else {
                bare_seal(bare, piece, sealed);
            }
        }
        since.elapsed()
    }
}

/// Alternates both and returns what share of the bare loop's pace ours has: the median over all slices.
fn share(bench: &mut Bench, mut slice: impl FnMut(&mut Bench, bool) -> Duration) -> f64 {
    let mut shares: Vec<f64> = (0..SLICES)
        .map(|_| {
            let bare = slice(bench, false);
            let ours = slice(bench, true);
            bare.as_secs_f64() / ours.as_secs_f64()
        })
        .collect();
    shares.sort_by(f64::total_cmp);
    shares[SLICES / 2]
}

#[test]
#[ignore = "a measurement, for release builds on a quiet machine"]
fn a_session_keeps_97_percent_of_the_pace_of_rustls_alone() {
    let mut bench = Bench::new();
    for bytes in [PIECE_BYTES, 16 * 1024, 64] {
        let piece = vec![b'x'; bytes];
        let received = share(&mut bench, |bench, is_ours| bench.receive(is_ours, &piece));
        let sent = share(&mut bench, |bench, is_ours| bench.send(is_ours, &piece));
        println!("pieces of {bytes} B: received {:.1} %, sent {:.1} %", received * 100.0, sent * 100.0);
        assert!(bytes < 16 * 1024 || (received >= 0.97 && sent >= 0.97));
    }
}
