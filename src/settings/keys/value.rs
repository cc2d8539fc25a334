//! The value of a key, as a format has it.
//!
//! Owns what a value can be, and how the simple ones are taken.

use serde::de::{Deserialize, Deserializer, Error, SeqAccess, Visitor};
use serde::ser::{Serialize, Serializer};
use std::fmt;

/// What came of a value, or what would do in its place.
pub(super) type Read<T> = Result<T, String>;

#[derive(Clone, Debug, PartialEq)]
pub(super) enum Value {
    /// Not given.
    Nothing,
    Truth(bool),
    Whole(i128),
    Fraction(f64),
    Text(String),
    List(Vec<Value>),
    /// What no text tells.
    Unfit(&'static str),
}

/// More are no list that a person wrote.
const LIST_MAX: usize = 10_000;

impl Value {
    pub(super) fn truth(&self) -> Read<bool> {
        if let Value::Truth(truth) = self { Ok(*truth) } else { Err("write true or false".to_owned()) }
    }

    /// A number that fits `T`.
    pub(super) fn number<T: TryFrom<i128>>(&self) -> Read<T> {
        match self {
            Value::Whole(number) if *number < 0 => Err("it must not be negative".to_owned()),
            Value::Whole(number) => T::try_from(*number).map_err(|_| "it is too large".to_owned()),
            _ => Err("write a whole number, without quotes".to_owned()),
        }
    }

    /// A number that fits `T` and is not 0.
    pub(super) fn count<T: TryFrom<i128>>(&self) -> Read<T> {
        if *self == Value::Whole(0) { Err("it must be at least 1".to_owned()) } else { self.number() }
    }

    pub(super) fn text(&self) -> Read<&str> {
        if let Value::Text(text) = self { Ok(text) } else { Err("write a text, in quotes".to_owned()) }
    }

    /// A text, or a list of them.
    pub(super) fn texts(&self) -> Read<Vec<&str>> {
        let unfit = |_| "write a text in quotes, or a list of them".to_owned();
        match self {
            Value::List(list) => list.iter().map(|text| text.text().map_err(unfit)).collect(),
            text => Ok(vec![text.text().map_err(unfit)?]),
        }
    }

    /// Values as one: one alone, or a list; none is nothing.
    pub(super) fn of_list(mut list: Vec<Value>) -> Value {
        match list.len() {
            0 => Value::Nothing,
            1 => list.remove(0),
            _ => Value::List(list),
        }
    }
}

impl From<bool> for Value {
    fn from(truth: bool) -> Value {
        Value::Truth(truth)
    }
}

impl From<u8> for Value {
    fn from(number: u8) -> Value {
        Value::Whole(number.into())
    }
}

impl From<u32> for Value {
    fn from(number: u32) -> Value {
        Value::Whole(number.into())
    }
}

impl From<usize> for Value {
    fn from(number: usize) -> Value {
        // A usize has at most 64 bits.
        Value::Whole(number as i128)
    }
}

impl From<&str> for Value {
    fn from(text: &str) -> Value {
        Value::Text(text.to_owned())
    }
}

impl From<String> for Value {
    fn from(text: String) -> Value {
        Value::Text(text)
    }
}

impl<T: Into<Value>> From<Option<T>> for Value {
    fn from(value: Option<T>) -> Value {
        value.map_or(Value::Nothing, Into::into)
    }
}

// As it is told of: on one line, and not at length.
impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const SHOWN: usize = 80;
        match self {
            Value::Nothing => f.write_str("nothing"),
            Value::Unfit(what) => f.write_str(what),
            Value::Truth(truth) => write!(f, "{truth}"),
            Value::Whole(number) => write!(f, "{number}"),
            Value::Fraction(number) => write!(f, "{number}"),
            // It may be a key.
            Value::Text(text) if text.contains("-----BEGIN") => f.write_str("a text in PEM"),
            Value::Text(text) => match text.char_indices().nth(SHOWN) {
                None => write!(f, "{text:?}"),
                Some((end, _)) => write!(f, "{:?}...", &text[..end]),
            },
            Value::List(list) => {
                f.write_str("[")?;
                for (at, value) in list.iter().enumerate().take(3) {
                    write!(f, "{}{value}", if at == 0 { "" } else { ", " })?;
                }
                f.write_str(if list.len() > 3 { ", ...]" } else { "]" })
            }
        }
    }
}

impl Serialize for Value {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        match self {
            Value::Nothing => to.serialize_none(),
            Value::Truth(truth) => to.serialize_bool(*truth),
            Value::Whole(number) => match i64::try_from(*number) {
                Ok(number) => to.serialize_i64(number),
                Err(_) => to.serialize_i128(*number),
            },
            Value::Fraction(number) => to.serialize_f64(*number),
            Value::Text(text) => to.serialize_str(text),
            Value::List(list) => to.collect_seq(list),
            Value::Unfit(what) => Err(serde::ser::Error::custom(format_args!("{what} cannot be written"))),
        }
    }
}

/// Takes whatever a format has for the key of this name.
pub(super) struct Reading(pub(super) &'static str);

impl<'de> Visitor<'de> for Reading {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "a text, a number, true or false, or a list of them for {}", self.0)
    }

    fn visit_bool<E>(self, truth: bool) -> Result<Value, E> {
        Ok(Value::Truth(truth))
    }

    fn visit_i64<E>(self, number: i64) -> Result<Value, E> {
        Ok(Value::Whole(number.into()))
    }

    fn visit_u64<E>(self, number: u64) -> Result<Value, E> {
        Ok(Value::Whole(number.into()))
    }

    fn visit_i128<E>(self, number: i128) -> Result<Value, E> {
        Ok(Value::Whole(number))
    }

    fn visit_f64<E>(self, number: f64) -> Result<Value, E> {
        Ok(Value::Fraction(number))
    }

    fn visit_str<E>(self, text: &str) -> Result<Value, E> {
        Ok(Value::Text(text.to_owned()))
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Nothing)
    }

    fn visit_none<E>(self) -> Result<Value, E> {
        Ok(Value::Nothing)
    }

    fn visit_some<D: Deserializer<'de>>(self, from: D) -> Result<Value, D::Error> {
        from.deserialize_any(self)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Value, A::Error> {
        let mut values = Vec::new();
        while let Some(Item(value)) = list.next_element()? {
            if values.len() == LIST_MAX {
                return Err(A::Error::custom(format_args!("{} is too long a list: shorten it", self.0)));
            }
            values.push(value);
        }
        Ok(Value::List(values))
    }
}

/// A member of a list, which is no list.
struct Item(Value);

impl<'de> Deserialize<'de> for Item {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Item, D::Error> {
        match from.deserialize_any(Reading("a list"))? {
            Value::List(_) => Err(D::Error::custom("a list cannot hold lists: write its members one after another")),
            value => Ok(Item(value)),
        }
    }
}
