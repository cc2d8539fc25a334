//! What callbacks were called, in which order, and whether the grammar of ARCHITECTURE.md allows it.
//!
//! `( on_open ( on_data | on_writable | on_timer | on_drain | on_secured | on_hangup )* on_end? ( on_writable | on_timer | on_drain )* )? on_close`

use super::book::{At, Book, Visit, Word};
use std::cell::RefCell;
use std::io::{self, ErrorKind};
use std::rc::Rc;
use windlass::{Accept, AcceptEvent, Admission, Conn, ConnId, Error, Handler, Message, PauseCause, Reason, WriteError};

/// One callback, as it was recorded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Said {
    Open,
    /// So many bytes were shown.
    Data(usize),
    Writable,
    Message,
    Timer,
    Drain,
    Secured,
    HangUp,
    /// So many bytes were the rest.
    End(usize),
    Close(Reason),
}

/// What a listener told, as it was recorded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Heard {
    Failed(Reason),
    Broken(Reason),
    Unprepared(ErrorKind),
    Paused(PauseCause),
    Resumed,
    Ended(Option<ErrorKind>),
    Other,
}

impl Word for Said {
    type Id = ConnId;

    fn next(self, at: At) -> Option<At> {
        match (at, self) {
            (At::Made, Said::Open) => Some(At::Open),
            (At::Open, Said::Data(1..) | Said::Writable | Said::Message | Said::Timer | Said::Drain) => Some(At::Open),
            (At::Open, Said::Secured | Said::HangUp) => Some(At::Open),
            (At::Open, Said::End(_)) => Some(At::Ending),
            (At::Ending, Said::Writable | Said::Message | Said::Timer | Said::Drain) => Some(At::Ending),
            (At::Made | At::Open | At::Ending | At::Panicked, Said::Close(_)) => Some(At::Closed),
            _ => None,
        }
    }
}

/// What all recorders of a world recorded; handlers are numbered from 0 in the order in which they were made.
#[derive(Clone, Default)]
pub struct Log {
    book: Book<Said>,
    told: Rc<RefCell<Told>>,
}

/// What belongs to no single handler.
#[derive(Default)]
struct Told {
    reasons: Vec<Reason>,
    heard: Vec<Heard>,
}

impl Log {
    /// Wraps a handler so that its callbacks are recorded here.
    pub fn record<H: Handler>(&self, handler: H) -> Recorder<H> {
        Recorder { handler, log: self.clone(), serial: self.book.add() }
    }

    /// Has a recorded handler take over from the one whose callback this is; the number that it would have comes along.
    ///
    /// # Errors
    /// As `Conn::set_handler`.
    pub fn succeed(&self, conn: &mut Conn<'_>, handler: impl Handler) -> Result<usize, Error> {
        let recorder = self.record(handler);
        let serial = recorder.serial;
        self.book.succeed(serial);
        conn.set_handler(recorder).map(|()| serial)
    }

    /// Handlers that were made.
    pub fn made(&self) -> usize {
        self.book.count(|_| true)
    }

    /// Handlers that were told `on_open` and not yet `on_close`.
    pub fn open(&self) -> usize {
        self.book.count(|entry| matches!(entry.at, At::Open | At::Ending | At::Panicked))
    }

    /// What `on_close` was told, in the order of the calls.
    pub fn reasons(&self) -> Vec<Reason> {
        self.told.borrow().reasons.clone()
    }

    /// The callbacks of one handler so far.
    pub fn said(&self, serial: usize) -> Vec<Said> {
        self.book.with(serial, |entry| entry.words.clone())
    }

    /// The connection of one handler, known from its first callback on.
    pub fn id(&self, serial: usize) -> ConnId {
        self.book.with(serial, |entry| entry.id.expect("a handler that was called"))
    }

    /// Bytes that one handler was shown, each as often as it was shown.
    pub fn shown(&self, serial: usize) -> usize {
        self.said(serial).iter().map(|said| if let Said::Data(bytes) = said { *bytes } else { 0 }).sum()
    }

    /// What listeners told.
    pub fn heard(&self) -> Vec<Heard> {
        self.told.borrow().heard.clone()
    }

    /// Fails the test if a callback came that the grammar does not allow.
    pub fn check(&self) {
        self.book.check();
    }

    /// Fails the test if a handler was not told `on_close`, too.
    pub fn check_over(&self) {
        self.book.check_over();
    }

    fn enter(&self, serial: usize, said: Said, id: ConnId) -> Visit<Said> {
        if let Said::Close(reason) = said {
            self.told.borrow_mut().reasons.push(reason);
        }
        self.book.enter(serial, said, id)
    }
}

/// A handler whose callbacks are recorded and held to the grammar.
pub struct Recorder<H> {
    handler: H,
    log: Log,
    serial: usize,
}

impl<H> Drop for Recorder<H> {
    fn drop(&mut self) {
        self.log.book.dropped(self.serial);
    }
}

impl<H: Handler> Handler for Recorder<H> {
    fn on_open(&mut self, conn: &mut Conn<'_>) {
        let _visit = self.log.enter(self.serial, Said::Open, conn.id());
        self.handler.on_open(conn);
    }

    fn on_data(&mut self, conn: &mut Conn<'_>, data: &[u8]) -> usize {
        let _visit = self.log.enter(self.serial, Said::Data(data.len()), conn.id());
        self.handler.on_data(conn, data)
    }

    fn on_writable(&mut self, conn: &mut Conn<'_>) {
        let _visit = self.log.enter(self.serial, Said::Writable, conn.id());
        self.handler.on_writable(conn);
    }

    fn on_message(&mut self, conn: &mut Conn<'_>, message: &mut Message) {
        let _visit = self.log.enter(self.serial, Said::Message, conn.id());
        self.handler.on_message(conn, message);
    }

    fn on_timer(&mut self, conn: &mut Conn<'_>) {
        let _visit = self.log.enter(self.serial, Said::Timer, conn.id());
        self.handler.on_timer(conn);
    }

    fn on_drain(&mut self, conn: &mut Conn<'_>) {
        let _visit = self.log.enter(self.serial, Said::Drain, conn.id());
        self.handler.on_drain(conn);
    }

    fn on_secured(&mut self, conn: &mut Conn<'_>) {
        let _visit = self.log.enter(self.serial, Said::Secured, conn.id());
        self.handler.on_secured(conn);
    }

    fn on_hangup(&mut self, conn: &mut Conn<'_>) {
        let _visit = self.log.enter(self.serial, Said::HangUp, conn.id());
        self.handler.on_hangup(conn);
    }

    fn on_end(&mut self, conn: &mut Conn<'_>, rest: &[u8]) {
        let _visit = self.log.enter(self.serial, Said::End(rest.len()), conn.id());
        self.handler.on_end(conn, rest);
    }

    fn on_close(&mut self, conn: &mut Conn<'_>, reason: Reason) {
        let _visit = self.log.enter(self.serial, Said::Close(reason), conn.id());
        if conn.room() != 0 || conn.write_some(b"x") != 0 || !matches!(conn.write(b"x"), Err(WriteError::NotOpen)) {
            self.log.book.fault(self.serial, "a write in on_close was taken");
        }
        self.handler.on_close(conn, reason);
    }
}

/// A listener's maker whose handlers and events are recorded.
pub(super) struct Recording<A> {
    pub(super) accept: A,
    pub(super) log: Log,
}

impl<A: Accept> Accept for Recording<A> {
    type Handler = Recorder<A::Handler>;

    fn admit(&mut self, peer: &windlass::Peer<'_>) -> Admission {
        self.accept.admit(peer)
    }

    fn make(&mut self, conn: &Conn<'_>) -> Self::Handler {
        let handler = self.accept.make(conn);
        self.log.record(handler)
    }

    fn answer_plain(&mut self, peer: &windlass::Peer<'_>, bytes: &[u8]) -> Option<Vec<u8>> {
        self.accept.answer_plain(peer, bytes)
    }

    fn on_event(&mut self, event: &AcceptEvent) {
        self.log.told.borrow_mut().heard.push(match event {
            AcceptEvent::Failed { reason, .. } => Heard::Failed(*reason),
            AcceptEvent::Broken { reason, .. } => Heard::Broken(*reason),
            AcceptEvent::Unprepared { error, .. } => Heard::Unprepared(error.kind()),
            AcceptEvent::Paused(cause) => Heard::Paused(*cause),
            AcceptEvent::Resumed => Heard::Resumed,
            AcceptEvent::Ended(error) => Heard::Ended(error.as_ref().map(io::Error::kind)),
            _ => Heard::Other,
        });
        self.accept.on_event(event);
    }
}
