//! A sink for system log messages: one line for each, with the names of its facility and severity; RFC 3164, RFC 5424.
//!
//! `cargo run --release --example syslog` listens on a Unix datagram socket and tells how to talk to it: `logger` writes
//! to it as to /dev/log. SIGTERM and SIGINT drain: what was sent before is printed, and how much there was of each severity.

#[path = "echo/command.rs"]
mod command;
#[path = "echo/signals.rs"]
mod signals;

use std::cell::Cell;
use std::error::Error;
use std::fmt::Write as _;
use std::io::{self, Write};
use std::process::ExitCode;
use std::rc::Rc;
use std::time::Duration;
use windlass::{Address, Datagram, DatagramConfig, DatagramHandler, Datagrams, Reactor, ReactorConfig};

const USAGE: &str = "\
usage: syslog [--listen ADDRESS]...

ADDRESS is unixgram:/path, unixgram:@name or udp://HOST:PORT; without --listen it is a path in a temporary folder.";

const SEVERITIES: [&str; 8] = ["emerg", "alert", "crit", "err", "warning", "notice", "info", "debug"];

const FACILITIES: [&str; 24] = [
    "kern", "user", "mail", "daemon", "auth", "syslog", "lpr", "news", "uucp", "cron", "authpriv", "ftp", "ntp",
    "audit", "alert", "clock", "local0", "local1", "local2", "local3", "local4", "local5", "local6", "local7",
];

/// The priority of a message that has none: user.notice; RFC 3164, 4.3.3.
const NO_PRIORITY: usize = 13;

/// The longest message that is shown whole; RFC 5424 asks for 2 KiB at least.
const MESSAGE_BYTES_MAX: usize = 8 * 1024;

/// How long a drain may take, and how long a socket is still read from when it drains.
const DRAIN: Duration = Duration::from_secs(5);
const LAST_CALL: Duration = Duration::from_millis(100);

/// How many messages of each severity came to all sockets.
type Counts = Rc<[Cell<u64>; 8]>;

struct Sink(Counts);

impl DatagramHandler for Sink {
    fn on_datagram(&mut self, sock: &mut Datagrams<'_>, datagram: &Datagram<'_>) {
        let (priority, message) = split_priority(datagram.data);
        let (facility, severity) = (FACILITIES[priority / 8], priority % 8);
        self.0[severity].set(self.0[severity].get() + 1);
        let mut line = format!("{facility}.{} {}", SEVERITIES[severity], escaped(message));
        if datagram.is_truncated {
            line.push_str(" (cut)");
        }
        if let Some(ip) = datagram.from.ip() {
            let _ = write!(line, " (from {})", ip.ip());
        }
        // Nobody reads what it prints: there is nothing left to do.
        if writeln!(io::stdout(), "{line}").is_err() {
            sock.context().shutdown(Duration::ZERO);
        }
    }

    /// Closes a little later, so that what was sent before the signal is shown.
    fn on_drain(&mut self, sock: &mut Datagrams<'_>) {
        sock.set_timer(LAST_CALL);
    }

    fn on_timer(&mut self, sock: &mut Datagrams<'_>) {
        sock.close();
    }
}

/// The priority of `<PRI>` and what follows it: eight times the facility, and the severity.
fn split_priority(data: &[u8]) -> (usize, &[u8]) {
    let Some(rest) = data.strip_prefix(b"<") else { return (NO_PRIORITY, data) };
    let digits = rest.iter().take(3).take_while(|byte| byte.is_ascii_digit()).count();
    let priority = std::str::from_utf8(&rest[..digits]).ok().and_then(|digits| digits.parse().ok());
    match (priority, rest[digits..].strip_prefix(b">")) {
        (Some(priority), Some(message)) if priority < FACILITIES.len() * 8 => (priority, message),
        _ => (NO_PRIORITY, data),
    }
}

/// The message as text of one line: what would move a terminal or begin a line is shown by its number.
fn escaped(message: &[u8]) -> String {
    let end = message.iter().rposition(|byte| !matches!(byte, b'\n' | b'\r' | 0)).map_or(0, |last| last + 1);
    let mut text = String::with_capacity(end);
    for char in String::from_utf8_lossy(&message[..end]).chars() {
        match char {
            '\\' => text.push_str("\\\\"),
            // Separators of lines and paragraphs, and what turns the direction of writing.
            '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}' => text.extend(char.escape_unicode()),
            _ if char.is_control() => text.extend(char.escape_default()),
            _ => text.push(char),
        }
    }
    text
}

fn serve(mut listen: Vec<Address>) -> Result<(), Box<dyn Error>> {
    let folder = tempfile::tempdir()?;
    if listen.is_empty() {
        listen.push(Address::unixgram(folder.path().join("log.sock"))?);
    }
    let mut reactor = Reactor::new(ReactorConfig::default())?;
    let mut seen = 0;
    let stops = [signal_hook::consts::SIGTERM, signal_hook::consts::SIGINT];
    signals::on_signals(&mut reactor.context(), &stops, move |cx, signals| {
        seen += signals;
        cx.shutdown(if seen == 1 { DRAIN } else { Duration::ZERO });
    })?;
    let counts = Counts::default();
    let config = DatagramConfig { bytes_max: MESSAGE_BYTES_MAX, ..DatagramConfig::default() };
    for address in &listen {
        let id = reactor.bind(address, config.clone(), Sink(counts.clone()))?;
        let real = reactor.endpoint_address(id).ok_or("the socket is gone")?;
        println!("listening on {real}");
        match (real.ip(), real.path()) {
            (Some(ip), _) => println!("  try: logger -d -n {} -P {} -p daemon.info hello", ip.ip(), ip.port()),
            (None, Some(path)) => println!("  try: logger -u {} -p daemon.info hello", path.display()),
            (None, None) => {}
        }
    }
    io::stdout().flush()?;
    let report = reactor.run()?;
    let mut told = format!("messages {}", counts.iter().map(Cell::get).sum::<u64>());
    for (name, count) in SEVERITIES.iter().zip(counts.iter()).filter(|(_, count)| count.get() > 0) {
        let _ = write!(told, ", {name} {}", count.get());
    }
    // It may be that nobody reads any more, which is not a failure.
    let _ = writeln!(io::stdout(), "{told}\ndrained: {report}");
    Ok(())
}

fn parse(mut args: impl Iterator<Item = String>) -> Result<Option<Vec<Address>>, String> {
    let mut listen = Vec::new();
    while let Some(name) = args.next() {
        match name.as_str() {
            "--help" | "-h" => return Ok(None),
            "--listen" => {
                let value = args.next().ok_or("--listen needs a value")?;
                listen.push(value.parse().map_err(|error| format!("--listen: {error}"))?);
            }
            _ => return Err(format!("{name} is not an option; --help lists them")),
        }
    }
    Ok(Some(listen))
}

fn main() -> ExitCode {
    command::run("syslog", USAGE, parse(std::env::args().skip(1)), serve)
}
