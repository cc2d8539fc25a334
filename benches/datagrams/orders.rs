//! What the datagram benchmark asks of a load generator.

use crate::client::Terms;
use crate::rig::Outcome;
use crate::rig::answer::Answer;
use crate::rig::process::Load;
use crate::sender::{Fate, Shape};

/// Room in a UDP server's receive buffer for all that a load has on its way, so that a server that is late loses
/// nothing. The kernel may give less, if `net.core.rmem_max` says so.
pub(crate) const ROOMY: &[&str] = &["--receive-buffer", "4194304"];

impl Load {
    pub(crate) fn connect_peers(&mut self, terms: Terms) -> Outcome<()> {
        let Terms { peers, window, datagram_bytes, datagrams_per_call } = terms;
        self.order(&format!("connect {peers} {window} {datagram_bytes} {datagrams_per_call}")).map(drop)
    }

    /// Has `count` datagrams echoed.
    pub(crate) fn echo_datagrams(&mut self, count: usize) -> Outcome<Answer> {
        self.timed_order(&format!("echo {count}"))
    }

    /// Has a receiver get datagrams at its own pace. Returns how many it got as well.
    pub(crate) fn stream(&mut self, shape: Shape, calls: usize) -> Outcome<(Answer, u64)> {
        let order = format!("stream {} {} {calls}", shape.datagram_bytes, shape.datagrams_per_call);
        let [elapsed_ns, p50_ns, p99_ns, p999_ns, received] = self.numbers(&order)?;
        Ok((Answer { elapsed_ns, p50_ns, p99_ns, p999_ns }, received))
    }

    /// Has a receiver get datagrams faster than it can take them.
    pub(crate) fn flood(&mut self, shape: Shape, calls: usize) -> Outcome<Fate> {
        let order = format!("flood {} {} {calls}", shape.datagram_bytes, shape.datagrams_per_call);
        let [sent, received, dropped] = self.numbers(&order)?;
        Ok(Fate { sent, received, dropped })
    }
}
