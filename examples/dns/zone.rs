//! A zone: the records of a file, by name.
//!
//! The file has a record on each line, `NAME TTL TYPE DATA`, with whole names, and the SOA record first. `example.zone` is
//! one. There are no delegations, wildcards or signatures.

use crate::message::{Name, Piece, Record, kind};
use std::collections::HashMap;
use std::fmt::Display;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

pub(crate) struct Zone {
    pub(crate) origin: Name,
    /// Told with each answer that there is nothing; its time to live says for how long that may be kept (RFC 2308).
    pub(crate) soa: Record,
    /// Also the names that have no records, but others below them.
    names: HashMap<Name, Vec<Record>>,
}

/// The longest data of one record, in bytes.
const DATA_BYTES_MAX: usize = 16 * 1024;

impl Zone {
    /// Reads what a file says; an error names the line.
    pub(crate) fn parse(text: &str) -> Result<Zone, String> {
        let mut zone: Option<Zone> = None;
        for (number, line) in (1..).zip(text.lines().map(str::trim)) {
            if line.is_empty() || line.starts_with([';', '#']) {
                continue;
            }
            let added = parse(line).and_then(|(name, record)| match &mut zone {
                Some(zone) => zone.add(name, record),
                None => Zone::new(name, record).map(|made| zone = Some(made)),
            });
            added.map_err(|why| format!("line {number}: {why}"))?;
        }
        zone.ok_or_else(|| "it has no records; the first must be SOA".to_owned())
    }

    fn new(origin: Name, record: Record) -> Result<Zone, String> {
        let (kind::SOA, Some(Piece::Bytes(numbers))) = (record.kind, record.data.last()) else {
            return Err("the first record must be SOA".to_owned());
        };
        // The last of its numbers.
        let minimum = numbers.last_chunk().map_or(0, |bytes| u32::from_be_bytes(*bytes));
        let soa = Record { ttl: record.ttl.min(minimum), ..record.clone() };
        Ok(Zone { names: HashMap::from([(origin.clone(), vec![record])]), origin, soa })
    }

    fn add(&mut self, name: Name, record: Record) -> Result<(), String> {
        if !self.contains(&name) {
            return Err(format!("{name} is not in the zone {}", self.origin));
        }
        if record.kind == kind::SOA || record.kind == kind::NS && name != self.origin {
            return Err(format!("{name}: no zones begin within this one; SOA and NS are its own"));
        }
        let beside = self.find(&name).unwrap_or_default();
        if beside.iter().any(|other| other.kind == kind::CNAME) || record.kind == kind::CNAME && !beside.is_empty() {
            return Err(format!("{name}: CNAME stands alone"));
        }
        // What lies between exists, too, and has no records.
        for above in name.line().take_while(|above| *above != self.origin) {
            self.names.entry(above).or_default();
        }
        self.names.entry(name).or_default().push(record);
        Ok(())
    }

    /// Whether the zone is the one to ask about `name`.
    pub(crate) fn contains(&self, name: &Name) -> bool {
        name.line().any(|above| above == self.origin)
    }

    /// The records of `name`; `None` if there is no such name.
    pub(crate) fn find(&self, name: &Name) -> Option<&[Record]> {
        self.names.get(name).map(Vec::as_slice)
    }

    pub(crate) fn name_count(&self) -> usize {
        self.names.len()
    }
}

fn parse(line: &str) -> Result<(Name, Record), String> {
    let mut rest = line;
    let [name, ttl, kind] = std::array::from_fn(|_| word(&mut rest));
    let (name, ttl) = (name.parse()?, value(ttl)?);
    let (kind, data) = data(kind, rest.trim())?;
    Ok((name, Record { kind, ttl, data }))
}

/// Takes a word off the front.
fn word<'a>(rest: &mut &'a str) -> &'a str {
    let (word, behind) = rest.trim_start().split_once(char::is_whitespace).unwrap_or((rest.trim_start(), ""));
    *rest = behind;
    word
}

fn data(kind: &str, text: &str) -> Result<(u16, Vec<Piece>), String> {
    let words: Vec<&str> = text.split_whitespace().collect();
    Ok(match (kind, words.as_slice()) {
        ("A", [address]) => (kind::A, vec![Piece::Bytes(value::<Ipv4Addr>(address)?.octets().into())]),
        ("AAAA", [address]) => (kind::AAAA, vec![Piece::Bytes(value::<Ipv6Addr>(address)?.octets().into())]),
        ("CNAME", [target]) => (kind::CNAME, vec![Piece::Name(target.parse()?)]),
        ("NS", [server]) => (kind::NS, vec![Piece::Name(server.parse()?)]),
        ("MX", [preference, exchange]) => {
            let preference = value::<u16>(preference)?.to_be_bytes();
            (kind::MX, vec![Piece::Bytes(preference.into()), Piece::Name(exchange.parse()?)])
        }
        ("TXT", _) => (kind::TXT, vec![Piece::Bytes(strings(text)?)]),
        ("SOA", [server, mailbox, numbers @ ..]) if numbers.len() == 5 => {
            let mut bytes = Vec::new();
            for number in numbers {
                bytes.extend(value::<u32>(number)?.to_be_bytes());
            }
            (kind::SOA, vec![Piece::Name(server.parse()?), Piece::Name(mailbox.parse()?), Piece::Bytes(bytes)])
        }
        ("A" | "AAAA" | "CNAME" | "NS" | "MX" | "SOA", _) => {
            return Err(format!("{kind} with {} words behind it", words.len()));
        }
        _ => return Err(format!("{kind:?} is not one of SOA, NS, A, AAAA, CNAME, MX and TXT")),
    })
}

/// Strings in quotation marks, within which a backslash takes the next character as it is.
fn strings(text: &str) -> Result<Vec<u8>, String> {
    let (mut wire, mut rest) = (Vec::new(), text);
    while let Some(quoted) = rest.strip_prefix('"') {
        let mut string = String::new();
        let mut chars = quoted.chars();
        loop {
            match chars.next() {
                Some('"') => break,
                Some('\\') => string.extend(chars.next()),
                Some(char) => string.push(char),
                None => return Err("a string does not end".to_owned()),
            }
        }
        let length = u8::try_from(string.len()).map_err(|_| "a string is longer than 255 bytes")?;
        wire.push(length);
        wire.extend(string.into_bytes());
        rest = chars.as_str().trim_start();
    }
    match wire.len() {
        1..=DATA_BYTES_MAX if rest.is_empty() => Ok(wire),
        0..=DATA_BYTES_MAX => Err("TXT needs strings in quotation marks, and nothing else".to_owned()),
        _ => Err(format!("more than {DATA_BYTES_MAX} bytes")),
    }
}

fn value<T: FromStr<Err: Display>>(text: &str) -> Result<T, String> {
    text.parse().map_err(|error| format!("{text:?}: {error}"))
}
