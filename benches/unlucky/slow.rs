//! Very many bytes through the proxy to a slow reader: its memory stays what it was.

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::thread;
use std::time::{Duration, Instant};

use crate::options::Options;
use crate::rig::Outcome;
use crate::rig::holdings;
use crate::rig::hosted::Hosted;
use crate::rig::launch::Core;
use crate::rig::pattern::{PIECE_BYTES_MAX, Pattern};
use crate::rig::report::{self, Report};
use crate::rig::until::{PATIENCE, until};
use crate::stalled::PIPE_DESCRIPTORS;

const BYTES: u64 = 10_000_000_000;
const BYTES_QUICK: u64 = 200_000_000;
/// What the reader takes in a second; a sender on loopback is several times as fast.
const BYTES_PER_SECOND: u64 = 200_000_000;
const BYTES_PER_SECOND_QUICK: u64 = 80_000_000;
const SAMPLE_EVERY: Duration = Duration::from_millis(20);

const GROWTH_KIB_MAX: f64 = 4096.0;

pub(crate) fn run(options: &Options, report: &mut Report) -> Outcome<()> {
    report::title("proxy-slow", "very many bytes through the proxy to a slow reader");
    let bytes = options.asked.pick(BYTES, BYTES_QUICK);
    let rate = options.asked.pick(BYTES_PER_SECOND, BYTES_PER_SECOND_QUICK);
    let target = TcpListener::bind("127.0.0.1:0")?;
    let to = format!("tcp://{}", target.local_addr()?);
    let proxy = Hosted::start_as_is(Core::Server, &[&options.proxy, "tcp://127.0.0.1:0", &to], 1)?;
    let descriptors = holdings::open_descriptors(proxy.pid())?;
    let start = holdings::resident(proxy.pid())?.status;

    let address = proxy.address();
    let sender = thread::spawn(move || send(TcpStream::connect(address)?, bytes));
    let stream = accept(&target)?;
    let reading = read_slowly(stream, &proxy, rate)?;
    let waited = sender.join().map_err(|_| "the sender's thread panicked")??;

    report.exactly("bytes that came through, each right", reading.received, bytes);
    report.condition("the reader's answer came back after its end", waited.is_answered);
    report::note(&format!(
        "{:.1} s at {:.0} MB/s; the reader slept {:.1} s of them",
        reading.took.as_secs_f64(),
        bytes as f64 / 1e6 / reading.took.as_secs_f64(),
        reading.slept.as_secs_f64()
    ));
    report.condition("the reader was slower than the sender", reading.slept > reading.took / 10);
    let growth = reading.resident_max.saturating_sub(start) / 1024;
    report::note(&format!("resident at the start {} KiB", start / 1024));
    report.at_most("KiB that the proxy grew by, at most", growth as f64, GROWTH_KIB_MAX);
    proxy.wait_for_descriptors(descriptors + PIPE_DESCRIPTORS)
}

/// Waits for the proxy to connect.
fn accept(target: &TcpListener) -> Outcome<TcpStream> {
    target.set_nonblocking(true)?;
    let mut accepted = None;
    until("the proxy to connect", PATIENCE, || match target.accept() {
        Ok((stream, _)) => {
            accepted = Some(stream);
            Ok(true)
        }
        Err(error) if error.kind() == ErrorKind::WouldBlock => Ok(false),
        Err(error) => Err(error.into()),
    })?;
    let stream = accepted.ok_or("no connection")?;
    stream.set_nonblocking(false)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    Ok(stream)
}

struct Sending {
    is_answered: bool,
}

/// What the reader sends when it has read the end.
const ANSWER: &[u8] = b"all";

fn send(mut stream: TcpStream, bytes: u64) -> std::io::Result<Sending> {
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    let pattern = Pattern::new();
    let mut sent = 0;
    while sent < bytes {
        let piece = pattern.piece(sent, (bytes - sent).min(PIECE_BYTES_MAX as u64) as usize);
        stream.write_all(piece)?;
        sent += piece.len() as u64;
    }
    stream.shutdown(Shutdown::Write)?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer)?;
    Ok(Sending { is_answered: answer == ANSWER })
}

struct Reading {
    received: u64,
    took: Duration,
    slept: Duration,
    /// In bytes.
    resident_max: u64,
}

/// Reads no faster than `rate` bytes a second until the end, and watches the proxy's memory meanwhile.
fn read_slowly(mut stream: TcpStream, proxy: &Hosted, rate: u64) -> Outcome<Reading> {
    let pattern = Pattern::new();
    let mut buffer = vec![0; 256 * 1024];
    let begun = Instant::now();
    let mut reading = Reading { received: 0, took: Duration::ZERO, slept: Duration::ZERO, resident_max: 0 };
    let mut sampled = begun;
    loop {
        let count = stream.read(&mut buffer).map_err(|error| format!("after {} bytes: {error}", reading.received))?;
        if count == 0 {
            break;
        }
        if !pattern.holds(reading.received, &buffer[..count]) {
            return Err(format!("wrong bytes at {}", reading.received).into());
        }
        reading.received += count as u64;
        if sampled.elapsed() > SAMPLE_EVERY {
            sampled = Instant::now();
            reading.resident_max = reading.resident_max.max(holdings::resident(proxy.pid())?.status);
        }
        let due = Duration::from_secs_f64(reading.received as f64 / rate as f64);
        let early = due.saturating_sub(begun.elapsed());
        if early > Duration::from_millis(1) {
            thread::sleep(early);
            reading.slept += early;
        }
    }
    reading.took = begun.elapsed();
    stream.write_all(ANSWER)?;
    Ok(reading)
}
