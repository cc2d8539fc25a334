//! What else the echo benchmark asks of a load generator, and waits for in a server.

use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use crate::Outcome;
use crate::answer::Answer;
use crate::child::{Process, own_executable};
use crate::holdings;
use crate::launch::Core;
use crate::process::{Load, Server, numbers};

const ACCEPT_TIME_MAX: Duration = Duration::from_secs(10);
const CLOSE_TIME_MAX: Duration = Duration::from_secs(20);

impl Server {
    /// Waits until it holds no more descriptors than `count`: it has seen that its clients are gone.
    pub(crate) fn wait_for_descriptors(&self, count: usize) -> Outcome<()> {
        let deadline = Instant::now() + CLOSE_TIME_MAX;
        while holdings::open_descriptors(self.pid())? > count {
            if Instant::now() > deadline {
                return Err(format!("connections are still open {CLOSE_TIME_MAX:?} after the clients closed").into());
            }
            thread::sleep(Duration::from_millis(50));
        }
        Ok(())
    }

    /// Waits until it holds `count` descriptors: it has accepted its clients.
    pub(crate) fn wait_for_accepts(&self, count: usize) -> Outcome<()> {
        let deadline = Instant::now() + ACCEPT_TIME_MAX;
        loop {
            let open = holdings::open_descriptors(self.pid())?;
            if open >= count {
                return Ok(());
            }
            if Instant::now() > deadline {
                return Err(format!("after {ACCEPT_TIME_MAX:?} it has {open} descriptors, not {count}").into());
            }
            thread::sleep(Duration::from_millis(1));
        }
    }
}

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
        let answer = self.order(&format!("probe {active} {size} {} {count}", interval.as_micros()))?;
        match numbers(&answer)?.as_slice() {
            &[elapsed_ns, p50_ns, p99_ns, p999_ns, late_ns] => {
                Ok((Answer { elapsed_ns, p50_ns, p99_ns, p999_ns }, late_ns))
            }
            _ => Err(format!("the load generator answered `{answer}` to a probe").into()),
        }
    }
}
