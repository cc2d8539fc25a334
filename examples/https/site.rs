//! The files of a folder, as a web site: what is asked for, and how much of it.

use crate::request::{Method, Request};
use percent_encoding::{AsciiSet, CONTROLS, percent_decode_str, percent_encode};
use rustix::fs::{Dir, FileType, Mode, OFlags};
use rustix::io::Errno;
use std::ffi::OsStr;
use std::fs::{File, Metadata};
use std::io;
use std::ops::Range;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::path::{Component, Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

pub(crate) struct Site {
    /// The folder. Nothing outside of it is opened.
    root: OwnedFd,
    /// The time in seconds, and as HTTP writes it.
    date: (u64, String),
}

/// What is said to a request.
pub(crate) struct Answer {
    pub(crate) status: &'static str,
    pub(crate) kind: Option<&'static str>,
    pub(crate) modified: Option<SystemTime>,
    /// Fields that only this answer has, each with its line's end.
    pub(crate) extra: String,
    pub(crate) body: Body,
}

pub(crate) enum Body {
    Text(String),
    File(File, Range<u64>),
    /// So many bytes that are made while they are sent.
    Noise(u64),
    /// It has none, and no length.
    None,
}

impl Body {
    pub(crate) fn length(&self) -> Option<u64> {
        match self {
            Body::Text(text) => Some(text.len() as u64),
            Body::File(_, range) => Some(range.end - range.start),
            Body::Noise(bytes) => Some(*bytes),
            Body::None => None,
        }
    }
}

/// Under this path are so many bytes of noise as its last part says, for measuring.
const NOISE: &str = "/-/noise/";

/// More of it is not found.
const NOISE_BYTES_MAX: u64 = 1 << 30;

/// What cannot stand in a path as it is.
const ESCAPED: &AsciiSet = &CONTROLS.add(b' ').add(b'"').add(b'#').add(b'%').add(b'<').add(b'>').add(b'?').add(b'`');

impl Answer {
    pub(crate) fn plain(status: &'static str) -> Answer {
        let body = Body::Text(format!("{status}\n"));
        Answer { status, kind: Some("text/plain; charset=utf-8"), modified: None, extra: String::new(), body }
    }
}

impl Site {
    /// # Errors
    /// The folder is none, or cannot be opened.
    pub(crate) fn open(root: &Path) -> io::Result<Site> {
        let named = |error: io::Error| io::Error::new(error.kind(), format!("--root {}: {error}", root.display()));
        if !root.metadata().map_err(named)?.is_dir() {
            return Err(named(io::ErrorKind::NotADirectory.into()));
        }
        Ok(Site { root: File::open(root).map_err(named)?.into(), date: (0, String::new()) })
    }

    /// The present time; it is written once a second.
    pub(crate) fn date(&mut self) -> &str {
        let now = SystemTime::now();
        let seconds = now.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
        if seconds != self.date.0 || self.date.1.is_empty() {
            self.date = (seconds, httpdate::fmt_http_date(now));
        }
        &self.date.1
    }

    pub(crate) fn answer(&self, request: &Request<'_>) -> Answer {
        if request.method == Method::Other {
            return Answer { extra: "Allow: GET, HEAD\r\n".to_owned(), ..Answer::plain("405 Method Not Allowed") };
        }
        let path = path_of(request.target);
        let noise = path.strip_prefix(NOISE).and_then(|count| count.parse().ok());
        if let Some(bytes) = noise.filter(|bytes| *bytes <= NOISE_BYTES_MAX) {
            return Answer {
                kind: Some("application/octet-stream"),
                body: Body::Noise(bytes),
                ..Answer::plain("200 OK")
            };
        }
        let Some(place) = self.place(path) else { return Answer::plain("400 Bad Request") };
        match self.find(&place, path, request) {
            Ok(answer) => answer,
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => Answer::plain("403 Forbidden"),
            Err(error) if is_lack(&error) => Answer::plain("503 Service Unavailable"),
            Err(_) => Answer::plain("404 Not Found"),
        }
    }

    /// Where in the folder a path leads; `None` if it is no path, or leads out of it.
    fn place(&self, path: &str) -> Option<PathBuf> {
        let decoded: Vec<u8> = percent_decode_str(path.strip_prefix('/')?).collect();
        let relative = Path::new(OsStr::from_bytes(&decoded));
        let leads_down = relative.components().all(|part| matches!(part, Component::Normal(_) | Component::CurDir));
        (leads_down && !decoded.contains(&0)).then(|| relative.to_owned())
    }

    fn find(&self, place: &Path, path: &str, request: &Request<'_>) -> io::Result<Answer> {
        if is_hidden(place) {
            return Err(io::ErrorKind::NotFound.into());
        }
        let file = self.open_beneath(place)?;
        let facts = file.metadata()?;
        if facts.is_file() && !path.ends_with('/') {
            return Ok(send(file, &facts, place, request));
        }
        if !facts.is_dir() {
            return Err(io::ErrorKind::NotFound.into());
        }
        if !path.ends_with('/') {
            let extra = format!("Location: {path}/\r\n");
            return Ok(Answer { extra, ..Answer::plain("301 Moved Permanently") });
        }
        let index = place.join("index.html");
        match self.open_beneath(&index) {
            Ok(file) => {
                let facts = file.metadata()?;
                Ok(send(file, &facts, &index, request))
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => list(&file, path),
            Err(error) => Err(error),
        }
    }

    /// Opens what is in the folder; a link that leads out of it is not followed (openat2(2)).
    #[cfg(target_os = "linux")]
    fn open_beneath(&self, place: &Path) -> io::Result<File> {
        use rustix::fs::{ResolveFlags, openat2};
        let place = if place.as_os_str().is_empty() { Path::new(".") } else { place };
        match openat2(&self.root, place, READ, Mode::empty(), ResolveFlags::BENEATH | ResolveFlags::NO_MAGICLINKS) {
            Ok(file) => Ok(file.into()),
            Err(Errno::XDEV | Errno::LOOP) => Err(io::ErrorKind::NotFound.into()),
            // Before Linux 5.6.
            Err(Errno::NOSYS) => self.open_without_links(place),
            Err(error) => Err(error.into()),
        }
    }

    #[cfg(not(target_os = "linux"))]
    fn open_beneath(&self, place: &Path) -> io::Result<File> {
        self.open_without_links(place)
    }

    /// Opens one part after the other, and follows no link.
    fn open_without_links(&self, place: &Path) -> io::Result<File> {
        let mut at: OwnedFd = rustix::fs::openat(&self.root, ".", READ, Mode::empty())?;
        for part in place.components().filter(|part| matches!(part, Component::Normal(_))) {
            at = rustix::fs::openat(&at, part.as_os_str(), READ | OFlags::NOFOLLOW, Mode::empty())?;
        }
        Ok(at.into())
    }
}

/// What is to be read; a pipe is not waited for.
const READ: OFlags = OFlags::RDONLY.union(OFlags::NONBLOCK).union(OFlags::CLOEXEC);

/// Whether a part of it is hidden, as `.git` is.
fn is_hidden(place: &Path) -> bool {
    place.components().any(|part| part.as_os_str().as_bytes().starts_with(b"."))
}

/// Whether this process or system has too little of something.
fn is_lack(error: &io::Error) -> bool {
    matches!(Errno::from_io_error(error), Some(Errno::MFILE | Errno::NFILE | Errno::NOMEM))
}

/// The path of a target, without its query; of an absolute one, what stands behind the host.
fn path_of(target: &str) -> &str {
    let target = match target.split_once("://") {
        Some((_, rest)) if !target.starts_with('/') => rest.find('/').map_or("/", |slash| &rest[slash..]),
        _ => target,
    };
    target.split('?').next().unwrap_or(target)
}

/// Sends a file, or as much of it as is wanted.
fn send(file: File, facts: &Metadata, place: &Path, request: &Request<'_>) -> Answer {
    let length = facts.len();
    let modified = facts.modified().ok();
    let is_same = |since: SystemTime| modified.is_some_and(|modified| seconds(modified) <= seconds(since));
    let kind = mime_guess::from_path(place).first_raw();
    let answer = Answer {
        status: "200 OK",
        kind: Some(kind.unwrap_or("application/octet-stream")),
        modified,
        extra: "Accept-Ranges: bytes\r\n".to_owned(),
        body: Body::None,
    };
    if request.if_modified_since.is_some_and(is_same) && request.range.is_none() {
        return Answer { status: "304 Not Modified", kind: None, ..answer };
    }
    let is_fresh = |since: &str| httpdate::parse_http_date(since).is_ok_and(is_same);
    let range = request.range.filter(|_| request.if_range.is_none_or(is_fresh));
    match range.map_or(Wanted::All, |range| wanted(range, length)) {
        Wanted::All => Answer { body: Body::File(file, 0..length), ..answer },
        Wanted::Part(part) => {
            let extra = format!("{}Content-Range: bytes {}-{}/{length}\r\n", answer.extra, part.start, part.end - 1);
            Answer { status: "206 Partial Content", extra, body: Body::File(file, part), ..answer }
        }
        Wanted::Nothing => {
            let extra = format!("Content-Range: bytes */{length}\r\n");
            Answer { extra, ..Answer::plain("416 Range Not Satisfiable") }
        }
    }
}

fn seconds(time: SystemTime) -> u64 {
    time.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

/// How much of a file is wanted.
enum Wanted {
    All,
    Part(Range<u64>),
    Nothing,
}

/// Reads a Range field; several ranges, and what is not understood, mean all of it (RFC 9110, section 14.2).
fn wanted(range: &str, length: u64) -> Wanted {
    let Some((first, last)) = range.strip_prefix("bytes=").and_then(|set| set.split_once('-')) else {
        return Wanted::All;
    };
    let part = match (position(first), position(last)) {
        (Some(first), Some(last)) if first <= last => first..last.saturating_add(1).min(length),
        (Some(first), None) if last.is_empty() => first..length,
        (None, Some(last)) if first.is_empty() => length.saturating_sub(last)..length,
        _ => return Wanted::All,
    };
    if part.start < part.end { Wanted::Part(part) } else { Wanted::Nothing }
}

/// A number of digits; one that is too large is beyond the end of any file.
fn position(text: &str) -> Option<u64> {
    let is_number = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    is_number.then(|| text.parse().unwrap_or(u64::MAX))
}

/// A page with the names in a folder.
fn list(folder: &File, path: &str) -> io::Result<Answer> {
    let mut names = Vec::new();
    for entry in Dir::read_from(folder)? {
        let entry = entry?;
        let mut name = entry.file_name().to_bytes().to_vec();
        if name.starts_with(b".") {
            continue;
        }
        if entry.file_type() == FileType::Directory {
            name.push(b'/');
        }
        names.push(name);
    }
    names.sort();
    let title = escaped(&percent_decode_str(path).decode_utf8_lossy());
    let mut page =
        format!("<!doctype html>\n<meta charset=\"utf-8\">\n<title>{title}</title>\n<h1>{title}</h1>\n<ul>\n");
    if path != "/" {
        page.push_str("<li><a href=\"../\">../</a>\n");
    }
    for name in &names {
        // A name with a colon would else pass for a scheme; one that is not UTF-8 is linked by its bytes.
        let text = escaped(&String::from_utf8_lossy(name));
        page.push_str(&format!("<li><a href=\"./{}\">{text}</a>\n", percent_encode(name, ESCAPED)));
    }
    page.push_str("</ul>\n");
    Ok(Answer { kind: Some("text/html; charset=utf-8"), body: Body::Text(page), ..Answer::plain("200 OK") })
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}
