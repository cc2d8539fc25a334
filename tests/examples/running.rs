//! Programs as children with deadlines: what they say is read by threads, so that no test waits for it without end.
#![allow(dead_code, unused_imports, unreachable_pub, reason = "each test file uses its own part of it")]

#[path = "../support/skips.rs"]
mod skips;

use rustix::process::{Pid, Signal, kill_process};
pub use skips::skip;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::sync::OnceLock;
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::{Duration, Instant};

/// Nothing here takes as long; a read that does has hung.
pub const PATIENCE: Duration = Duration::from_secs(20);

/// Where an example is: built as this test is, from what lies in `examples/` now.
pub fn program(name: &str) -> PathBuf {
    static TOLD: OnceLock<String> = OnceLock::new();
    let told = TOLD.get_or_init(|| build(&["--examples"]));
    let of_example =
        |line: &&str| line.contains(r#""kind":["example"]"#) && line.contains(&format!("\"name\":\"{name}\""));
    let path = told.lines().find(of_example).and_then(|line| line.split(r#""executable":""#).nth(1)?.split('"').next());
    PathBuf::from(path.unwrap_or_else(|| panic!("cargo built no example {name}; it says\n{told}")))
}

/// The library that this test was built with, and the folder of what it depends on.
pub fn library() -> (PathBuf, PathBuf) {
    // Beside an example its dependencies are those of tests, which are built.
    let told = build(&["--lib", "--example", "once"]);
    let is_ours = |line: &&str| line.contains(r#""kind":["lib"]"#) && line.contains("\"name\":\"windlass\"");
    let path = told.lines().find(is_ours).and_then(|line| line.split('"').find(|word| word.ends_with(".rmeta")));
    let path = PathBuf::from(path.unwrap_or_else(|| panic!("cargo built no library; it says\n{told}")));
    let folder = path.parent().expect("a folder").to_owned();
    (path, folder)
}

/// Has cargo build the targets of this package that `targets` means, and returns what it tells in JSON. Behind a `cargo test` of
/// everything they are built already; one of a file alone would else run what an earlier build left.
fn build(targets: &[&str]) -> String {
    let program = std::env::current_exe().expect("our own path");
    let mut folders = program.ancestors().skip(2); // behind the file's name and `deps`
    let profile_folder = folders.next().expect("a profile's folder");
    let profile = profile_folder.file_name().and_then(|name| name.to_str()).expect("a profile");
    // With a target of its own there is one folder more.
    let above: Vec<&Path> = folders.take(2).collect();
    let target = above.iter().find(|folder| folder.join("CACHEDIR.TAG").exists()).expect("cargo's target folder");
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or("cargo".into()));
    command.current_dir(env!("CARGO_MANIFEST_DIR")).args(["build", "--offline", "--message-format=json"]).args(targets);
    command.args(["--profile", if profile == "debug" { "dev" } else { profile }, "--target-dir"]).arg(target);
    if let (false, Some(triple)) = (above[0] == *target, above[0].file_name()) {
        command.arg("--target").arg(triple);
    }
    // `default` is one, too: without it the same features make another build.
    let features = [
        ("default", cfg!(feature = "default")),
        ("tls", cfg!(feature = "tls")),
        ("aws-lc-rs", cfg!(feature = "aws-lc-rs")),
        ("ring", cfg!(feature = "ring")),
        ("platform-roots", cfg!(feature = "platform-roots")),
        ("serde", cfg!(feature = "serde")),
        ("signals", cfg!(feature = "signals")),
    ];
    let on: Vec<_> = features.into_iter().filter_map(|(name, is_on)| is_on.then_some(name)).collect();
    command.args(["--no-default-features", "--features", &on.join(",")]);
    let output = command.output().expect("cargo runs; a test that runs examples needs it");
    assert!(output.status.success(), "{command:?}:\n{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).expect("JSON is UTF-8")
}

/// What comes out of a pipe.
pub struct Said {
    pieces: Receiver<Vec<u8>>,
    all: Vec<u8>,
    /// So many bytes were returned.
    told: usize,
}

impl Said {
    pub fn by(mut pipe: impl Read + Send + 'static) -> Said {
        let (tell, pieces) = channel();
        std::thread::spawn(move || {
            let mut buffer = [0; 8192];
            while let Ok(count @ 1..) = pipe.read(&mut buffer) {
                if tell.send(buffer[..count].to_vec()).is_err() {
                    break;
                }
            }
        });
        Said { pieces, all: Vec::new(), told: 0 }
    }

    /// Waits for more, until the deadline at most; `false` at the end.
    fn more(&mut self, until: Instant) -> bool {
        match self.pieces.recv_timeout(until.saturating_duration_since(Instant::now())) {
            Ok(piece) => self.all.extend(piece),
            Err(RecvTimeoutError::Disconnected) => return false,
            Err(RecvTimeoutError::Timeout) => panic!("it says no more; so far:\n{}", self.text()),
        }
        true
    }

    fn text(&self) -> String {
        String::from_utf8_lossy(&self.all).into_owned()
    }

    /// The next line.
    pub fn line(&mut self) -> String {
        let until = Instant::now() + PATIENCE;
        loop {
            let rest = &self.all[self.told..];
            if let Some(end) = rest.iter().position(|byte| *byte == b'\n') {
                let line = String::from_utf8_lossy(&rest[..end]).trim_end().to_owned();
                self.told += end + 1;
                return line;
            }
            assert!(self.more(until), "it ended before the next line; all that it said:\n{}", self.text());
        }
    }

    /// All that still comes, to the end.
    pub fn rest(&mut self) -> Vec<u8> {
        let until = Instant::now() + PATIENCE;
        while self.more(until) {}
        self.all.split_off(self.told)
    }
}

/// Waits for its end; kills it at the deadline, and tells that.
fn end(child: &mut Child, said: &str) -> ExitStatus {
    let until = Instant::now() + PATIENCE;
    loop {
        if let Some(status) = child.try_wait().expect("our own child") {
            return status;
        }
        if Instant::now() > until {
            child.kill().expect("our own child");
            child.wait().expect("a status");
            panic!("it does not end; it said:\n{said}");
        }
        std::thread::park_timeout(Duration::from_millis(1));
    }
}

/// A running example; killed when it is dropped.
pub struct Running {
    pub child: Child,
    out: Said,
}

impl Running {
    pub fn start(name: &str, args: &[&str]) -> Running {
        let mut command = Command::new(program(name));
        Running::of(command.args(args).stdout(Stdio::piped()).spawn().expect("a program that starts"))
    }

    /// With an input that stays open, and says nothing.
    pub fn start_with_input(name: &str, args: &[&str]) -> Running {
        let mut command = Command::new(program(name));
        let command = command.args(args).stdin(Stdio::piped()).stdout(Stdio::piped());
        Running::of(command.spawn().expect("a program that starts"))
    }

    /// A child whose output is a pipe.
    pub fn of(mut child: Child) -> Running {
        let out = Said::by(child.stdout.take().expect("its output"));
        Running { child, out }
    }

    /// The next line of its output.
    pub fn line(&mut self) -> String {
        self.out.line()
    }

    /// The address behind `listening on`.
    pub fn address(&mut self) -> String {
        loop {
            if let Some(address) = self.line().strip_prefix("listening on ") {
                return address.to_owned();
            }
        }
    }

    pub fn tcp(&mut self) -> String {
        self.address().strip_prefix("tcp://").expect("a TCP address").to_owned()
    }

    pub fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).expect("a signal");
    }

    /// All that it still says, and whether it ended well.
    pub fn rest(mut self) -> (String, bool) {
        let rest = String::from_utf8(self.out.rest()).expect("text");
        let ended_well = end(&mut self.child, &rest).success();
        (rest, ended_well)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Runs a child to its end, with all of `input` to read.
pub fn finish(command: &mut Command, input: &[u8]) -> std::io::Result<Output> {
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()?;
    // It may end before it has read all.
    let _ = child.stdin.take().expect("its input").write_all(input);
    let mut out = Said::by(child.stdout.take().expect("its output"));
    let mut err = Said::by(child.stderr.take().expect("its errors"));
    let (stdout, stderr) = (out.rest(), err.rest());
    let status = end(&mut child, &String::from_utf8_lossy(&[&stdout[..], &stderr].concat()));
    Ok(Output { status, stdout, stderr })
}

/// Runs an example to its end.
pub fn run(name: &str, args: &[&str]) -> Output {
    finish(Command::new(program(name)).args(args), b"").expect("a program that starts")
}

pub fn dial(address: &str) -> TcpStream {
    let stream = TcpStream::connect(address).expect("a connection");
    stream.set_read_timeout(Some(PATIENCE)).expect("a timeout");
    stream.set_write_timeout(Some(PATIENCE)).expect("a timeout");
    stream
}

pub fn exchange(stream: &mut (impl Read + Write), text: &str) -> String {
    stream.write_all(text.as_bytes()).expect("a write");
    let mut back = vec![0; text.len()];
    stream.read_exact(&mut back).expect("an answer");
    String::from_utf8(back).expect("text")
}
