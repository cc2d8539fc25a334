//! The shim, the programs that are run under it, and processes with a deadline.

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, PidfdFlags, pidfd_open};
use std::io::{Read, Seek};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, OnceLock};
use std::time::Duration;

/// What is preloaded, and what it is preloaded to.
pub(crate) struct Rig {
    pub(crate) shim: PathBuf,
    pub(crate) streams: PathBuf,
    pub(crate) torture: PathBuf,
    pub(crate) echo: PathBuf,
}

/// The rig, built at the first call; `None`, and said so, without a C compiler.
pub(crate) fn rig() -> Option<&'static Rig> {
    static RIG: OnceLock<Option<Rig>> = OnceLock::new();
    let rig = RIG.get_or_init(|| build_shim().map(build_programs)).as_ref();
    if rig.is_none() {
        crate::support::skip("no C compiler");
    }
    rig
}

/// Seeds that were asked for, `None` if it is left to the tests.
pub(crate) fn seeds_asked() -> Option<u64> {
    std::env::var("TORTURE_SEEDS").ok().map(|count| count.parse().expect("TORTURE_SEEDS is a number"))
}

fn build_shim() -> Option<PathBuf> {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/torture/shim.c");
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR"));
    let (fresh, shim) = (folder.join(format!("shim-{}.so", std::process::id())), folder.join("shim.so"));
    let flags = ["-std=gnu11", "-Wall", "-Wextra", "-Werror", "-shared", "-fPIC", "-O2", "-o"];
    let mut command = Command::new("cc");
    let status = command.args(flags).arg(&fresh).arg(source).args(["-ldl", "-lpthread"]).status().ok()?;
    assert!(status.success(), "the shim does not compile");
    // Whole or not at all, should another run use it just now.
    std::fs::rename(&fresh, &shim).expect("a place for the shim");
    Some(shim)
}

fn build_programs(shim: PathBuf) -> Rig {
    let tests = cargo(&["test", "--no-run", "--test=streams", "--test=torture"]);
    let examples = cargo(&["build", "--example=echo"]);
    let [streams, torture] = ["streams", "torture"].map(|name| executable(&tests, name));
    Rig { shim, streams, torture, echo: executable(&examples, "echo") }
}

/// Builds with all system calls made through libc; returns what cargo tells.
fn cargo(words: &[&str]) -> String {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or("cargo".into()));
    command.args(words).args(["--features=rustix/use-libc", "--quiet", "--message-format=json"]);
    command.current_dir(env!("CARGO_MANIFEST_DIR"));
    let output = command.output().expect("cargo runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).expect("JSON is UTF-8")
}

/// Where cargo says that it put the program of a target.
fn executable(told: &str, name: &str) -> PathBuf {
    let of_target = |line: &&str| line.contains(&format!("\"name\":\"{name}\"")) && line.contains("\"executable\":\"");
    let line = told.lines().find(of_target).unwrap_or_else(|| panic!("cargo built no {name}"));
    let path = line.split("\"executable\":\"").nth(1).and_then(|rest| rest.split('"').next());
    PathBuf::from(path.expect("a path"))
}

/// How a process ended, and all that it said.
pub(crate) struct Ran {
    /// `None` if it was ended at its deadline.
    pub(crate) status: Option<ExitStatus>,
    pub(crate) told: String,
}

impl Ran {
    pub(crate) fn went_well(&self) -> bool {
        self.status.is_some_and(|status| status.success())
    }

    /// The end of what it said, for a report.
    pub(crate) fn last_words(&self) -> String {
        let lines: Vec<&str> = self.told.lines().collect();
        let last = lines[lines.len().saturating_sub(30)..].join("\n    ");
        match self.status {
            Some(status) => format!("{status}\n    {last}"),
            None => format!("it hangs\n    {last}"),
        }
    }
}

/// Runs a command to its end, or to its deadline.
pub(crate) fn run(command: &mut Command, patience: Duration) -> Ran {
    let mut told = tempfile::tempfile().expect("a file");
    let both = [told.try_clone().expect("a descriptor"), told.try_clone().expect("a descriptor")];
    let [out, err] = both;
    let mut child = command.stdin(std::process::Stdio::null()).stdout(out).stderr(err).spawn().expect("a process");
    let status = end(&mut child, patience);
    let mut bytes = Vec::new();
    told.rewind().expect("a file");
    told.read_to_end(&mut bytes).expect("a file");
    Ran { status, told: String::from_utf8_lossy(&bytes).into_owned() }
}

/// Waits for a process, and kills it at its deadline.
pub(crate) fn end(child: &mut Child, patience: Duration) -> Option<ExitStatus> {
    let pidfd = pidfd_open(Pid::from_child(child), PidfdFlags::empty()).expect("a pidfd");
    let timeout = Timespec { tv_sec: patience.as_secs() as i64, tv_nsec: patience.subsec_nanos().into() };
    if poll(&mut [PollFd::new(&pidfd, PollFlags::IN)], Some(&timeout)).expect("a poll") == 0 {
        child.kill().expect("our own child");
        child.wait().expect("a status");
        return None;
    }
    Some(child.wait().expect("a status"))
}

/// A command as one types it.
pub(crate) fn typed(command: &Command) -> String {
    let mut words = Vec::new();
    for (name, value) in command.get_envs() {
        let value = value.unwrap_or_default();
        words.push(format!("{}='{}'", name.to_string_lossy(), value.to_string_lossy()));
    }
    words.push(command.get_program().to_string_lossy().into_owned());
    words.extend(command.get_args().map(|word| word.to_string_lossy().into_owned()));
    words.join(" ")
}

/// Does all jobs, several at once, since most of their time is waiting; fails the test with what the failed ones say.
///
/// One that failed is done once more, alone: beside others it may have been late, or have met another job's port. What
/// fails then is a failure; what does not is told.
pub(crate) fn each<J: Sync>(jobs: &[J], at_once_per_core: usize, work: impl Fn(&J) -> Result<(), String> + Sync) {
    let (next, failures) = (AtomicUsize::new(0), Mutex::new(Vec::new()));
    let workers = at_once_per_core * std::thread::available_parallelism().map_or(2, usize::from);
    std::thread::scope(|scope| {
        for _ in 0..workers.min(jobs.len()) {
            scope.spawn(|| {
                while let Some(job) = jobs.get(next.fetch_add(1, Ordering::Relaxed)) {
                    if let Err(failure) = work(job) {
                        failures.lock().expect("no panic holds it").push((job, failure));
                    }
                }
            });
        }
    });
    let mut failures = failures.into_inner().expect("no panic holds it");
    failures.retain_mut(|(job, failure)| match work(job) {
        Ok(()) => {
            println!("disturbed by others, and well alone: {failure}");
            false
        }
        Err(again) => {
            *failure = again;
            true
        }
    });
    let failures: Vec<String> = failures.into_iter().map(|(_, failure)| failure).collect();
    let shown = failures.len().min(20);
    assert!(failures.is_empty(), "{} of {} failed:\n{}", failures.len(), jobs.len(), failures[..shown].join("\n\n"));
}
