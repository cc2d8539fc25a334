//! A client's first message: the name in it, for those who choose by that, and what it offers, to tell why a handshake failed.
//!
//! Owns two readers of the message; RFC 8446, section 4.1.2. That of the name takes what rustls takes and nothing else. That
//! of the offer takes a message as it is, also where rustls refuses it. Every list is cut off after [`LISTED_MAX`] entries, and
//! no bytes make either panic.
//!
//! 1. What is behind the message's own length is another message, and never read.

use rustls::pki_types::ServerName;
use std::borrow::Cow;

/// Entries of each list that are kept.
const LISTED_MAX: usize = 64;

/// The first message of a client, as far as it can be read.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Offer {
    pub(crate) name: Asked,
    /// The newest first, as most clients have them; that of the message itself where there is no list.
    pub(crate) versions: Vec<u16>,
    pub(crate) suites: Vec<u16>,
    pub(crate) groups: Vec<u16>,
    pub(crate) schemes: Vec<u16>,
    pub(crate) protocols: Vec<Vec<u8>>,
}

/// The server name that a client asks for.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) enum Asked {
    #[default]
    Nothing,
    Name(Vec<u8>),
    /// The list of names cannot be read, or holds more than one.
    Garbled,
}

/// What clients put among their suites to say something else; RFC 5746, RFC 7507. No other list has these numbers.
const SIGNALS: [u16; 2] = [0x00ff, 0x5600];

const ALERT: u8 = 21;
const HANDSHAKE: u8 = 22;
const HEAD_BYTES: usize = 4;
const CLIENT_HELLO: u8 = 1;
const SERVER_NAME: u16 = 0;
const HOST_NAME: u8 = 0;
const GROUPS: u16 = 10;
const SCHEMES: u16 = 13;
const PROTOCOLS: u16 = 16;
const VERSIONS: u16 = 43;
const TLS12: u16 = 0x0303;

/// Bytes that are taken from the front.
struct Bytes<'a>(&'a [u8]);

impl<'a> Bytes<'a> {
    fn take(&mut self, count: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(count)?;
        self.0 = rest;
        Some(taken)
    }

    fn byte(&mut self) -> Option<u8> {
        self.take(1).map(|taken| taken[0])
    }

    fn word(&mut self) -> Option<u16> {
        self.take(2).map(|taken| u16::from_be_bytes([taken[0], taken[1]]))
    }

    /// What a length of one byte counts.
    fn short(&mut self) -> Option<Bytes<'a>> {
        let count = self.byte()?;
        self.take(count.into()).map(Bytes)
    }

    /// What a length of two bytes counts.
    fn long(&mut self) -> Option<Bytes<'a>> {
        let count = self.word()?;
        self.take(count.into()).map(Bytes)
    }

    /// Two bytes each; those that only keep servers tolerant (GREASE, RFC 8701), and those that are no suites, are passed over.
    fn words(mut self) -> Vec<u16> {
        let words = std::iter::from_fn(|| self.word());
        words.filter(|word| word & 0x0f0f != 0x0a0a && !SIGNALS.contains(word)).take(LISTED_MAX).collect()
    }
}

impl Offer {
    /// What the records in `wire` offer; as much as can be read.
    pub(crate) fn of(wire: &[u8]) -> Offer {
        Offer::of_message(&message(wire))
    }

    /// What a message offers; as much as can be read.
    pub(crate) fn of_message(message: &[u8]) -> Offer {
        let mut offer = Offer::default();
        let _ = offer.read(Bytes(message));
        offer
    }

    /// Whether it is that of a client that speaks nothing that is spoken here.
    pub(crate) fn is_outdated(&self) -> bool {
        !self.versions.is_empty() && self.versions.iter().all(|version| *version < TLS12)
    }

    fn read(&mut self, mut message: Bytes<'_>) -> Option<()> {
        if message.byte()? != CLIENT_HELLO {
            return None;
        }
        message.take(3)?;
        self.versions = vec![message.word()?];
        let _random = message.take(32)?;
        let _session = message.short()?;
        self.suites = message.long()?.words();
        let _compressions = message.short()?;
        let mut extensions = message.long()?;
        while let Some(kind) = extensions.word() {
            let mut body = extensions.long()?;
            match kind {
                SERVER_NAME => self.name = name(body).unwrap_or(Asked::Garbled),
                GROUPS => self.groups = body.long()?.words(),
                SCHEMES => self.schemes = body.long()?.words(),
                VERSIONS => self.versions = body.short()?.words(),
                PROTOCOLS => {
                    let mut list = body.long()?;
                    let protocols = std::iter::from_fn(|| list.short());
                    self.protocols = protocols.map(|name| name.0.to_vec()).take(LISTED_MAX).collect();
                }
                _ => {}
            }
        }
        Some(())
    }
}

/// The first handshake message in these records, as much of it as there is; there may be warnings in front of it. Only one
/// that spans records is copied.
pub(crate) fn message(wire: &[u8]) -> Cow<'_, [u8]> {
    let (mut records, mut message) = (Bytes(wire), Cow::Borrowed(&[][..]));
    while let Some(kind) = records.byte().filter(|kind| [ALERT, HANDSHAKE].contains(kind)) {
        let Some(body) = records.word().and_then(|_| records.long()) else { break };
        if kind == ALERT {
            continue;
        }
        if message.is_empty() {
            message = Cow::Borrowed(body.0);
        } else {
            message.to_mut().extend_from_slice(body.0);
        }
        if let Some(end) = end(&message).filter(|end| *end <= message.len()) {
            match &mut message {
                Cow::Borrowed(whole) => *whole = &whole[..end],
                Cow::Owned(whole) => whole.truncate(end),
            }
            break;
        }
    }
    message
}

/// Where a message ends, if its head is there.
fn end(message: &[u8]) -> Option<usize> {
    let [_, high, middle, low] = *message.first_chunk::<HEAD_BYTES>()?;
    Some(HEAD_BYTES + u32::from_be_bytes([0, high, middle, low]) as usize)
}

/// Whatever makes a message one that cannot be read.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Unreadable;

/// The name that a whole message asks for, in lower case. `None` too if it asks for an IP address: RFC 6066, section 3, has
/// no such names, and rustls passes over them.
pub(crate) fn name_in(message: &[u8]) -> Result<Option<Box<str>>, Unreadable> {
    let Some(list) = names(message).ok_or(Unreadable)? else { return Ok(None) };
    let raw = host_name(list).ok_or(Unreadable)?;
    match ServerName::try_from(raw) {
        Ok(ServerName::DnsName(name)) => Ok(Some(name.as_ref().to_ascii_lowercase().into())),
        Ok(ServerName::IpAddress(_)) => Ok(None),
        Ok(_) | Err(_) => Err(Unreadable),
    }
}

/// The body of its one extension with names, or that it has none.
fn names(message: &[u8]) -> Option<Option<Bytes<'_>>> {
    if end(message)? != message.len() || message[0] != CLIENT_HELLO {
        return None;
    }
    let mut rest = Bytes(&message[HEAD_BYTES..]);
    let (_version, _random) = (rest.word()?, rest.take(32)?);
    let (_session, _suites, _compressions) = (rest.short()?, rest.long()?, rest.short()?);
    let mut found = None;
    if rest.0.is_empty() {
        return Some(found);
    }
    let mut extensions = rest.long()?;
    while !extensions.0.is_empty() {
        let (kind, body) = (extensions.word()?, extensions.long()?);
        if kind == SERVER_NAME && found.replace(body).is_some() {
            return None;
        }
    }
    rest.0.is_empty().then_some(found)
}

/// The one host name of a list. What follows a name of another kind cannot be told, and is passed over as by rustls.
fn host_name(mut body: Bytes<'_>) -> Option<&[u8]> {
    let mut list = body.long()?;
    let mut found = None;
    while let Some(HOST_NAME) = list.byte() {
        if found.replace(list.long()?.0).is_some() {
            return None;
        }
    }
    body.0.is_empty().then_some(found)?
}

/// The one name of a list; RFC 6066, section 3.
fn name(mut body: Bytes<'_>) -> Option<Asked> {
    let mut list = body.long()?;
    let (kind, name) = (list.byte()?, list.long()?);
    (kind == 0 && list.0.is_empty()).then(|| Asked::Name(name.0.to_vec()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn counted(bytes: &[u8]) -> Vec<u8> {
        [&(bytes.len() as u16).to_be_bytes()[..], bytes].concat()
    }

    fn hello() -> Vec<u8> {
        let extension = |kind: u16, body: &[u8]| [&kind.to_be_bytes()[..], &counted(body)].concat();
        let extensions = [
            extension(SERVER_NAME, &counted(&[&[0][..], &counted(b"localhost")].concat())),
            extension(GROUPS, &counted(&[0x1a, 0x1a, 0, 29])),
            extension(0x5000, &[9; 9]),
            extension(PROTOCOLS, &counted(b"\x02h2\x08http/1.1")),
            extension(VERSIONS, &[4, 3, 4, 3, 3]),
        ];
        let body = [&[3, 3][..], &[7; 32], &[0], &counted(&[0x13, 1, 0, 47]), &[1, 0], &counted(&extensions.concat())];
        let body = body.concat();
        let length = (body.len() as u32).to_be_bytes();
        [&[CLIENT_HELLO, length[1], length[2], length[3]][..], &body].concat()
    }

    fn records(message: &[u8], cut: usize) -> Vec<u8> {
        message.chunks(cut).flat_map(|piece| [&[HANDSHAKE, 3, 1][..], &counted(piece)].concat()).collect()
    }

    #[test]
    fn the_message_is_its_own_bytes_however_it_is_cut_and_whatever_follows() {
        let (hello, warning) = (hello(), [ALERT, 3, 3, 0, 2, 1, 90]);
        let two = [&hello[..], &hello].concat();
        for cut in [1, 3, hello.len() - 1, hello.len(), hello.len() + 1, 1000] {
            let wire = [&warning[..], &records(&two, cut)].concat();
            let message = message(&wire);
            assert_eq!(*message, hello[..], "{cut}");
            assert_eq!(matches!(message, Cow::Borrowed(_)), cut >= hello.len(), "only what spans records is copied");
            assert_eq!(name_in(&message), Ok(Some("localhost".into())));
        }
        assert_eq!(*message(&records(&hello, 50)[..50]), [0; 0], "no record is whole");
        assert_eq!(*message(&records(&hello, 50)[..60]), hello[..50]);
    }

    /// A hello with one extension more, of names.
    fn named(body: &[u8]) -> Vec<u8> {
        let extension = [&SERVER_NAME.to_be_bytes()[..], &counted(body)].concat();
        let body = [&[3, 3][..], &[7; 32], &[0], &counted(&[0x13, 1]), &[1, 0], &counted(&extension)].concat();
        let length = (body.len() as u32).to_be_bytes();
        [&[CLIENT_HELLO, length[1], length[2], length[3]][..], &body].concat()
    }

    #[test]
    fn a_name_is_read_as_rustls_reads_it() {
        let host = |name: &[u8]| [&[HOST_NAME][..], &counted(name)].concat();
        let of = |list: &[u8]| name_in(&named(&counted(list)));
        assert_eq!(of(&host(b"LocalHost")), Ok(Some("localhost".into())));
        assert_eq!(of(&[&host(b"a.example")[..], &[7, 1, 2]].concat()), Ok(Some("a.example".into())));
        assert_eq!((of(&host(b"127.0.0.1")), of(&host(b"::1"))), (Ok(None), Ok(None)));
        for garbled in
            [&host(b"")[..], &host(b"a b"), &host(b"a").repeat(2), &[7, 1, 2], &[], &[0, 0], &[0, 0, 9, b'a']]
        {
            assert_eq!(of(garbled), Err(Unreadable), "{garbled:?}");
        }
        let whole = hello();
        assert_eq!(name_in(&[&whole[..], &[0]].concat()), Err(Unreadable), "more than it counts");
        assert!((0..whole.len()).all(|end| name_in(&whole[..end]) == Err(Unreadable)));
        let bare = [&[CLIENT_HELLO, 0, 0, 41, 3, 3][..], &[7; 32], &[0, 0, 2, 0, 47, 1, 0]].concat();
        assert_eq!(name_in(&bare), Ok(None), "no extensions");
    }

    #[test]
    fn it_is_read_from_one_record_or_many() {
        for cut in [1, 50, 1000] {
            let offer = Offer::of(&records(&hello(), cut));
            assert_eq!(offer.name, Asked::Name(b"localhost".to_vec()));
            assert_eq!((offer.versions, offer.suites, offer.groups), (vec![0x304, 0x303], vec![0x1301, 47], vec![29]));
            assert_eq!(offer.protocols, [b"h2".to_vec(), b"http/1.1".to_vec()]);
        }
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic_or_keep_much(at in 0usize..200, byte in any::<u8>(), end in 0usize..200, tail in prop::collection::vec(any::<u8>(), 0..300)) {
            let mut wire = records(&hello(), 60);
            let at = at % wire.len();
            wire[at] = byte;
            wire.truncate(end.max(1));
            wire.extend_from_slice(&tail);
            let _ = name_in(&message(&wire));
            let _ = name_in(wire.get(5..).unwrap_or_default());
            let offer = Offer::of(&wire);
            prop_assert!(offer.suites.len().max(offer.protocols.len()) <= LISTED_MAX);
        }
    }
}
