//! Plain values: numbers, times, words, names, permission bits.
//!
//! Owns their grammar. Pure.

use super::Setting;
use crate::document::{BITS, Node, Read, Refusal};
use crate::shown::{is_material, scrubbed};
use humantime::{format_duration, parse_duration};
use std::time::Duration;

impl<T: Setting> Setting for &mut T {
    fn read(&mut self, node: &Node) -> Read<()> {
        (**self).read(node)
    }

    fn write(&self) -> Node {
        (**self).write()
    }
}

impl<T: Setting + Default> Setting for Option<T> {
    fn read(&mut self, node: &Node) -> Read<()> {
        let off = if node.is_zero() { "; to turn it off, leave it out" } else { "" };
        self.insert(T::default()).read(node).map_err(|refusal| Refusal { told: refusal.told + off, ..refusal })
    }

    fn write(&self) -> Node {
        self.as_ref().map_or(Node::Null, Setting::write)
    }
}

/// One whose zero says nothing.
pub(super) struct Unsaid<'a, T>(pub(super) &'a mut T);

impl<T: Setting> Setting for Unsaid<'_, T> {
    fn read(&mut self, node: &Node) -> Read<()> {
        let is_simple = matches!(node, Node::Text(_) | Node::Whole(_));
        if is_simple && node.is_zero() { Ok(()) } else { self.0.read(node) }
    }

    fn write(&self) -> Node {
        self.0.write()
    }
}

/// One that may be zero.
pub(super) struct Zero<'a, T>(pub(super) &'a mut T);

impl<T: Setting + From<u8>> Setting for Zero<'_, T> {
    fn read(&mut self, node: &Node) -> Read<()> {
        *self.0 = T::from(0);
        if *node == Node::Whole(0) { Ok(()) } else { self.0.read(node) }
    }

    fn write(&self) -> Node {
        self.0.write()
    }
}

const TIME: &str = "write a time with its unit, such as \"90s\", \"5m\", \"1h30m\" or \"250ms\"";

/// A time, in the form of Go's and systemd's: numbers with units.
pub(super) fn time(node: &Node) -> Read<Duration> {
    let Node::Text(text) = node else { return Err(node.refused(TIME)) };
    // It is a month, which nobody means who writes it.
    if text.contains('M') {
        return Err(node.refused("an M would be a month: minutes are m, as in \"5m\""));
    }
    parse_duration(&text.replace('μ', "µ")).map_err(|error| match error.to_string() {
        told if told.contains('"') => node.refused(TIME),
        told => node.refused(format_args!("{told}; {TIME}")),
    })
}

impl Setting for Duration {
    fn read(&mut self, node: &Node) -> Read<()> {
        *self = time(node)?;
        if self.is_zero() { Err(node.refused("it must be longer than zero")) } else { Ok(()) }
    }

    fn write(&self) -> Node {
        format_duration(*self).to_string().replace(' ', "").into()
    }
}

fn count<T: TryFrom<i128>>(node: &Node) -> Read<T> {
    match node {
        Node::Whole(number) if *number < 0 => Err(node.refused("it must not be negative")),
        Node::Whole(0) => Err(node.refused("it must be at least 1")),
        Node::Whole(number) => T::try_from(*number).map_err(|_| node.refused("it is too large")),
        _ => Err(node.refused("write a whole number, without quotes, commas or a unit")),
    }
}

macro_rules! count {
    ($($of:ty),+) => {$(
        impl Setting for $of {
            fn read(&mut self, node: &Node) -> Read<()> {
                count(node).map(|number| *self = number)
            }

            fn write(&self) -> Node {
                // None has more than 64 bits.
                Node::Whole(*self as i128)
            }
        }
    )+};
}

count!(usize, u32, u8);

/// What is one of some words, or true or false.
struct Words<'a, T: 'static> {
    field: &'a mut T,
    words: Vec<(&'static str, T)>,
}

/// A field that is one of these words.
pub(super) fn words<'a, T: Copy + PartialEq + 'static>(
    field: &'a mut T,
    words: &[(&'static str, T)],
) -> Box<dyn Setting + 'a> {
    Box::new(Words { field, words: words.to_vec() })
}

/// A field that is the one for true and the other for false.
pub(super) fn switch<T: Copy + PartialEq + 'static>(field: &mut T, on: T, off: T) -> Box<dyn Setting + '_> {
    words(field, &[("true", on), ("false", off)])
}

impl<T: Copy + PartialEq> Setting for Words<'_, T> {
    fn read(&mut self, node: &Node) -> Read<()> {
        let text = match node {
            Node::Truth(true) => "true",
            Node::Truth(false) => "false",
            Node::Text(text) => text,
            _ => "",
        };
        let found = self.words.iter().find(|(word, _)| text.eq_ignore_ascii_case(word));
        let all = || self.words.iter().map(|(word, _)| format!("\"{word}\"")).collect::<Vec<_>>().join(", ");
        *self.field = found.map(|(_, meaning)| *meaning).ok_or_else(|| match self.words[0].0 {
            "true" => node.refused("write true or false"),
            _ => node.refused(format_args!("it must be one of {}", all())),
        })?;
        Ok(())
    }

    fn write(&self) -> Node {
        // What is neither true nor false is said by other keys.
        let found = self.words.iter().find(|(_, meaning)| meaning == self.field).map_or("true", |(word, _)| word);
        found.parse().map_or(found.into(), Node::Truth)
    }
}

impl Setting for String {
    fn read(&mut self, node: &Node) -> Read<()> {
        node.name().map(|text| text.clone_into(self))
    }

    fn write(&self) -> Node {
        self.as_str().into()
    }
}

/// Names, none of which has a separator of lists in it.
pub(super) fn names(node: &Node) -> Read<Vec<String>> {
    indexed(node, |node| {
        if !matches!(node, Node::Text(_)) {
            return Err(node.refused("write a text in quotes, or a list of them"));
        }
        let is_separator = |c: char| c.is_whitespace() || c.is_control() || ",;:\"'".contains(c);
        let name = node.name()?;
        let names: Vec<_> = name.split(is_separator).filter(|name| !name.is_empty()).collect();
        match name.contains(is_separator) {
            false => Ok(name.to_owned()),
            true => {
                let list =
                    if is_material(&names.concat()) { "[\"one\", \"two\"]".to_owned() } else { format!("{names:?}") };
                Err(node
                    .refused(format_args!("no name is like that; write a list of names, as in {}", scrubbed(&list))))
            }
        }
    })
}

impl Setting for Vec<String> {
    fn read(&mut self, node: &Node) -> Read<()> {
        names(node).map(|names| *self = names)
    }

    fn write(&self) -> Node {
        let node = Node::of_list(self.iter().map(Setting::write).collect());
        let is_same = self.is_empty() || names(&node).is_ok_and(|names| names == *self);
        if is_same { node } else { Node::Unfit("a name with a comma, a space or a quote in it") }
    }
}

/// Whether `text` begins as a path, and has no name in it that may be a key.
pub(super) fn is_rooted(text: &str) -> bool {
    text.starts_with(['/', '.']) && !text.split('/').any(is_material)
}

/// What `read` makes of each item; who is refused is told by its place.
pub(super) fn indexed<T>(node: &Node, mut read: impl FnMut(&Node) -> Read<T>) -> Read<Vec<T>> {
    let Node::List(list) = node else { return read(node).map(|item| vec![item]) };
    let item = |(at, item)| read(item).map_err(|refusal| refusal.within(&format!("[{at}]")));
    list.iter().enumerate().map(item).collect()
}

const BITS_MAX: u32 = 0o777;
const SYMBOLS: &str = "rwxrwxrwx";

/// Permission bits: octal, or as ls(1) shows them. A lone "0", which the predecessor writes where nothing was said, says
/// nothing.
pub(super) fn permissions(node: &Node) -> Read<Option<u32>> {
    match node {
        Node::Text(text) if text.is_empty() || text == "0" => Ok(None),
        Node::Text(text) => match symbolic(text).or_else(|| octal(text)) {
            // The predecessor takes it for 0770.
            Some(0) => {
                Err(Refusal::new("cannot be no bit at all: nobody could connect; leave it out to have \"0770\""))
            }
            Some(bits) if bits <= BITS_MAX => Ok(Some(bits)),
            Some(bits) => {
                let bits = bits & BITS_MAX;
                Err(node.refused(format_args!("a socket has no sticky or set-id bit: write \"{bits:04o}\"")))
            }
            None => Err(node.refused(BITS)),
        },
        Node::Whole(_) => {
            let why = "a bare number does not say whether it is octal (TOML's 0o660 comes as 432)";
            Err(node.refused(format_args!("{why}; {BITS}")))
        }
        _ => Err(node.refused(BITS)),
    }
}

fn octal(text: &str) -> Option<u32> {
    let digits = text.strip_prefix("0o").unwrap_or(text);
    let is_octal = !digits.is_empty() && digits.bytes().all(|byte| (b'0'..=b'7').contains(&byte));
    is_octal.then(|| u32::from_str_radix(digits, 8).ok())?.filter(|bits| *bits <= 0o7777)
}

fn symbolic(text: &str) -> Option<u32> {
    // The letter for the kind of file, if it is there.
    let text = text.strip_prefix(['-', 's']).filter(|rest| rest.len() == SYMBOLS.len()).unwrap_or(text);
    let bit = |bits: u32, (byte, symbol)| match byte {
        b'-' => Some(bits << 1),
        byte if byte == symbol => Some(bits << 1 | 1),
        _ => None,
    };
    if text.len() == SYMBOLS.len() { text.bytes().zip(SYMBOLS.bytes()).try_fold(0, bit) } else { None }
}

pub(super) fn of_permissions(bits: u32) -> Node {
    if bits == 0 { Node::Unfit("a mode that lets nobody in") } else { format!("{bits:04o}").into() }
}
