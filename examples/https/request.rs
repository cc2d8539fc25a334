//! One request: what of its head matters to a server of files; RFC 9110, RFC 9112.

use std::mem::MaybeUninit;
use std::time::SystemTime;

/// Longer heads are refused.
pub(crate) const HEAD_BYTES_MAX: usize = 16 * 1024;

/// More fields are refused.
const FIELDS_MAX: usize = 64;

pub(crate) struct Request<'a> {
    pub(crate) method: Method,
    /// As it was sent, with what follows a question mark.
    pub(crate) target: &'a str,
    pub(crate) keeps_alive: KeepsAlive,
    pub(crate) range: Option<&'a str>,
    pub(crate) if_modified_since: Option<SystemTime>,
    pub(crate) if_range: Option<&'a str>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Method {
    Get,
    Head,
    Other,
}

/// Whether the connection outlives the answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum KeepsAlive {
    /// It does.
    Yes,
    /// It does, and a peer of HTTP/1.0 wants to be told so.
    Told,
    No,
}

pub(crate) enum Parsed<'a> {
    /// Its head has so many bytes.
    Whole(Request<'a>, usize),
    Partial,
    /// It is answered by this status, and the connection ends.
    Refused(&'static str),
}

/// Reads the head of the first request in `bytes`.
pub(crate) fn parse(bytes: &[u8]) -> Parsed<'_> {
    let mut fields = [const { MaybeUninit::uninit() }; FIELDS_MAX];
    let mut head = httparse::Request::new(&mut []);
    let shown = &bytes[..bytes.len().min(HEAD_BYTES_MAX)];
    match head.parse_with_uninit_headers(shown, &mut fields) {
        Ok(httparse::Status::Complete(length)) if has_bare_feeds(&bytes[..length]) => Parsed::Refused(BAD),
        Ok(httparse::Status::Complete(length)) => match read(&head) {
            Ok(request) => Parsed::Whole(request, length),
            Err(status) => Parsed::Refused(status),
        },
        Ok(httparse::Status::Partial) if bytes.len() < HEAD_BYTES_MAX => Parsed::Partial,
        Ok(httparse::Status::Partial) | Err(httparse::Error::TooManyHeaders) => {
            Parsed::Refused("431 Request Header Fields Too Large")
        }
        Err(httparse::Error::Version) => Parsed::Refused("505 HTTP Version Not Supported"),
        Err(_) => Parsed::Refused(BAD),
    }
}

const BAD: &str = "400 Bad Request";

/// Whether a line ends in a line feed alone: what is between here and the client may see other lines than we do.
fn has_bare_feeds(head: &[u8]) -> bool {
    head.iter().enumerate().any(|(at, byte)| *byte == b'\n' && (at == 0 || head[at - 1] != b'\r'))
}

/// Whether it is a host and perhaps a port; RFC 9110, section 7.2.
fn is_host(text: &str) -> bool {
    let (host, port) = match text.rsplit_once(':') {
        Some((host, port)) if !port.ends_with(']') => (host, port),
        _ => (text, ""),
    };
    let is_of_host = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~[]:%!$&'()*+,;=".contains(&byte);
    host.bytes().all(is_of_host) && port.bytes().all(|byte| byte.is_ascii_digit())
}

fn read<'a>(head: &httparse::Request<'_, 'a>) -> Result<Request<'a>, &'static str> {
    let is_new = head.version == Some(1);
    let method = match head.method.ok_or(BAD)? {
        "GET" => Method::Get,
        "HEAD" => Method::Head,
        _ => Method::Other,
    };
    let keeps_alive = if is_new { KeepsAlive::Yes } else { KeepsAlive::No };
    let target = head.path.ok_or(BAD)?;
    let mut request = Request { method, target, keeps_alive, range: None, if_modified_since: None, if_range: None };
    let (mut hosts, mut lengths, mut encodings, mut closes) = (0, 0, 0, false);
    for field in head.headers.iter() {
        let value = || std::str::from_utf8(field.value).map(str::trim).map_err(|_| BAD);
        let is = |name: &str| field.name.eq_ignore_ascii_case(name);
        match field.name.len() {
            4 if is("host") => hosts += if is_host(value()?) { 1 } else { return Err(BAD) },
            5 if is("range") => request.range = Some(value()?),
            8 if is("if-range") => request.if_range = Some(value()?),
            10 if is("connection") => {
                for option in value()?.split(',').map(str::trim) {
                    if option.eq_ignore_ascii_case("close") {
                        closes = true;
                    } else if option.eq_ignore_ascii_case("keep-alive") && !is_new {
                        request.keeps_alive = KeepsAlive::Told;
                    }
                }
            }
            // A body that nobody reads would pass for the next request.
            14 if is("content-length") => {
                let length = value()?;
                if length.is_empty() || !length.bytes().all(|byte| byte.is_ascii_digit()) {
                    return Err(BAD);
                }
                lengths += 1;
                closes |= length.bytes().any(|byte| byte != b'0');
            }
            17 if is("transfer-encoding") => {
                encodings += 1;
                closes = true;
            }
            17 if is("if-modified-since") => request.if_modified_since = httpdate::parse_http_date(value()?).ok(),
            _ => {}
        }
    }
    if closes {
        request.keeps_alive = KeepsAlive::No;
    }
    // Two of them may be read as two requests; RFC 9112, section 6.3.
    let is_ambiguous = hosts > 1 || lengths > 1 || (lengths > 0 && encodings > 0);
    if is_ambiguous || (is_new && hosts == 0) { Err(BAD) } else { Ok(request) }
}
