//! What the echo server is asked on its command line.

use std::path::PathBuf;
use std::time::Duration;
use windlass::Address;

pub(crate) const USAGE: &str = "\
usage: echo [--config FILE.toml] [--listen ADDRESS]... [--cert PEM --key PEM] [--client-ca PEM]
            [--reactors N] [--idle SECONDS] [--max-connections N] [--drain SECONDS] [--stats SECONDS]
            [--handshake-threads N] [--receive-buffer BYTES]

ADDRESS is tcp://HOST:PORT or tls://HOST:PORT (each also with 4 or 6, as in tcp4://), unix:/path, unix:@name,
tls+unix:/path, tls+unix:@name, udp://HOST:PORT or unixgram:/path. Without --listen it listens on free loopback ports and
on Unix sockets in a temporary folder. Without --cert it makes a certificate for localhost. SECONDS may be a fraction. With
--handshake-threads slow TLS handshakes (RSA keys) are worked on by so many other threads. Connections are spread over
N reactors, one thread each; without --reactors there is one. --receive-buffer is what the kernel is asked to
keep for a datagram socket.

FILE.toml has the keys of windlass::ServerConfig, such as network, address, perm-file, group-perm, con-idle-timeout and
tls; without reactors there is one for each core. Options that are given beside it win: --listen replaces its addresses,
--cert and --key its certificates, --client-ca its client certificates.";

#[derive(Default)]
pub(crate) struct Options {
    pub(crate) config: Option<PathBuf>,
    pub(crate) listen: Vec<Address>,
    pub(crate) cert: Option<PathBuf>,
    pub(crate) key: Option<PathBuf>,
    pub(crate) client_ca: Option<PathBuf>,
    /// Zero is for ever.
    pub(crate) idle: Option<Duration>,
    pub(crate) max_connections: Option<usize>,
    pub(crate) drain: Option<Duration>,
    pub(crate) stats: Option<Duration>,
    pub(crate) handshake_threads: Option<usize>,
    pub(crate) reactors: Option<usize>,
    pub(crate) receive_buffer: Option<usize>,
}

const NAMES: [&str; 12] = [
    "--config",
    "--listen",
    "--cert",
    "--key",
    "--client-ca",
    "--reactors",
    "--idle",
    "--max-connections",
    "--drain",
    "--stats",
    "--handshake-threads",
    "--receive-buffer",
];

pub(crate) fn parse(mut args: impl Iterator<Item = String>) -> Result<Option<Options>, String> {
    let mut options = Options::default();
    while let Some(arg) = args.next() {
        let (name, inline) = match arg.split_once('=') {
            Some((name, value)) if name.starts_with("--") => (name.to_owned(), Some(value.to_owned())),
            _ => (arg, None),
        };
        if matches!(name.as_str(), "--help" | "-h") {
            return Ok(None);
        }
        if !NAMES.contains(&name.as_str()) {
            return Err(format!("{name} is not an option; --help lists them"));
        }
        let value = inline.or_else(|| args.next()).ok_or(format!("{name} needs a value"))?;
        match name.as_str() {
            "--config" => options.config = Some(value.into()),
            "--listen" => options.listen.push(value.parse().map_err(|error| format!("--listen: {error}"))?),
            "--cert" => options.cert = Some(value.into()),
            "--key" => options.key = Some(value.into()),
            "--client-ca" => options.client_ca = Some(value.into()),
            "--idle" => options.idle = Some(seconds(&name, &value)?),
            "--drain" => options.drain = Some(seconds(&name, &value)?),
            "--stats" => options.stats = Some(seconds(&name, &value)?).filter(|every| !every.is_zero()),
            "--handshake-threads" => options.handshake_threads = Some(count(&name, &value)?),
            "--receive-buffer" => options.receive_buffer = Some(count(&name, &value)?),
            "--max-connections" => options.max_connections = Some(count(&name, &value)?),
            _ => options.reactors = Some(count(&name, &value)?),
        }
    }
    if options.cert.is_some() != options.key.is_some() {
        return Err("--cert and --key belong together; give both, or neither".to_owned());
    }
    Ok(Some(options))
}

fn seconds(name: &str, value: &str) -> Result<Duration, String> {
    let number: f64 = value.parse().map_err(|_| format!("{name}: {value} is not a number of seconds"))?;
    Duration::try_from_secs_f64(number).map_err(|error| format!("{name}: {value}: {error}"))
}

fn count(name: &str, value: &str) -> Result<usize, String> {
    match value.parse() {
        Ok(number) if number > 0 => Ok(number),
        _ => Err(format!("{name}: {value} is not a positive number")),
    }
}
