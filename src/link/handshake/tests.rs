//! When a handshake gets more time, and what is spent on it.

use super::*;
use crate::config::Limits;
use crate::link::session::tests::greeting;
use std::io::Write;
use std::os::unix::net::UnixStream;

const SECOND: Duration = Duration::from_secs(1);

fn at(seconds: u32) -> Tick {
    Tick::test(0).after(SECOND * seconds)
}

/// A server's link since second 0, with 10 s for the handshake, and a client that has said its first words.
fn greeted() -> (Link, UnixStream) {
    let (server, hello) = greeting();
    let (ours, mut theirs) = UnixStream::pair().expect("a pair");
    let limits = Limits { handshake_timeout: SECOND * 10, ..Limits::default() };
    let mut link = Link::new(ours, limits).expect("a link").with_tls_server(&server).expect("it works");
    link.reset_for_adoption(at(0));
    theirs.write_all(&hello).expect("room");
    (link, theirs)
}

/// What it had waited for us before the hold-up was given once more when the step was taken: 6 s here, and 16 s in all
/// instead of 10.
#[test]
fn after_a_hold_up_who_has_spoken_gets_the_whole_time_again_once() {
    let (mut link, _peer) = greeted();
    let due = |link: &Link| link.phase_deadline().expect("a handshake has one").0;
    let is_about = |tick: Tick, seconds| tick.since(at(seconds)).max(at(seconds).since(tick)) < SECOND / 100;
    assert!(!link.excuses_handshake(at(10), at(15), at(15)), "nothing was heard of it");
    assert!(link.queues_step(at(9)));
    assert!(link.excuses_handshake(at(10), at(15), at(15)));
    assert!(is_about(due(&link), 25), "{:?}", due(&link));
    // Then it is only what the step waits that does not count, and that once: the 6 s before were given already.
    assert!(link.excuses_handshake(at(25), at(30), at(30)));
    assert!(is_about(due(&link), 40), "{:?}", due(&link));
    assert!(link.excuses_handshake(at(40), at(41), at(41)));
    assert!(is_about(due(&link), 51), "{:?}", due(&link));
    link.note(crate::net::Readiness { readable: true, writable: false, ended: true, error: false, priority: false });
    assert!(!link.excuses_handshake(at(51), at(52), at(52)), "it has gone");
    // A loop that is late by less was not held up.
    let (mut link, _peer) = greeted();
    assert!(link.queues_step(at(9)));
    assert!(link.excuses_handshake(at(10), at(10), at(10)));
    assert!(is_about(due(&link), 11), "{:?}", due(&link));
}

#[test]
fn nothing_is_spent_on_a_peer_that_has_gone_before_its_first_words_were_read() {
    for stays in [true, false] {
        let (mut link, peer) = greeted();
        let _peer = stays.then_some(peer);
        assert!(link.queues_step(at(1)));
        let (mut scratch, mut buffers) = (Scratch::new(), Buffers::default());
        link.take_step(Elsewhere::No, &mut Quota::TURN.clone(), &mut scratch, &mut buffers, at(1));
        let Security::Tls(tls) = &link.cold.security else { panic!("a link with TLS") };
        assert_eq!(tls.session.is_not_started(), !stays);
    }
}

/// Each connection keeps one; malloc's next size is 16 bytes more.
#[test]
fn the_state_of_a_link_with_tls_has_104_bytes() {
    assert_eq!(size_of::<crate::link::records::Tls>(), 104);
}
