//! The load generator's process: orders come in on standard input, one a line, and each is answered by one line.
//!
//! | order | answer |
//! |---|---|
//! | `connect PEERS WINDOW BYTES TOGETHER` | `ok` when each new peer has had a datagram echoed; it sends up to TOGETHER in a call |
//! | `echo COUNT` | `ok ELAPSED P50 P99 P999`, in nanoseconds |
//! | `stream BYTES DATAGRAMS CALLS` | the same and `RECEIVED`: datagrams of so many bytes, so many in each call, at the receiver's pace |
//! | `flood BYTES DATAGRAMS CALLS` | `ok SENT RECEIVED DROPPED`: the same at full speed |
//!
//! A failed order is answered by `failed: REASON` and ends the process, as does the end of the input.

use crate::client::{Client, Terms};
use crate::rig::Outcome;
use crate::rig::load::obey_each;
use crate::sender::{Sender, Shape};
use crate::socket::Address;

/// Arguments: an address.
pub(crate) fn run(arguments: &[String]) -> Outcome<()> {
    let [address] = arguments else {
        return Err("--load wants an address".into());
    };
    let mut load = Load { address: address.parse()?, client: None, sender: None };
    obey_each(|order, numbers| load.obey(order, numbers))
}

struct Load {
    address: Address,
    client: Option<Client>,
    /// The same for all orders: the first one's shape is that of all.
    sender: Option<Sender>,
}

impl Load {
    fn obey(&mut self, order: &str, numbers: &[usize]) -> Outcome<String> {
        match (order, numbers) {
            ("connect", [peers, window, bytes, together]) => {
                let terms =
                    Terms { peers: *peers, window: *window, datagram_bytes: *bytes, datagrams_per_call: *together };
                self.client = Some(Client::connect(&self.address, terms)?);
                Ok("ok".to_owned())
            }
            ("echo", [count]) => {
                let client = self.client.as_mut().ok_or("nobody is connected")?;
                Ok(format!("ok {}", client.echo(*count)?))
            }
            ("stream", [bytes, datagrams, calls]) => {
                let (answer, received) = self.sender(*bytes, *datagrams)?.stream(*calls)?;
                Ok(format!("ok {answer} {received}"))
            }
            ("flood", [bytes, datagrams, calls]) => {
                let fate = self.sender(*bytes, *datagrams)?.flood(*calls)?;
                Ok(format!("ok {} {} {}", fate.sent, fate.received, fate.dropped))
            }
            _ => Err(format!("unknown order `{order}` with {numbers:?}").into()),
        }
    }

    fn sender(&mut self, datagram_bytes: usize, datagrams_per_call: usize) -> Outcome<&mut Sender> {
        let Address::Udp(ip) = self.address else {
            return Err("only UDP has many datagrams in a call".into());
        };
        if self.sender.is_none() {
            self.sender = Some(Sender::connect(ip, Shape { datagram_bytes, datagrams_per_call })?);
        }
        Ok(self.sender.as_mut().ok_or("no sender")?)
    }
}
