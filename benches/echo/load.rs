//! The load generator's process: orders come in on standard input, one a line, and each is answered by one line.
//!
//! | order | answer |
//! |---|---|
//! | `connect COUNT` | `ok` when each new connection has had a byte echoed |
//! | `echo CONNECTIONS BYTES COUNT` | `ok ELAPSED P50 P99 P999`, in nanoseconds |
//! | `churn CONNECTIONS BYTES COUNT` | the same; each message on a connection of its own |
//! | `close` | `ok` when all connections are closed |
//!
//! A failed order is answered by `failed: REASON` and ends the process, as does the end of the input.

use std::io::BufRead;

use crate::Outcome;
use crate::client::{Afterwards, Client, Timing};

pub(crate) fn run(arguments: &[String]) -> Outcome<()> {
    let [address] = arguments else {
        return Err("--load wants an address".into());
    };
    let mut client = Client::new(address.parse()?)?;
    for line in std::io::stdin().lock().lines() {
        match obey(&mut client, &line?) {
            Ok(answer) => println!("{answer}"),
            Err(error) => {
                println!("failed: {error}");
                return Ok(());
            }
        }
    }
    Ok(())
}

fn obey(client: &mut Client, line: &str) -> Outcome<String> {
    let (order, rest) = line.split_once(' ').unwrap_or((line, ""));
    let numbers = rest.split_whitespace().map(str::parse).collect::<Result<Vec<usize>, _>>()?;
    match (order, numbers.as_slice()) {
        ("connect", [count]) => client.connect(*count).map(|()| "ok".to_owned()),
        ("echo", [active, size, count]) => client.echo(*active, *size, *count, Afterwards::Keep).map(answer),
        ("churn", [active, size, count]) => client.echo(*active, *size, *count, Afterwards::Replace).map(answer),
        ("close", []) => {
            client.close();
            Ok("ok".to_owned())
        }
        _ => Err(format!("unknown order `{line}`").into()),
    }
}

fn answer(timing: Timing) -> String {
    let permille = |permille: usize| {
        let last = timing.latencies_ns.len() - 1;
        timing.latencies_ns[last * permille / 1000]
    };
    format!("ok {} {} {} {}", timing.elapsed.as_nanos(), permille(500), permille(990), permille(999))
}
