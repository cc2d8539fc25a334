//! accept(2) and what follows it fail: nobody but the one concerned may notice.

use std::net::SocketAddr;

use crate::host::{self, Stats};
use crate::options::Options;
use crate::peer::{Heard, Peer, echo_on_each, retain_fallible};
use crate::rig::Outcome;
use crate::rig::client::Client;
use crate::rig::holdings;
use crate::rig::hosted::{ANYWHERE, Hosted};
use crate::rig::launch::Core;
use crate::rig::report::{self, Report, largest};
use crate::rig::strace::{self, Call, Log, Tracer};
use crate::rig::until::{PATIENCE, until};

/// Connections that are open at once in the long run of faults.
const OPEN_AT_ONCE: usize = 1_000;

/// Clients that connect at once under each error.
const CLIENTS: usize = 40;

/// Errors of the one connection, or of its network: the next one may be well.
const PASSING: [&str; 9] =
    ["EPROTO", "ENETDOWN", "ENOPROTOOPT", "EHOSTDOWN", "ENONET", "EHOSTUNREACH", "EOPNOTSUPP", "ENETUNREACH", "EPERM"];

/// The system lacks something, for so many tries.
const LACKING: [(&str, &str); 3] = [("ENFILE", "starved 23"), ("ENOBUFS", "starved 105"), ("ENOMEM", "starved 12")];
const TRIES_IN_VAIN: usize = 10;
const TRIES_PER_SECOND_MAX: f64 = 20.0;
const SERVED_WITHIN_MS: f64 = 500.0;

/// The listener itself is broken.
const FATAL: [(&str, &str); 2] = [("EINVAL", "broken 22"), ("EBADF", "broken 9")];

/// Many connects while one accept in eight fails in passing.
pub(crate) fn faults(options: &Options, report: &mut Report) -> Outcome<()> {
    report::title("accept-faults", "one accept in eight fails in passing");
    if !strace::is_installed() {
        report::skipped("strace is not installed");
        return Ok(());
    }
    let count = options.asked.pick(10_000, 2_000);
    for errno in ["EINTR", "ECONNABORTED"] {
        let server = Hosted::start(Core::Server, &[&options.echo], &[ANYWHERE])?;
        let tracer = Tracer::attach(server.pid(), "accept4", &[format!("accept4:error={errno}:when=8+8")])?;
        let mut client = Client::new(format!("tcp://{}", server.address()).parse()?, None)?;
        let mut served = 0;
        while served < count / 2 {
            let some = OPEN_AT_ONCE.min(count / 2 - served);
            client.connect(some).map_err(|error| format!("{errno}, after {served} clients: {error}"))?;
            client.close();
            served += some;
        }
        let log = tracer.detach()?;
        let injected = log.calls.iter().filter(|call| call.is_injected).count();
        report.condition(
            &format!("{errno}: {served} clients served, {injected} of {} accepts failed", log.calls.len()),
            injected >= log.calls.len() / 8 && injected > 0,
        );
    }
    Ok(())
}

/// Every other error that accept(2) and what follows it may have.
pub(crate) fn errnos(options: &Options, report: &mut Report) -> Outcome<()> {
    report::title("accept-errnos", "every other error of accept(2) and of what follows it");
    if !strace::is_installed() {
        report::skipped("strace is not installed");
        return Ok(());
    }
    let own = &options.own;
    let mut server = Hosted::start(Core::Server, &[own, "--host"], &[ANYWHERE])?;
    for errno in PASSING {
        passing(&server, errno, report)?;
    }
    let stats = host::ask(&mut server)?;
    report.condition("those errors are told to nobody", stats.events.is_empty());
    for (errno, told) in LACKING {
        lacking(&mut server, errno, told, report)?;
    }
    for (errno, told) in FATAL {
        fatal(&mut Hosted::start(Core::Server, &[own, "--host"], &[ANYWHERE; 2])?, errno, told, report)?;
    }
    names(&mut server, report)?;
    for errno in ["ENOSPC", "ENOMEM"] {
        registers(&mut server, errno, report)?;
    }
    Ok(())
}

fn dial_all(address: SocketAddr) -> Outcome<Vec<Peer>> {
    (0..CLIENTS).map(|number| Peer::dial(address, number)).collect()
}

/// Every other accept fails, the last one that has somebody to accept among them.
fn passing(server: &Hosted, errno: &str, report: &mut Report) -> Outcome<()> {
    let tracer = Tracer::attach(server.pid(), "accept4", &[format!("accept4:error={errno}:when=1+2")])?;
    let mut peers = dial_all(server.address())?;
    echo_on_each(&mut peers).map_err(|error| format!("{errno}: {error}"))?;
    let injected = tracer.detach()?.calls.iter().filter(|call| call.is_injected).count();
    report.condition(&format!("{errno}: {CLIENTS} clients served, {injected} accepts failed"), injected >= CLIENTS);
    Ok(())
}

/// Accepts fail for a while; the server waits in between, says so once, and goes on by itself.
fn lacking(server: &mut Hosted, errno: &str, told: &str, report: &mut Report) -> Outcome<()> {
    host::ask(server)?;
    let last = 2 + TRIES_IN_VAIN;
    let tracer = Tracer::attach(server.pid(), "accept4", &[format!("accept4:error={errno}:when=3..{last}")])?;
    let mut peers = dial_all(server.address())?;
    echo_on_each(&mut peers).map_err(|error| format!("{errno}: {error}"))?;
    let log = tracer.detach()?;
    let failed: Vec<&Call> = log.calls.iter().filter(|call| call.is_injected).collect();
    let (Some(first), Some(last)) = (failed.first(), failed.last()) else {
        return Err(format!("{errno}: no accept failed").into());
    };
    let tries = (failed.len() - 1) as f64 / (last.time - first.time).max(1e-6);
    report.at_most(&format!("{errno}: accept tries/s"), tries, TRIES_PER_SECOND_MAX);
    let served = largest(log.calls.iter().filter(|call| call.result >= 0).map(|call| call.time));
    let what = format!("{errno}: ms until all {CLIENTS} clients were served");
    report.at_most(&what, (served - last.time) * 1e3, SERVED_WITHIN_MS);
    let Stats { events, .. } = host::ask(server)?;
    report.condition(&format!("{errno}: told once: {}", events.join(", ")), events == [told, "resumed"]);
    Ok(())
}

/// One of two listeners breaks.
fn fatal(server: &mut Hosted, errno: &str, told: &str, report: &mut Report) -> Outcome<()> {
    let (broken, well) = (server.addresses[0], server.addresses[1]);
    let before = holdings::open_descriptors(server.pid())?;
    let tracer = Tracer::attach(server.pid(), "accept4", &[format!("accept4:error={errno}:when=1")])?;
    let mut unlucky = Peer::dial(broken, 0)?;
    until("the listener to break", PATIENCE, || Ok(matches!(unlucky.read(&mut [0])?, Heard::End | Heard::Reset)))?;
    tracer.detach()?;
    let mut peers = dial_all(well)?;
    echo_on_each(&mut peers).map_err(|error| format!("{errno}: {error}"))?;
    let is_refused = Peer::dial(broken, 1).is_err();
    let Stats { events, .. } = host::ask(server)?;
    drop(peers);
    server.wait_for_descriptors(before - 1)?;
    report.condition(
        &format!("{errno}: that listener ends ({}), the other serves {CLIENTS}", events.join(", ")),
        is_refused && events == [told],
    );
    Ok(())
}

/// The peer's name cannot be had.
fn names(server: &mut Hosted, report: &mut Report) -> Outcome<()> {
    let injection = "getpeername:error=ENOTCONN".to_owned();
    let tracer = Tracer::attach(server.pid(), "getpeername", &[injection])?;
    let mut peers = dial_all(server.address())?;
    let outcome = echo_on_each(&mut peers);
    let calls = tracer.detach()?.calls.len();
    if calls == 0 {
        outcome?;
        report.condition(&format!("getpeername is never called, {CLIENTS} clients served"), true);
        return Ok(());
    }
    drop(peers);
    let served = echo_on_each(&mut dial_all(server.address())?);
    report.condition(&format!("getpeername fails {calls} times: the server goes on"), served.is_ok());
    Ok(())
}

/// One in four connections cannot be registered: it is closed, and nothing is left of it.
fn registers(server: &mut Hosted, errno: &str, report: &mut Report) -> Outcome<()> {
    host::ask(server)?;
    // Without connections: those of before are gone.
    until("the server to have no connection", PATIENCE, || Ok(host::ask(server)?.connections == 0))?;
    let before = holdings::open_descriptors(server.pid())?;
    let tracer = Tracer::attach(server.pid(), "epoll_ctl", &[format!("epoll_ctl:error={errno}:when=1+4")])?;
    let mut waiting = dial_all(server.address())?;
    // One that is closed already may refuse the byte.
    waiting.iter_mut().for_each(|peer| drop(peer.write(b"e")));
    let (mut served, mut ended) = (Vec::new(), 0);
    let mut pending: Vec<Option<Peer>> = waiting.drain(..).map(Some).collect();
    let fate = until("each client to be served or closed", PATIENCE, || {
        retain_fallible(&mut pending, |peer| {
            let Some(lent) = peer else { return Ok(false) };
            match lent.read(&mut [0])? {
                Heard::Nothing => return Ok(true),
                Heard::Bytes(_) => served.extend(peer.take()),
                Heard::End | Heard::Reset => ended += 1,
            }
            Ok(false)
        })?;
        Ok(pending.is_empty())
    });
    let log = tracer.detach()?;
    fate.map_err(|error| format!("{errno}: {error}"))?;
    let failed = failed_registers(&log);
    echo_on_each(&mut served)?;
    let inside = holdings::open_descriptors(server.pid())?;
    let Stats { events, .. } = host::ask(server)?;
    let told = events.iter().filter(|event| *event == "failed").count();
    report.condition(
        &format!("epoll_ctl {errno}: {failed} fail, {ended} closed and told of, {} served", served.len()),
        failed > 0 && ended == failed && told == failed && inside == before + served.len(),
    );
    drop(served);
    server.wait_for_descriptors(before)
}

fn failed_registers(log: &Log) -> usize {
    log.calls.iter().filter(|call| call.is_injected && call.arguments.contains("EPOLL_CTL_ADD")).count()
}
