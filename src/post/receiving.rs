//! How datagrams come, and what errors tell in place of them.
//!
//! Owns the rules only; the state is the post's.

use crate::config::datagram::IcmpErrors;
use crate::error::{Reason, error_number};
use crate::net::datagram::arrivals::{Arrivals, Behind};
use crate::net::datagram::peer::DatagramPeer;
use crate::net::system;
use crate::post::{DatagramError, Errors, Incoming, Life, Post, Reading, SendMode};
use std::io;

/// Errors of the network that one drive takes from the socket's queue.
const ERRORS_PER_DRIVE: usize = 16;

/// A socket that tells of so many errors and gives nothing between them is broken.
const FAILURES_MAX: usize = 64;

impl Post {
    /// Whether the kernel may have datagrams that are wanted.
    pub(crate) fn may_receive(&self) -> bool {
        self.incoming != Incoming::Awaited && self.reading == Reading::Goes && self.life == Life::Open
    }

    /// Receives up to `max` datagrams, or as many messages of joined ones.
    #[inline(always)]
    pub(crate) fn receive(&mut self, arrivals: &mut Arrivals, max: usize) {
        let behind = arrivals.receive(&mut self.socket, max, self.limits.bytes_max);
        let is_alone = arrivals.arrived().len() == 1 && matches!(behind, Behind::Short | Behind::Nothing);
        self.send_mode = if is_alone { SendMode::Once } else { SendMode::Queue };
        match behind {
            Behind::More => self.failures = 0,
            Behind::Short if self.incoming == Incoming::MustDrain => self.failures = 0,
            Behind::Short | Behind::Nothing => {
                self.incoming = Incoming::Awaited;
                self.failures = 0;
            }
            Behind::Error(source) => self.receive_failed(source),
        }
    }

    /// A trouble of an earlier datagram, or of the socket itself.
    #[cold]
    fn receive_failed(&mut self, source: io::Error) {
        match error_number(&source) {
            Some(number) if crate::net::datagram::is_broken(&source) => self.cut(Reason::Os(number)),
            _ if self.explained() => {}
            number => {
                self.faults.push_back(DatagramError::Socket { source });
                self.failures += 1;
                if self.failures == FAILURES_MAX {
                    self.cut(number.map_or(Reason::Bug, Reason::Os));
                }
            }
        }
    }

    /// Counts one datagram that is shown.
    pub(crate) fn count_in(&mut self, bytes: usize, is_truncated: bool) {
        self.stats.datagrams_in += 1;
        self.stats.bytes_in += bytes as u64;
        self.stats.truncated += u64::from(is_truncated);
    }

    /// Takes errors of the network from the socket's queue.
    #[inline]
    pub(crate) fn take_errors(&mut self) {
        if self.errors == Errors::Waiting {
            self.take_waiting_errors();
        }
    }

    fn take_waiting_errors(&mut self) {
        if self.has_error_queue() {
            for _ in 0..ERRORS_PER_DRIVE {
                match system::mmsg::next_error(&self.socket) {
                    // What this host refuses by itself is told where it is sent.
                    Ok(Some(told)) if told.icmp.is_none() => {}
                    Ok(Some(told)) => {
                        let to = told.to.map(DatagramPeer::from);
                        let (by, icmp, source) = (told.by, told.icmp, told.source);
                        self.faults.push_back(DatagramError::Network { to, by, icmp, source });
                    }
                    Ok(None) | Err(_) => {
                        self.errors = Errors::Awaited;
                        return self.take_socket_error();
                    }
                }
            }
            return;
        }
        self.errors = Errors::Awaited;
        self.take_socket_error();
    }

    fn take_socket_error(&mut self) {
        if let Some(source) = self.socket.take_error() {
            self.faults.push_back(DatagramError::Socket { source });
        }
    }

    /// Whether the network's answers are queued.
    fn has_error_queue(&self) -> bool {
        system::HAS_ERROR_QUEUE && self.limits.icmp_errors == IcmpErrors::Told && !self.socket.is_unix()
    }

    /// Whether the queue of errors tells what a call has failed of.
    pub(super) fn explained(&mut self) -> bool {
        let before = self.faults.len();
        if self.has_error_queue() {
            self.errors = Errors::Waiting;
            self.take_errors();
        }
        self.faults.len() > before
    }

    /// What is to be told.
    pub(crate) fn next_fault(&mut self) -> Option<DatagramError> {
        self.faults.pop_front()
    }
}
