//! Settings in files: which keys there are, how each is read, and how it is written.
//!
//! Owns how a table of keys becomes serde's; the tables are beside it. serde's own derivation would not name the key in
//! its errors, which formats without lines of their own need.
//!
//! 1. Whatever is refused is told with its key, its value and what would do.
//! 2. What is written reads as the same; what is as by default is not written.

mod client;
mod datagram;
mod server;
mod shared;
mod text;
#[cfg(any(feature = "aws-lc-rs", feature = "ring"))]
mod tls;
mod value;

use serde::de::{DeserializeSeed, Deserializer, Error as _, MapAccess, Visitor};
use serde::ser::{Serialize, SerializeMap, Serializer};
use std::fmt;
use std::marker::PhantomData;
use value::{Read, Reading, Value};

/// One key of a table.
struct Key<S: 'static> {
    name: &'static str,
    /// Other spellings, for reading.
    also: &'static [&'static str],
    form: Form,
    /// What is wrong says what would do.
    read: fn(&mut S, &Value) -> Read<()>,
    /// `Nothing` is not written.
    write: fn(&S) -> Value,
}

/// How a format is asked for a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Form {
    Any,
    /// For its text, where a format could take it for a number: in YAML `0770` is 770.
    Text,
}

impl<S> Key<S> {
    const fn new(name: &'static str, read: fn(&mut S, &Value) -> Read<()>, write: fn(&S) -> Value) -> Key<S> {
        Key { name, also: &[], form: Form::Any, read, write }
    }

    /// One that is a text wherever a format can tell it as one.
    const fn text(name: &'static str, read: fn(&mut S, &Value) -> Read<()>, write: fn(&S) -> Value) -> Key<S> {
        Key { form: Form::Text, ..Key::new(name, read, write) }
    }

    /// One that has other spellings.
    const fn spelled(
        name: &'static str,
        also: &'static [&'static str],
        read: fn(&mut S, &Value) -> Read<()>,
        write: fn(&S) -> Value,
    ) -> Key<S> {
        Key { also, ..Key::new(name, read, write) }
    }
}

/// A table of settings while it is read or written.
trait Section: Default + 'static {
    /// What stands before its keys in errors.
    const PATH: &'static str;
    /// Its keys, in groups.
    const KEYS: &'static [&'static [Key<Self>]];
    /// Keys that hold tables.
    const TABLES: &'static [&'static str] = &[];
    /// Keys that others have, and what to do instead.
    const FOREIGN: &'static [(&'static str, &'static str)] = &[];

    /// Reads one of `TABLES`.
    fn read_table<'de, M: MapAccess<'de>>(&mut self, _: &'static str, map: &mut M) -> Result<(), M::Error> {
        map.next_value::<serde::de::IgnoredAny>().map(drop)
    }

    /// Writes `TABLES`.
    fn write_tables<M: SerializeMap>(&self, _: &mut M) -> Result<(), M::Error> {
        Ok(())
    }

    /// Sees to it that all fits, once everything was read.
    fn finish(&mut self) -> Read<()> {
        Ok(())
    }
}

/// Reads a whole file.
fn read<'de, S: Section, D: Deserializer<'de>>(from: D) -> Result<S, D::Error> {
    match from.deserialize_map(TableOf::new())? {
        Some(section) => Ok(section),
        None => Err(D::Error::custom("there is nothing; settings are a table")),
    }
}

/// A table within another one, if it is there.
struct TableOf<S>(PhantomData<S>);

impl<S> TableOf<S> {
    fn new() -> TableOf<S> {
        TableOf(PhantomData)
    }
}

impl<'de, S: Section> DeserializeSeed<'de> for TableOf<S> {
    type Value = Option<S>;

    fn deserialize<D: Deserializer<'de>>(self, from: D) -> Result<Option<S>, D::Error> {
        from.deserialize_any(self)
    }
}

impl<'de, S: Section> Visitor<'de> for TableOf<S> {
    type Value = Option<S>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match S::PATH.strip_suffix('.') {
            None => f.write_str("a table of settings"),
            Some(path) => write!(f, "a table of settings for {path}"),
        }
    }

    fn visit_unit<E>(self) -> Result<Option<S>, E> {
        Ok(None)
    }

    fn visit_map<M: MapAccess<'de>>(self, mut map: M) -> Result<Option<S>, M::Error> {
        let mut section = S::default();
        let mut seen = Vec::new();
        while let Some(found) = map.next_key_seed(Finds { seen: &mut seen, of: PhantomData::<S> })? {
            match found {
                Found::Key(key) => map.next_value_seed(Reads { section: &mut section, key })?,
                Found::Table(name) => section.read_table(name, &mut map)?,
            }
        }
        section.finish().map_err(M::Error::custom)?;
        Ok(Some(section))
    }
}

/// Finds what a key stands for; `seen` has those that were found before.
struct Finds<'a, S> {
    seen: &'a mut Vec<&'static str>,
    of: PhantomData<S>,
}

enum Found<S: 'static> {
    Key(&'static Key<S>),
    Table(&'static str),
}

impl<'de, S: Section> DeserializeSeed<'de> for Finds<'_, S> {
    type Value = Found<S>;

    fn deserialize<D: Deserializer<'de>>(self, from: D) -> Result<Found<S>, D::Error> {
        from.deserialize_identifier(self)
    }
}

impl<S: Section> Visitor<'_> for Finds<'_, S> {
    type Value = Found<S>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a key")
    }

    fn visit_str<E: serde::de::Error>(self, name: &str) -> Result<Found<S>, E> {
        let (path, shown) = (S::PATH, name.escape_debug());
        if let Some((_, why)) = S::FOREIGN.iter().find(|(foreign, _)| same(foreign, name)) {
            return Err(E::custom(format_args!("{path}{shown} cannot be set here: {why}")));
        }
        let key = S::KEYS.iter().copied().flatten().find(|key| key.name == name || key.also.contains(&name));
        let table = S::TABLES.iter().find(|table| **table == name);
        let (name, found) = match (key, table) {
            (Some(key), _) => (key.name, Found::Key(key)),
            (None, Some(table)) => (*table, Found::Table(table)),
            (None, None) => {
                let keys = S::KEYS.iter().copied().flatten().map(|key| key.name);
                let keys: Vec<_> = keys.chain(S::TABLES.iter().copied()).collect();
                return Err(E::custom(format_args!(
                    "{path}{shown} is no key: correct or remove it; there are {}",
                    keys.join(", ")
                )));
            }
        };
        if self.seen.contains(&name) {
            return Err(E::custom(format_args!("{path}{name} stands twice: remove one of them")));
        }
        self.seen.push(name);
        Ok(found)
    }
}

/// Whether `name` is `foreign`, which is written with hyphens, or that in the predecessor's spelling: `rootCA`.
fn same(foreign: &str, name: &str) -> bool {
    foreign.split('-').collect::<String>() == name.to_ascii_lowercase().replace('-', "")
}

/// Reads the value of a key.
struct Reads<'a, S: 'static> {
    section: &'a mut S,
    key: &'static Key<S>,
}

impl<'de, S: Section> DeserializeSeed<'de> for Reads<'_, S> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, from: D) -> Result<(), D::Error> {
        let value = match self.key.form {
            Form::Any => from.deserialize_any(Reading(self.key.name))?,
            Form::Text => from.deserialize_str(Reading(self.key.name))?,
        };
        if value == Value::Nothing {
            return Ok(());
        }
        (self.key.read)(self.section, &value).map_err(|why| {
            let (path, name) = (S::PATH, self.key.name);
            D::Error::custom(format_args!("{path}{name} cannot be {value}: {why}"))
        })
    }
}

/// Writes a whole table.
fn write<S: Section, Z: Serializer>(section: &S, to: Z) -> Result<Z::Ok, Z::Error> {
    let usual = S::default();
    let mut map = to.serialize_map(None)?;
    for key in S::KEYS.iter().copied().flatten() {
        let value = (key.write)(section);
        if value != Value::Nothing && value != (key.write)(&usual) {
            map.serialize_entry(key.name, &value)?;
        }
    }
    section.write_tables(&mut map)?;
    map.end()
}

/// A table that can be written.
struct Written<S>(S);

impl<S: Section> Serialize for Written<S> {
    fn serialize<Z: Serializer>(&self, to: Z) -> Result<Z::Ok, Z::Error> {
        write(&self.0, to)
    }
}

/// Writes a table within another one, if there is anything to be written.
fn write_table<S, M>(map: &mut M, name: &'static str, section: &S) -> Result<(), M::Error>
where
    S: Section + Clone + PartialEq,
    M: SerializeMap,
{
    if *section == S::default() { Ok(()) } else { map.serialize_entry(name, &Written(section.clone())) }
}

/// A table `tls` where nothing is known of TLS.
#[cfg(not(any(feature = "aws-lc-rs", feature = "ring")))]
struct NoTls;

#[cfg(not(any(feature = "aws-lc-rs", feature = "ring")))]
impl<'de> DeserializeSeed<'de> for NoTls {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, from: D) -> Result<(), D::Error> {
        match serde::Deserialize::deserialize(from)? {
            None::<serde::de::IgnoredAny> => Ok(()),
            Some(_) => Err(D::Error::custom(
                "tls cannot be set: windlass was built without TLS; turn its feature `aws-lc-rs` or `ring` on",
            )),
        }
    }
}
