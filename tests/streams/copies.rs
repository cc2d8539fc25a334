//! A copy of a connection's descriptor is alive, as in a child that a process has forked: close(2) alone ends nothing then.
//! However a connection is closed, its peer hears of it: by an end, by a reset, or, over a Unix socket, which has none, by an
//! end in place of a reset.

use super::bytes::pattern;
use crate::support::{Hooks, Kind, Peer, Sink, World, alone, each_kind};
use std::cell::RefCell;
use std::collections::BTreeSet;
use std::io::{ErrorKind, Write};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::rc::Rc;
use std::time::Duration;
use windlass::{Accept, Admission, Conn, Expiry, Limits, Link, ListenConfig, Reason};

/// What the peer is to see.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Sees {
    /// FIN, behind close_notify with TLS.
    End,
    /// The same without close_notify.
    BareEnd,
    Reset,
}

/// Descriptors that somebody else holds.
#[derive(Clone, Default)]
struct Copies(Rc<RefCell<Vec<OwnedFd>>>);

impl Copies {
    fn take(&self, socket: &impl AsFd) {
        self.0.borrow_mut().push(socket.as_fd().try_clone_to_owned().expect("a duplicate"));
    }

    /// A handler whose socket is copied as soon as it is there.
    fn hooks(&self) -> Hooks {
        let copies = self.clone();
        Hooks::new().open(move |conn| copies.take(conn))
    }
}

fn expect(kind: Kind, world: &mut World, mut peer: Peer, sees: Sees) {
    let end = peer.read_to_end_while(world).map(|_| ()).map_err(|error| error.kind());
    let expected = match sees {
        Sees::End => Ok(()),
        Sees::BareEnd | Sees::Reset if kind.is_tls() && (kind.is_unix() || sees == Sees::BareEnd) => {
            Err(ErrorKind::UnexpectedEof)
        }
        Sees::BareEnd => Ok(()),
        Sees::Reset if kind.is_unix() => Ok(()),
        Sees::Reset => Err(ErrorKind::ConnectionReset),
    };
    assert_eq!(end, expected, "over {kind:?}");
}

/// A connection of a listener that is copied, is ended by `ends`, and whose peer sees that.
fn ended(limits: &Limits, sees: Sees, hooks: fn(Hooks) -> Hooks, ends: fn(&mut World, &mut Peer)) {
    each_kind(|kind| {
        let (mut world, copies) = (World::new(), Copies::default());
        let config = ListenConfig { limits: limits.clone(), ..ListenConfig::default() };
        let copied = copies.clone();
        let address = world.listen(kind, config, move |_: &Conn<'_>| hooks(copied.hooks()));
        let mut peer = world.dial(&address);
        world.until_open(1);
        ends(&mut world, &mut peer);
        // A world without its reactor still reads.
        expect(kind, &mut world, peer, sees);
        assert_eq!(copies.0.borrow().len(), 1, "no copy was taken: the test proves nothing");
    });
}

fn on_the_only_one(world: &mut World, call: impl FnOnce(&mut windlass::Other<'_>)) {
    let id = world.log.id(0);
    call(&mut world.reactor().context().other(id).expect("it lives"));
}

#[test]
fn the_peer_hears_of_an_idle_end_though_somebody_has_a_copy_of_the_socket() {
    let limits = Limits { idle_timeout: Some(Duration::from_millis(30)), ..Limits::default() };
    ended(&limits, Sees::End, |hooks| hooks, |_, _| {});
}

#[test]
fn the_peer_hears_of_a_lifetime_that_is_over_though_somebody_has_a_copy_of_the_socket() {
    let limits = Limits { lifetime: Some(Duration::from_millis(30)), ..Limits::default() };
    ended(&limits, Sees::End, |hooks| hooks, |_, _| {});
}

#[test]
fn the_peer_hears_of_an_abort_though_somebody_has_a_copy_of_the_socket() {
    ended(&Limits::default(), Sees::Reset, |hooks| hooks, |world, _| on_the_only_one(world, |other| other.abort()));
}

#[test]
fn the_peer_hears_of_a_close_though_somebody_has_a_copy_of_the_socket() {
    ended(&Limits::default(), Sees::End, |hooks| hooks, |world, _| on_the_only_one(world, |other| other.close()));
}

/// The peer had ended, so that our FIN was left to close(2).
#[test]
fn a_peer_that_ended_first_hears_our_end_though_somebody_has_a_copy_of_the_socket() {
    ended(&Limits::default(), Sees::End, |hooks| hooks, |_, peer| peer.finish());
}

#[test]
fn the_peer_hears_of_a_panic_though_somebody_has_a_copy_of_the_socket() {
    ended(
        &Limits::default(),
        Sees::End,
        |hooks| hooks.data(|_, _| panic!("a test's own")),
        |world, peer| peer.send_all_while(world, b"go"),
    );
}

#[test]
fn the_peer_hears_of_a_dropped_reactor_though_somebody_has_a_copy_of_the_socket() {
    each_kind(|kind| {
        let (mut world, copies) = (World::new(), Copies::default());
        let copied = copies.clone();
        let address = world.listen(kind, ListenConfig::default(), move |_: &Conn<'_>| copied.hooks());
        let peer = world.dial(&address);
        world.until_open(1);
        world.drop_reactor();
        expect(kind, &mut World::new(), peer, Sees::End);
    });
}

#[test]
fn the_peer_hears_of_a_drain_s_cut_though_somebody_has_a_copy_of_the_socket() {
    ended(
        &Limits::default(),
        Sees::Reset,
        |hooks| hooks.drain(|_| {}),
        |world, _| world.reactor().shutdown(Duration::ZERO),
    );
}

#[test]
fn the_peer_hears_that_its_answer_is_lost_though_somebody_has_a_copy_of_the_socket() {
    let limits = Limits { write_stall_timeout: Duration::from_millis(30), ..Limits::default() };
    ended(
        &limits,
        Sees::Reset,
        |hooks| {
            // More than the system takes of it, whenever there is room.
            let more = |conn: &mut Conn<'_>| while conn.write_some(&pattern(256 * 1024)) == 256 * 1024 {};
            hooks
                .data(move |conn, data| {
                    more(conn);
                    data.len()
                })
                .writable(more)
        },
        |world, peer| {
            peer.send_all_while(world, b"go");
            world.until("the stall", |world| !world.log.reasons().is_empty());
            assert_eq!(world.log.reasons(), [Reason::Timeout(Expiry::WriteStall)]);
        },
    );
}

/// Our end was heard, but that nobody takes what the peer still sends is news.
#[test]
fn a_peer_that_goes_on_sending_hears_that_nobody_lingers_though_somebody_has_a_copy_of_the_socket() {
    let limits = Limits { linger_timeout: Duration::from_millis(30), ..Limits::default() };
    each_kind(|kind| {
        let (mut world, copies) = (World::new(), Copies::default());
        let (config, copied) = (ListenConfig { limits: limits.clone(), ..ListenConfig::default() }, copies.clone());
        let address = world.listen(kind, config, move |_: &Conn<'_>| copied.hooks());
        let peer = world.dial(&address);
        world.until_open(1);
        on_the_only_one(&mut world, |other| other.close());
        assert_eq!(world.until_empty(), [Reason::Timeout(Expiry::Linger)]);
        world.until("a write to fail", |_| match (&*peer.0).write(b"still here") {
            Ok(_) => false,
            Err(error) => {
                assert!(matches!(error.kind(), ErrorKind::BrokenPipe | ErrorKind::ConnectionReset), "{error}");
                true
            }
        });
    });
}

// --- links that no reactor has ------------------------------------------------------------------------------------

fn detached(kind: Kind, world: &mut World, copies: &Copies) -> (Link, Peer) {
    let kept: Rc<RefCell<Option<Link>>> = Rc::default();
    let (keep, copied) = (kept.clone(), copies.clone());
    let address = world.listen(kind, ListenConfig::default(), move |_: &Conn<'_>| {
        let keep = keep.clone();
        copied.hooks().data(move |conn, data| {
            let keep = keep.clone();
            conn.detach(move |link, _| *keep.borrow_mut() = Some(link));
            data.len()
        })
    });
    let mut peer = world.dial(&address);
    world.until_open(1);
    peer.send_all_while(world, b"go");
    world.until("the link to leave", |_| kept.borrow().is_some());
    let link = kept.borrow_mut().take().expect("the link");
    (link, peer)
}

#[test]
fn the_peer_hears_of_a_dropped_link_though_somebody_has_a_copy_of_the_socket() {
    each_kind(|kind| {
        let (mut world, copies) = (World::new(), Copies::default());
        let (link, peer) = detached(kind, &mut world, &copies);
        drop(link);
        expect(kind, &mut world, peer, Sees::BareEnd);
    });
}

#[test]
fn a_link_s_parts_are_nobody_s_to_end() {
    each_kind(|kind| {
        let (mut world, copies) = (World::new(), Copies::default());
        let (link, peer) = detached(kind, &mut world, &copies);
        let parts = link.into_parts();
        assert_eq!(
            peer.0.peek(&mut [std::mem::MaybeUninit::uninit()]).map_err(|e| e.kind()),
            Err(ErrorKind::WouldBlock)
        );
        drop(parts);
    });
}

#[test]
fn the_peer_hears_of_a_dropped_and_of_a_closed_blocking_link_though_somebody_has_a_copy_of_the_socket() {
    for closes in [false, true] {
        each_kind(|kind| {
            let (mut world, copies) = (World::new(), Copies::default());
            let (link, peer) = detached(kind, &mut world, &copies);
            let link = link.into_blocking().expect("a link that blocks");
            if closes {
                link.close().expect("closed");
            } else {
                drop(link);
            }
            expect(kind, &mut world, peer, Sees::End);
        });
    }
}

#[test]
fn the_peer_hears_of_a_close_that_loses_output_though_somebody_has_a_copy_of_the_socket() {
    each_kind(|kind| {
        let (mut world, copies) = (World::new(), Copies::default());
        let (link, peer) = detached(kind, &mut world, &copies);
        let link = link.into_blocking().expect("a link that blocks");
        link.set_write_timeout(Some(Duration::from_millis(30)));
        let bytes = pattern(64 * 1024);
        while (&link).write(&bytes).is_ok() {}
        link.close().expect_err("nobody takes it");
        // A FIN would have come in front of the reset.
        expect(kind, &mut world, peer, Sees::Reset);
    });
}

// --- connections that never had a handler -------------------------------------------------------------------------

/// Takes copies of accepted sockets before there is anything that lends them, and admits them or not.
struct Doorman {
    admission: Admission,
    copies: Copies,
    known: Rc<RefCell<BTreeSet<i32>>>,
}

/// Descriptors of this process.
fn open_descriptors() -> BTreeSet<i32> {
    let entries = std::fs::read_dir("/proc/self/fd").expect("/proc");
    let listed = entries.map(|entry| entry.expect("an entry").path()).collect::<Vec<_>>();
    // Without the one that lists them.
    let open = listed.iter().filter(|path| path.symlink_metadata().is_ok());
    open.map(|path| path.file_name().and_then(|name| name.to_str()).expect("a name").parse().expect("a number"))
        .collect()
}

impl Accept for Doorman {
    type Handler = Sink;

    fn admit(&mut self, _: &windlass::Peer<'_>) -> Admission {
        use rustix::process::{PidfdFlags, PidfdGetfdFlags, getpid, pidfd_getfd, pidfd_open};
        let this = pidfd_open(getpid(), PidfdFlags::empty()).expect("a pidfd");
        for new in open_descriptors().difference(&self.known.borrow()) {
            if *new != this.as_raw_fd() {
                let copy = pidfd_getfd(&this, *new, PidfdGetfdFlags::empty()).expect("a copy");
                self.copies.0.borrow_mut().push(copy);
            }
        }
        assert_eq!(self.copies.0.borrow().len(), 1);
        self.admission
    }

    fn make(&mut self, _: &Conn<'_>) -> Sink {
        Sink
    }
}

#[cfg(target_os = "linux")]
fn at_the_door(name: &str, admission: Admission, limits: &Limits) {
    alone(name, || {
        each_kind(|kind| {
            if admission == Admission::Admit && !kind.is_tls() {
                return;
            }
            let (mut world, copies) = (World::new(), Copies::default());
            let known: Rc<RefCell<BTreeSet<i32>>> = Rc::default();
            let config = ListenConfig { limits: limits.clone(), ..ListenConfig::default() };
            let doorman = Doorman { admission, copies: copies.clone(), known: known.clone() };
            let address = world.listen(kind, config, doorman);
            // Without a handshake, which never begins.
            let silent = match (address.ip(), address.path()) {
                (Some(ip), _) => OwnedFd::from(std::net::TcpStream::connect(ip).expect("a connection")),
                (_, path) => {
                    std::os::unix::net::UnixStream::connect(path.expect("a path")).expect("a connection").into()
                }
            };
            let mut peer = Peer::plain(socket2::Socket::from(silent));
            peer.0.set_nonblocking(true).expect("a mode");
            *known.borrow_mut() = open_descriptors();
            world.until("the door", |_| !copies.0.borrow().is_empty());
            assert_eq!(peer.read_to_end_while(&mut world).expect("an end"), b"");
        });
    });
}

#[test]
#[cfg(target_os = "linux")]
fn a_refused_peer_hears_of_it_though_somebody_has_a_copy_of_the_socket() {
    let name = "copies::a_refused_peer_hears_of_it_though_somebody_has_a_copy_of_the_socket";
    at_the_door(name, Admission::Refuse, &Limits::default());
}

#[test]
#[cfg(target_os = "linux")]
fn the_peer_hears_of_a_handshake_s_timeout_though_somebody_has_a_copy_of_the_socket() {
    let name = "copies::the_peer_hears_of_a_handshake_s_timeout_though_somebody_has_a_copy_of_the_socket";
    let limits = Limits { handshake_timeout: Duration::from_millis(30), ..Limits::default() };
    at_the_door(name, Admission::Admit, &limits);
}
