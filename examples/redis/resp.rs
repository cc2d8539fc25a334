//! RESP2, the protocol of redis: finds requests and their arguments, and writes answers.

use std::io::Write;
use windlass::framing::{Found, Lines};

/// Arguments of one request, including the command's name, and the length of each.
const ARGS_MAX: usize = 1024;
const ARG_BYTES_MAX: usize = 1024 * 1024;
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

/// The number after `kind` at `at`, and where the bytes after its CRLF begin; `None` if the CRLF has not arrived.
fn length(data: &[u8], at: usize, kind: u8, max: usize) -> Result<Option<(usize, usize)>, Fault> {
    let mut value = 0;
    for (index, byte) in data.iter().enumerate().skip(at) {
        match (byte, data.get(index + 1)) {
            (byte, _) if index == at && *byte == kind => {}
            (b'0'..=b'9', _) if index > at && index < at + 10 => value = value * 10 + usize::from(byte - b'0'),
            (b'\r', Some(b'\n')) if index > at + 1 && value <= max => return Ok(Some((value, index + 2))),
            (b'\r', None) if index > at + 1 => break,
            _ => return Err("-ERR Protocol error: expected '*' or '$' and a valid length"),
        }
    }
    Ok(None)
}

/// Appends a line: `+OK`, `-ERR`.
pub(crate) fn line(out: &mut Vec<u8>, text: &str) {
    out.extend_from_slice(text.as_bytes());
    out.extend_from_slice(b"\r\n");
}

/// Appends a type and a number: `:1`, `*3`, `$5`.
pub(crate) fn number(out: &mut Vec<u8>, kind: char, number: usize) {
    write!(out, "{kind}{number}\r\n").expect("memory takes all");
}

/// Appends a bulk string, or nil.
pub(crate) fn bulk(out: &mut Vec<u8>, bytes: Option<&[u8]>) {
    let Some(bytes) = bytes else { return line(out, "$-1") };
    number(out, '$', bytes.len());
    out.extend_from_slice(bytes);
    line(out, "");
}

/// Appends an array of so many elements, which begins with these bulk strings.
pub(crate) fn array(out: &mut Vec<u8>, length: usize, items: &[&[u8]]) {
    number(out, '*', length);
    items.iter().for_each(|item| bulk(out, Some(item)));
}
