//! The processes of a run: a server, and the load generator that has it work.
//!
//! Owns what they are asked and what they answer. Knows nothing of what is measured.

use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::Signal;

use crate::Outcome;
use crate::answer::Answer;
use crate::child::{Directory, Process, own_executable};
use crate::holdings;
use crate::launch::Core;
use crate::peer::Peer;
use crate::self_signed;
use crate::socket::Security;

/// Enough for a server that starts inside valgrind.
const START_TIME_MAX: Duration = Duration::from_secs(30);
/// Longer than the load generator's own limit on a run, which gives the better message.
const ORDER_TIME_MAX: Duration = Duration::from_secs(330);
const ACCEPT_TIME_MAX: Duration = Duration::from_secs(10);
const CLOSE_TIME_MAX: Duration = Duration::from_secs(20);

/// Which kind of socket a scenario runs over.
#[derive(Clone, Copy)]
pub(crate) enum Transport {
    Tcp,
    Tls,
    /// With an RSA key, whose signatures take five times as long.
    TlsRsa,
    Unix,
    TlsUnix,
}

impl Transport {
    pub(crate) fn security(self) -> Security {
        match self {
            Transport::Tcp | Transport::Unix => Security::Plain,
            Transport::Tls | Transport::TlsRsa | Transport::TlsUnix => Security::Tls,
        }
    }

    /// An address to listen on, with files in a directory.
    fn listen(self, directory: &Directory) -> String {
        let socket = directory.file("socket");
        match self {
            Transport::Tcp => "tcp://127.0.0.1:0".to_owned(),
            Transport::Tls | Transport::TlsRsa => "tls://127.0.0.1:0".to_owned(),
            Transport::Unix => format!("unix:{}", socket.display()),
            Transport::TlsUnix => format!("tls+unix:{}", socket.display()),
        }
    }
}

/// A server that said where it listens.
pub(crate) struct Server {
    name: String,
    process: Process,
    /// What it wants on its command line for a client, as it printed it.
    address: String,
    /// The certificate it shows, with TLS.
    certificate: Option<PathBuf>,
    _directory: Directory,
}

impl Server {
    /// Starts a server and waits until it listens; `wrapper` is a command that runs it, or nothing.
    pub(crate) fn start(peer: &Peer, transport: Transport, options: &[&str], wrapper: &[String]) -> Outcome<Self> {
        let directory = Directory::create()?;
        let mut command: Vec<String> = wrapper.to_vec();
        command.push(peer.program.display().to_string());
        command.extend(["--listen".to_owned(), transport.listen(&directory)]);
        let certificate = match transport.security() {
            Security::Plain => None,
            Security::Tls => {
                let (certificate, key) = (directory.file("certificate.pem"), directory.file("key.pem"));
                let kind = if let Transport::TlsRsa = transport { &self_signed::RSA } else { &self_signed::P256 };
                kind.write(&certificate, &key)?;
                command.extend(["--cert".to_owned(), certificate.display().to_string()]);
                command.extend(["--key".to_owned(), key.display().to_string()]);
                Some(certificate)
            }
        };
        command.extend(peer.options.iter().chain(options).map(|option| (*option).to_owned()));
        let process = Process::start(Core::Server, Path::new(&command[0]), &command[1..])?;
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

    /// Waits until it holds no more descriptors than `count`: it has seen that its clients are gone.
    pub(crate) fn wait_for_descriptors(&self, count: usize) -> Outcome<()> {
        let deadline = Instant::now() + CLOSE_TIME_MAX;
        while holdings::open_descriptors(self.pid())? > count {
            if Instant::now() > deadline {
                return Err(format!("connections are still open {CLOSE_TIME_MAX:?} after the clients closed").into());
            }
            thread::sleep(Duration::from_millis(50));
        }
        Ok(())
    }

    /// Waits until it holds `count` descriptors: it has accepted its clients.
    pub(crate) fn wait_for_accepts(&self, count: usize) -> Outcome<()> {
        let deadline = Instant::now() + ACCEPT_TIME_MAX;
        loop {
            let open = holdings::open_descriptors(self.pid())?;
            if open >= count {
                return Ok(());
            }
            if Instant::now() > deadline {
                return Err(format!("after {ACCEPT_TIME_MAX:?} it has {open} descriptors, not {count}").into());
            }
            thread::sleep(Duration::from_millis(1));
        }
    }
}

/// A load generator with some connections to one server.
pub(crate) struct Load {
    process: Process,
}

impl Load {
    pub(crate) fn start(server: &Server) -> Outcome<Self> {
        let own = own_executable()?;
        let process = Process::start(Core::Load, &own, &Self::arguments(server))?;
        Ok(Load { process })
    }

    /// Starts one that has its core only while nothing else wants it.
    pub(crate) fn start_in_background(server: &Server) -> Outcome<Self> {
        let own = own_executable()?.display().to_string();
        let mut command = vec!["--idle".to_owned(), "0".to_owned(), own];
        command.extend(Self::arguments(server));
        let process = Process::start(Core::Load, Path::new("chrt"), &command)?;
        Ok(Load { process })
    }

    fn arguments(server: &Server) -> Vec<String> {
        let certificate = server.certificate.iter().map(|path| path.display().to_string());
        ["--load".to_owned(), server.address.clone()].into_iter().chain(certificate).collect()
    }

    pub(crate) fn connect(&mut self, count: usize) -> Outcome<()> {
        self.order(&format!("connect {count}")).map(drop)
    }

    /// Opens connections that send nothing; fewer than the server's backlog.
    pub(crate) fn connect_silently(&mut self, count: usize) -> Outcome<()> {
        self.order(&format!("connect-silently {count}")).map(drop)
    }

    pub(crate) fn close(&mut self) -> Outcome<()> {
        self.order("close").map(drop)
    }

    /// Has `count` messages of `size` bytes echoed over `active` connections, evenly spread among all.
    pub(crate) fn echo(&mut self, active: usize, size: usize, count: usize) -> Outcome<Answer> {
        self.timed_order(&format!("echo {active} {size} {count}"))
    }

    /// The same, but each message has a connection of its own; `active` are open at a time.
    pub(crate) fn churn(&mut self, active: usize, size: usize, count: usize) -> Outcome<Answer> {
        self.timed_order(&format!("churn {active} {size} {count}"))
    }

    /// Has one message of `size` bytes echoed on each of `count` connections, `active` of them at a time.
    pub(crate) fn sweep(&mut self, active: usize, size: usize, count: usize) -> Outcome<Answer> {
        self.timed_order(&format!("sweep {active} {size} {count}"))
    }

    /// Has `count` TLS connections made and closed, `active` at a time.
    pub(crate) fn handshakes(&mut self, active: usize, count: usize) -> Outcome<Answer> {
        self.timed_order(&format!("handshakes {active} {count}"))
    }

    /// Begins what `calm` ends: TLS connections made and closed, `active` at a time.
    pub(crate) fn storm(&mut self, active: usize) -> Outcome<()> {
        self.send(&format!("storm {active}"))
    }

    /// Ends a storm and returns how many connections it made a second.
    pub(crate) fn calm(&mut self) -> Outcome<f64> {
        self.send("close")?;
        let answer = self.receive("storm")?;
        self.receive("close")?;
        match numbers(&answer)?.as_slice() {
            &[elapsed_ns, count] => Ok(count as f64 / (elapsed_ns as f64 / 1e9)),
            _ => Err(format!("the load generator answered `{answer}` to a storm").into()),
        }
    }

    /// Has `count` messages of `size` bytes echoed on each of `active` connections of their own, one every `interval`.
    /// Returns the generator's own lateness as well, the p99 in nanoseconds.
    pub(crate) fn probe(
        &mut self,
        active: usize,
        size: usize,
        interval: Duration,
        count: usize,
    ) -> Outcome<(Answer, u64)> {
        let answer = self.order(&format!("probe {active} {size} {} {count}", interval.as_micros()))?;
        match numbers(&answer)?.as_slice() {
            &[elapsed_ns, p50_ns, p99_ns, p999_ns, late_ns] => {
                Ok((Answer { elapsed_ns, p50_ns, p99_ns, p999_ns }, late_ns))
            }
            _ => Err(format!("the load generator answered `{answer}` to a probe").into()),
        }
    }

    fn timed_order(&mut self, order: &str) -> Outcome<Answer> {
        let answer = self.order(order)?;
        match numbers(&answer)?.as_slice() {
            &[elapsed_ns, p50_ns, p99_ns, p999_ns] => Ok(Answer { elapsed_ns, p50_ns, p99_ns, p999_ns }),
            _ => Err(format!("the load generator answered `{answer}` to `{order}`").into()),
        }
    }

    fn order(&mut self, order: &str) -> Outcome<String> {
        self.send(order)?;
        self.receive(order)
    }

    fn send(&mut self, order: &str) -> Outcome<()> {
        self.process.order(order).map_err(|error| format!("the load generator is gone: {error}").into())
    }

    fn receive(&self, order: &str) -> Outcome<String> {
        let answer =
            self.process.line(ORDER_TIME_MAX).map_err(|error| format!("load generator, `{order}`: {error}"))?;
        match answer.strip_prefix("ok") {
            Some(rest) => Ok(rest.to_owned()),
            None => Err(format!("load generator, `{order}`: {answer}").into()),
        }
    }
}

fn numbers(answer: &str) -> Outcome<Vec<u64>> {
    Ok(answer.split_whitespace().map(str::parse).collect::<Result<_, _>>()?)
}
