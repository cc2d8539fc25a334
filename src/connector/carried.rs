//! A connection's handler as a connector has it: the user's, and word of its beginning and end.
//!
//! Owns the user's handler, which it makes when the connection opens.

use crate::conn::Conn;
use crate::connector::Inner;
use crate::error::Reason;
use crate::handler::{Handler, guarded};
use crate::message::Message;
use std::sync::Arc;

/// The user's handler of one connection, and who wants to know of its beginning and end.
pub(super) struct Carried {
    connector: Arc<Inner>,
    /// Made when the connection opens, or set by the one before it.
    handler: Option<Box<dyn Handler>>,
}

impl Carried {
    pub(super) fn new(connector: Arc<Inner>) -> Carried {
        Carried { connector, handler: None }
    }

    fn with<T>(&mut self, conn: &mut Conn<'_>, call: impl FnOnce(&mut dyn Handler, &mut Conn<'_>) -> T) -> Option<T> {
        let called = self.handler.as_deref_mut().map(|handler| call(handler, conn));
        // One that takes over is carried as well, or nobody would hear of the end.
        if let Some(handler) = conn.take_successor() {
            let carried = Carried { connector: self.connector.clone(), handler: Some(handler) };
            conn.put_successor(Box::new(carried));
        }
        called
    }
}

impl Handler for Carried {
    fn on_open(&mut self, conn: &mut Conn<'_>) {
        if self.handler.is_some() {
            // It took over from another one.
            self.with(conn, |handler, conn| handler.on_open(conn));
            return;
        }
        if !self.connector.is_opening() {
            return conn.close();
        }
        let Some(handler) = self.connector.make(conn) else { return conn.close() };
        self.handler = Some(handler);
        let (id, peer) = (conn.id(), conn.peer_ip());
        self.connector.opened(id, peer, conn.context());
        self.with(conn, |handler, conn| handler.on_open(conn));
    }

    fn on_data(&mut self, conn: &mut Conn<'_>, data: &[u8]) -> usize {
        self.with(conn, |handler, conn| handler.on_data(conn, data)).unwrap_or(data.len())
    }

    fn on_writable(&mut self, conn: &mut Conn<'_>) {
        self.with(conn, |handler, conn| handler.on_writable(conn));
    }

    fn on_message(&mut self, conn: &mut Conn<'_>, message: &mut Message) {
        self.with(conn, |handler, conn| handler.on_message(conn, message));
    }

    fn on_timer(&mut self, conn: &mut Conn<'_>) {
        self.with(conn, |handler, conn| handler.on_timer(conn));
    }

    fn on_hangup(&mut self, conn: &mut Conn<'_>) {
        self.with(conn, |handler, conn| handler.on_hangup(conn));
    }

    fn on_secured(&mut self, conn: &mut Conn<'_>) {
        self.with(conn, |handler, conn| handler.on_secured(conn));
    }

    fn on_drain(&mut self, conn: &mut Conn<'_>) {
        self.with(conn, |handler, conn| handler.on_drain(conn));
    }

    fn on_end(&mut self, conn: &mut Conn<'_>, rest: &[u8]) {
        self.with(conn, |handler, conn| handler.on_end(conn, rest));
    }

    fn on_close(&mut self, conn: &mut Conn<'_>, reason: Reason) {
        // Its panic is told as any other, after the next attempt was prepared.
        let told = guarded(|| self.with(conn, |handler, conn| handler.on_close(conn, reason)));
        let connector = self.connector.clone();
        connector.ended(reason, conn.context());
        if told.is_none() {
            std::panic::resume_unwind(Box::new("on_close"));
        }
    }
}
