//! A file of settings as its format has it: tables, lists and plain values.
//!
//! Owns the reading, which takes whatever a format has, and the writing. Knows no key but one, whose text is asked for.
//!
//! 1. Nothing that means anything is refused while a format reads: its errors may show lines of the file, ours do not.

use crate::shown::{is_material, shown, words_of_parser};
use serde::de::{Deserialize, DeserializeSeed, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use serde::ser::{Error as _, Serialize, Serializer};
use std::cell::RefCell;
use std::fmt;

/// What came of a value, or what would do in its place.
pub(crate) type Read<T> = Result<T, Refusal>;

/// Where a value is that cannot be, and what is wrong with it.
#[derive(Debug)]
pub(crate) struct Refusal {
    pub(crate) at: String,
    pub(crate) told: String,
}

impl Refusal {
    pub(crate) fn new(told: impl Into<String>) -> Refusal {
        Refusal { at: String::new(), told: told.into() }
    }

    /// The same, with the place that it is in.
    pub(crate) fn within(mut self, outer: &str) -> Refusal {
        let dot = if self.at.is_empty() || self.at.starts_with('[') { "" } else { "." };
        self.at = format!("{outer}{dot}{}", self.at);
        self
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let at = if self.at.is_empty() { "a table of settings" } else { &self.at };
        write!(f, "{at} {}", self.told)
    }
}

/// Whether `name` is `known`, in whatever case, and with hyphens or without: `root-ca` is `rootCA`.
pub(crate) fn is_same(known: &str, name: &str) -> bool {
    let plain = |text: &str| text.to_ascii_lowercase().replace('-', "");
    plain(known) == plain(name)
}

/// What permission bits are written as.
pub(crate) const BITS: &str = "write permission bits in quotes, octal as in \"0660\" or as in \"rw-rw----\"";
const SECRET: &str = "what is secret does not belong here; PEM belongs under tls.certs and the like";

#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Node {
    /// Not given.
    Null,
    Truth(bool),
    Whole(i128),
    Fraction(f64),
    Text(String),
    List(Vec<Node>),
    /// In its order; it may have a key twice.
    Table(Vec<(String, Node)>),
    /// What no text tells.
    Unfit(&'static str),
}

impl Node {
    /// Whether it says nothing, in the way of a format or of a program that writes every field that it has.
    pub(crate) fn is_zero(&self) -> bool {
        match self {
            Node::Null | Node::Truth(false) | Node::Whole(0) => true,
            Node::Text(text) => matches!(text.trim(), "" | "0" | "0s"),
            Node::List(list) => list.is_empty(),
            Node::Table(table) => table.is_empty(),
            Node::Truth(true) | Node::Whole(_) | Node::Fraction(_) | Node::Unfit(_) => false,
        }
    }

    pub(crate) fn text(&self) -> Read<&str> {
        if let Node::Text(text) = self { Ok(text) } else { Err(self.refused("write a text, in quotes")) }
    }

    /// Its text, which is no key or certificate: those belong elsewhere.
    pub(crate) fn name(&self) -> Read<&str> {
        if self.is_secret() { Err(self.refused("")) } else { self.text() }
    }

    pub(crate) fn is_secret(&self) -> bool {
        matches!(self, Node::Text(text) if is_material(text))
    }

    /// As [`Node::Text`]s are written: one alone, or a list; none is nothing.
    pub(crate) fn of_list(mut list: Vec<Node>) -> Node {
        match list.len() {
            0 => Node::Null,
            1 => list.remove(0),
            _ => Node::List(list),
        }
    }

    /// It cannot be; and what would do.
    pub(crate) fn refused(&self, why: impl fmt::Display) -> Refusal {
        let is_quoted = matches!(self, Node::Text(text) if text.len() > 1 && text.starts_with(['"', '\'']));
        Refusal::new(match is_quoted {
            _ if self.is_secret() => format!("cannot be {self}: {SECRET}"),
            true => format!("cannot be {self}: it is quoted twice; {why}"),
            false => format!("cannot be {self}: {why}"),
        })
    }

    /// The same, where the value may be a key.
    pub(crate) fn refused_unseen(&self, why: &str) -> Refusal {
        Refusal::new(format!("cannot be {}: {why}", self.kind()))
    }

    pub(crate) fn kind(&self) -> &'static str {
        match self {
            Node::Null => "nothing",
            Node::Truth(_) => "true or false",
            Node::Whole(_) | Node::Fraction(_) => "a number",
            Node::Text(text) if text.is_empty() => "an empty text",
            Node::Text(_) => "this text (not shown)",
            Node::List(_) => "a list",
            Node::Table(_) => "a table",
            Node::Unfit(what) => what,
        }
    }
}

// As errors show it: on one line, and not at length.
impl fmt::Display for Node {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Node::Truth(truth) => write!(f, "{truth}"),
            Node::Whole(number) => write!(f, "{number}"),
            Node::Fraction(number) => write!(f, "{number:?}"),
            Node::Text(text) => f.write_str(&shown(text)),
            Node::List(list) if list.len() <= 3 && list.iter().all(|node| !matches!(node, Node::List(_))) => {
                let shown: Vec<_> = list.iter().map(ToString::to_string).collect();
                write!(f, "[{}]", shown.join(", "))
            }
            node => f.write_str(node.kind()),
        }
    }
}

impl From<&str> for Node {
    fn from(text: &str) -> Node {
        Node::Text(text.to_owned())
    }
}

impl From<String> for Node {
    fn from(text: String) -> Node {
        Node::Text(text)
    }
}

impl Serialize for Node {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        match self {
            Node::Null => to.serialize_none(),
            Node::Truth(truth) => to.serialize_bool(*truth),
            Node::Whole(number) => match i64::try_from(*number) {
                Ok(number) => to.serialize_i64(number),
                Err(_) => to.serialize_i128(*number),
            },
            Node::Fraction(number) => to.serialize_f64(*number),
            Node::Text(text) => to.serialize_str(text),
            Node::List(list) => to.collect_seq(list),
            Node::Table(table) => to.collect_map(table.iter().map(|(key, node)| (key, node))),
            Node::Unfit(what) => Err(S::Error::custom(format_args!("{what} cannot be written"))),
        }
    }
}

/// The key whose text is asked for, where a format could take it for a number: in YAML `0770` is 770.
const IN_DIGITS: &str = "perm-file";

impl<'de> Deserialize<'de> for Node {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Node, D::Error> {
        // Made anew, an error loses the place that a format would show a line of.
        let stuck = RefCell::new(None);
        from.deserialize_any(Reads(&stuck)).map_err(|error| match stuck.take() {
            Some(key) => D::Error::custom(format_args!("{key} cannot be {}: {BITS}", number_in(&error.to_string()))),
            None => D::Error::custom(words_of_parser(&error.to_string())),
        })
    }
}

/// The number that `told` has in backticks, as serde tells what it did not expect.
fn number_in(told: &str) -> &str {
    let number = told.split('`').nth(1).filter(|number| number.parse::<f64>().is_ok());
    number.unwrap_or("this")
}

/// The key of the table that serde_json shows a number as, if its feature `arbitrary_precision` is on.
const JSON_NUMBER: &str = "$serde_json::private::Number";
/// How that begins which toml shows a date as.
const TOML_DATE: &str = "$__toml_private_";

fn number(digits: &str) -> Node {
    let whole = digits.parse().map(Node::Whole).ok();
    whole.or(digits.parse().map(Node::Fraction).ok()).unwrap_or(Node::Unfit("a number that is none"))
}

/// Reads whatever there is. What it refers to is the key whose text is being read.
#[derive(Clone, Copy)]
struct Reads<'a>(&'a RefCell<Option<&'static str>>);

impl<'de> DeserializeSeed<'de> for Reads<'_> {
    type Value = Node;

    fn deserialize<D: Deserializer<'de>>(self, from: D) -> Result<Node, D::Error> {
        if self.0.borrow().is_some() { from.deserialize_option(self) } else { from.deserialize_any(self) }
    }
}

impl<'de> Visitor<'de> for Reads<'_> {
    type Value = Node;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value")
    }

    fn visit_bool<E>(self, truth: bool) -> Result<Node, E> {
        Ok(Node::Truth(truth))
    }

    fn visit_i64<E>(self, number: i64) -> Result<Node, E> {
        Ok(Node::Whole(number.into()))
    }

    fn visit_u64<E>(self, number: u64) -> Result<Node, E> {
        Ok(Node::Whole(number.into()))
    }

    fn visit_f64<E>(self, number: f64) -> Result<Node, E> {
        Ok(Node::Fraction(number))
    }

    fn visit_str<E>(self, text: &str) -> Result<Node, E> {
        Ok(text.into())
    }

    fn visit_bytes<E>(self, _: &[u8]) -> Result<Node, E> {
        Ok(Node::Unfit("bytes that are no text"))
    }

    fn visit_unit<E>(self) -> Result<Node, E> {
        Ok(Node::Null)
    }

    fn visit_none<E>(self) -> Result<Node, E> {
        Ok(Node::Null)
    }

    fn visit_some<D: Deserializer<'de>>(self, from: D) -> Result<Node, D::Error> {
        if self.0.borrow().is_some() { from.deserialize_str(self) } else { from.deserialize_any(self) }
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Node, A::Error> {
        let mut nodes = Vec::new();
        while let Some(node) = list.next_element_seed(self)? {
            nodes.push(node);
        }
        Ok(Node::List(nodes))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Node, A::Error> {
        let mut table = Vec::new();
        while let Some(key) = map.next_key_seed(self)? {
            let key = if let Node::Text(key) = key { key } else { key.to_string() };
            *self.0.borrow_mut() = is_same(IN_DIGITS, &key).then_some(IN_DIGITS);
            let node = map.next_value_seed(self)?;
            self.0.take();
            table.push((key, node));
        }
        Ok(match table.as_slice() {
            [(key, Node::Text(digits))] if key == JSON_NUMBER => number(digits),
            [(key, _)] if key.starts_with(TOML_DATE) => Node::Unfit("a date"),
            _ => Node::Table(table),
        })
    }
}
