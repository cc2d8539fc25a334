//! Folders in which others may write, too: what they can do to a bind, and what not. Each scenario is given `bind`, which
//! binds a socket of some kind to a path with a mode and unbinds it when the world's reactor is dropped.

use super::{World, inode, mode};
use rustix::fs::{FlockOperation, Mode, flock};
use rustix::process::{Uid, geteuid};
use rustix::thread::set_thread_res_uid;
use std::fs::{self, File, Permissions};
use std::io;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::Path;
use std::process::Command;
use std::sync::Barrier;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};
use windlass::Error;

/// A user that owns nothing here.
const NOBODY: u32 = 65534;

/// Runs `body` on a thread of this process that belongs to another user; says so if that needs a user that this is not.
#[must_use]
pub fn as_nobody<T: Send>(body: impl FnOnce() -> T + Send) -> Option<T> {
    if !geteuid().is_root() {
        eprintln!("SKIPPED: only root can act as another user");
        return None;
    }
    let as_other = || {
        let other = Uid::from_raw(NOBODY);
        set_thread_res_uid(other, other, other).expect("another user");
        body()
    };
    std::thread::scope(|scope| Some(scope.spawn(as_other).join().expect("the other user's deeds")))
}

/// Keeps a lock on `file`.
fn hold(file: File, how: FlockOperation) -> Option<File> {
    flock(&file, how).expect("a lock");
    Some(file)
}

/// How long a bind may take that waits for nobody.
const AT_ONCE: Duration = Duration::from_millis(900);

/// A stranger holds a lock on the folder, or has put something in the place of the lock that a bind takes there.
pub fn binds_beside_locks_of_strangers(bind: impl Fn(&mut World, &Path, u32) -> Result<(), Error>) {
    let lock = format!(".windlass-{}.lock", geteuid().as_raw());
    type Deed = fn(&Path, &Path) -> Option<File>;
    let deeds: [(&str, Deed); 8] = [
        ("locks the folder", |folder, _| {
            hold(File::open(folder).expect("the folder"), FlockOperation::NonBlockingLockExclusive)
        }),
        ("shares a lock of it", |folder, _| {
            hold(File::open(folder).expect("the folder"), FlockOperation::NonBlockingLockShared)
        }),
        ("has a file there", |_, lock| {
            hold(File::create(lock).expect("a file"), FlockOperation::NonBlockingLockExclusive)
        }),
        ("has a file of the same mode there", |_, lock| {
            fs::write(lock, b"").expect("a file");
            let held = File::open(lock).expect("the file");
            fs::set_permissions(lock, Permissions::from_mode(0o200)).expect("a mode");
            if geteuid().is_root() {
                std::os::unix::fs::chown(lock, Some(NOBODY), None).expect("another owner");
            } else {
                fs::set_permissions(lock, Permissions::from_mode(0o600)).expect("a mode");
            }
            hold(held, FlockOperation::NonBlockingLockExclusive)
        }),
        ("has a folder there", |_, lock| {
            fs::create_dir(lock).expect("a folder");
            hold(File::open(lock).expect("the folder"), FlockOperation::NonBlockingLockExclusive)
        }),
        ("has a link to nothing there", |folder, lock| {
            symlink(folder.join("nothing"), lock).expect("a link");
            None
        }),
        ("has a link to a locked file there", |folder, lock| {
            symlink(folder.join("file"), lock).expect("a link");
            hold(File::create(folder.join("file")).expect("a file"), FlockOperation::NonBlockingLockExclusive)
        }),
        ("has a fifo there", |_, lock| {
            rustix::fs::mknodat(rustix::fs::CWD, lock, rustix::fs::FileType::Fifo, Mode::RUSR | Mode::WUSR, 0)
                .expect("a fifo");
            None
        }),
    ];
    for (what, deed) in deeds {
        let mut world = World::new();
        let (folder, path) = (world.path(""), world.path("socket"));
        let lock = folder.join(&lock);
        let held = deed(&folder, &lock);
        let before = fs::symlink_metadata(&lock).ok().map(|found| found.ino());
        let begun = Instant::now();
        bind(&mut world, &path, 0o770).unwrap_or_else(|error| panic!("a stranger {what}: {error}"));
        let took = begun.elapsed();
        assert!(took < AT_ONCE, "a stranger {what}: {took:?}");
        assert_eq!(mode(&path), 0o770, "a stranger {what}");
        let after = fs::symlink_metadata(&lock).ok().map(|found| found.ino());
        assert_eq!(after, before, "a stranger {what}, and it is left alone");
        assert!(!folder.join("nothing").exists());
        drop(held);
    }
}

/// Nothing is left in the folder but the socket, while it is there.
pub fn leaves_no_lock_behind(bind: impl Fn(&mut World, &Path, u32) -> Result<(), Error>) {
    let mut world = World::new();
    let path = world.path("socket");
    bind(&mut world, &path, 0o770).expect("a socket");
    let found: Vec<_> =
        fs::read_dir(world.path("")).expect("the folder").map(|entry| entry.expect("a file").path()).collect();
    assert_eq!(found, [path]);
}

/// Whoever owns the folder replaces the new socket at once: by a link to a file of ours, by such a file itself, by another
/// socket of ours. None of them gets the mode that was for the socket.
pub fn changes_no_file_but_its_own_socket(
    open: fn(&Path) -> io::Result<()>,
    bind: impl Fn(&mut World, &Path, u32) -> Result<(), Error>,
) {
    let mut swaps = 0;
    for what in ["a link to a file", "a file", "another socket", "a link to a socket"] {
        let world = World::new();
        let [path, secret, other, trap] = ["socket", "secret", "other", "trap"].map(|name| world.path(name));
        fs::write(&secret, b"").expect("a file");
        open(&other).expect("a socket");
        for file in [&secret, &other] {
            fs::set_permissions(file, Permissions::from_mode(0o600)).expect("a mode");
        }
        let since = Instant::now();
        let mut of_trap = 0;
        // Enough, or as long as a busy machine may take.
        while of_trap < 20 && since.elapsed() < Duration::from_secs(2) {
            match what {
                "a link to a file" => symlink(&secret, &trap).expect("a link"),
                "a link to a socket" => symlink(&other, &trap).expect("a link"),
                "a file" => fs::hard_link(&secret, &trap).expect("a link"),
                _ => fs::rename(&other, &trap).expect("a move"),
            }
            let (is_over, start) = (AtomicBool::new(false), Barrier::new(2));
            let is_swapped = std::thread::scope(|scope| {
                let swapper = scope.spawn(|| {
                    start.wait();
                    while !is_over.load(Ordering::Relaxed) {
                        if path.symlink_metadata().is_ok() {
                            return fs::rename(&trap, &path).is_ok();
                        }
                    }
                    false
                });
                let mut world = World::new();
                start.wait();
                let bound = bind(&mut world, &path, 0o777);
                is_over.store(true, Ordering::Relaxed);
                if let Err(error) = bound {
                    assert!(error.to_string().starts_with("cannot listen on unix"), "{error}");
                }
                swapper.join().expect("it looked")
            });
            of_trap += usize::from(is_swapped);
            let left = if is_swapped { &path } else { &trap };
            let socket = if what == "another socket" { left } else { &other };
            assert_eq!((mode(&secret), mode(socket)), (0o600, 0o600), "{what} in the place of the new socket");
            if what == "another socket" {
                fs::rename(left, &other).expect("it is still there");
            } else {
                fs::remove_file(left).expect("it is still there");
            }
        }
        swaps += of_trap;
    }
    if swaps == 0 {
        eprintln!("SKIPPED: nobody was ever fast enough to replace the new socket");
    }
}

/// From bind to the end the file has no permissions but those that were asked for, whatever the umask.
pub fn has_no_moment_with_other_permissions(bind: impl Fn(&mut World, &Path, u32) -> Result<(), Error> + Sync) {
    let folder = World::new();
    let path = folder.path("socket");
    let over = AtomicBool::new(false);
    let seen = std::thread::scope(|scope| {
        let watcher = scope.spawn(|| {
            let mut seen = std::collections::BTreeSet::new();
            while !over.load(Ordering::Relaxed) {
                if let Ok(found) = fs::symlink_metadata(&path) {
                    seen.insert(found.permissions().mode() & 0o7777);
                }
            }
            seen
        });
        for _ in 0..300 {
            let mut world = World::new();
            bind(&mut world, &path, 0o600).expect("a socket");
        }
        over.store(true, Ordering::Relaxed);
        watcher.join().expect("it looked")
    });
    assert!(seen.iter().all(|mode| matches!(mode, 0 | 0o600)), "{seen:?}");
}

/// A dead socket is replaced if it is this user's own, and refused by name if it is another's.
pub fn refuses_a_dead_socket_of_another_user(
    open: fn(&Path) -> io::Result<()>,
    bind: impl Fn(&mut World, &Path, u32) -> Result<(), Error>,
) {
    let mut world = World::new();
    fs::set_permissions(world.path(""), Permissions::from_mode(0o777)).expect("a mode");
    let path = world.path("socket");
    if as_nobody(|| open(&path).expect("a socket")).is_none() {
        return;
    }
    let before = inode(&path);
    let error = bind(&mut world, &path, 0o770).expect_err("it is another user's");
    assert!(matches!(error, Error::PathTaken { .. }), "{error}");
    let text = error.to_string();
    assert!(text.contains("another user") && text.contains(&path.display().to_string()), "{text}");
    assert_eq!(inode(&path), before);
    fs::remove_file(&path).expect("it is still there");
    open(&path).expect("a socket");
    bind(&mut world, &path, 0o770).expect("its own is replaced");
}

/// A socket that its own user may not connect to: whether it is dead cannot be seen, so it stays.
pub fn refuses_a_socket_that_cannot_be_tried(
    open: fn(&Path) -> io::Result<()>,
    bind: impl Fn(&mut World, &Path, u32) -> Result<(), Error> + Sync,
) {
    let folder = tempfile::tempdir().expect("a folder");
    fs::set_permissions(folder.path(), Permissions::from_mode(0o777)).expect("a mode");
    let path = folder.path().join("socket");
    let told = as_nobody(|| {
        open(&path).expect("a socket");
        [(0o400, 0o770), (0o155, 0o770), (0o000, 0o000)].map(|(mode, asked)| {
            fs::set_permissions(&path, Permissions::from_mode(mode)).expect("a mode");
            let error = bind(&mut World::new(), &path, asked).expect_err("it may live");
            assert!(matches!(error, Error::PathTaken { .. }), "{error}");
            error.to_string()
        })
    });
    for text in told.into_iter().flatten() {
        assert!(text.contains("whose mode does not let this user connect"), "{text}");
    }
}

/// A process that is killed between bind(2) and its socket's mode leaves a socket that not even its own user may connect to.
#[cfg(target_os = "linux")]
pub fn replaces_a_socket_that_never_got_its_mode(
    open: fn(&Path) -> io::Result<()>,
    bind: impl Fn(&mut World, &Path, u32) -> Result<(), Error> + Sync,
) {
    let folder = tempfile::tempdir().expect("a folder");
    fs::set_permissions(folder.path(), Permissions::from_mode(0o777)).expect("a mode");
    let path = folder.path().join("socket");
    let bound = as_nobody(|| {
        open(&path).expect("a socket");
        fs::set_permissions(&path, Permissions::from_mode(0o000)).expect("a mode");
        let mut world = World::new();
        bind(&mut world, &path, 0o770).expect("it is replaced");
        mode(&path)
    });
    assert!(matches!(bound, None | Some(0o770)), "{bound:?}");
    fs::remove_file(&path).ok();
    // Not another user's, which may be about to get its mode.
    open(&path).expect("a socket");
    fs::set_permissions(&path, Permissions::from_mode(0o000)).expect("a mode");
    let told = as_nobody(|| bind(&mut World::new(), &path, 0o770).expect_err("it is another's").to_string());
    assert!(path.exists(), "{told:?}");
}

/// A folder in which a user may make files, but not see which there are.
pub fn binds_in_a_folder_that_cannot_be_listed(bind: impl Fn(&mut World, &Path, u32) -> Result<(), Error> + Sync) {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("socket");
    fs::set_permissions(folder.path(), Permissions::from_mode(0o1733)).expect("a mode");
    let bound = as_nobody(|| {
        fs::read_dir(path.parent().expect("a folder")).expect_err("it cannot be listed");
        let mut world = World::new();
        bind(&mut world, &path, 0o770).expect("a socket");
        mode(&path)
    });
    assert!(matches!(bound, None | Some(0o770)), "{bound:?}");
    let shut = tempfile::tempdir().expect("a folder");
    fs::set_permissions(shut.path(), Permissions::from_mode(0o755)).expect("a mode");
    let path = shut.path().join("socket");
    let told = as_nobody(|| bind(&mut World::new(), &path, 0o770).expect_err("it cannot be written").to_string());
    assert!(told.is_none_or(|text| text.ends_with(": Permission denied (os error 13)")));
}

/// In a process that sees no /proc, as in a chroot, the mode is right or the bind is refused with the reason. `name` is
/// the test's.
pub fn gets_its_mode_without_proc(name: &str, bind: impl Fn(&mut World, &Path, u32) -> Result<(), Error>) {
    if std::env::var("WINDLASS_APART").is_ok_and(|apart| apart == name) {
        assert!(!Path::new("/proc/self").exists());
        let mut world = World::new();
        for (umask, asked) in [(0o000, 0o770), (0o022, 0o755), (0o077, 0o600)] {
            rustix::process::umask(Mode::from_raw_mode(umask));
            let path = world.path(&format!("{umask:o}"));
            bind(&mut world, &path, asked).expect("a socket");
            assert_eq!(mode(&path), asked);
        }
        let path = world.path("refused");
        let text = bind(&mut world, &path, 0o770).expect_err("the umask forbids it").to_string();
        assert!(text.contains("umask") && text.contains("/proc"), "{text}");
        assert!(!path.exists(), "a failure leaves nothing behind");
        return;
    }
    let without = "mount -t tmpfs none /proc";
    let possible = Command::new("unshare").args(["-m", "sh", "-c", without]).output();
    if !possible.is_ok_and(|output| output.status.success()) {
        eprintln!("SKIPPED: no mount namespace can be made here");
        return;
    }
    let test = std::env::current_exe().expect("our own path");
    let run = format!("{without} && exec {} --exact {name} --nocapture --test-threads=1", test.display());
    let output =
        Command::new("unshare").args(["-m", "sh", "-c", &run]).env("WINDLASS_APART", name).output().expect("a process");
    let told = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && told.contains("1 passed"), "{told}{}", String::from_utf8_lossy(&output.stderr));
}
