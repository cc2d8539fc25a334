//! Example programs that run, and how the tests speak to them.
#![allow(dead_code, unreachable_pub, reason = "each test file uses its own part of it")]

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::PathBuf;
use std::process::{Child, ChildStdout, Command, Output, Stdio};
use std::time::Duration;

/// Nothing here takes as long; a read that does has hung.
pub const PATIENCE: Duration = Duration::from_secs(20);

pub fn program(name: &str) -> Option<PathBuf> {
    let tests = std::env::current_exe().expect("an executable");
    let found = tests.parent()?.parent()?.join("examples").join(name);
    if found.exists() {
        return Some(found);
    }
    println!("skipped: the example {name} is not built; run `cargo build --examples`");
    None
}

/// A running example; killed when it is dropped.
pub struct Running {
    pub child: Child,
    pub out: BufReader<ChildStdout>,
}

impl Running {
    pub fn start(name: &str, args: &[&str]) -> Option<Running> {
        let mut command = Command::new(program(name)?);
        let mut child = command.args(args).stdout(Stdio::piped()).spawn().expect("a program that starts");
        let out = BufReader::new(child.stdout.take().expect("its output"));
        Some(Running { child, out })
    }

    /// With an input that stays open, and says nothing.
    pub fn start_with_input(name: &str, args: &[&str]) -> Option<Running> {
        let mut command = Command::new(program(name)?);
        let command = command.args(args).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().expect("a program that starts");
        let out = BufReader::new(child.stdout.take().expect("its output"));
        Some(Running { child, out })
    }

    /// The next line of its output.
    pub fn line(&mut self) -> String {
        let mut line = String::new();
        self.out.read_line(&mut line).expect("a line");
        line.trim_end().to_owned()
    }

    /// The address behind `listening on` and a scheme.
    pub fn address(&mut self) -> String {
        loop {
            let line = self.line();
            assert!(!line.is_empty(), "it ended before it listened");
            if let Some(address) = line.strip_prefix("listening on ") {
                return address.to_owned();
            }
        }
    }

    pub fn tcp(&mut self) -> String {
        self.address().strip_prefix("tcp://").expect("a TCP address").to_owned()
    }

    pub fn signal(&self, signal: rustix::process::Signal) {
        let pid = rustix::process::Pid::from_child(&self.child);
        rustix::process::kill_process(pid, signal).expect("a signal");
    }

    /// All that it still says, and whether it ended well.
    pub fn rest(mut self) -> (String, bool) {
        let mut rest = String::new();
        self.out.read_to_string(&mut rest).expect("its output");
        let ended_well = self.child.wait().expect("its end").success();
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

pub fn run(name: &str, args: &[&str]) -> Option<Output> {
    Some(Command::new(program(name)?).args(args).output().expect("a program that starts"))
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
