//! The processes of a run: a server or receiver, and the load generator that has it work.
//!
//! Owns what they are asked and what they answer. Knows nothing of what is measured.

use std::time::Duration;

use crate::Outcome;
use crate::answer::Answer;
use crate::child::{Directory, Process, own_executable};
use crate::client::Terms;
use crate::launch::Core;
use crate::peer::Peer;
use crate::sender::{Fate, Shape};

const START_TIME_MAX: Duration = Duration::from_secs(30);
const ORDER_TIME_MAX: Duration = Duration::from_secs(330);

/// Room in a UDP server's receive buffer for all that a load has on its way, so that a server that is late loses
/// nothing. The kernel may give less, if `net.core.rmem_max` says so.
pub(crate) const ROOMY: &[&str] = &["--receive-buffer", "4194304"];

/// Which kind of socket a scenario runs over.
#[derive(Clone, Copy)]
pub(crate) enum Transport {
    Udp,
    Unixgram,
}

/// A server that said where it listens.
pub(crate) struct Server {
    name: String,
    process: Process,
    /// As it printed it.
    address: String,
    /// Where the Unix sockets of both sides are.
    _directory: Directory,
}

impl Server {
    /// Starts a server and waits until it listens.
    pub(crate) fn start(peer: &Peer, transport: Transport, options: &[&str]) -> Outcome<Self> {
        let directory = Directory::create()?;
        let listen = match transport {
            Transport::Udp => "udp://127.0.0.1:0".to_owned(),
            Transport::Unixgram => format!("unixgram:{}", directory.file("socket").display()),
        };
        let options = peer.options.iter().chain(options).copied();
        let arguments: Vec<&str> = options.chain(["--listen", &listen]).collect();
        let process = Process::start(Core::Server, &peer.program, &arguments)?;
        let line = process.line(START_TIME_MAX).map_err(|error| format!("{} did not start: {error}", peer.name))?;
        let address = line
            .strip_prefix("listening on ")
            .ok_or_else(|| format!("{} printed `{line}`, not `listening on ADDRESS`", peer.name))?
            .to_owned();
        Ok(Server { name: peer.name.clone(), process, address, _directory: directory })
    }

    pub(crate) fn pid(&self) -> u32 {
        self.process.pid()
    }

    pub(crate) fn name(&self) -> &str {
        &self.name
    }
}

/// A load generator for one server.
pub(crate) struct Load {
    process: Process,
}

impl Load {
    pub(crate) fn start(server: &Server) -> Outcome<Self> {
        let process = Process::start(Core::Load, &own_executable()?, &["--load", &server.address])?;
        Ok(Load { process })
    }

    /// Connects peers.
    pub(crate) fn connect(&mut self, terms: Terms) -> Outcome<()> {
        let Terms { peers, window, datagram_bytes, datagrams_per_call } = terms;
        match self.order(&format!("connect {peers} {window} {datagram_bytes} {datagrams_per_call}"))?.as_slice() {
            [] => Ok(()),
            other => Err(format!("the load generator answered {other:?} to `connect`").into()),
        }
    }

    /// Has `count` datagrams echoed.
    pub(crate) fn echo(&mut self, count: usize) -> Outcome<Answer> {
        match self.order(&format!("echo {count}"))?.as_slice() {
            &[elapsed_ns, p50_ns, p99_ns, p999_ns] => Ok(Answer { elapsed_ns, p50_ns, p99_ns, p999_ns }),
            other => Err(format!("the load generator answered {other:?} to `echo`").into()),
        }
    }

    /// Has a receiver get datagrams at its own pace. Returns how many it got as well.
    pub(crate) fn stream(&mut self, shape: Shape, calls: usize) -> Outcome<(Answer, u64)> {
        match self.order(&format!("stream {} {} {calls}", shape.datagram_bytes, shape.datagrams_per_call))?.as_slice() {
            &[elapsed_ns, p50_ns, p99_ns, p999_ns, received] => {
                Ok((Answer { elapsed_ns, p50_ns, p99_ns, p999_ns }, received))
            }
            other => Err(format!("the load generator answered {other:?} to `stream`").into()),
        }
    }

    /// Has a receiver get datagrams faster than it can take them.
    pub(crate) fn flood(&mut self, shape: Shape, calls: usize) -> Outcome<Fate> {
        match self.order(&format!("flood {} {} {calls}", shape.datagram_bytes, shape.datagrams_per_call))?.as_slice() {
            &[sent, received, dropped] => Ok(Fate { sent, received, dropped }),
            other => Err(format!("the load generator answered {other:?} to `flood`").into()),
        }
    }

    /// The numbers behind its `ok`.
    fn order(&mut self, order: &str) -> Outcome<Vec<u64>> {
        let failed = |error| format!("load generator, `{order}`: {error}");
        self.process.order(order).map_err(failed)?;
        let answer = self.process.line(ORDER_TIME_MAX).map_err(failed)?;
        let rest = answer.strip_prefix("ok").ok_or_else(|| format!("load generator, `{order}`: {answer}"))?;
        Ok(rest.split_whitespace().map(str::parse).collect::<Result<_, _>>()?)
    }
}
