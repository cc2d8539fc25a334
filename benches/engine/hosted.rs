//! A host, as the harness sees it.

use std::net::SocketAddr;
use std::time::Duration;

use crate::Outcome;
use crate::census::Census;
use crate::child::{Process, own_executable};
use crate::launch::Core;

/// An answer may wait for a drain.
const ANSWER_TIME_MAX: Duration = Duration::from_secs(30);

pub(crate) struct Hosted {
    process: Process,
    /// In the order in which they were asked for.
    pub(crate) addresses: Vec<SocketAddr>,
}

impl Hosted {
    /// Starts a host that listens at all of `listen`, on any core.
    pub(crate) fn start(listen: &[&str], options: &[&str]) -> Outcome<Self> {
        let listens = listen.iter().flat_map(|address| ["--listen", address]);
        let arguments: Vec<&str> = ["--host"].into_iter().chain(listens).chain(options.iter().copied()).collect();
        let process = Process::start(Core::All, &own_executable()?, &arguments)?;
        let mut addresses = Vec::new();
        for _ in listen {
            let line = process.line(ANSWER_TIME_MAX).map_err(|error| format!("a host did not start: {error}"))?;
            let address = line.strip_prefix("listening on ").and_then(|address| address.split_once("://"));
            addresses.push(address.ok_or_else(|| format!("a host printed `{line}`"))?.1.parse()?);
        }
        Ok(Hosted { process, addresses })
    }

    /// Connections of each reactor.
    pub(crate) fn connections(&mut self) -> Outcome<Vec<u64>> {
        self.process.order("connections")?;
        self.numbers("connections")
    }

    /// What its reactors have counted so far.
    pub(crate) fn snapshot(&mut self) -> Outcome<Census> {
        self.process.order("snapshots")?;
        Census::read(&self.numbers("snapshots")?)
    }

    /// Has it drain, and returns what all its reactors counted in the end and how many connections were cut.
    pub(crate) fn drain(&mut self, reactors: usize, time: Duration) -> Outcome<(Census, u64)> {
        self.process.order(&format!("drain {}", time.as_secs_f64()))?;
        let mut sum = Census::default();
        for _ in 0..reactors {
            sum.add(&Census::read(&self.numbers("final")?)?);
        }
        match self.numbers("drained")?.as_slice() {
            &[_, cut, _] => Ok((sum, cut)),
            other => Err(format!("a host said of its drain {other:?}").into()),
        }
    }

    /// The numbers behind a word.
    fn numbers(&self, word: &str) -> Outcome<Vec<u64>> {
        let line = self.process.line(ANSWER_TIME_MAX).map_err(|error| format!("host, `{word}`: {error}"))?;
        let rest = line.strip_prefix(word).ok_or_else(|| format!("a host said `{line}`, not `{word}`"))?;
        Ok(rest.split_whitespace().map(str::parse).collect::<Result<_, _>>()?)
    }
}
