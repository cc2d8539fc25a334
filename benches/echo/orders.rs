//! What else the echo benchmark asks of a load generator.

use std::path::Path;
use std::time::Duration;

use crate::rig::Outcome;
use crate::rig::answer::Answer;
use crate::rig::child::{Process, numbers, own_executable};
use crate::rig::launch::Core;
use crate::rig::process::{Load, Server};

impl Load {
    /// Starts one that has its core only while nothing else wants it.
    pub(crate) fn start_in_background(server: &Server) -> Outcome<Self> {
        let own = own_executable()?.display().to_string();
        let mut command = vec!["--idle".to_owned(), "0".to_owned(), own];
        command.extend(Self::arguments(server));
        let process = Process::start(Core::Load, Path::new("chrt"), &command)?;
        Ok(Load { process })
    }

    /// Opens connections that send nothing; fewer than the server's backlog.
    pub(crate) fn connect_silently(&mut self, count: usize) -> Outcome<()> {
        self.order(&format!("connect-silently {count}")).map(drop)
    }

    /// The same, but each message has a connection of its own; `active` are open at a time.
    pub(crate) fn churn(&mut self, active: usize, size: usize, count: usize) -> Outcome<Answer> {
        self.timed_order(&format!("churn {active} {size} {count}"))
    }

    /// Has one message of `size` bytes echoed on each of `count` connections, `active` of them at a time.
    pub(crate) fn sweep(&mut self, active: usize, size: usize, count: usize) -> Outcome<Answer> {
        self.timed_order(&format!("sweep {active} {size} {count}"))
    }

    /// Has `count` TLS connections made and closed, `active` at a time.
    pub(crate) fn handshakes(&mut self, active: usize, count: usize) -> Outcome<Answer> {
        self.timed_order(&format!("handshakes {active} {count}"))
    }

    /// Begins what `calm` ends: TLS connections made and closed, `active` at a time.
    pub(crate) fn storm(&mut self, active: usize) -> Outcome<()> {
        self.send(&format!("storm {active}"))
    }

    /// Ends a storm and returns how many connections it made a second.
    pub(crate) fn calm(&mut self) -> Outcome<f64> {
        self.send("close")?;
        let answer = self.receive("storm")?;
        self.receive("close")?;
        match numbers(&answer)?.as_slice() {
            &[elapsed_ns, count] => Ok(count as f64 / (elapsed_ns as f64 / 1e9)),
            _ => Err(format!("the load generator answered `{answer}` to a storm").into()),
        }
    }

    /// Has `count` messages of `size` bytes echoed on each of `active` connections of their own, one every `interval`.
    /// Returns the generator's own lateness as well, the p99 in nanoseconds.
    pub(crate) fn probe(
        &mut self,
        active: usize,
        size: usize,
        interval: Duration,
        count: usize,
    ) -> Outcome<(Answer, u64)> {
        let order = format!("probe {active} {size} {} {count}", interval.as_micros());
        let [elapsed_ns, p50_ns, p99_ns, p999_ns, late_ns] = self.numbers(&order)?;
        Ok((Answer { elapsed_ns, p50_ns, p99_ns, p999_ns }, late_ns))
    }
}
