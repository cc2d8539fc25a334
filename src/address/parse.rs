//! From text to address: the forms, and what is wrong with what is none.
//!
//! Owns the grammar. Makes no system call and looks nothing up.

use crate::address::{Address, AddressError, Family, HOST_BYTES_MAX, Host, LABEL_BYTES_MAX, Place, Port, Transport};
use std::net::{Ipv4Addr, Ipv6Addr};
use std::path::Path;
use std::str::FromStr;

impl FromStr for Address {
    type Err = AddressError;

    fn from_str(text: &str) -> Result<Self, AddressError> {
        let unknown = || AddressError::UnknownScheme(text.to_owned());
        if text.is_empty() {
            return Err(AddressError::Empty(String::new()));
        } else if text.contains(char::is_control) {
            return Err(AddressError::ControlCharacter(text.to_owned()));
        }
        let (scheme, rest) = text.split_once(':').ok_or_else(unknown)?;
        let (scheme, family) = match (scheme.strip_suffix('4'), scheme.strip_suffix('6')) {
            (Some(scheme), _) => (scheme, Family::V4),
            (_, Some(scheme)) => (scheme, Family::V6),
            (None, None) => (scheme, Family::Any),
        };
        let mut known = Transport::ALL.into_iter();
        let transport = known.find(|known| known.scheme() == scheme).ok_or_else(unknown)?;
        let after_slashes = rest.strip_prefix("//");
        let place = match (transport.is_unix(), family, after_slashes) {
            (true, Family::Any, _) => parse_path_or_name(after_slashes.unwrap_or(rest)),
            (false, _, Some(rest)) => parse_host_and_port(text, family, rest)?,
            (true, Family::V4 | Family::V6, _) | (false, _, None) => return Err(unknown()),
        };
        Self::checked(transport, place)
    }
}

fn parse_path_or_name(rest: &str) -> Place {
    match rest.strip_prefix('@') {
        Some(name) => Place::Abstract(name.as_bytes().into()),
        None => Place::Path(Path::new(rest).into()),
    }
}

/// `text` is the whole address, for errors.
fn parse_host_and_port(text: &str, family: Family, rest: &str) -> Result<Place, AddressError> {
    let fault = |of: fn(String) -> AddressError| of(text.to_owned());
    let (host, port) = match rest.strip_prefix('[') {
        Some(bracketed) => {
            let malformed = || fault(AddressError::BadHost);
            let (inside, after) = bracketed.split_once(']').ok_or_else(malformed)?;
            if !after.is_empty() && !after.starts_with(':') {
                return Err(malformed());
            }
            (parse_ipv6(inside), after.get(1..).unwrap_or(""))
        }
        None => {
            let (host, port) = rest.split_once(':').unwrap_or((rest, ""));
            (parse_unbracketed(host, family), port)
        }
    };
    let number = port.strip_prefix('-').unwrap_or(port);
    let port = match port {
        _ if rest.is_empty() => return Err(fault(AddressError::Empty)),
        "" => return Err(fault(AddressError::NoPort)),
        _ if port.contains(':') => return Err(fault(AddressError::TooManyColons)),
        _ if is_digits(number) => Port::Number(port.parse().map_err(|_| fault(AddressError::PortOutOfRange))?),
        _ if is_service(port) => Port::Service(port.into()),
        _ => return Err(fault(AddressError::UnknownService)),
    };
    match host {
        None => Err(fault(AddressError::BadHost)),
        Some(Host::Ip(ip, _)) if !family.admits(ip) => Err(fault(AddressError::FamilyMismatch)),
        Some(host) => Ok(Place::Host(host, port, family)),
    }
}

/// A host without scheme, brackets and port.
pub(super) fn parse_host_alone(text: &str) -> Result<Host, AddressError> {
    let parsed = if text.is_empty() { None } else { parse_ipv6(text).or_else(|| parse_unbracketed(text, Family::Any)) };
    let (name, port) = text.rsplit_once(':').unwrap_or((text, ""));
    parsed.ok_or_else(|| {
        let next_step = if text.is_empty() {
            "it is empty: write a host name or an IP address; to listen on all addresses, parse \"tcp://:PORT\" instead"
        } else if text.contains("://") {
            "it has a scheme: parse the whole text as an address instead, or leave out all but the host"
        } else if is_digits(port) && parse_unbracketed(name, Family::Any).is_some() {
            "it has a port: leave that out, and give it as the port"
        } else if text.contains(['[', ']']) {
            "it has brackets: write an IPv6 address without them, and its port (if any) as the port"
        } else {
            "write an ASCII host name, an IPv4 address with four numbers, or an IPv6 address, with its scope (if any) as a \
             number"
        };
        AddressError::NoHost(text.to_owned(), next_step)
    })
}

fn parse_ipv6(inside: &str) -> Option<Host> {
    let (ip, scope) = inside.split_once('%').unwrap_or((inside, "0"));
    let ip: Ipv6Addr = ip.parse().ok()?;
    let scope = Some(scope).filter(|scope| is_digits(scope))?;
    Some(Host::Ip(ip.into(), scope.parse().ok()?))
}

fn parse_unbracketed(host: &str, family: Family) -> Option<Host> {
    match (host, family) {
        ("", Family::V4) => Some(Host::Ip(Ipv4Addr::UNSPECIFIED.into(), 0)),
        ("", Family::Any | Family::V6) => Some(Host::Ip(Ipv6Addr::UNSPECIFIED.into(), 0)),
        _ => match host.parse::<Ipv4Addr>() {
            Ok(ip) => Some(Host::Ip(ip.into(), 0)),
            Err(_) => is_host_name(host).then(|| Host::Name(host.into())),
        },
    }
}

/// A last label that is a number is refused: resolvers read `127.1`, `010.0.0.1` and `0x7f000001`
/// as IPv4 addresses, and not those that the writer may have meant.
fn is_host_name(host: &str) -> bool {
    let host = host.strip_suffix('.').unwrap_or(host);
    let is_label = |label: &str| {
        (1..=LABEL_BYTES_MAX).contains(&label.len())
            && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte))
    };
    let last = host.rsplit('.').next().unwrap_or(host);
    let hex = last.strip_prefix("0x").or(last.strip_prefix("0X"));
    let is_hex = hex.is_some_and(|hex| hex.bytes().all(|byte| byte.is_ascii_hexdigit()));
    host.len() <= HOST_BYTES_MAX && host.split('.').all(is_label) && !is_digits(last) && !is_hex
}

fn is_service(name: &str) -> bool {
    let is_allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.+".contains(&byte);
    name.bytes().any(|byte| byte.is_ascii_alphabetic()) && name.bytes().all(is_allowed)
}

/// Rust's own parsing of numbers would also take a plus sign.
fn is_digits(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit())
}
