//! A server with several listeners, as the harness sees it.

use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use crate::rig::Outcome;
use crate::rig::child::Process;
use crate::rig::holdings;
use crate::rig::launch::Core;
use crate::rig::until::{PATIENCE, until};

/// A free port of loopback.
pub(crate) const ANYWHERE: &str = "tcp://127.0.0.1:0";
/// An answer may wait for a drain.
const ANSWER_TIME_MAX: Duration = Duration::from_secs(30);

pub(crate) struct Hosted {
    pub(crate) process: Process,
    /// In the order in which they were asked for.
    pub(crate) addresses: Vec<SocketAddr>,
}

impl Hosted {
    /// Starts a server that listens at all of `listen`.
    pub(crate) fn start(core: Core, command: &[&str], listen: &[&str]) -> Outcome<Self> {
        let listens = listen.iter().flat_map(|address| ["--listen", address]);
        let command: Vec<&str> = command.iter().copied().chain(listens).collect();
        Hosted::start_as_is(core, &command, listen.len())
    }

    /// The same, with the whole command line given: it will have so many listeners.
    pub(crate) fn start_as_is(core: Core, command: &[&str], listeners: usize) -> Outcome<Self> {
        let [program, arguments @ ..] = command else {
            return Err("no program to start".into());
        };
        let process = Process::start(core, Path::new(program), arguments)?;
        let mut addresses = Vec::new();
        for _ in 0..listeners {
            let line = process
                .line_after("listening on ", ANSWER_TIME_MAX)
                .map_err(|error| format!("{program} did not start: {error}"))?;
            let (_, address) = line.split_once("://").ok_or_else(|| format!("{program} listens on {line}"))?;
            addresses.push(address.parse()?);
        }
        Ok(Hosted { process, addresses })
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.addresses[0]
    }

    pub(crate) fn pid(&self) -> u32 {
        self.process.pid()
    }

    /// Asks, and returns what it says behind a word.
    pub(crate) fn ask(&mut self, order: &str, word: &str) -> Outcome<String> {
        self.process.order(order)?;
        self.told(word)
    }

    /// What it says next behind a word.
    pub(crate) fn told(&self, word: &str) -> Outcome<String> {
        Ok(self.process.line_after(word, ANSWER_TIME_MAX).map_err(|error| format!("host, `{word}`: {error}"))?)
    }

    /// Waits until it has closed what its peers closed.
    pub(crate) fn wait_for_descriptors(&self, count: usize) -> Outcome<()> {
        let what = format!("the server to have no more than {count} descriptors");
        until(&what, PATIENCE, || Ok(holdings::open_descriptors(self.pid())? <= count)).map(drop)
    }
}
