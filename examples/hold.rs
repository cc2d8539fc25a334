//! Opens many connections to an echo server, lets each echo one byte, holds them, and reports memory.
//!
//! `hold ADDRESS COUNT [SECONDS]`. Its own memory is that of as many windlass connections; give it the server's process
//! id in the environment as `SERVER_PID` and it reports that one's, too.

use std::cell::Cell;
use std::process::ExitCode;
use std::rc::Rc;
use std::time::Duration;
use windlass::{Address, Conn, ConnectConfig, Handler, Reactor, ReactorConfig, Reason, Status};

/// Connects that are under way at once: no listener's backlog overflows.
const CONNECTING_MAX: usize = 256;

#[derive(Default)]
struct Tally {
    begun: Cell<usize>,
    echoed: Cell<usize>,
    failed: Cell<usize>,
}

struct Held(Rc<Tally>);

impl Handler for Held {
    fn on_open(&mut self, conn: &mut Conn<'_>) {
        if let Err(error) = conn.write(b"x") {
            eprintln!("hold: {error}");
        }
    }

    fn on_data(&mut self, _: &mut Conn<'_>, data: &[u8]) -> usize {
        self.0.echoed.set(self.0.echoed.get() + 1);
        data.len()
    }

    fn on_close(&mut self, _: &mut Conn<'_>, reason: Reason) {
        if reason != Reason::Drain {
            self.0.failed.set(self.0.failed.get() + 1);
        }
    }
}

fn resident_kib(process: &str) -> Option<usize> {
    let status = std::fs::read_to_string(format!("/proc/{process}/status")).ok()?;
    let line = status.lines().find(|line| line.starts_with("VmRSS:"))?;
    line.split_whitespace().nth(1)?.parse().ok()
}

fn report(what: &str, before: &[Option<usize>; 2], count: usize) {
    let now = [resident_kib("self"), server_kib()];
    for (whose, (before, now)) in ["own", "server"].iter().zip(before.iter().zip(now)) {
        if let (Some(before), Some(now)) = (before, now) {
            let each = now.saturating_sub(*before) * 1024 / count.max(1);
            println!("{what}: {whose} resident memory {now} KiB, {each} bytes a connection above the start");
        }
    }
}

fn server_kib() -> Option<usize> {
    std::env::var("SERVER_PID").ok().and_then(|process| resident_kib(&process))
}

fn hold(address: &Address, count: usize, seconds: u64) -> Result<(), Box<dyn std::error::Error>> {
    let limit = windlass::raise_descriptor_limit()?;
    if limit < count as u64 + 16 {
        return Err(format!("{count} connections need more than the {limit} descriptors that the system allows").into());
    }
    let before = [resident_kib("self"), server_kib()];
    let mut reactor = Reactor::new(ReactorConfig::default())?;
    let tally = Rc::new(Tally::default());
    while tally.echoed.get() + tally.failed.get() < count {
        while tally.begun.get() < count && tally.begun.get() - tally.echoed.get() - tally.failed.get() < CONNECTING_MAX
        {
            reactor.connect(address, ConnectConfig::default(), Held(tally.clone()))?;
            tally.begun.set(tally.begun.get() + 1);
        }
        reactor.poll_once(None)?;
    }
    println!("{} connections echoed, {} failed", tally.echoed.get(), tally.failed.get());
    report("holding", &before, count);
    reactor.after(Duration::from_secs(seconds), |cx| cx.shutdown(Duration::from_secs(10)));
    while !matches!(reactor.poll_once(None)?, Status::Stopped(_)) {}
    report("closed", &before, count);
    Ok(())
}

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let parsed = match args.as_slice() {
        [address, count] => address.parse().ok().zip(count.parse().ok()).map(|(address, count)| (address, count, 0)),
        [address, count, seconds] => match (address.parse(), count.parse(), seconds.parse()) {
            (Ok(address), Ok(count), Ok(seconds)) => Some((address, count, seconds)),
            _ => None,
        },
        _ => None,
    };
    let Some((address, count, seconds)) = parsed else {
        eprintln!("usage: hold ADDRESS COUNT [SECONDS]   (tcp://127.0.0.1:8000 10000)");
        return ExitCode::from(2);
    };
    match hold(&address, count, seconds) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("hold: {error}");
            ExitCode::FAILURE
        }
    }
}
