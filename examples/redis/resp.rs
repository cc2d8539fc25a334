//! RESP2, the protocol of redis: finds requests and their arguments, and writes answers.

use std::fmt::Display;
use std::io::Write;
use windlass::framing::{Found, Lines};

/// Arguments of one request, including the command's name, and the length of each.
const ARGS_MAX: usize = 1024;
const ARG_BYTES_MAX: usize = 1024 * 1024;
/// The longest line with a length.
const LENGTH_BYTES_MAX: usize = 16;
/// The shortest argument: `$0`, CRLF, CRLF.
const SHORTEST: usize = 6;

/// The last answer before the connection is closed.
pub(crate) type Fault = &'static str;

/// Finds the first request of `data` and puts its arguments into `args`, without copying them. A request that is no array is an
/// inline request: a line of words, without quotes. `lines` finds its end and remembers how far it has searched.
pub(crate) fn first<'d>(data: &'d [u8], lines: &mut Lines, args: &mut Vec<&'d [u8]>) -> Result<Found<'d>, Fault> {
    args.clear();
    if data.first() != Some(&b'*') {
        let found = lines.first(data).map_err(|_| "-ERR Protocol error: too big inline request")?;
        if let Found::Frame { payload, .. } = found {
            args.extend(payload.split(u8::is_ascii_whitespace).filter(|word| !word.is_empty()));
        }
        return Ok(found);
    }
    let (count, mut at) = length(data, 0, b'*', ARGS_MAX)?.unwrap_or((1, data.len()));
    for behind in (0..count).rev() {
        let arg = length(data, at, b'$', ARG_BYTES_MAX)?;
        let (begin, end) = arg.map_or((data.len(), data.len() + 1), |(length, begin)| (begin, begin + length + 2));
        match data.get(begin..end) {
            Some([arg @ .., b'\r', b'\n']) => args.push(arg),
            Some(_) => return Err("-ERR Protocol error: expected CRLF behind an argument"),
            // At least one more argument must be there before it is parsed again, so a request that arrives byte by byte is cheap.
            None => return Ok(Found::Incomplete { need: end + behind * SHORTEST }),
        }
        at = end;
    }
    Ok(Found::Frame { payload: &data[..at], used: at })
}

/// The number in the line at `at`, after `kind`, and where the bytes after the line begin; `None` if its end has not arrived.
fn length(data: &[u8], at: usize, kind: u8, max: usize) -> Result<Option<(usize, usize)>, Fault> {
    const WRONG: Fault = "-ERR Protocol error: expected '*' or '$' and a valid length";
    match Lines::new(LENGTH_BYTES_MAX).first(data.get(at..).unwrap_or_default()).map_err(|_| WRONG)? {
        Found::Incomplete { .. } => Ok(None),
        Found::Frame { payload, used } => {
            let digits = payload.strip_prefix(&[kind]).and_then(|digits| std::str::from_utf8(digits).ok());
            let length = digits.and_then(|digits| digits.parse().ok()).filter(|length| *length <= max);
            length.map(|length| Some((length, at + used))).ok_or(WRONG)
        }
    }
}

/// Appends a line: `+OK`, `-ERR`, `:1`, `*3`, `$5`.
pub(crate) fn line(out: &mut Vec<u8>, text: impl Display) {
    write!(out, "{text}\r\n").expect("memory takes all");
}

/// Appends a bulk string, or nil.
pub(crate) fn bulk(out: &mut Vec<u8>, bytes: Option<&[u8]>) {
    let Some(bytes) = bytes else { return line(out, "$-1") };
    line(out, format_args!("${}", bytes.len()));
    out.extend_from_slice(bytes);
    line(out, "");
}

/// Appends an array of so many elements, which begins with these bulk strings.
pub(crate) fn array(out: &mut Vec<u8>, length: usize, items: &[&[u8]]) {
    line(out, format_args!("*{length}"));
    items.iter().for_each(|item| bulk(out, Some(item)));
}
