//! Unix socket files: what may be in the way, who may connect, and what is left behind.

mod support;

use rustix::net::SocketAddrUnix;
use rustix::process::{getegid, geteuid};
use socket2::{Domain, Socket, Type};
use std::cell::RefCell;
use std::fs;
use std::io::ErrorKind;
use std::os::fd::OwnedFd;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::os::unix::net::{UnixDatagram, UnixListener};
use std::path::Path;
use std::rc::Rc;
use std::time::Duration;
use support::{
    Echo, Hooks, Kind, Peer, World, alone, each_kind, inode, mode, names_of_peers, one_of_many_starters_wins,
    refuses_what_is_in_the_way, skip, strangers,
};
use windlass::{Address, Conn, ConnectConfig, Error, Limits, Link, ListenConfig, ListenerId, PeerCredentials, Reason};

fn listen(world: &mut World, path: &Path, config: ListenConfig) -> Result<ListenerId, Error> {
    world.try_listen(&Address::unix(path).expect("a short path"), config, |_: &Conn<'_>| Echo)
}

fn echoes(world: &mut World, path: &Path) {
    let mut peer = world.dial(&Address::unix(path).expect("a short path"));
    peer.send_all_while(world, b"hello");
    assert_eq!(peer.read_exact_while(world, 5), b"hello");
}

#[test]
fn a_stale_socket_is_removed() {
    let mut world = World::new();
    let path = world.path("socket");
    drop(UnixListener::bind(&path).expect("a socket"));
    let stale = inode(&path);
    // So that its number is not used again.
    fs::hard_link(&path, world.path("other")).expect("a link");
    listen(&mut world, &path, ListenConfig::default()).expect("a listener");
    assert_ne!(inode(&path), stale);
    echoes(&mut world, &path);
}

#[test]
fn a_live_socket_is_in_use_and_undisturbed() {
    let mut world = World::new();
    let path = world.path("socket");
    let owner = UnixListener::bind(&path).expect("a socket");
    owner.set_nonblocking(true).expect("a non-blocking socket");
    let before = inode(&path);
    for _ in 0..3 {
        let error = listen(&mut world, &path, ListenConfig::default()).expect_err("it lives");
        let Error::Listen { source, .. } = &error else { panic!("{error}") };
        assert_eq!(source.kind(), ErrorKind::AddrInUse);
        assert!(error.to_string().starts_with(&format!("cannot listen on unix:{}: ", path.display())), "{error}");
    }
    assert_eq!(inode(&path), before);
    // The owner may have seen somebody come and go, no more.
    while let Ok((mut seen, _)) = owner.accept() {
        assert_eq!(std::io::Read::read(&mut seen, &mut [0; 8]).expect("an end"), 0);
    }
    let _peer = world.dial(&Address::unix(&path).expect("a path"));
    owner.accept().expect("it still accepts");
}

#[test]
fn a_live_socket_whose_backlog_is_full_is_in_use() {
    let mut world = World::new();
    let path = world.path("socket");
    let owner = socket2::Socket::new(socket2::Domain::UNIX, socket2::Type::STREAM, None).expect("a socket");
    owner.bind(&socket2::SockAddr::unix(&path).expect("a path")).expect("a free path");
    owner.listen(0).expect("a listener");
    let _waiting = world.dial(&Address::unix(&path).expect("a path"));
    let error = listen(&mut world, &path, ListenConfig::default()).expect_err("it lives");
    assert!(matches!(&error, Error::Listen { source, .. } if source.kind() == ErrorKind::AddrInUse), "{error}");
    assert!(path.exists());
}

#[test]
fn a_live_datagram_socket_is_in_use() {
    let mut world = World::new();
    let path = world.path("socket");
    let owner = UnixDatagram::bind(&path).expect("a socket");
    let error = listen(&mut world, &path, ListenConfig::default()).expect_err("it lives");
    assert!(matches!(&error, Error::Listen { source, .. } if source.kind() == ErrorKind::AddrInUse), "{error}");
    let sender = UnixDatagram::unbound().expect("a socket");
    sender.send_to(b"hello", &path).expect("it is still there");
    assert_eq!(owner.recv(&mut [0; 8]).expect("a datagram"), 5);
}

#[test]
fn whatever_else_is_in_the_way_is_refused_and_stays() {
    let try_it = |world: &mut World, path: &Path| listen(world, path, ListenConfig::default());
    refuses_what_is_in_the_way(&mut World::new(), |path| UnixListener::bind(path), try_it);
}

#[test]
fn a_path_in_no_directory_or_a_file_is_refused_and_named() {
    let mut world = World::new();
    fs::write(world.path("file"), b"").expect("a file");
    for path in [world.path("no/socket"), world.path("file/socket")] {
        let error = listen(&mut world, &path, ListenConfig::default()).expect_err("no directory").to_string();
        assert!(error.starts_with(&format!("cannot listen on unix:{}: ", path.display())), "{error}");
    }
}

#[test]
fn the_longest_path_works_and_a_longer_one_is_told_with_both_lengths() {
    let mut world = World::new();
    let limit = 107;
    let stem = world.path("").as_os_str().len();
    let longest = world.path(&"x".repeat(limit - stem));
    assert_eq!(longest.as_os_str().len(), limit);
    listen(&mut world, &longest, ListenConfig::default()).expect("the longest path");
    echoes(&mut world, &longest);
    assert_eq!(mode(&longest), 0o770);

    let longer = world.path(&"x".repeat(limit - stem + 1));
    let parsed = format!("unix:{}", longer.display()).parse::<Address>().expect_err("a path that is too long");
    for error in [parsed, Address::unix(&longer).expect_err("a path that is too long")] {
        let text = error.to_string();
        assert!(text.contains("108") && text.contains("107"), "{text}");
    }
}

#[test]
fn mode_is_as_asked_whatever_the_umask() {
    alone("mode_is_as_asked_whatever_the_umask", || {
        let mut world = World::new();
        for umask in [0o000, 0o022, 0o077, 0o777] {
            rustix::process::umask(rustix::fs::Mode::from_raw_mode(umask));
            let path = world.path(&format!("default with {umask:o}"));
            listen(&mut world, &path, ListenConfig::default()).expect("a listener");
            assert_eq!(mode(&path), 0o770, "the default with umask {umask:o}");
            for asked in [0o600, 0o666, 0o777, 0o000] {
                let path = world.path(&format!("{asked:o} with {umask:o}"));
                let config = ListenConfig { unix_mode: asked, ..ListenConfig::default() };
                listen(&mut world, &path, config).expect("a listener");
                assert_eq!(mode(&path), asked, "{asked:o} with umask {umask:o}");
            }
            let still = rustix::process::umask(rustix::fs::Mode::from_raw_mode(umask));
            assert_eq!(still.as_raw_mode(), umask, "the umask is the process's own business");
        }
    });
}

#[test]
fn group_is_as_asked_or_unchanged() {
    let mut world = World::new();
    let unchanged = world.path("unchanged");
    listen(&mut world, &unchanged, ListenConfig::default()).expect("a listener");
    let made = fs::metadata(&unchanged).expect("a file");
    assert_eq!((made.uid(), made.gid()), (geteuid().as_raw(), getegid().as_raw()));

    let asked = world.path("asked");
    let config = ListenConfig { unix_group: Some(getegid().as_raw()), ..ListenConfig::default() };
    listen(&mut world, &asked, config).expect("a listener");
    assert_eq!(fs::metadata(&asked).expect("a file").gid(), getegid().as_raw());

    let foreign = world.path("foreign");
    // A number that needs all of 32 bits.
    let config = ListenConfig { unix_group: Some(3_000_000_001), ..ListenConfig::default() };
    let listened = listen(&mut world, &foreign, config);
    if geteuid().is_root() {
        listened.expect("a listener");
        let made = fs::metadata(&foreign).expect("a file");
        assert_eq!((made.uid(), made.gid(), mode(&foreign)), (0, 3_000_000_001, 0o770));
    } else {
        skip("only root can give a file to any group");
        listened.expect_err("a group that is not ours");
        assert!(!foreign.exists(), "a failure leaves nothing behind");
    }
}

#[test]
fn the_file_is_removed_with_its_listener() {
    let mut world = World::new();
    let [removed, drained] = ["removed", "drained"].map(|name| world.path(name));
    let id = listen(&mut world, &removed, ListenConfig::default()).expect("a listener");
    world.turn();
    assert!(fs::metadata(&removed).expect("a file").file_type().is_socket());
    let mut peer = world.dial(&Address::unix(&removed).expect("a path"));
    world.until_open(1);
    world.reactor().context().remove_listener(id).expect("a listener");
    world.turns(2);
    assert!(!removed.exists());

    listen(&mut world, &drained, ListenConfig::default()).expect("a listener");
    world.reactor().shutdown(Duration::from_secs(10));
    world.turns(2);
    assert!(!drained.exists(), "gone as soon as the drain begins");
    assert_eq!(peer.read_to_end_while(&mut world).expect("a clean end"), b"");
    drop(peer);
    assert_eq!(world.until_empty(), [Reason::Drain]);
}

#[test]
fn the_file_is_removed_when_the_reactor_is_dropped() {
    for turns in [0, 2] {
        let mut world = World::new();
        let path = world.path("socket");
        listen(&mut world, &path, ListenConfig::default()).expect("a listener");
        world.turns(turns);
        world.drop_reactor();
        assert!(!path.exists(), "after {turns} turns");
    }
}

#[test]
fn a_file_that_is_no_longer_ours_stays() {
    let mut world = World::new();
    let [socket, file, nothing] = ["socket", "file", "nothing"].map(|name| {
        let path = world.path(name);
        listen(&mut world, &path, ListenConfig::default()).expect("a listener");
        path
    });
    // Somebody else's socket, and a plain file, in the place of ours; moved there, so that no number is used again.
    let heir = UnixListener::bind(world.path("heir")).expect("a socket");
    fs::rename(world.path("heir"), &socket).expect("a move");
    fs::write(world.path("new"), b"precious").expect("a file");
    fs::rename(world.path("new"), &file).expect("a move");
    fs::remove_file(&nothing).expect("our file");
    let ids: Vec<ListenerId> = world.reactor().context().listeners().into_iter().map(|(id, _)| id).collect();
    for id in ids {
        world.reactor().context().remove_listener(id).expect("a listener");
    }
    world.turns(2);
    assert_eq!(fs::read(&file).expect("the file"), b"precious");
    let _peer = world.dial(&Address::unix(&socket).expect("a path"));
    heir.accept().expect("the heir is undisturbed");
    assert!(!nothing.exists());
}

#[test]
fn the_file_of_a_socket_that_was_taken_over_or_given_away_stays() {
    let mut world = World::new();
    let [taken, given] = ["taken", "given"].map(|name| world.path(name));
    let socket = UnixListener::bind(&taken).expect("a socket");
    world.reactor().context().listen_on(socket, ListenConfig::default(), |_: &Conn<'_>| Echo).expect("taken over");
    let id = listen(&mut world, &given, ListenConfig::default()).expect("a listener");
    let (send, receive) = std::sync::mpsc::channel();
    world.reactor().context().release_listener(id, move |fd| send.send(fd).expect("a taker")).expect("a listener");
    world.turns(2);
    world.drop_reactor();
    assert!(taken.exists() && given.exists());
    let _peer = Peer::dial(&Address::unix(&given).expect("a path")).expect("it still listens");
    drop(receive);
}

#[test]
fn abstract_names_need_no_file_and_come_free_at_once() {
    let mut world = World::new();
    let name = format!("windlass-test-{}", std::process::id());
    let address: Address = format!("unix:@{name}").parse().expect("an address");
    let id = world.try_listen(&address, ListenConfig::default(), |_: &Conn<'_>| Echo).expect("a listener");
    assert_eq!(world.reactor().listener_address(id), Some(address.clone()));
    let error = world.try_listen(&address, ListenConfig::default(), |_: &Conn<'_>| Echo).expect_err("it is taken");
    assert!(matches!(&error, Error::Listen { source, .. } if source.kind() == ErrorKind::AddrInUse), "{error}");
    assert!(error.to_string().contains(&format!("unix:@{name}")), "{error}");
    let mut peer = world.dial(&address);
    peer.send_all_while(&mut world, b"hello");
    assert_eq!(peer.read_exact_while(&mut world, 5), b"hello");
    let there = address.clone();
    let hooks = Hooks::new().open(move |conn| {
        assert_eq!(conn.peer_address(), Some(there.clone()));
        conn.close();
    });
    world.connect(&address, ConnectConfig::default(), hooks);
    world.until("the dialled one to end", |world| world.log.reasons().contains(&Reason::Local));

    world.reactor().context().remove_listener(id).expect("a listener");
    world.turns(2);
    world.try_listen(&address, ListenConfig::default(), |_: &Conn<'_>| Echo).expect("it is free again");

    // Any bytes are a name, also those that no text could write.
    let odd = Address::unix_abstract([b"odd \0 \xff ", name.as_bytes()].concat()).expect("a name");
    let id = world.try_listen(&odd, ListenConfig::default(), |_: &Conn<'_>| Echo).expect("a listener");
    assert_eq!(world.reactor().listener_address(id), Some(odd.clone()));
    let mut peer = world.dial(&odd);
    peer.send_all_while(&mut world, b"hello");
    assert_eq!(peer.read_exact_while(&mut world, 5), b"hello");
}

/// A socket of a peer that has bound `name` and connected to the path or name of `address`.
fn connected_from(name: &SocketAddrUnix, address: &Address) -> Socket {
    let socket = Socket::new(Domain::UNIX, Type::STREAM, None).expect("a socket");
    rustix::net::bind(&socket, name).expect("a free name");
    let server = SocketAddrUnix::new(address.path().expect("a path")).expect("a path");
    rustix::net::connect(&socket, &server).expect("a listener");
    socket.set_nonblocking(true).expect("a non-blocking socket");
    socket
}

#[test]
fn peers_with_the_longest_names_are_served_and_nobody_else_notices() {
    // A peer that had bound a path of 108 bytes ended the reactor's thread in accept(2), and all its listeners with it.
    each_kind(|kind| {
        if !kind.is_unix() {
            return;
        }
        let mut world = World::new();
        let other = world.listen(Kind::Tcp, ListenConfig::default(), |_: &Conn<'_>| Echo);
        let names = Rc::new(RefCell::new(Vec::new()));
        let told = names.clone();
        let address = world.listen(kind, ListenConfig::default(), move |conn: &Conn<'_>| {
            assert_eq!(conn.peer_credentials().expect("a Unix peer").uid, geteuid().as_raw());
            told.borrow_mut().push(conn.peer_address().expect("a name").to_string());
            Echo
        });
        let mut expected = Vec::new();
        for (name, called) in names_of_peers(&world.path("")) {
            let mut odd = Peer::guest(connected_from(&name, &address), kind);
            odd.send_all_while(&mut world, b"odd");
            assert_eq!(odd.read_exact_while(&mut world, 3), b"odd", "{called}");
            expected.push(kind.of(called).to_string());
            for bystander in [&address, &other] {
                let mut peer = world.dial(bystander);
                peer.send_all_while(&mut world, b"next");
                assert_eq!(peer.read_exact_while(&mut world, 4), b"next");
            }
            expected.push(kind.of(Address::unix_unnamed()).to_string());
        }
        assert_eq!(*names.borrow(), expected);
        assert_eq!(world.reactor().snapshot().panics, 0);
        assert!(world.log.heard().is_empty(), "{:?}", world.log.heard());
    });
}

#[test]
fn sockets_with_the_longest_names_can_be_taken_over() {
    let mut world = World::new();
    for (name, called) in names_of_peers(&world.path("")) {
        // A listener so named, and both ends of a connection to it.
        let bound = Socket::new(Domain::UNIX, Type::STREAM, None).expect("a socket");
        rustix::net::bind(&bound, &name).expect("a free name");
        bound.listen(4).expect("a listener");
        let guest = Socket::new(Domain::UNIX, Type::STREAM, None).expect("a socket");
        rustix::net::connect(&guest, &name).expect("a listener");
        let host = rustix::net::accept(&bound).expect("a connection");
        let links = [OwnedFd::from(guest), host].map(|fd| Link::new(fd, Limits::default()).expect("a link"));
        let seen = Rc::new(RefCell::new(Vec::new()));
        for link in links {
            let note = seen.clone();
            let handler = Hooks::new().open(move |conn| {
                note.borrow_mut().push((conn.local_address().expect("a name"), conn.peer_address().expect("a name")));
                conn.close();
            });
            let handler = world.log.record(handler);
            world.reactor().context().adopt(link, handler).expect("adopted");
        }
        world.until_empty();
        let unnamed = Address::unix_unnamed();
        assert_eq!(*seen.borrow(), [(unnamed.clone(), called.clone()), (called.clone(), unnamed)]);
        let id =
            world.reactor().context().listen_on(bound, ListenConfig::default(), |_: &Conn<'_>| Echo).expect("taken");
        assert_eq!(world.reactor().listener_address(id), Some(called));
        world.turns(1);
        let peer = Socket::new(Domain::UNIX, Type::STREAM, None).expect("a socket");
        rustix::net::connect(&peer, &name).expect("it listens");
        peer.set_nonblocking(true).expect("a non-blocking socket");
        let mut peer = Peer::plain(peer);
        peer.send_all_while(&mut world, b"hello");
        assert_eq!(peer.read_exact_while(&mut world, 5), b"hello");
    }
}

#[test]
fn unix_peers_are_known_by_their_credentials() {
    each_kind(|kind| {
        let mut world = World::new();
        let check = move |who: Option<PeerCredentials>| match (kind.is_unix(), who) {
            (true, Some(who)) => {
                assert_eq!(who.pid, i32::try_from(std::process::id()).expect("a pid"));
                assert_eq!((who.uid, who.gid), (geteuid().as_raw(), getegid().as_raw()));
            }
            (false, None) => {}
            other => panic!("{other:?}"),
        };
        let address = world.listen(kind, ListenConfig::default(), move |conn: &Conn<'_>| {
            check(conn.peer_credentials());
            Hooks::new().open(move |conn| check(conn.peer_credentials()))
        });
        let dialler = Hooks::new().open(move |conn| {
            check(conn.peer_credentials());
            conn.close();
        });
        world.connect(&address, ConnectConfig::default(), dialler);
        world.until("both to end", |world| world.log.reasons().len() == 2);
        assert_eq!(world.reactor().snapshot().panics, 0);
    });
}

/// Listens with a mode.
fn listen_with(world: &mut World, path: &Path, unix_mode: u32) -> Result<(), Error> {
    listen(world, path, ListenConfig { unix_mode, ..ListenConfig::default() }).map(drop)
}

/// Leaves a dead socket at a path.
fn leave_dead(path: &Path) -> std::io::Result<()> {
    UnixListener::bind(path).map(drop)
}

#[test]
fn a_stranger_who_locks_the_folder_or_takes_the_locks_place_stops_no_listener() {
    strangers::binds_beside_locks_of_strangers(listen_with);
}

#[test]
fn a_listener_leaves_nothing_in_its_folder_but_its_socket() {
    strangers::leaves_no_lock_behind(listen_with);
}

#[test]
fn whatever_a_stranger_puts_in_the_place_of_the_new_socket_keeps_its_mode() {
    strangers::changes_no_file_but_its_own_socket(leave_dead, listen_with);
}

#[test]
fn there_is_no_moment_in_which_the_file_has_other_permissions_than_were_asked_for() {
    strangers::has_no_moment_with_other_permissions(listen_with);
}

#[test]
fn a_dead_socket_of_another_user_is_refused_by_name() {
    strangers::refuses_a_dead_socket_of_another_user(leave_dead, listen_with);
}

#[test]
fn who_may_write_a_folder_but_not_list_it_can_listen_there() {
    strangers::binds_in_a_folder_that_cannot_be_listed(listen_with);
}

#[test]
fn of_many_who_start_at_once_on_a_stale_socket_one_listens_and_the_others_are_told() {
    one_of_many_starters_wins(leave_dead, listen_with);
}

#[test]
fn without_proc_a_listener_gets_its_mode_if_the_umask_lets_it() {
    strangers::gets_its_mode_without_proc("without_proc_a_listener_gets_its_mode_if_the_umask_lets_it", listen_with);
}

#[test]
fn a_socket_that_its_own_user_may_not_connect_to_is_refused_by_name() {
    strangers::refuses_a_socket_that_cannot_be_tried(leave_dead, listen_with);
}

#[cfg(target_os = "linux")]
#[test]
fn a_socket_whose_owner_was_killed_before_it_got_its_mode_is_replaced() {
    strangers::replaces_a_socket_that_never_got_its_mode(leave_dead, listen_with);
}
