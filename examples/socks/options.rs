//! The options of the proxy: which clients it serves, and which targets it connects to.

use std::error::Error;
use std::net::IpAddr;
use windlass::{Address, Resolver};

pub(crate) const USAGE: &str = "\
usage: socks [--listen ADDRESS] [--user NAME --password-file PATH] [--allow HOST:PORT]...

A SOCKS5 proxy, on a free port of 127.0.0.1 unless --listen names another address. With --allow it connects to these targets
and to no others; without it to all but loopback, link-local, private, multicast and unspecified addresses.";

pub(crate) struct Options {
    pub(crate) listen: Address,
    /// The message of RFC 1929 with the right name and password.
    pub(crate) login: Option<Vec<u8>>,
    allow: Vec<Address>,
    /// Returns only allowed addresses of a name.
    pub(crate) resolver: Resolver,
}

impl Options {
    /// Whether `target` is allowed. The addresses of a name are then checked by the resolver.
    pub(crate) fn allows(&self, target: &Address) -> bool {
        match (target.ip(), target.host_name()) {
            _ if !self.allow.is_empty() => self.allow.contains(target),
            (Some(ip), _) => is_public(ip.ip()),
            // These names mean this machine; RFC 6761.
            (None, name) => name.is_some_and(|name| name != "localhost" && !name.ends_with(".localhost")),
        }
    }

    /// Whether name and password are right. The time that this takes does not reveal how much of them is right.
    pub(crate) fn admits(&self, login: &[u8]) -> bool {
        let Some(expected) = self.login.as_ref().filter(|expected| expected.len() == login.len()) else { return false };
        expected.iter().zip(login).fold(0, |differs, (one, other)| differs | (one ^ other)) == 0
    }
}

fn is_public(ip: IpAddr) -> bool {
    let ip = ip.to_canonical();
    let is_local = match ip {
        // 0.0.0.0/8 is "this network", 100.64.0.0/10 is shared address space; RFC 6890.
        IpAddr::V4(ip) if matches!(ip.octets(), [0, ..] | [100, 64..128, ..]) => true,
        IpAddr::V4(ip) => ip.is_link_local() || ip.is_private() || ip.is_broadcast(),
        IpAddr::V6(ip) => ip.is_unicast_link_local() || ip.is_unique_local(),
    };
    !(is_local || ip.is_loopback() || ip.is_multicast() || ip.is_unspecified())
}

/// Returns `None` if help is asked for.
pub(crate) fn parse(mut args: impl Iterator<Item = String>) -> Result<Option<Options>, Box<dyn Error>> {
    let (mut listen, mut allow): (_, Vec<Address>) = ("tcp://127.0.0.1:0".parse()?, Vec::new());
    let (mut user, mut password) = (String::new(), String::new());
    while let Some(name) = args.next() {
        let value = args.next().unwrap_or_default();
        match name.as_str() {
            "--help" | "-h" => return Ok(None),
            "--listen" => listen = value.parse()?,
            "--user" => user = value,
            "--password-file" => {
                password = std::fs::read_to_string(&value).map_err(|error| format!("{value}: {error}"))?;
            }
            "--allow" => allow.push(format!("tcp://{value}").to_ascii_lowercase().parse()?),
            _ => return Err(format!("{name} is not an option; --help lists them").into()),
        }
    }
    let password = password.trim_end_matches(['\r', '\n']);
    let login = match (u8::try_from(user.len())?, u8::try_from(password.len())?) {
        (0, 0) => None,
        (0, _) | (_, 0) => return Err("--user and --password-file belong together".into()),
        (name, secret) => Some([&[1, name], user.as_bytes(), &[secret], password.as_bytes()].concat()),
    };
    let resolver = Resolver::new(|name| {
        let found = name.resolve().map_err(std::io::Error::other)?;
        Ok(found.into_iter().filter(|found| is_public(found.ip())).collect())
    });
    let resolver = if allow.is_empty() { resolver } else { Resolver::system() };
    Ok(Some(Options { listen, login, allow, resolver }))
}
