//! Handshakes that other threads work on: which, and what may happen to a connection meanwhile.

use crate::support::{Echo, Heard, Kind, Said, World, security};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use windlass::rustls::pki_types::PrivateKeyDer;
use windlass::rustls::sign::{Signer, SigningKey};
use windlass::rustls::{Error, SignatureAlgorithm, SignatureScheme};
use windlass::tls::{HandshakeThreads, Offload, Pem, provider};
use windlass::{
    Address, Conn, Expiry, Limits, ListenConfig, Reactor, ReactorConfig, Reason, ServerTls, ServerTlsBuilder, Status,
};

/// A key in another place: it tells on which thread it is asked, and signs when it is allowed to, once for each leave.
#[derive(Debug)]
struct Far {
    key: Arc<dyn SigningKey>,
    asked: Mutex<Sender<String>>,
    leave: Arc<Mutex<Receiver<Leave>>>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Leave {
    Sign,
    Panic,
}

#[derive(Debug)]
struct FarSigner {
    signer: Box<dyn Signer>,
    asked: Sender<String>,
    leave: Arc<Mutex<Receiver<Leave>>>,
}

impl SigningKey for Far {
    fn choose_scheme(&self, offered: &[SignatureScheme]) -> Option<Box<dyn Signer>> {
        let signer = self.key.choose_scheme(offered)?;
        let asked = self.asked.lock().expect("no panic").clone();
        Some(Box::new(FarSigner { signer, asked, leave: self.leave.clone() }))
    }

    fn algorithm(&self) -> SignatureAlgorithm {
        self.key.algorithm()
    }
}

impl Signer for FarSigner {
    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, Error> {
        let _ = self.asked.send(std::thread::current().name().unwrap_or_default().to_owned());
        let leave = self.leave.lock().unwrap_or_else(|poisoned| poisoned.into_inner()).recv();
        assert!(leave != Ok(Leave::Panic), "the test");
        self.signer.sign(message)
    }

    fn scheme(&self) -> SignatureScheme {
        self.signer.scheme()
    }
}

/// A listener's TLS with such a key, where it says it is asked, and what lets it sign. Without leave it waits.
fn far() -> (ServerTlsBuilder, Receiver<String>, Sender<Leave>) {
    let key = PrivateKeyDer::try_from(security::key()).expect("a key").clone_key();
    let key = provider().key_provider.load_private_key(key).expect("a key");
    let (asked, told) = channel();
    let (leave, given) = channel();
    let far = Far { key, asked: Mutex::new(asked), leave: Arc::new(Mutex::new(given)) };
    let chain = Pem::bytes(security::certificate_pem());
    (ServerTls::builder().certificate_with_key(chain, Arc::new(far)), told, leave)
}

fn world(threads: usize) -> World {
    let threads = HandshakeThreads::new(threads).expect("threads");
    World::with(ReactorConfig { handshake_threads: Some(threads), ..ReactorConfig::default() })
}

fn listen(world: &mut World, kind: Kind, tls: &ServerTlsBuilder) -> Address {
    listen_within(Limits::default().handshake_timeout, world, kind, tls)
}

/// The same with a deadline for handshakes.
fn listen_within(handshake_timeout: Duration, world: &mut World, kind: Kind, tls: &ServerTlsBuilder) -> Address {
    let tls = Some(tls.build().expect("a server"));
    let limits = Limits { handshake_timeout, ..Limits::default() };
    world.listen(kind, ListenConfig { tls, limits, ..ListenConfig::default() }, |_: &Conn<'_>| Echo)
}

/// Until another thread has been asked for a signature; says which.
fn until_asked(world: &mut World, told: &Receiver<String>) -> String {
    let mut thread = None;
    world.until("a signature to be asked for", |_| {
        thread = told.try_recv().ok();
        thread.is_some()
    });
    thread.expect("asked")
}

#[test]
fn a_slow_key_signs_on_another_thread_and_holds_nobody_up() {
    for kind in [Kind::Tls, Kind::TlsUnix] {
        let mut world = world(1);
        let (tls, told, leave) = far();
        let (slow, quick) =
            (listen(&mut world, kind, &tls), world.listen(kind, ListenConfig::default(), |_: &Conn<'_>| Echo));
        let mut waiting = world.dial(&slow);
        assert_eq!(until_asked(&mut world, &told), "windlass-tls-0");
        // Its only thread is busy; those who need none are served.
        let plain = world.listen(Kind::Tcp, ListenConfig::default(), |_: &Conn<'_>| Echo);
        let mut other = world.dial(&plain);
        other.send_all_while(&mut world, b"hello");
        assert_eq!(other.read_exact_while(&mut world, 5), b"hello");
        let mut behind = world.dial(&quick);
        leave.send(Leave::Sign).expect("it waits");
        for peer in [&mut waiting, &mut behind] {
            peer.send_all_while(&mut world, b"well");
            assert_eq!(peer.read_exact_while(&mut world, 4), b"well");
        }
    }
}

#[test]
fn only_slow_keys_go_elsewhere_unless_it_is_said_otherwise() {
    let here = std::thread::current().name().unwrap_or_default().to_owned();
    for (offload, elsewhere) in [(Offload::Auto, true), (Offload::Always, true), (Offload::Never, false)] {
        let mut world = world(1);
        let (tls, told, leave) = far();
        leave.send(Leave::Sign).expect("a channel");
        let address = listen(&mut world, Kind::Tls, &tls.offload(offload));
        let mut peer = world.dial(&address);
        peer.send_all_while(&mut world, b"x");
        assert_eq!(peer.read_exact_while(&mut world, 1), b"x");
        let thread = told.try_recv().expect("asked");
        assert_eq!(thread, if elsewhere { "windlass-tls-0" } else { &here }, "{offload:?}");
    }
    // Without threads there is only the reactor's.
    let mut world = World::new();
    let (tls, told, leave) = far();
    leave.send(Leave::Sign).expect("a channel");
    let address = listen(&mut world, Kind::Tls, &tls);
    let mut peer = world.dial(&address);
    peer.send_all_while(&mut world, b"x");
    assert_eq!(peer.read_exact_while(&mut world, 1), b"x");
    let thread = told.try_recv().expect("asked");
    assert!(thread == here || std::env::var_os("HANDSHAKE_THREADS").is_some(), "{thread}");
}

#[test]
fn a_deadline_or_a_reset_ends_a_connection_whose_handshake_is_elsewhere() {
    for resets in [false, true] {
        let mut world = world(1);
        let (tls, told, leave) = far();
        // Only where it is to end one, since it is for those who come next as well.
        let deadline = if resets { Limits::default().handshake_timeout } else { Duration::from_millis(300) };
        let address = listen_within(deadline, &mut world, Kind::Tls, &tls);
        let peer = world.dial(&address);
        until_asked(&mut world, &told);
        let expected = if resets {
            peer.reset();
            Reason::Reset
        } else {
            std::mem::forget(peer);
            Reason::Timeout(Expiry::Handshake)
        };
        world.until("its end", |world| world.reactor().connections() == 0);
        assert_eq!(world.log.heard(), [Heard::Failed(expected)]);
        // What comes back finds nobody, and the thread is free again.
        leave.send(Leave::Sign).expect("it waits");
        leave.send(Leave::Sign).expect("it waits");
        let mut next = world.dial(&address);
        next.send_all_while(&mut world, b"x");
        assert_eq!(next.read_exact_while(&mut world, 1), b"x");
    }
}

#[test]
fn a_drain_waits_for_a_handshake_elsewhere_and_its_handler_is_told_of_it() {
    let mut world = world(1);
    let (tls, told, leave) = far();
    let address = listen(&mut world, Kind::Tls, &tls);
    let mut peer = world.dial(&address);
    until_asked(&mut world, &told);
    world.reactor().shutdown(Duration::from_secs(20));
    world.turns(5);
    assert_eq!(world.reactor().connections(), 1);
    leave.send(Leave::Sign).expect("it waits");
    let end = peer.read_to_end_while(&mut world).expect("an end in order");
    assert!(end.is_empty());
    drop(peer);
    world.until("the stop", |world| matches!(world.turn(), Status::Stopped(report) if report.drained == 1));
    assert_eq!(world.log.said(0), [Said::Open, Said::Drain, Said::Close(Reason::Drain)]);
}

#[cfg(target_os = "linux")]
#[test]
fn threads_that_cannot_all_be_had_are_refused_by_name_and_none_is_left() {
    use crate::support::{alone, blocking::until};
    alone("elsewhere::threads_that_cannot_all_be_had_are_refused_by_name_and_none_is_left", || {
        let threads = || std::fs::read_dir("/proc/self/task").expect("/proc").count();
        let status = std::fs::read_to_string("/proc/self/status").expect("its status");
        let size = status.lines().find_map(|line| line.strip_prefix("VmSize:"));
        let kib: u64 = size.and_then(|size| size.split_whitespace().next()?.parse().ok()).expect("a size");
        // Room for many stacks, and not for all.
        let limit = Some(kib * 1024 + (400 << 20));
        rustix::process::setrlimit(
            rustix::process::Resource::As,
            rustix::process::Rlimit { current: limit, maximum: limit },
        )
        .expect("a lower limit");
        let before = threads();
        let error = windlass::tls::HandshakeThreads::new(1024).expect_err("there is no room");
        assert!(matches!(error, windlass::Error::Thread { .. }) && error.to_string().contains("windlass-t"), "{error}");
        until("those that were started to be gone", || threads() <= before);
        windlass::tls::HandshakeThreads::new(2).expect("room for these");
    });
}

#[test]
fn a_panic_elsewhere_ends_that_connection_only() {
    let mut world = world(1);
    let (tls, _told, leave) = far();
    let address = listen(&mut world, Kind::Tls, &tls);
    leave.send(Leave::Panic).expect("a channel");
    let mut unlucky = world.dial(&address);
    unlucky.read_to_end_while(&mut world).expect_err("no handshake");
    assert_eq!(world.log.heard(), [Heard::Failed(Reason::HandlerPanicked)]);
    assert_eq!(world.reactor().snapshot().panics, 1);
    leave.send(Leave::Sign).expect("a channel");
    let mut next = world.dial(&address);
    next.send_all_while(&mut world, b"x");
    assert_eq!(next.read_exact_while(&mut world, 1), b"x");
}

#[test]
fn a_reactor_that_is_dropped_leaves_nothing_behind_that_harms() {
    let (tls, told, leave) = far();
    let threads = HandshakeThreads::new(1).expect("a thread");
    let config = ReactorConfig { handshake_threads: Some(threads.clone()), ..ReactorConfig::default() };
    let mut first = World::with(config.clone());
    let address = listen(&mut first, Kind::Tls, &tls);
    let peer = first.dial(&address);
    until_asked(&mut first, &told);
    first.drop_reactor();
    drop(peer);
    // The thread is still at it; another reactor gets it when it is done.
    leave.send(Leave::Sign).expect("it waits");
    leave.send(Leave::Sign).expect("it waits");
    let mut second = World::with(config);
    let address = listen(&mut second, Kind::Tls, &tls);
    let mut peer = second.dial(&address);
    peer.send_all_while(&mut second, b"x");
    assert_eq!(peer.read_exact_while(&mut second, 1), b"x");
}

#[test]
fn an_idle_reactor_with_threads_has_nothing_to_do() {
    let threads = HandshakeThreads::new(2).expect("threads");
    let config = ReactorConfig { handshake_threads: Some(threads), ..ReactorConfig::default() };
    let reactor = Reactor::new(config).expect("a reactor");
    assert_eq!(reactor.next_deadline(), None);
}
