//! The wire format: queries read, replies written; RFC 1035, section 4, and EDNS by RFC 6891.
//!
//! Whatever the bytes are, reading ends: names are bounded, and each pointer in one leads further back than the one before.

use std::borrow::Borrow;
use std::collections::HashMap;
use std::fmt::{self, Display};
use std::str::FromStr;

pub(crate) mod kind {
    pub(crate) const A: u16 = 1;
    pub(crate) const NS: u16 = 2;
    pub(crate) const CNAME: u16 = 5;
    pub(crate) const SOA: u16 = 6;
    pub(crate) const MX: u16 = 15;
    pub(crate) const TXT: u16 = 16;
    pub(crate) const AAAA: u16 = 28;
    pub(crate) const OPT: u16 = 41;
    pub(crate) const IXFR: u16 = 251;
    pub(crate) const AXFR: u16 = 252;
    pub(crate) const ANY: u16 = 255;
}

/// The class of the Internet, and of any.
pub(crate) const IN: u16 = 1;
pub(crate) const CLASS_ANY: u16 = 255;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u16)]
pub(crate) enum Code {
    NoError = 0,
    FormatError = 1,
    ServerFailure = 2,
    NameError = 3,
    NotImplemented = 4,
    Refused = 5,
    BadVersion = 16,
}

/// The longest query, over either transport; EDNS tells peers.
pub(crate) const QUERY_BYTES_MAX: u16 = 1232;

const HEADER_BYTES: usize = 12;
const NAME_BYTES_MAX: usize = 255;
const LABEL_BYTES_MAX: usize = 63;

/// Bits of the header's third byte, and that of EDNS which asks for signatures.
const IS_REPLY: u8 = 0x80;
const AUTHORITATIVE: u8 = 0x04;
const TRUNCATED: u8 = 0x02;
const SIGNATURES: u16 = 0x8000;

/// A name as it is on the wire, without pointers and in lower case: labels with their lengths, and a zero.
#[derive(Clone, PartialEq, Eq, Hash)]
pub(crate) struct Name(Box<[u8]>);

impl Name {
    /// The name at `start`, and where it ends.
    fn read(message: &[u8], start: usize) -> Option<(Name, usize)> {
        let mut wire = Vec::new();
        let (mut at, mut lowest, mut end) = (start, start, None);
        loop {
            let length = *message.get(at)?;
            match length {
                0 => {
                    wire.push(0);
                    return Some((Name(wire.into()), end.unwrap_or(at + 1)));
                }
                1..=0x3f => {
                    let behind = at + 1 + usize::from(length);
                    wire.push(length);
                    wire.extend(message.get(at + 1..behind)?.to_ascii_lowercase());
                    if wire.len() >= NAME_BYTES_MAX {
                        return None;
                    }
                    at = behind;
                }
                0xc0.. => {
                    end = end.or(Some(at + 2));
                    at = usize::from(u16_at(message, at)? & 0x3fff);
                    if at >= lowest {
                        return None;
                    }
                    lowest = at;
                }
                0x40..0xc0 => return None,
            }
        }
    }

    /// The name itself and all names above it but the root, each by where it begins.
    fn places(&self) -> impl Iterator<Item = usize> {
        let next = |at: &usize| Some(at + 1 + usize::from(self.0[*at]));
        std::iter::successors(Some(0), next).take_while(|at| self.0[*at] != 0)
    }

    /// The name itself and all names above it but the root.
    pub(crate) fn line(&self) -> impl Iterator<Item = Name> {
        self.places().map(|at| Name(self.0[at..].into()))
    }
}

impl Borrow<[u8]> for Name {
    fn borrow(&self) -> &[u8] {
        &self.0
    }
}

impl FromStr for Name {
    type Err = String;

    fn from_str(text: &str) -> Result<Name, String> {
        let mut wire = Vec::new();
        for label in text.strip_suffix('.').unwrap_or(text).split('.') {
            let is_label = (1..=LABEL_BYTES_MAX).contains(&label.len());
            if !is_label || !label.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'\\') {
                return Err(format!("{text:?} is no name"));
            }
            wire.push(label.len() as u8);
            wire.extend(label.to_ascii_lowercase().into_bytes());
        }
        wire.push(0);
        if wire.len() > NAME_BYTES_MAX { Err(format!("{text:?} is too long")) } else { Ok(Name(wire.into())) }
    }
}

impl Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let label = |at: usize| self.0[at + 1..][..usize::from(self.0[at])].escape_ascii();
        self.places().try_for_each(|at| if at == 0 { write!(f, "{}", label(at)) } else { write!(f, ".{}", label(at)) })
    }
}

/// A piece of a record's data; names are told apart since they are compressed.
#[derive(Clone)]
pub(crate) enum Piece {
    Bytes(Vec<u8>),
    Name(Name),
}

/// A record of some name.
#[derive(Clone)]
pub(crate) struct Record {
    pub(crate) kind: u16,
    pub(crate) ttl: u32,
    pub(crate) data: Vec<Piece>,
}

/// What a peer says by its OPT record.
#[derive(Clone, Copy)]
pub(crate) struct Edns {
    pub(crate) version: u8,
    /// The longest datagram that it takes.
    pub(crate) room: u16,
    flags: u16,
}

pub(crate) struct Query<'a> {
    header: [u8; HEADER_BYTES],
    /// The question as the peer wrote it.
    question: &'a [u8],
    pub(crate) name: Name,
    pub(crate) kind: u16,
    pub(crate) class: u16,
    pub(crate) edns: Option<Edns>,
}

impl<'a> Query<'a> {
    /// Reads a query; the error is what to answer instead, if anything is. A reply never is, lest two servers
    /// answer each other for ever.
    pub(crate) fn read(message: &'a [u8]) -> Result<Query<'a>, Option<Vec<u8>>> {
        let header: &[u8; HEADER_BYTES] = message.first_chunk().ok_or(None)?;
        if header[2] & IS_REPLY != 0 {
            return Err(None);
        }
        if header[2] >> 3 & 0x0f != 0 {
            return Err(Some(refusal(header, Code::NotImplemented)));
        }
        Query::read_rest(header, message).ok_or_else(|| Some(refusal(header, Code::FormatError)))
    }

    fn read_rest(header: &[u8; HEADER_BYTES], message: &'a [u8]) -> Option<Query<'a>> {
        let [questions, answers, authorities, others] = [4, 6, 8, 10].map(|at| u16_at(message, at).unwrap_or(0));
        if (questions, answers, authorities) != (1, 0, 0) {
            return None;
        }
        let (name, at) = Name::read(message, HEADER_BYTES)?;
        // There is nothing yet that a pointer could mean.
        if at != HEADER_BYTES + name.0.len() {
            return None;
        }
        let (kind, class) = (u16_at(message, at)?, u16_at(message, at + 2)?);
        let question = &message[HEADER_BYTES..at + 4];
        let (mut at, mut edns) = (at + 4, None);
        for _ in 0..others {
            let (owner, fixed) = Name::read(message, at)?;
            let [kind, room, flags, length] = [0, 2, 6, 8].map(|field| u16_at(message, fixed + field));
            at = fixed + 10 + usize::from(length?);
            let version = *message.get(..at)?.get(fixed + 5)?;
            if kind? == kind::OPT {
                if edns.is_some() || owner.0.len() > 1 {
                    return None;
                }
                edns = Some(Edns { version, room: room?, flags: flags? });
            }
        }
        Some(Query { header: *header, question, name, kind, class, edns })
    }
}

/// A reply while it is written: answers first, then authorities.
pub(crate) struct Reply {
    bytes: Vec<u8>,
    question_end: usize,
    edns: Option<Edns>,
    /// Where names stand that later ones can point to.
    places: HashMap<Box<[u8]>, u16>,
    answers: u16,
    authorities: u16,
}

impl Reply {
    pub(crate) fn new(query: &Query<'_>) -> Reply {
        let mut bytes = refusal(&query.header, Code::NoError);
        bytes[5] = 1;
        bytes.extend(query.question);
        let mut reply = Reply {
            question_end: bytes.len(),
            bytes,
            edns: query.edns,
            places: HashMap::new(),
            answers: 0,
            authorities: 0,
        };
        reply.know(&query.name, HEADER_BYTES);
        reply
    }

    pub(crate) fn set_authoritative(&mut self) {
        self.bytes[2] |= AUTHORITATIVE;
    }

    pub(crate) fn answer(&mut self, name: &Name, record: &Record) {
        self.record(name, record);
        self.answers = self.answers.saturating_add(1);
    }

    pub(crate) fn authority(&mut self, name: &Name, record: &Record) {
        self.record(name, record);
        self.authorities = self.authorities.saturating_add(1);
    }

    /// The bytes; if they are more than `room`, those of a reply that says so and nothing else: the client asks again over
    /// TCP.
    pub(crate) fn finish(mut self, code: Code, room: usize) -> Vec<u8> {
        let opt_bytes = if self.edns.is_some() { 11 } else { 0 };
        if self.bytes.len() + opt_bytes > room {
            self.bytes.truncate(self.question_end);
            self.bytes[2] |= TRUNCATED;
            (self.answers, self.authorities) = (0, 0);
        }
        let code = code as u16;
        self.bytes[3] = code as u8 & 0x0f;
        self.bytes[6..8].copy_from_slice(&self.answers.to_be_bytes());
        self.bytes[8..10].copy_from_slice(&self.authorities.to_be_bytes());
        if let Some(edns) = self.edns {
            self.bytes[11] = 1;
            self.bytes.push(0);
            self.bytes.extend(kind::OPT.to_be_bytes());
            self.bytes.extend(QUERY_BYTES_MAX.to_be_bytes());
            // The upper bits of the code, and version 0.
            self.bytes.extend((code >> 4 << 8).to_be_bytes());
            self.bytes.extend((edns.flags & SIGNATURES).to_be_bytes());
            self.bytes.extend([0, 0]);
        }
        self.bytes
    }

    fn record(&mut self, name: &Name, record: &Record) {
        self.name(name);
        self.bytes.extend(record.kind.to_be_bytes());
        self.bytes.extend(IN.to_be_bytes());
        self.bytes.extend(record.ttl.to_be_bytes());
        let length_at = self.bytes.len();
        self.bytes.extend([0, 0]);
        for piece in &record.data {
            match piece {
                Piece::Bytes(bytes) => self.bytes.extend(bytes),
                Piece::Name(name) => self.name(name),
            }
        }
        // The zone takes no record that is longer.
        let length = (self.bytes.len() - length_at - 2) as u16;
        self.bytes[length_at..length_at + 2].copy_from_slice(&length.to_be_bytes());
    }

    /// Writes labels up to the first name that stands somewhere already, and then where.
    fn name(&mut self, name: &Name) {
        let begins = self.bytes.len();
        let known = name.places().find_map(|at| Some((at, *self.places.get(&name.0[at..])?)));
        match known {
            Some((at, place)) => {
                self.bytes.extend(&name.0[..at]);
                self.bytes.extend((0xc000 | place).to_be_bytes());
            }
            None => self.bytes.extend(&name.0),
        }
        self.know(name, begins);
    }

    fn know(&mut self, name: &Name, begins: usize) {
        for at in name.places() {
            // A pointer has 14 bits.
            if let Ok(place @ 0..0x4000) = u16::try_from(begins + at) {
                self.places.entry(name.0[at..].into()).or_insert(place);
            }
        }
    }
}

/// A header alone: the query's identity, opcode and "recursion desired", and a code.
fn refusal(header: &[u8; HEADER_BYTES], code: Code) -> Vec<u8> {
    vec![header[0], header[1], IS_REPLY | header[2] & 0x79, code as u8, 0, 0, 0, 0, 0, 0, 0, 0]
}

fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    bytes.get(at..).and_then(<[u8]>::first_chunk).map(|word| u16::from_be_bytes(*word))
}
