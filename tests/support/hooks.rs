//! A handler made of closures, for scenarios that need one of their own.

use super::Sink;
use windlass::{Conn, Handler, Message, Reason};

type Hook = Box<dyn FnMut(&mut Conn<'_>)>;
type DataHook = Box<dyn FnMut(&mut Conn<'_>, &[u8]) -> usize>;
type MessageHook = Box<dyn FnMut(&mut Conn<'_>, &mut Message)>;
type EndHook = Box<dyn FnMut(&mut Conn<'_>, &[u8])>;
type CloseHook = Box<dyn FnMut(&mut Conn<'_>, Reason)>;

/// A handler made of closures; what none was given for does what the library does by default, and input is taken.
#[derive(Default)]
pub struct Hooks {
    open: Option<Hook>,
    data: Option<DataHook>,
    writable: Option<Hook>,
    message: Option<MessageHook>,
    timer: Option<Hook>,
    drain: Option<Hook>,
    secured: Option<Hook>,
    hangup: Option<Hook>,
    end: Option<EndHook>,
    close: Option<CloseHook>,
}

impl Hooks {
    pub fn new() -> Hooks {
        Hooks::default()
    }

    pub fn open(mut self, hook: impl FnMut(&mut Conn<'_>) + 'static) -> Hooks {
        self.open = Some(Box::new(hook));
        self
    }

    pub fn data(mut self, hook: impl FnMut(&mut Conn<'_>, &[u8]) -> usize + 'static) -> Hooks {
        self.data = Some(Box::new(hook));
        self
    }

    pub fn writable(mut self, hook: impl FnMut(&mut Conn<'_>) + 'static) -> Hooks {
        self.writable = Some(Box::new(hook));
        self
    }

    pub fn message(mut self, hook: impl FnMut(&mut Conn<'_>, &mut Message) + 'static) -> Hooks {
        self.message = Some(Box::new(hook));
        self
    }

    pub fn timer(mut self, hook: impl FnMut(&mut Conn<'_>) + 'static) -> Hooks {
        self.timer = Some(Box::new(hook));
        self
    }

    pub fn drain(mut self, hook: impl FnMut(&mut Conn<'_>) + 'static) -> Hooks {
        self.drain = Some(Box::new(hook));
        self
    }

    pub fn secured(mut self, hook: impl FnMut(&mut Conn<'_>) + 'static) -> Hooks {
        self.secured = Some(Box::new(hook));
        self
    }

    pub fn hangup(mut self, hook: impl FnMut(&mut Conn<'_>) + 'static) -> Hooks {
        self.hangup = Some(Box::new(hook));
        self
    }

    pub fn end(mut self, hook: impl FnMut(&mut Conn<'_>, &[u8]) + 'static) -> Hooks {
        self.end = Some(Box::new(hook));
        self
    }

    pub fn close(mut self, hook: impl FnMut(&mut Conn<'_>, Reason) + 'static) -> Hooks {
        self.close = Some(Box::new(hook));
        self
    }
}

impl Handler for Hooks {
    fn on_open(&mut self, conn: &mut Conn<'_>) {
        match &mut self.open {
            Some(hook) => hook(conn),
            None => Sink.on_open(conn),
        }
    }

    fn on_data(&mut self, conn: &mut Conn<'_>, data: &[u8]) -> usize {
        match &mut self.data {
            Some(hook) => hook(conn, data),
            None => Sink.on_data(conn, data),
        }
    }

    fn on_writable(&mut self, conn: &mut Conn<'_>) {
        match &mut self.writable {
            Some(hook) => hook(conn),
            None => Sink.on_writable(conn),
        }
    }

    fn on_message(&mut self, conn: &mut Conn<'_>, message: &mut Message) {
        match &mut self.message {
            Some(hook) => hook(conn, message),
            None => Sink.on_message(conn, message),
        }
    }

    fn on_timer(&mut self, conn: &mut Conn<'_>) {
        match &mut self.timer {
            Some(hook) => hook(conn),
            None => Sink.on_timer(conn),
        }
    }

    fn on_secured(&mut self, conn: &mut Conn<'_>) {
        match &mut self.secured {
            Some(hook) => hook(conn),
            None => Sink.on_secured(conn),
        }
    }

    fn on_hangup(&mut self, conn: &mut Conn<'_>) {
        match &mut self.hangup {
            Some(hook) => hook(conn),
            None => Sink.on_hangup(conn),
        }
    }

    fn on_drain(&mut self, conn: &mut Conn<'_>) {
        match &mut self.drain {
            Some(hook) => hook(conn),
            None => Sink.on_drain(conn),
        }
    }

    fn on_end(&mut self, conn: &mut Conn<'_>, rest: &[u8]) {
        match &mut self.end {
            Some(hook) => hook(conn, rest),
            None => Sink.on_end(conn, rest),
        }
    }

    fn on_close(&mut self, conn: &mut Conn<'_>, reason: Reason) {
        match &mut self.close {
            Some(hook) => hook(conn, reason),
            None => Sink.on_close(conn, reason),
        }
    }
}
