//! One sender of marked datagrams to one receiver, many in each system call (UDP_SEGMENT of udp(7)).
//!
//! Owns a blocking socket and what the receiver last told. It learns what arrived by questions, which may be lost as
//! well and are then asked again; see `tally.rs`.
//!
//! 1. `asked - answered` questions are open, and an answer settles all that were asked before it: on loopback the
//!    datagrams of one socket stay in their order.

use std::io::ErrorKind;
use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::time::{Duration, Instant};

use nix::sys::socket::{setsockopt, sockopt::UdpGsoSegment};

use crate::rig::Outcome;
use crate::rig::answer::Answer;
use crate::tally::{ANSWER_BYTES, DATAGRAM_BYTES_MIN, Tally, mark};

/// Between two questions of a stream.
const CALLS_PER_QUESTION: usize = 4;
/// So many questions of a stream may be open, with the datagrams before them.
const OPEN_QUESTIONS_MAX: u64 = 2;
/// After this a question is asked again.
const ANSWER_TIME_MAX: Duration = Duration::from_millis(100);
/// How often, before the receiver is given up.
const RETRIES_MAX: usize = 50;

/// What leaves in one system call.
#[derive(Clone, Copy)]
pub(crate) struct Shape {
    pub(crate) datagram_bytes: usize,
    pub(crate) datagrams_per_call: usize,
}

pub(crate) struct Sender {
    socket: UdpSocket,
    shape: Shape,
    buffer: Vec<u8>,
    next_sequence: u64,
    /// Numbers of the last question, and of the last that was answered.
    asked: u64,
    answered: u64,
    tally: Tally,
}

/// What became of datagrams, questions among them.
pub(crate) struct Fate {
    pub(crate) sent: u64,
    pub(crate) received: u64,
    pub(crate) dropped: u64,
}

impl Sender {
    /// Connects, and asks a first question.
    pub(crate) fn connect(address: SocketAddr, shape: Shape) -> Outcome<Self> {
        if shape.datagram_bytes < DATAGRAM_BYTES_MIN {
            return Err(format!("a datagram of {} B has no room for its marks", shape.datagram_bytes).into());
        }
        let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))?;
        socket.connect(address)?;
        socket.set_read_timeout(Some(ANSWER_TIME_MAX))?;
        setsockopt(&socket, UdpGsoSegment, &i32::try_from(shape.datagram_bytes)?)
            .map_err(|error| format!("this kernel does not segment: {error}"))?;
        let buffer = vec![0; shape.datagram_bytes * shape.datagrams_per_call];
        let tally = Tally::default();
        let mut sender = Sender { socket, shape, buffer, next_sequence: 0, asked: 0, answered: 0, tally };
        sender.ask()?;
        sender.settle(0, |_, _| ())?;
        Ok(sender)
    }

    /// Sends calls at the pace of the receiver. Returns how many datagrams arrived as well; latencies are those of
    /// questions, behind the datagrams that were sent before them.
    pub(crate) fn stream(&mut self, calls: usize) -> Outcome<(Answer, u64)> {
        let (before, sequences) = (self.tally, self.next_sequence);
        let first_question = self.asked + 1;
        let mut asked_at: Vec<Instant> = Vec::new();
        let mut latencies_ns: Vec<u32> = Vec::new();
        let begun = Instant::now();
        let mut left = calls;
        while left > 0 {
            let batch = left.min(CALLS_PER_QUESTION);
            left -= batch;
            for _ in 0..batch {
                self.send_marked()?;
            }
            // Questions that are asked again have no moment of their own.
            asked_at.resize((self.asked + 1 - first_question) as usize, begun);
            asked_at.push(Instant::now());
            self.ask()?;
            let open_max = if left == 0 { 0 } else { OPEN_QUESTIONS_MAX - 1 };
            self.settle(open_max, |question, now| {
                let asked_at = question.checked_sub(first_question).and_then(|index| asked_at.get(index as usize));
                let latency = asked_at.map_or(Duration::ZERO, |asked_at| now - *asked_at);
                latencies_ns.push(u32::try_from(latency.as_nanos()).unwrap_or(u32::MAX));
            })?;
        }
        let elapsed = begun.elapsed();
        latencies_ns.sort_unstable();
        let received = self.tally.datagrams - before.datagrams;
        self.check(&before, sequences, received)?;
        Ok((Answer::of(elapsed, &latencies_ns), received))
    }

    /// Sends calls as fast as it can, and then asks until the receiver has told of all.
    pub(crate) fn flood(&mut self, calls: usize) -> Outcome<Fate> {
        let (before, sequences, asked) = (self.tally, self.next_sequence, self.asked);
        for _ in 0..calls {
            self.send_marked()?;
        }
        self.ask()?;
        self.settle(0, |_, _| ())?;
        let after = self.tally;
        let received = after.datagrams - before.datagrams;
        self.check(&before, sequences, received)?;
        Ok(Fate {
            sent: self.next_sequence - sequences + self.asked - asked,
            received: received + after.questions - before.questions,
            dropped: after.dropped - before.dropped,
        })
    }

    /// One call's datagrams.
    fn send_marked(&mut self) -> Outcome<()> {
        for datagram in self.buffer.chunks_exact_mut(self.shape.datagram_bytes) {
            mark(datagram, self.next_sequence);
            self.next_sequence += 1;
        }
        match self.socket.send(&self.buffer)? {
            count if count == self.buffer.len() => Ok(()),
            count => Err(format!("{count} of {} B were sent", self.buffer.len()).into()),
        }
    }

    fn ask(&mut self) -> Outcome<()> {
        self.asked += 1;
        self.socket.send(&self.asked.to_le_bytes())?;
        Ok(())
    }

    /// Waits until no more than so many questions are open; those without an answer are asked again. `settled` is told
    /// the number of each answered one.
    fn settle(&mut self, open_max: u64, mut settled: impl FnMut(u64, Instant)) -> Outcome<()> {
        let mut retries = 0;
        while self.asked - self.answered > open_max {
            let mut answer = [0; ANSWER_BYTES];
            match self.socket.recv(&mut answer) {
                Ok(count) => {
                    let (question, tally) = Tally::read(&answer[..count]).ok_or("an answer that is none")?;
                    if question > self.answered {
                        (self.answered, self.tally) = (question, tally);
                        settled(question, Instant::now());
                    }
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock && retries < RETRIES_MAX => {
                    retries += 1;
                    self.ask()?;
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    return Err(format!("the receiver did not answer {RETRIES_MAX} questions").into());
                }
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }

    /// Whether what arrived is what was sent from sequence number `first` on, as far as numbers and marks tell.
    fn check(&self, before: &Tally, first: u64, received: u64) -> Outcome<()> {
        let spoilt = self.tally.spoilt - before.spoilt;
        let sent = self.next_sequence - first;
        if spoilt > 0 || received > sent {
            return Err(format!("{spoilt} datagrams were spoilt, and {received} received of {sent} sent").into());
        }
        let expected = (first..self.next_sequence).fold(0, u64::wrapping_add);
        if received == sent && self.tally.sequences.wrapping_sub(before.sequences) != expected {
            return Err("some datagrams were received twice and others not at all".into());
        }
        Ok(())
    }
}
