//! Text forms of times, permission bits and words.
//!
//! Owns the grammar. Pure.

use super::value::{Read, Value};
use std::time::Duration;

const TIME: &str = "write a time with its unit, such as \"90s\", \"5m\", \"1h30m\" or \"250ms\"";

/// A time, in the form of Go's and systemd's: numbers with units.
pub(super) fn time(value: &Value) -> Read<Duration> {
    let Value::Text(text) = value else { return Err(TIME.to_owned()) };
    // It is a month, which nobody means who writes it.
    if text.contains('M') {
        return Err("an M would be a month: minutes are m, as in \"5m\"".to_owned());
    }
    humantime::parse_duration(text).map_err(|error| format!("{error}; {TIME}"))
}

/// A time that is not zero.
pub(super) fn lasting(value: &Value) -> Read<Duration> {
    match time(value)? {
        Duration::ZERO => Err("it must be longer than zero; to turn it off, leave it out".to_owned()),
        time => Ok(time),
    }
}

pub(super) fn of_time(time: Duration) -> Value {
    humantime::format_duration(time).to_string().replace(' ', "").into()
}

const BITS: &str = "write permission bits in quotes, octal as in \"0660\" or as in \"rw-rw----\"";
const BITS_MAX: u32 = 0o777;

/// Permission bits: octal, or as ls(1) shows them, without the letter for the kind. A number is taken as it is, since
/// TOML has octal ones.
pub(super) fn permissions(value: &Value) -> Read<u32> {
    match value {
        Value::Text(text) => symbolic(text).or_else(|| octal(text)).ok_or_else(|| BITS.to_owned()),
        Value::Whole(number) => match u32::try_from(*number) {
            Ok(bits) if bits <= BITS_MAX => Ok(bits),
            _ => Err(format!("this is decimal; {BITS}, or, in TOML, as in 0o660")),
        },
        _ => Err(BITS.to_owned()),
    }
}

fn octal(text: &str) -> Option<u32> {
    let digits = text.strip_prefix("0o").unwrap_or(text);
    let is_octal = !digits.is_empty() && digits.bytes().all(|byte| (b'0'..=b'7').contains(&byte));
    is_octal.then(|| u32::from_str_radix(digits, 8).ok())?.filter(|bits| *bits <= BITS_MAX)
}

fn symbolic(text: &str) -> Option<u32> {
    if text.len() != SYMBOLS.len() {
        return None;
    }
    text.bytes().zip(SYMBOLS.bytes()).try_fold(0, |bits, (byte, symbol)| match byte {
        b'-' => Some(bits << 1),
        byte if byte == symbol => Some(bits << 1 | 1),
        _ => None,
    })
}

const SYMBOLS: &str = "rwxrwxrwx";

pub(super) fn of_permissions(bits: u32) -> Value {
    format!("{bits:04o}").into()
}

/// One of some words, which stand for something.
pub(super) fn word<T: Copy>(words: &[(&str, T)], value: &Value) -> Read<T> {
    let found = value.text().ok().and_then(|text| words.iter().find(|(word, _)| text.eq_ignore_ascii_case(word)));
    found.map(|(_, meaning)| *meaning).ok_or_else(|| {
        let words: Vec<_> = words.iter().map(|(word, _)| format!("\"{word}\"")).collect();
        format!("it must be one of {}", words.join(", "))
    })
}

pub(super) fn of_word<T: PartialEq>(words: &[(&'static str, T)], meaning: &T) -> Value {
    words.iter().find(|(_, known)| known == meaning).map(|(word, _)| *word).into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn bits(text: &str) -> Option<u32> {
        permissions(&text.into()).ok()
    }

    #[test]
    fn permissions_are_octal_or_symbols() {
        for (text, expected) in [
            ("0770", 0o770),
            ("770", 0o770),
            ("0o660", 0o660),
            ("0", 0),
            ("00000777", 0o777),
            ("rw-rw----", 0o660),
            ("rwxrwxrwx", 0o777),
            ("---------", 0),
        ] {
            assert_eq!(bits(text), Some(expected), "{text}");
        }
        for text in
            ["", "0o", "0x1f", "789", "1000", "+70", " 0770", "rw-rw---", "wr-rw----", "-rw-rw----", "rwsrwxrwx", "٧٧٠"]
        {
            assert_eq!(bits(text), None, "{text}");
        }
        assert_eq!(permissions(&Value::Whole(0o660)), Ok(0o660));
        for number in [-1, 770, 0o1000, i128::MAX] {
            assert!(permissions(&Value::Whole(number)).is_err_and(|why| why.contains("decimal")), "{number}");
        }
    }

    #[test]
    fn times_have_units() {
        let seconds = |text: &str| time(&text.into()).map(|time| time.as_secs_f64());
        for (text, expected) in
            [("90s", 90.0), ("5m", 300.0), ("1h30m", 5400.0), ("250ms", 0.25), ("1.5h", 5400.0), ("0s", 0.0)]
        {
            assert_eq!(seconds(text), Ok(expected), "{text}");
        }
        for text in ["", "90", "s", "-5s", "5 parsecs", "5M", "99999999999999999999s"] {
            assert!(seconds(text).is_err(), "{text}");
        }
        assert!(time(&Value::Whole(90)).is_err_and(|why| why.contains("90s")));
        assert!(lasting(&"0ms".into()).is_err());
    }

    proptest! {
        #[test]
        fn times_read_as_they_were_written(seconds in any::<u64>(), short in 0..10_000u64, nanos in 0..1_000_000_000u32) {
            for written in [Duration::new(seconds, nanos), Duration::new(short, nanos), Duration::from_secs(short)] {
                prop_assert_eq!(time(&of_time(written)), Ok(written));
            }
        }

        #[test]
        fn permissions_read_as_they_were_written(written in 0..=BITS_MAX) {
            prop_assert_eq!(permissions(&of_permissions(written)), Ok(written));
        }

        #[test]
        fn no_text_panics(text in "\\PC{0,24}", digits in "[-0-9.a-zM ]{0,40}") {
            for text in [text, digits] {
                let _ = time(&text.as_str().into());
                let bits = permissions(&text.as_str().into());
                prop_assert!(bits.is_err() || bits.is_ok_and(|bits| bits <= BITS_MAX));
            }
        }
    }
}
