//! A client's first message: in one piece, for those who choose by it, and what it offers, to tell why a handshake failed.
//!
//! Owns a reader of the message that takes it as it is, also where rustls refuses it: RFC 8446, section 4.1.2. Every list
//! is cut off after [`LISTED_MAX`] entries, and no bytes make it panic.

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
const HEADER_BYTES: usize = 5;
const RECORD_BYTES_MAX: usize = 16 * 1024;
const CLIENT_HELLO: u8 = 1;
const SERVER_NAME: u16 = 0;
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
        let mut offer = Offer::default();
        let message = message(wire);
        let _ = offer.read(Bytes(&message));
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

/// The handshake message in these records, in one piece; there may be warnings in front of it.
fn message(wire: &[u8]) -> Vec<u8> {
    let (mut records, mut message) = (Bytes(wire), Vec::new());
    while let Some(kind) = records.byte().filter(|kind| [ALERT, HANDSHAKE].contains(kind)) {
        let Some(body) = records.word().and_then(|_| records.long()) else { break };
        if kind == HANDSHAKE {
            message.extend_from_slice(body.0);
        }
    }
    message
}

/// The same message in as few records as can be; `None` if it is in one already.
pub(crate) fn rejoined(wire: &[u8]) -> Option<Vec<u8>> {
    let first = wire.first_chunk::<HEADER_BYTES>()?;
    if wire.len() <= HEADER_BYTES + usize::from(u16::from_be_bytes([first[3], first[4]])) {
        return None;
    }
    let record = |piece: &[u8]| {
        let [high, low] = u16::try_from(piece.len()).unwrap_or(u16::MAX).to_be_bytes();
        [&[HANDSHAKE, first[1], first[2], high, low], piece].concat()
    };
    Some(message(wire).chunks(RECORD_BYTES_MAX).flat_map(record).collect())
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
    fn many_records_become_one() {
        let whole = records(&hello(), 1000);
        assert_eq!((rejoined(&whole), rejoined(&records(&hello(), 3))), (None, Some(whole)));
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
            rejoined(&wire);
            let offer = Offer::of(&wire);
            prop_assert!(offer.suites.len().max(offer.protocols.len()) <= LISTED_MAX);
        }
    }
}
