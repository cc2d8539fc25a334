//! accept(2) that fails: what passes ends no listener, and what does not pass neither spins nor goes unsaid.
//!
//! strace(1) makes it fail in a process of the test's own; where it is not installed, or may not trace, the tests that need it
//! say so and are skipped.

use crate::support::{Echo, Heard, Kind, World, each_kind, listening};
use rustix::io::Errno;
use socket2::{Domain, Socket};
use std::io::ErrorKind;
use std::net::Shutdown;
use std::process::Command;
use std::time::Duration;
use windlass::{Conn, ListenConfig, PauseCause};

/// Runs `body` in processes of its own in which accept(2) fails: for each of `cases` over its transport, the first so many
/// times with its error.
fn failing(name: &str, cases: &[(Kind, Errno, u32)], body: impl Fn(Kind, Errno, u32)) {
    if let Ok(case) = std::env::var("WINDLASS_FAILS") {
        let (kind, errno, times) = cases[case.parse::<usize>().expect("a number")];
        return body(kind, errno, times);
    }
    for (case, (kind, errno, times)) in cases.iter().enumerate() {
        let mut command = Command::new("strace");
        let fault = format!("inject=accept4:error={}:when=1..{times}", errno.raw_os_error());
        command.args(["-f", "-qq", "-o", "/dev/null", "-e", "trace=accept4", "-e", &fault]);
        command.arg(std::env::current_exe().expect("our own path"));
        command.args(["--exact", name, "--nocapture", "--test-threads=1"]).env("WINDLASS_FAILS", case.to_string());
        let Ok(output) = command.output() else {
            eprintln!("SKIPPED: strace is not installed");
            return;
        };
        let (told, errors) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        if errors.contains("strace: ") && !told.contains("running 1 test") {
            eprintln!("SKIPPED: strace may not trace here: {errors}");
            return;
        }
        assert!(output.status.success() && told.contains("1 passed"), "{kind:?} {errno}: {told}{errors}");
    }
}

/// An error for each transport, and for TCP what may be met: denied by what watches over system calls, unknown to us.
const CASES: [Errno; 6] = [Errno::PERM, Errno::ACCESS, Errno::NOTCONN, Errno::PROTO, Errno::NOSYS, Errno::UCLEAN];

fn cases(times: u32) -> Vec<(Kind, Errno, u32)> {
    let others = Kind::ALL.iter().filter(|kind| **kind != Kind::Tcp).map(|kind| (*kind, Errno::PERM, times));
    CASES.iter().map(|errno| (Kind::Tcp, *errno, times)).chain(others).collect()
}

/// Listens where accept(2) fails 70 times, and then not: for a while too long to be the connections' errors.
fn pauses_once(kind: Kind, errno: Errno, times: u32, accepts_per_second: Option<u32>) {
    let mut world = World::new();
    let starved_pause = Duration::from_millis(20);
    let config = ListenConfig { starved_pause, accepts_per_second, ..ListenConfig::default() };
    let address = world.listen(kind, config, |_: &Conn<'_>| Echo);
    let mut peer = world.dial(&address);
    peer.send_all_while(&mut world, b"hello");
    assert_eq!(peer.read_exact_while(&mut world, 5), b"hello", "the error has passed, and nobody was lost");
    let paused = Heard::Paused(PauseCause::Starved(errno.raw_os_error()));
    assert_eq!(world.log.heard(), [paused, Heard::Resumed], "told once");
    let counted = world.reactor().snapshot();
    assert_eq!(counted.accepts_failed, u64::from(times));
    assert_eq!(counted.accepts_starved, 7, "each pause ends with one try: 64 and 6 more");
}

#[test]
fn an_accept_that_only_fails_pauses_the_listener_once_and_is_tried_seldom() {
    const NAME: &str = "accepting::an_accept_that_only_fails_pauses_the_listener_once_and_is_tried_seldom";
    failing(NAME, &cases(70), |kind, errno, times| pauses_once(kind, errno, times, None));
}

#[test]
fn a_listener_with_a_pace_that_cannot_accept_pauses_once_too() {
    // Failures had used up what a second may bring, which looked as if accepting went on.
    const NAME: &str = "accepting::a_listener_with_a_pace_that_cannot_accept_pauses_once_too";
    failing(NAME, &[(Kind::Tcp, Errno::PERM, 70)], |kind, errno, times| pauses_once(kind, errno, times, Some(10)));
}

#[test]
fn a_few_accepts_that_fail_pause_nothing() {
    const NAME: &str = "accepting::a_few_accepts_that_fail_pause_nothing";
    failing(NAME, &cases(63), |kind, _, times| {
        let mut world = World::new();
        // Longer than the test.
        let config = ListenConfig { starved_pause: Duration::from_secs(60), ..ListenConfig::default() };
        let address = world.listen(kind, config, |_: &Conn<'_>| Echo);
        for _ in 0..3 {
            let mut peer = world.dial(&address);
            peer.send_all_while(&mut world, b"hello");
            assert_eq!(peer.read_exact_while(&mut world, 5), b"hello");
        }
        assert!(world.log.heard().is_empty(), "{:?}", world.log.heard());
        assert_eq!(world.reactor().snapshot().accepts_failed, u64::from(times));
    });
}

#[test]
fn a_listener_that_somebody_shuts_down_ends_with_its_reason_and_the_others_live() {
    each_kind(|kind| {
        let mut world = World::new();
        let other = world.listen(kind, ListenConfig::default(), |_: &Conn<'_>| Echo);
        let at = world.free_address(kind);
        let socket = match at.path() {
            Some(path) => Socket::from(std::os::unix::net::UnixListener::bind(path).expect("a socket")),
            None => Socket::from(std::net::TcpListener::bind("127.0.0.1:0").expect("a socket")),
        };
        assert_eq!(socket.local_addr().expect("an address").domain() == Domain::UNIX, kind.is_unix());
        let twin = socket.try_clone().expect("a descriptor");
        let recorded = world.record_accept(|_: &Conn<'_>| Echo);
        world.reactor().context().listen_on(socket, listening(&at, ListenConfig::default()), recorded).expect("taken");
        world.turns(2);
        twin.shutdown(Shutdown::Both).expect("a shutdown");
        world.until("the end", |world| !world.log.heard().is_empty());
        assert_eq!(world.log.heard(), [Heard::Ended(Some(ErrorKind::InvalidInput))]);
        assert_eq!(world.reactor().context().listeners().len(), 1);
        let mut peer = world.dial(&other);
        peer.send_all_while(&mut world, b"hello");
        assert_eq!(peer.read_exact_while(&mut world, 5), b"hello");
    });
}
