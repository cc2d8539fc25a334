//! One connection: requests in, answers out, in their order.

use crate::request::{HEAD_BYTES_MAX, KeepsAlive, Method, Parsed, Request, parse};
use crate::site::{Answer, Body, Site};
use std::cell::RefCell;
use std::fmt::Write;
use std::fs::File;
use std::ops::Range;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;
use windlass::{Conn, Error, Handler, WriteError};

/// From the first byte of a request's head to its last.
const HEAD_TIMEOUT: Duration = Duration::from_secs(10);

pub(crate) struct Exchange {
    site: Rc<RefCell<Site>>,
    state: State,
}

enum State {
    /// Between two requests.
    Idle,
    /// A part of a head has come, and its time runs.
    Head,
    /// The rest of a body waits for room.
    Body(Rest, Then),
}

/// What of a body is still to be queued.
enum Rest {
    Text(Vec<u8>),
    File(Arc<File>, Range<u64>),
    Noise(u64),
}

/// What comes after an answer.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Then {
    NextRequest,
    Close,
}

/// Text up to this length leaves with its head.
const SHORT_BYTES: usize = 16 * 1024;

/// What noise is made of.
static NOISE: [u8; 16 * 1024] = [b'.'; 16 * 1024];

impl Exchange {
    pub(crate) fn new(site: Rc<RefCell<Site>>) -> Exchange {
        Exchange { site, state: State::Idle }
    }

    /// Answers a request; says whether its head had room.
    fn answer(&mut self, conn: &mut Conn<'_>, request: &Request<'_>) -> Result<(), Error> {
        let answer = self.site.borrow().answer(request);
        self.say(conn, answer, request.method, request.keeps_alive)
    }

    /// Refuses what is no request, or came too late, and ends.
    fn refuse(&mut self, conn: &mut Conn<'_>, status: &'static str) {
        if self.say(conn, Answer::plain(status), Method::Get, KeepsAlive::No).is_err() {
            conn.close();
        }
    }

    fn say(&mut self, conn: &mut Conn<'_>, answer: Answer, method: Method, keeps: KeepsAlive) -> Result<(), Error> {
        let mut head = String::with_capacity(256);
        // Writing to a string cannot fail.
        let _ = write!(head, "HTTP/1.1 {}\r\nDate: {}\r\n", answer.status, self.site.borrow_mut().date());
        if let Some(kind) = answer.kind {
            let _ = write!(head, "Content-Type: {kind}\r\n");
        }
        if let Some(length) = answer.body.length() {
            let _ = write!(head, "Content-Length: {length}\r\n");
        }
        if let Some(modified) = answer.modified {
            let _ = write!(head, "Last-Modified: {}\r\n", httpdate::HttpDate::from(modified));
        }
        head.push_str(&answer.extra);
        head.push_str(match keeps {
            KeepsAlive::Yes => "\r\n",
            KeepsAlive::Told => "Connection: keep-alive\r\n\r\n",
            KeepsAlive::No => "Connection: close\r\n\r\n",
        });
        let then = if keeps == KeepsAlive::No { Then::Close } else { Then::NextRequest };
        let body = if method == Method::Head { Body::None } else { answer.body };
        let rest = match body {
            Body::None => None,
            Body::Text(text) if text.len() <= SHORT_BYTES => {
                head.push_str(&text);
                None
            }
            Body::Text(text) => Some(Rest::Text(text.into_bytes())),
            Body::File(file, range) => Some(Rest::File(file.into(), range)),
            Body::Noise(bytes) => Some(Rest::Noise(bytes)),
        };
        conn.write(head.as_bytes())?;
        match rest {
            None => self.finish(conn, then),
            Some(rest) => self.go_on(conn, rest, then),
        }
        Ok(())
    }

    /// Queues what has room of a body. Until all of it is queued no other request is looked at.
    fn go_on(&mut self, conn: &mut Conn<'_>, rest: Rest, then: Then) {
        match rest {
            Rest::Text(mut text) => {
                let taken = conn.write_some(&text);
                if taken == text.len() {
                    return self.finish(conn, then);
                }
                text.drain(..taken);
                self.wait(conn, Rest::Text(text), then);
            }
            Rest::File(file, range) => match conn.send_file(file.clone(), range.clone()) {
                Ok(()) => self.finish(conn, then),
                Err(WriteError::Full { .. }) => self.wait(conn, Rest::File(file, range), then),
                // It is closing.
                Err(_) => {}
            },
            Rest::Noise(mut left) => {
                while left > 0 {
                    let piece = &NOISE[..NOISE.len().min(usize::try_from(left).unwrap_or(usize::MAX))];
                    let taken = conn.write_some(piece);
                    left -= taken as u64;
                    if taken < piece.len() {
                        return self.wait(conn, Rest::Noise(left), then);
                    }
                }
                self.finish(conn, then);
            }
        }
    }

    /// `on_writable` goes on with it.
    fn wait(&mut self, conn: &mut Conn<'_>, rest: Rest, then: Then) {
        self.state = State::Body(rest, then);
        conn.pause();
    }

    fn finish(&mut self, conn: &mut Conn<'_>, then: Then) {
        self.state = State::Idle;
        match then {
            Then::NextRequest if conn.is_paused() => conn.resume(),
            Then::NextRequest => {}
            Then::Close => conn.close(),
        }
    }
}

impl Handler for Exchange {
    /// One request a call: what is left is shown again.
    fn on_data(&mut self, conn: &mut Conn<'_>, data: &[u8]) -> usize {
        match parse(data) {
            Parsed::Whole(request, length) => {
                if let State::Head = self.state {
                    conn.clear_timer();
                    self.state = State::Idle;
                }
                // Without room for the head it is shown again after `on_writable`.
                if self.answer(conn, &request).is_ok() { length } else { 0 }
            }
            Parsed::Partial => {
                debug_assert!(data.len() <= HEAD_BYTES_MAX, "longer ones are refused");
                if let State::Idle = self.state {
                    self.state = State::Head;
                    conn.set_timer(HEAD_TIMEOUT);
                }
                0
            }
            Parsed::Refused(status) => {
                self.refuse(conn, status);
                data.len()
            }
        }
    }

    fn on_writable(&mut self, conn: &mut Conn<'_>) {
        match std::mem::replace(&mut self.state, State::Idle) {
            State::Body(rest, then) => self.go_on(conn, rest, then),
            state => self.state = state,
        }
    }

    fn on_timer(&mut self, conn: &mut Conn<'_>) {
        self.refuse(conn, "408 Request Timeout");
    }

    /// What was asked is still answered.
    fn on_drain(&mut self, conn: &mut Conn<'_>) {
        match &mut self.state {
            State::Body(_, then) => *then = Then::Close,
            State::Idle | State::Head => conn.close(),
        }
    }
}
