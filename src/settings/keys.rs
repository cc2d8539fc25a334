//! Settings in files: which keys there are, how each is read, and how it is written.
//!
//! Owns how a table of keys becomes a section of settings and back; the tables are beside it, one line a key. A file is
//! read whole before anything in it is judged (`document`), so that no error shows a line of it.
//!
//! 1. Whatever is refused is told with its key, its value and what would do, and no value that may be secret.
//! 2. What is written reads as the same; what is as by default is not written.

mod client;
mod datagram;
mod server;
mod shared;
mod text;
#[cfg(any(feature = "aws-lc-rs", feature = "ring"))]
mod tls;

use crate::document::{Node, Read, Refusal, is_same};
use crate::shown::shown_key;
use serde::de::{Deserialize, Deserializer, Error as _};

const TWICE: &str = "is given twice: remove one of them";

/// The value of a key.
trait Setting {
    fn read(&mut self, node: &Node) -> Read<()>;
    /// `Null` is not written.
    fn write(&self) -> Node;
}

/// One key of a table.
struct Key<S: 'static> {
    name: &'static str,
    /// Other spellings, for reading.
    also: &'static [&'static str],
    form: Form<S>,
}

/// How the value of a key goes to and from its table.
enum Form<S: 'static> {
    /// It is a field.
    Field(fn(&mut S) -> Box<dyn Setting + '_>),
    /// Others have a say in it, or it in others.
    Own(fn(&mut S, &Node, &Scope<'_>) -> Read<()>, fn(&mut S) -> Node),
}

impl<S> Key<S> {
    const fn of(name: &'static str, field: fn(&mut S) -> Box<dyn Setting + '_>) -> Key<S> {
        Key { name, also: &[], form: Form::Field(field) }
    }

    const fn own(
        name: &'static str,
        read: fn(&mut S, &Node, &Scope<'_>) -> Read<()>,
        write: fn(&mut S) -> Node,
    ) -> Key<S> {
        Key { name, also: &[], form: Form::Own(read, write) }
    }

    const fn also(also: &'static [&'static str], key: Key<S>) -> Key<S> {
        Key { also, ..key }
    }

    fn is(&self, name: &str) -> bool {
        is_same(self.name, name) || self.also.iter().any(|also| is_same(also, name))
    }

    fn write(&self, section: &mut S) -> Node {
        match self.form {
            Form::Field(field) => field(section).write(),
            Form::Own(_, write) => write(section),
        }
    }
}

/// A table of settings.
trait Section: Sized + Clone + 'static {
    /// Its keys, in the order in which they are read, whatever order a file has.
    const KEYS: &'static [&'static [Key<Self>]];
    /// More of them, which the predecessor had once: they are read, and not spoken of.
    const OLD: &'static [&'static [Key<Self>]] = &[];
    /// Keys that others have, and what to do instead.
    const FOREIGN: &'static [(&'static str, &'static str)] = &[];
    /// A table within it that has the same keys, as the predecessor writes them: with a zero for what it does not say.
    const NESTED: Option<&'static str> = None;
}

fn keys<S: Section>() -> impl Iterator<Item = &'static Key<S>> {
    S::KEYS.iter().chain(S::OLD).copied().flatten()
}

/// What of a table a file has.
#[derive(Default)]
struct Scope<'a> {
    found: Vec<(&'static str, String, &'a Node)>,
    /// Keys of others, and what to do instead; whether they are in the table that the predecessor writes.
    foreign: Vec<(String, &'static str, bool)>,
    /// There is that table.
    is_nested: bool,
}

impl<'a> Scope<'a> {
    fn node(&self, name: &str) -> Option<&'a Node> {
        self.found.iter().find(|(known, ..)| *known == name).map(|(.., node)| *node)
    }

    /// Finds out which key is which, and judges no value.
    fn of<S: Section>(node: &'a Node) -> Read<Scope<'a>> {
        let Node::Table(table) = node else {
            return Err(node.refused_unseen("write a table of settings, of keys and values"));
        };
        let mut scope = Scope::default();
        scope.find::<S>(table, "", false)?;
        Ok(scope)
    }

    /// The same, unless it is a zero.
    fn said(&self, name: &str) -> Option<&'a Node> {
        self.node(name).filter(|node| !node.is_zero())
    }

    fn find<S: Section>(&mut self, table: &'a [(String, Node)], path: &str, inside: bool) -> Read<()> {
        for (name, node) in table {
            let at = format!("{path}{}", shown_key(name));
            let refuse = |told: &str| Err(Refusal::new(told).within(&at));
            if !inside && S::NESTED.is_some_and(|nested| is_same(nested, name)) {
                self.is_nested = true;
                match node {
                    Node::Table(table) => self.find::<S>(table, &format!("{at}."), true)?,
                    node if node.is_zero() => {}
                    node => return refuse(&format!("cannot be {}: write a table of settings", node.kind())),
                }
                continue;
            }
            let is_zero = *node == Node::Null || inside && (node.is_zero() || *node == Node::from("none"));
            match (S::FOREIGN.iter().find(|(foreign, _)| is_same(foreign, name)), keys::<S>().find(|key| key.is(name)))
            {
                (Some(_), _) if is_zero && inside => {}
                (Some((_, why)), _) => self.foreign.push((at, why, inside)),
                (None, None) => return refuse(&unknown::<S>(name)),
                (None, Some(key)) => match self.found.iter().find(|(known, ..)| *known == key.name) {
                    Some((_, other, _)) if *other == at => return refuse(TWICE),
                    Some((_, other, _)) => return refuse(&format!("is also given as {other}: remove one of them")),
                    None => self.found.push((key.name, at, if is_zero { &Node::Null } else { node })),
                },
            }
        }
        Ok(())
    }
}

/// Reads a table.
fn fill<S: Section>(section: &mut S, scope: &Scope<'_>) -> Read<()> {
    for (at, why, inside) in &scope.foreign {
        match inside {
            true => log::warn!("settings: {at} has no effect: {why}"),
            false => return Err(Refusal::new(format!("cannot be set here: {why}")).within(at)),
        }
    }
    for key in keys::<S>() {
        let Some((_, at, node)) = scope.found.iter().find(|(name, ..)| *name == key.name) else { continue };
        let read = match key.form {
            _ if **node == Node::Null => Ok(()),
            Form::Field(field) => field(section).read(node),
            Form::Own(read, _) => read(section, node, scope),
        };
        read.map_err(|refusal| refusal.within(at))?;
    }
    Ok(())
}

/// What to tell of a key that nobody knows.
fn unknown<S: Section>(name: &str) -> String {
    let names = || S::KEYS.iter().copied().flatten().map(|key| key.name);
    let near = names().map(|known| (distance(&name.to_ascii_lowercase(), known), known)).min();
    let near = near.filter(|(far, _)| far * 2 <= name.len());
    let near = near.map_or(String::new(), |(_, known)| format!("did you mean {known}? "));
    format!("is no key: {near}correct or remove it; there are {}", names().collect::<Vec<_>>().join(", "))
}

/// How many characters must be put in, taken out or changed to make one of the other (Levenshtein's); of long ones many.
fn distance(one: &str, other: &str) -> usize {
    let mut row: Vec<usize> = (0..=other.len()).collect();
    for (up, byte) in one.bytes().take(64).enumerate() {
        let mut corner = std::mem::replace(&mut row[0], up + 1);
        for (at, another) in other.bytes().enumerate() {
            let changed = corner + usize::from(byte != another);
            corner = row[at + 1];
            row[at + 1] = changed.min(corner + 1).min(row[at] + 1);
        }
    }
    row[other.len()] + one.len().saturating_sub(64)
}

/// What is to be written of a table that is not as `usual`.
fn table<S: Section>(section: &S, usual: &S) -> Node {
    let (mut section, mut usual, mut table) = (section.clone(), usual.clone(), Vec::new());
    for key in keys::<S>() {
        let node = key.write(&mut section);
        let is_usual = node == key.write(&mut usual) && !matches!(node, Node::Unfit(_));
        if node != Node::Null && !is_usual {
            table.push((key.name.to_owned(), node));
        }
    }
    Node::Table(table)
}

/// What reads and writes the settings of a file, by these functions.
macro_rules! file {
    ($of:ty, $read:expr, $write:expr) => {
        impl<'de> serde::Deserialize<'de> for $of {
            fn deserialize<D: serde::Deserializer<'de>>(from: D) -> Result<$of, D::Error> {
                $read(from)
            }
        }

        impl serde::Serialize for $of {
            fn serialize<S: serde::Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
                serde::Serialize::serialize(&$write(self), to)
            }
        }
    };
}
use file;

/// Reads a whole file.
fn read<'de, S: Section, D: Deserializer<'de>>(mut section: S, from: D) -> Result<S, D::Error> {
    let node = Node::deserialize(from)?;
    let filled = Scope::of::<S>(&node).and_then(|scope| fill(&mut section, &scope));
    filled.map(|()| section).map_err(D::Error::custom)
}
