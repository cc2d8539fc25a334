//! The files of Unix datagram sockets: what may be in the way, who may send, and what is left behind.

use crate::support::post::{Mate, PostHooks, Wire, echoing};
use crate::support::{
    World, alone, inode, mode, one_of_many_starters_wins, refuses_what_is_in_the_way, skip, strangers,
};
use rustix::process::{getegid, geteuid};
use std::fs;
use std::io::ErrorKind;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::os::unix::net::{UnixDatagram, UnixListener};
use std::path::Path;
use std::sync::mpsc::TryRecvError;
use windlass::{Address, DatagramConfig, EndpointId, Error, Reason};

fn bind(world: &mut World, path: &Path, config: DatagramConfig) -> Result<EndpointId, Error> {
    let address = Address::unixgram(path).expect("a short path");
    // Recorded only if it is made: a handler that is refused is never called.
    let made = world.reactor().bind(&address, config, echoing());
    made.inspect(|_| world.turns(1))
}

fn echoes(world: &mut World, path: &Path) {
    let mate = Mate::new(world, Wire::UnixAbstract);
    mate.send(b"hello", &Address::unixgram(path).expect("a short path"));
    assert_eq!(mate.read_while(world), b"hello");
}

fn is_in_use(error: &Error) -> bool {
    matches!(error, Error::Listen { source, .. } if source.kind() == ErrorKind::AddrInUse)
}

#[test]
fn a_stale_socket_is_removed() {
    let mut world = World::new();
    let path = world.path("socket");
    drop(UnixDatagram::bind(&path).expect("a socket"));
    let stale = inode(&path);
    // So that its number is not used again.
    fs::hard_link(&path, world.path("other")).expect("a link");
    bind(&mut world, &path, DatagramConfig::default()).expect("an endpoint");
    assert_ne!(inode(&path), stale);
    echoes(&mut world, &path);
}

#[test]
fn a_live_socket_is_in_use_and_undisturbed() {
    let mut world = World::new();
    let [datagrams, streams] = ["datagrams", "streams"].map(|name| world.path(name));
    let owner = UnixDatagram::bind(&datagrams).expect("a socket");
    let _listener = UnixListener::bind(&streams).expect("a socket");
    owner.set_nonblocking(true).expect("a non-blocking socket");
    for path in [&datagrams, &streams] {
        let before = inode(path);
        let error = bind(&mut world, path, DatagramConfig::default()).expect_err("it lives");
        assert!(is_in_use(&error), "{error}");
        assert!(error.to_string().contains(&path.display().to_string()), "{error}");
        assert_eq!(inode(path), before);
    }
    assert_eq!(owner.recv(&mut [0; 8]).expect_err("nothing was sent").kind(), ErrorKind::WouldBlock);
}

#[test]
fn a_live_socket_whose_queue_is_full_is_in_use() {
    let mut world = World::new();
    let path = world.path("socket");
    let owner = UnixDatagram::bind(&path).expect("a socket");
    let sender = UnixDatagram::unbound().expect("a socket");
    sender.set_nonblocking(true).expect("a non-blocking socket");
    while sender.send_to(b"x", &path).is_ok() {}
    let error = bind(&mut world, &path, DatagramConfig::default()).expect_err("it lives");
    assert!(is_in_use(&error), "{error}");
    assert_eq!(owner.recv(&mut [0; 8]).expect("a datagram"), 1);
}

#[test]
fn whatever_else_is_in_the_way_is_refused_and_stays() {
    let try_it = |world: &mut World, path: &Path| bind(world, path, DatagramConfig::default());
    refuses_what_is_in_the_way(&mut World::new(), |path| UnixDatagram::bind(path), try_it);
}

#[test]
fn mode_and_group_are_as_asked() {
    let mut world = World::new();
    let group = getegid().as_raw();
    for (number, wanted) in [0o770, 0o777, 0o600, 0o000].into_iter().enumerate() {
        let path = world.path(&format!("socket{number}"));
        let config = DatagramConfig { unix_mode: wanted, unix_group: Some(group), ..DatagramConfig::default() };
        bind(&mut world, &path, config).expect("an endpoint");
        assert_eq!(mode(&path), wanted);
        let found = fs::symlink_metadata(&path).expect("a file");
        assert!(found.file_type().is_socket() && found.gid() == group && found.uid() == geteuid().as_raw());
    }
    assert_eq!(mode(&world.path("socket0")), 0o770);
    let path = world.path("default");
    bind(&mut world, &path, DatagramConfig::default()).expect("an endpoint");
    assert_eq!(mode(&path), 0o770);

    let foreign = world.path("foreign");
    // A number that needs all of 32 bits.
    let config = DatagramConfig { unix_group: Some(3_000_000_001), ..DatagramConfig::default() };
    let bound = bind(&mut world, &foreign, config);
    if geteuid().is_root() {
        bound.expect("an endpoint");
        let made = fs::symlink_metadata(&foreign).expect("a file");
        assert_eq!((made.uid(), made.gid(), mode(&foreign)), (0, 3_000_000_001, 0o770));
    } else {
        skip("only root can give a file to any group");
        bound.expect_err("a group that is not ours");
        assert!(!foreign.exists(), "a failure leaves nothing behind");
    }
}

#[test]
fn there_is_no_moment_in_which_everybody_may_send() {
    // Somebody looks all the while. Between bind and the mode that was asked for the file has no permissions at all.
    let mut world = World::new();
    let path = world.path("socket");
    // Dropped in a panic, too, which ends the watcher.
    let (watched, stopped) = std::sync::mpsc::channel::<()>();
    let looked = path.clone();
    let watcher = std::thread::spawn(move || {
        let mut seen = std::collections::BTreeSet::new();
        while stopped.try_recv() == Err(TryRecvError::Empty) {
            if let Ok(found) = fs::symlink_metadata(&looked) {
                seen.insert(found.permissions().mode() & 0o7777);
            }
        }
        seen
    });
    for _ in 0..300 {
        let config = DatagramConfig { unix_mode: 0o600, ..DatagramConfig::default() };
        let id = bind(&mut world, &path, config).expect("an endpoint");
        world.with_post(id, |post| post.close());
        world.until("the end", |world| world.reactor().connections() == 0);
    }
    drop(watched);
    let seen = watcher.join().expect("it looked");
    assert!(seen.iter().all(|mode| matches!(mode, 0 | 0o600)), "{seen:?}");
}

#[test]
fn the_file_is_removed_on_close_only_if_it_is_still_ours() {
    let mut world = World::new();
    let [ours, replaced, gone] = ["ours", "replaced", "gone"].map(|name| world.path(name));
    let ids = [&ours, &replaced, &gone].map(|path| bind(&mut world, path, DatagramConfig::default()).expect("it"));
    fs::hard_link(&replaced, world.path("kept")).expect("a link");
    fs::remove_file(&replaced).expect("removed");
    let other = UnixDatagram::bind(&replaced).expect("a socket");
    fs::remove_file(&gone).expect("removed");
    for id in ids {
        world.with_post(id, |post| post.close());
    }
    world.until("the end", |world| world.reactor().connections() == 0);
    assert!(!ours.exists() && !gone.exists() && replaced.exists());
    let sender = UnixDatagram::unbound().expect("a socket");
    sender.send_to(b"hello", &replaced).expect("it is there");
    assert_eq!(other.recv(&mut [0; 8]).expect("a datagram"), 5);
}

#[test]
fn the_file_is_removed_when_the_reactor_is_dropped_or_stops() {
    for stops in [false, true] {
        let mut world = World::new();
        let path = world.path("socket");
        bind(&mut world, &path, DatagramConfig::default()).expect("an endpoint");
        assert!(path.exists());
        if stops {
            world.reactor().shutdown(std::time::Duration::ZERO);
            world.reactor().run().expect("a report");
        } else {
            world.drop_reactor();
        }
        assert!(!path.exists());
    }
}

#[test]
fn a_path_in_no_directory_is_refused_and_named() {
    let mut world = World::new();
    let path = world.path("no/socket");
    let error = bind(&mut world, &path, DatagramConfig::default()).expect_err("no directory").to_string();
    assert!(error.starts_with(&format!("cannot listen on unixgram:{}: ", path.display())), "{error}");
}

#[test]
fn a_client_has_a_name_of_its_own_and_it_is_gone_after_close() {
    let mut world = World::new();
    let server = world.bind(Wire::UnixPath, DatagramConfig::default(), echoing()).1;
    let handler = PostHooks::new().bound(|sock| sock.send(b"hello").expect("room"));
    let (id, own) = world.connect_post(&server, DatagramConfig::default(), handler);
    assert!(own.abstract_name().is_some_and(|name| !name.is_empty()), "{own}");
    world.until("the answer", |world| world.posts.datagrams(1) == 1);
    world.close_post(id);
    world.until_post_closed(1);
    drop(Mate::at(&own));
}

#[test]
fn a_client_may_choose_its_name_and_its_file_is_removed() {
    let mut world = World::new();
    let server = world.bind(Wire::UnixPath, DatagramConfig::default(), echoing()).1;
    let path = world.path("client");
    let bind = Some(Address::unixgram(&path).expect("a path"));
    let config = DatagramConfig { bind, unix_mode: 0o600, ..DatagramConfig::default() };
    let handler = PostHooks::new().bound(|sock| sock.send(b"hello").expect("room"));
    let (id, own) = world.connect_post(&server, config.clone(), handler);
    assert_eq!((own.path(), mode(&path)), (Some(path.as_path()), 0o600));
    world.until("the answer", |world| world.posts.datagrams(1) == 1);
    world.close_post(id);
    assert_eq!(world.until_post_closed(1), Reason::Local);
    assert!(!path.exists());
    // Nobody there: nothing stays behind.
    let nobody = Address::unixgram(world.path("nobody")).expect("a path");
    world.reactor().connect_datagrams(&nobody, config, echoing()).expect_err("nobody is there");
    assert!(!path.exists());
}

/// Binds with a mode.
fn bind_with(world: &mut World, path: &Path, unix_mode: u32) -> Result<(), Error> {
    bind(world, path, DatagramConfig { unix_mode, ..DatagramConfig::default() }).map(drop)
}

/// Leaves a dead socket at a path.
fn leave_dead(path: &Path) -> std::io::Result<()> {
    UnixDatagram::bind(path).map(drop)
}

#[test]
fn a_stranger_who_locks_the_folder_or_takes_the_locks_place_stops_no_bind() {
    strangers::binds_beside_locks_of_strangers(bind_with);
}

#[test]
fn a_bind_leaves_nothing_in_its_folder_but_its_socket() {
    strangers::leaves_no_lock_behind(bind_with);
}

#[test]
fn whatever_a_stranger_puts_in_the_place_of_the_new_socket_keeps_its_mode() {
    strangers::changes_no_file_but_its_own_socket(leave_dead, bind_with);
}

#[test]
fn a_dead_socket_of_another_user_is_refused_by_name() {
    strangers::refuses_a_dead_socket_of_another_user(leave_dead, bind_with);
}

#[test]
fn who_may_write_a_folder_but_not_list_it_can_bind_there() {
    strangers::binds_in_a_folder_that_cannot_be_listed(bind_with);
}

#[test]
fn of_many_who_start_at_once_on_a_stale_socket_one_is_bound_and_the_others_are_told() {
    one_of_many_starters_wins(leave_dead, bind_with);
}

#[test]
fn without_proc_a_socket_gets_its_mode_if_the_umask_lets_it() {
    strangers::gets_its_mode_without_proc("files::without_proc_a_socket_gets_its_mode_if_the_umask_lets_it", bind_with);
}

#[test]
fn mode_is_as_asked_whatever_the_umask() {
    alone("files::mode_is_as_asked_whatever_the_umask", || {
        let mut world = World::new();
        for umask in [0o000, 0o022, 0o077, 0o777] {
            rustix::process::umask(rustix::fs::Mode::from_raw_mode(umask));
            for asked in [0o770, 0o600, 0o666, 0o777, 0o000] {
                let path = world.path(&format!("{asked:o} with {umask:o}"));
                bind_with(&mut world, &path, asked).expect("an endpoint");
                assert_eq!(mode(&path), asked, "{asked:o} with umask {umask:o}");
            }
            let still = rustix::process::umask(rustix::fs::Mode::from_raw_mode(umask));
            assert_eq!(still.as_raw_mode(), umask, "the umask is the process's own business");
        }
    });
}

#[test]
fn a_socket_that_its_own_user_may_not_connect_to_is_refused_by_name() {
    strangers::refuses_a_socket_that_cannot_be_tried(leave_dead, bind_with);
}

#[cfg(target_os = "linux")]
#[test]
fn a_socket_whose_owner_was_killed_before_it_got_its_mode_is_replaced() {
    strangers::replaces_a_socket_that_never_got_its_mode(leave_dead, bind_with);
}
