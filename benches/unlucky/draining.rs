//! A server is told to stop while its peers are owed much: what it has read comes back, and a clean end.

use std::collections::HashMap;
use std::net::{Shutdown, SocketAddr};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::Signal;

use crate::options::Options;
use crate::peer::{Heard, Peer, retain_fallible};
use crate::rig::Outcome;
use crate::rig::hosted::{ANYWHERE, Hosted};
use crate::rig::launch::Core;
use crate::rig::pattern::Pattern;
use crate::rig::report::{self, Report};
use crate::rig::strace::{self, Log, Tracer};
use crate::rig::until::{PATIENCE, until};

/// Peers that send without reading, until the server reads no more.
const DEEP_PEERS: usize = 40;
const DEEP_BYTES: u64 = 12 << 20;
/// The server reads no more if nothing moved for so long.
const STILL_TIME: Duration = Duration::from_millis(500);

const DRAIN_TIME: Duration = Duration::from_secs(60);

/// A peer with its place in both streams.
struct Debtor {
    peer: Peer,
    port: u16,
    sent: u64,
    received: u64,
    end: Option<Heard>,
}

impl Debtor {
    fn dial(address: SocketAddr, number: usize) -> Outcome<Self> {
        let peer = Peer::dial(address, number)?;
        let port = peer.socket.local_addr()?.as_socket().ok_or("no address")?.port();
        Ok(Debtor { peer, port, sent: 0, received: 0, end: None })
    }

    /// Sends what the kernel takes of its bytes, and says whether anything moved.
    fn send(&mut self, pattern: &Pattern, bytes: u64) -> Outcome<bool> {
        let piece = pattern.piece(self.sent, (bytes - self.sent) as usize);
        if piece.is_empty() {
            return Ok(false);
        }
        let count = self.peer.write_some(piece)?;
        self.sent += count as u64;
        Ok(count > 0)
    }

    /// Reads what there is and compares it; says whether it is over.
    fn receive(&mut self, pattern: &Pattern, buffer: &mut [u8]) -> Outcome<bool> {
        loop {
            match self.peer.read(buffer)? {
                Heard::Nothing => return Ok(false),
                Heard::Bytes(count) => {
                    if !pattern.holds(self.received, &buffer[..count]) {
                        return Err(format!("wrong bytes at {} of port {}", self.received, self.port).into());
                    }
                    self.received += count as u64;
                }
                end => {
                    self.end = Some(end);
                    return Ok(true);
                }
            }
        }
    }
}

/// Reads all to their ends.
fn collect(debtors: &mut [Debtor], pattern: &Pattern) -> Outcome<()> {
    let mut buffer = vec![0; 256 * 1024];
    let mut waiting: Vec<&mut Debtor> = debtors.iter_mut().collect();
    until("the ends of all peers", DRAIN_TIME, || {
        retain_fallible(&mut waiting, |debtor| {
            let is_over = debtor.receive(pattern, &mut buffer)?;
            // Who has read the end closes; a failure means that the other side has, too.
            if is_over {
                let _ = debtor.peer.socket.shutdown(Shutdown::Both);
            }
            Ok(!is_over)
        })?;
        Ok(waiting.is_empty())
    })
    .map(drop)
}

fn tell_ends(debtors: &[Debtor], report: &mut Report) {
    let clean = debtors.iter().filter(|debtor| debtor.end == Some(Heard::End)).count();
    report.exactly("clean ends", clean as u64, debtors.len() as u64);
}

pub(crate) fn owed(options: &Options, report: &mut Report) -> Outcome<()> {
    report::title("drain-owed", "a server is told to stop while it owes its peers much");
    if !strace::is_installed() {
        report::skipped("strace is not installed: nothing would tell what the server has read");
        return Ok(());
    }
    let count = options.asked.pick(DEEP_PEERS, DEEP_PEERS / 4);
    let pattern = Pattern::new();
    let mut server = Hosted::start(Core::Server, &[&options.echo, "--drain", "60"], &[ANYWHERE])?;
    let tracer = Tracer::attach(server.pid(), "accept4,read,readv,recvfrom,recvmsg", &[])?;
    let mut debtors =
        (0..count).map(|number| Debtor::dial(server.address(), number)).collect::<Outcome<Vec<Debtor>>>()?;
    let mut moved = Instant::now();
    while moved.elapsed() < STILL_TIME {
        for debtor in &mut debtors {
            while debtor.send(&pattern, DEEP_BYTES)? {
                moved = Instant::now();
            }
        }
        thread::sleep(Duration::from_millis(1));
    }
    server.process.signal(Signal::TERM)?;
    // It reads and discards from now on, and nobody reads yet.
    thread::sleep(Duration::from_millis(100));
    collect(&mut debtors, &pattern)?;
    tell_ends(&debtors, report);
    let status = server.process.wait(PATIENCE)?;
    let told = server.process.line(PATIENCE)?;
    report::note(&format!("the server says `{told}`"));
    let log = tracer.detach()?;
    let read = read_before_signal(&log)?;
    let whole = debtors.iter().filter(|debtor| read.get(&debtor.port) == Some(&debtor.received)).count();
    report.exactly("peers that got back all that was read of them", whole as u64, count as u64);
    let mib = |bytes: u64| bytes as f64 / f64::from(1 << 20);
    let owed: u64 = debtors.iter().map(|debtor| debtor.received).sum();
    let sent: u64 = debtors.iter().map(|debtor| debtor.sent).sum();
    report::note(&format!("{:.1} MiB sent and {:.1} owed a peer", mib(sent) / count as f64, mib(owed) / count as f64));
    let expected = format!("drained: {count} drained, 0 cut, 0 bytes never sent");
    report.condition("the server drained all and ended well", status.success() && told == expected);
    Ok(())
}

/// Bytes that the server had read of each peer, by port, when the signal came.
fn read_before_signal(log: &Log) -> Outcome<HashMap<u16, u64>> {
    let signalled = log.signalled.ok_or("strace saw no signal")?;
    let mut ports = HashMap::new();
    let mut read = HashMap::new();
    for call in log.calls.iter().filter(|call| call.time < signalled && call.result > 0) {
        if call.name == "accept4" {
            let (_, rest) = call.arguments.split_once("sin_port=htons(").ok_or("an accept without a port")?;
            let (port, _) = rest.split_once(')').ok_or("an accept without a port")?;
            let port: u16 = port.parse()?;
            ports.insert(call.result, port);
            read.insert(port, 0);
        } else if let Some(bytes) = call.descriptor().and_then(|fd| ports.get(&fd)).and_then(|port| read.get_mut(port))
        {
            *bytes += call.result as u64;
        }
    }
    Ok(read)
}
