//! The processes of a run: a server, and the load generator that has it work.
//!
//! Owns what they are asked and what they answer. Knows nothing of what is measured.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rcgen::PKCS_RSA_SHA256;
use rustix::process::Signal;
use tempfile::TempDir;

use crate::rig::Outcome;
use crate::rig::answer::Answer;
use crate::rig::child::{self, Process, numbers, own_executable};
use crate::rig::holdings;
use crate::rig::launch::Core;
use crate::rig::peer::Peer;
use crate::rig::self_signed::{self, Kind};
use crate::rig::socket::Security;
use crate::rig::until::{PATIENCE, until};

/// Enough for a server that starts inside valgrind.
const START_TIME_MAX: Duration = Duration::from_secs(30);
/// Longer than the load generator's own limit on a run, which gives the better message.
const ORDER_TIME_MAX: Duration = Duration::from_secs(330);
const CLOSE_TIME_MAX: Duration = Duration::from_secs(20);

/// Of 2,048 bits.
static RSA: Kind = Kind::new(&PKCS_RSA_SHA256);

/// Which kind of socket a server is measured over.
#[derive(Clone, Copy)]
pub(crate) enum Transport {
    Tcp,
    Tls,
    /// With an RSA key, whose signatures take five times as long.
    TlsRsa,
    Unix,
    TlsUnix,
    Udp,
    Unixgram,
}

impl Transport {
    pub(crate) fn security(self) -> Security {
        match self {
            Transport::Tcp | Transport::Unix | Transport::Udp | Transport::Unixgram => Security::Plain,
            Transport::Tls | Transport::TlsRsa | Transport::TlsUnix => Security::Tls,
        }
    }

    /// A free place to listen at, and what belongs to it.
    fn site(self) -> Outcome<Site> {
        let directory = child::directory()?;
        let socket = directory.path().join("socket");
        let listen = match self {
            Transport::Tcp => "tcp://127.0.0.1:0".to_owned(),
            Transport::Tls | Transport::TlsRsa => "tls://127.0.0.1:0".to_owned(),
            Transport::Udp => "udp://127.0.0.1:0".to_owned(),
            Transport::Unix => format!("unix:{}", socket.display()),
            Transport::TlsUnix => format!("tls+unix:{}", socket.display()),
            Transport::Unixgram => format!("unixgram:{}", socket.display()),
        };
        let key = match self {
            Transport::Tcp | Transport::Unix | Transport::Udp | Transport::Unixgram => None,
            Transport::Tls | Transport::TlsUnix => Some(&self_signed::P256),
            Transport::TlsRsa => Some(&RSA),
        };
        Ok(Site { directory, listen, key })
    }
}

/// Where a server is to listen.
pub(crate) struct Site {
    /// Where its files are, the socket's among them if it has one.
    pub(crate) directory: TempDir,
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
    _directory: TempDir,
}

impl Server {
    /// Starts a server on its core and waits until it listens; `wrapper` is a command that runs it, or nothing.
    pub(crate) fn start(peer: &Peer, transport: Transport, options: &[&str], wrapper: &[String]) -> Outcome<Self> {
        Server::start_at(transport.site()?, Core::Server, peer, options, wrapper)
    }

    /// The same, on any core.
    pub(crate) fn start_anywhere(peer: &Peer, transport: Transport, options: &[&str]) -> Outcome<Self> {
        Server::start_at(transport.site()?, Core::All, peer, options, &[])
    }

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
            let (chain, key) = (directory.path().join("certificate.pem"), directory.path().join("key.pem"));
            kind.write(&chain, &key)?;
            command.extend(["--cert".to_owned(), chain.display().to_string()]);
            command.extend(["--key".to_owned(), key.display().to_string()]);
            certificate = Some(chain);
        }
        command.extend(options.iter().map(|option| (*option).to_owned()));
        let process = Process::start(core, Path::new(&command[0]), &command[1..])?;
        let address = process
            .line_after("listening on ", START_TIME_MAX)
            .map_err(|error| format!("{} did not start: {error}", peer.name))?;
        Ok(Server { name: peer.name.clone(), process, address, certificate, _directory: directory })
    }

    /// Waits until it holds no more descriptors than `count`: it has seen that its clients are gone.
    pub(crate) fn wait_for_descriptors(&self, count: usize) -> Outcome<()> {
        let what = format!("{} to have no more than {count} descriptors", self.name);
        until(&what, CLOSE_TIME_MAX, || Ok(holdings::open_descriptors(self.pid())? <= count)).map(drop)
    }

    /// Waits until it holds `count` descriptors: it has accepted its clients.
    pub(crate) fn wait_for_accepts(&self, count: usize) -> Outcome<()> {
        let what = format!("{} to have {count} descriptors", self.name);
        until(&what, PATIENCE, || Ok(holdings::open_descriptors(self.pid())? >= count)).map(drop)
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
        Load::play(core, &Self::arguments(server))
    }

    /// This binary, in the role of a load generator that the first argument names.
    pub(crate) fn play<A: AsRef<OsStr>>(core: Core, arguments: &[A]) -> Outcome<Self> {
        Ok(Load { process: Process::start(core, &own_executable()?, arguments)? })
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
        let [elapsed_ns, p50_ns, p99_ns, p999_ns] = self.numbers(order)?;
        Ok(Answer { elapsed_ns, p50_ns, p99_ns, p999_ns })
    }

    /// The numbers of the answer to an order.
    pub(crate) fn numbers<const N: usize>(&mut self, order: &str) -> Outcome<[u64; N]> {
        let answer = self.order(order)?;
        let numbers = numbers(&answer)?.try_into();
        Ok(numbers.map_err(|_| format!("the load generator answered `{answer}` to `{order}`"))?)
    }

    pub(crate) fn order(&mut self, order: &str) -> Outcome<String> {
        self.send(order)?;
        self.receive(order)
    }

    pub(crate) fn send(&mut self, order: &str) -> Outcome<()> {
        self.process.order(order).map_err(|error| format!("the load generator is gone: {error}").into())
    }

    pub(crate) fn receive(&self, order: &str) -> Outcome<String> {
        let answer = self.process.line_after("ok", ORDER_TIME_MAX);
        Ok(answer.map_err(|error| format!("load generator, `{order}`: {error}"))?)
    }
}
