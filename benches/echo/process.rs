//! The processes of a run: a server, and the load generator that has it work.
//!
//! Owns what they are asked and what they answer. Knows nothing of what is measured.

use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::process::Signal;

use crate::Outcome;
use crate::answer::Answer;
use crate::child::{Directory, Process, own_executable};
use crate::launch::Core;
use crate::peer::Peer;
use crate::self_signed::Kind;

/// Enough for a server that starts inside valgrind.
const START_TIME_MAX: Duration = Duration::from_secs(30);
/// Longer than the load generator's own limit on a run, which gives the better message.
const ORDER_TIME_MAX: Duration = Duration::from_secs(330);

/// Where a server is to listen.
pub(crate) struct Site {
    /// Where its files are, the socket's among them if it has one.
    pub(crate) directory: Directory,
    /// The address, as on a command line.
    pub(crate) listen: String,
    /// With TLS, the kind of key to make.
    pub(crate) key: Option<&'static Kind>,
}

/// A server that said where it listens.
pub(crate) struct Server {
    name: String,
    pub(crate) process: Process,
    /// What it wants on its command line for a client, as it printed it.
    pub(crate) address: String,
    /// The certificate it shows, with TLS.
    certificate: Option<PathBuf>,
    _directory: Directory,
}

impl Server {
    /// Starts a server and waits until it listens; `wrapper` is a command that runs it, or nothing.
    pub(crate) fn start_at(site: Site, core: Core, peer: &Peer, options: &[&str], wrapper: &[String]) -> Outcome<Self> {
        let Site { directory, listen, key } = site;
        let mut command: Vec<String> = wrapper.to_vec();
        command.push(peer.program.display().to_string());
        // They may name the role of a program, and then come first.
        command.extend(peer.options.iter().map(|option| (*option).to_owned()));
        command.extend(["--listen".to_owned(), listen]);
        let mut certificate = None;
        if let Some(kind) = key {
            let (chain, key) = (directory.file("certificate.pem"), directory.file("key.pem"));
            kind.write(&chain, &key)?;
            command.extend(["--cert".to_owned(), chain.display().to_string()]);
            command.extend(["--key".to_owned(), key.display().to_string()]);
            certificate = Some(chain);
        }
        command.extend(options.iter().map(|option| (*option).to_owned()));
        let process = Process::start(core, Path::new(&command[0]), &command[1..])?;
        let line = process.line(START_TIME_MAX).map_err(|error| format!("{} did not start: {error}", peer.name))?;
        let address = line
            .strip_prefix("listening on ")
            .ok_or_else(|| format!("{} printed `{line}`, not `listening on ADDRESS`", peer.name))?
            .to_owned();
        Ok(Server { name: peer.name.clone(), process, address, certificate, _directory: directory })
    }

    pub(crate) fn pid(&self) -> u32 {
        self.process.pid()
    }

    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// Ends it as an operator would.
    pub(crate) fn stop(self) -> Outcome<()> {
        self.process.stop(Signal::TERM)
    }
}

/// A load generator with some connections to one server.
pub(crate) struct Load {
    pub(crate) process: Process,
}

impl Load {
    pub(crate) fn start(server: &Server) -> Outcome<Self> {
        Load::start_on(Core::Load, server)
    }

    pub(crate) fn start_on(core: Core, server: &Server) -> Outcome<Self> {
        let process = Process::start(core, &own_executable()?, &Self::arguments(server))?;
        Ok(Load { process })
    }

    pub(crate) fn arguments(server: &Server) -> Vec<String> {
        let certificate = server.certificate.iter().map(|path| path.display().to_string());
        ["--load".to_owned(), server.address.clone()].into_iter().chain(certificate).collect()
    }

    pub(crate) fn connect(&mut self, count: usize) -> Outcome<()> {
        self.order(&format!("connect {count}")).map(drop)
    }

    pub(crate) fn close(&mut self) -> Outcome<()> {
        self.order("close").map(drop)
    }

    /// Has `count` messages of `size` bytes echoed over `active` connections, evenly spread among all.
    pub(crate) fn echo(&mut self, active: usize, size: usize, count: usize) -> Outcome<Answer> {
        self.timed_order(&format!("echo {active} {size} {count}"))
    }

    pub(crate) fn timed_order(&mut self, order: &str) -> Outcome<Answer> {
        let answer = self.order(order)?;
        match numbers(&answer)?.as_slice() {
            &[elapsed_ns, p50_ns, p99_ns, p999_ns] => Ok(Answer { elapsed_ns, p50_ns, p99_ns, p999_ns }),
            _ => Err(format!("the load generator answered `{answer}` to `{order}`").into()),
        }
    }

    pub(crate) fn order(&mut self, order: &str) -> Outcome<String> {
        self.send(order)?;
        self.receive(order)
    }

    pub(crate) fn send(&mut self, order: &str) -> Outcome<()> {
        self.process.order(order).map_err(|error| format!("the load generator is gone: {error}").into())
    }

    pub(crate) fn receive(&self, order: &str) -> Outcome<String> {
        let answer =
            self.process.line(ORDER_TIME_MAX).map_err(|error| format!("load generator, `{order}`: {error}"))?;
        match answer.strip_prefix("ok") {
            Some(rest) => Ok(rest.to_owned()),
            None => Err(format!("load generator, `{order}`: {answer}").into()),
        }
    }
}

pub(crate) fn numbers(answer: &str) -> Outcome<Vec<u64>> {
    Ok(answer.split_whitespace().map(str::parse).collect::<Result<_, _>>()?)
}
