//! What a host is asked.

use std::time::Duration;

use crate::census::Census;
use crate::rig::Outcome;
use crate::rig::child::{numbers, own_executable};
use crate::rig::hosted::Hosted;
use crate::rig::launch::Core;

impl Hosted {
    /// Starts a host that listens at all of `listen`, on any core.
    pub(crate) fn own(listen: &[&str], options: &[&str]) -> Outcome<Self> {
        let own = own_executable()?.display().to_string();
        let command: Vec<&str> = [own.as_str(), "--host"].into_iter().chain(options.iter().copied()).collect();
        Hosted::start(Core::All, &command, listen)
    }

    /// Connections of each reactor.
    pub(crate) fn connections(&mut self) -> Outcome<Vec<u64>> {
        numbers(&self.ask("connections", "connections")?)
    }

    /// What its reactors have counted so far.
    pub(crate) fn snapshot(&mut self) -> Outcome<Census> {
        Census::read(&numbers(&self.ask("snapshots", "snapshots")?)?)
    }

    /// Has it drain, and returns what all its reactors counted in the end and how many connections were cut.
    pub(crate) fn drain(&mut self, reactors: usize, time: Duration) -> Outcome<(Census, u64)> {
        self.process.order(&format!("drain {}", time.as_secs_f64()))?;
        let mut sum = Census::default();
        for _ in 0..reactors {
            sum.add(&Census::read(&numbers(&self.told("final")?)?)?);
        }
        match numbers(&self.told("drained")?)?.as_slice() {
            &[_, cut, _] => Ok((sum, cut)),
            other => Err(format!("a host said of its drain {other:?}").into()),
        }
    }
}
