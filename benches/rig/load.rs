//! The load generator's process: orders come in on standard input, one a line, and each is answered by one line.
//!
//! | order | answer |
//! |---|---|
//! | `connect COUNT` | `ok` when each new connection has had a byte echoed |
//! | `connect-silently COUNT` | `ok` when the kernel has connected them; nothing is sent, not even with TLS |
//! | `echo CONNECTIONS BYTES COUNT` | `ok ELAPSED P50 P99 P999`, in nanoseconds |
//! | `churn CONNECTIONS BYTES COUNT` | the same; each message on a connection of its own |
//! | `sweep CONNECTIONS BYTES COUNT` | the same; one message each on COUNT connections, so many at a time |
//! | `handshakes CONNECTIONS COUNT` | the same; a TLS connection each that sends nothing, so many at a time |
//! | `storm CONNECTIONS` | the same without a count: `ok ELAPSED COUNT` when the next order has come |
//! | `probe CONNECTIONS BYTES INTERVAL COUNT` | `ok ELAPSED P50 P99 P999 LATE`: one message each INTERVAL µs; LATE is the p99 of what the generator itself was late by |
//! | `close` | `ok` when all connections are closed |
//!
//! A failed order is answered by `failed: REASON` and ends the process, as does the end of the input.

use std::io::BufRead;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustls::ClientConfig;

use crate::rig::Outcome;
use crate::rig::answer::{Answer, permille};
use crate::rig::certificate;
use crate::rig::client::{Afterwards, Client, Timing};
use crate::rig::handshaker::{Handshaker, Until};
use crate::rig::probe::{self, Schedule};
use crate::rig::socket::Address;

/// Arguments: an address, and for one with TLS the file of the certificate to expect.
pub(crate) fn run(arguments: &[String]) -> Outcome<()> {
    let (address, tls) = match arguments {
        [address] => (address, None),
        [address, certificate] => (address, Some(certificate::client(Path::new(certificate))?)),
        _ => return Err("--load wants an address and perhaps a certificate".into()),
    };
    let address: Address = address.parse()?;
    let mut load = Load { client: Client::new(address.clone(), tls.clone())?, address, tls };
    obey_each(|order, numbers| load.obey(order, numbers))
}

/// Obeys orders as they come, each a word and numbers, until the input ends or one fails.
pub(crate) fn obey_each(mut obey: impl FnMut(&str, &[usize]) -> Outcome<String>) -> Outcome<()> {
    for line in std::io::stdin().lock().lines() {
        let line = line?;
        let (order, rest) = line.split_once(' ').unwrap_or((&line, ""));
        let numbers = rest.split_whitespace().map(str::parse).collect::<Result<Vec<usize>, _>>()?;
        match obey(order, &numbers) {
            Ok(answer) => println!("{answer}"),
            Err(error) => {
                println!("failed: {error}");
                return Ok(());
            }
        }
    }
    Ok(())
}

struct Load {
    client: Client,
    address: Address,
    tls: Option<Arc<ClientConfig>>,
}

impl Load {
    fn obey(&mut self, order: &str, numbers: &[usize]) -> Outcome<String> {
        match (order, numbers) {
            ("connect", [count]) => self.client.connect(*count).map(|()| "ok".to_owned()),
            ("connect-silently", [count]) => self.client.connect_silently(*count).map(|()| "ok".to_owned()),
            ("echo", [active, size, count]) => self.echo(*active, *size, *count, Afterwards::Keep),
            ("churn", [active, size, count]) => self.echo(*active, *size, *count, Afterwards::Replace),
            ("sweep", [active, size, count]) => self.echo(*active, *size, *count, Afterwards::Rest),
            ("handshakes", [width, count]) => {
                self.handshakes(*width, Until::Count(*count)).map(|timing| answer(&timing))
            }
            ("storm", [width]) => {
                let timing = self.handshakes(*width, Until::Told)?;
                Ok(format!("ok {} {}", timing.elapsed.as_nanos(), timing.latencies_ns.len()))
            }
            ("probe", [connections, message_bytes, interval, messages]) => {
                let interval = Duration::from_micros(u64::try_from(*interval)?);
                self.probe(Schedule {
                    connections: *connections,
                    message_bytes: *message_bytes,
                    interval,
                    messages: *messages,
                })
            }
            ("close", []) => {
                self.client.close();
                Ok("ok".to_owned())
            }
            _ => Err(format!("unknown order `{order}` with {numbers:?}").into()),
        }
    }

    fn echo(&mut self, active: usize, size: usize, count: usize, afterwards: Afterwards) -> Outcome<String> {
        self.client.echo(active, size, count, afterwards).map(|timing| answer(&timing))
    }

    fn handshakes(&mut self, width: usize, until: Until) -> Outcome<Timing> {
        Handshaker::new(self.address.clone(), self.config()?.clone())?.run(width, until)
    }

    fn probe(&mut self, schedule: Schedule) -> Outcome<String> {
        let begun = Instant::now();
        let seen = probe::run(&self.address, self.config()?, schedule)?;
        let timing = Timing { elapsed: begun.elapsed(), latencies_ns: seen.latencies_ns };
        Ok(format!("{} {}", answer(&timing), permille(&seen.late_ns, 990)))
    }

    fn config(&self) -> Outcome<&Arc<ClientConfig>> {
        Ok(self.tls.as_ref().ok_or("a handshake wants a certificate to expect")?)
    }
}

fn answer(timing: &Timing) -> String {
    format!("ok {}", Answer::of(timing.elapsed, &timing.latencies_ns))
}
