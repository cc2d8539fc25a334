//! A handler made of closures, and other small things that several test files use.
#![allow(dead_code, unreachable_pub, reason = "each test file uses its own part of it")]

use super::support::World;
use std::cell::RefCell;
use std::rc::Rc;
use std::sync::OnceLock;
use std::time::Duration;
use windlass::{Conn, ConnId, Context, Handler, Limits, ListenConfig, Other, Reason, SocketOptions};

/// What a test and its handlers share.
pub type Shared<T> = Rc<RefCell<T>>;

pub fn shared<T>(value: T) -> Shared<T> {
    Rc::new(RefCell::new(value))
}

type Call = Box<dyn FnMut(&mut Conn<'_>)>;
type OnBytes<T> = Box<dyn FnMut(&mut Conn<'_>, &[u8]) -> T>;
type OnClose = Box<dyn FnMut(&mut Conn<'_>, Reason)>;

/// A handler that does what its closures say; without them it takes all input, and else what the trait does by default.
#[derive(Default)]
pub struct Does {
    open: Option<Call>,
    data: Option<OnBytes<usize>>,
    writable: Option<Call>,
    timer: Option<Call>,
    drain: Option<Call>,
    end: Option<OnBytes<()>>,
    close: Option<OnClose>,
}

impl Does {
    pub fn new() -> Does {
        Does::default()
    }

    pub fn on_open(mut self, call: impl FnMut(&mut Conn<'_>) + 'static) -> Does {
        self.open = Some(Box::new(call));
        self
    }

    pub fn on_data(mut self, call: impl FnMut(&mut Conn<'_>, &[u8]) -> usize + 'static) -> Does {
        self.data = Some(Box::new(call));
        self
    }

    pub fn on_writable(mut self, call: impl FnMut(&mut Conn<'_>) + 'static) -> Does {
        self.writable = Some(Box::new(call));
        self
    }

    pub fn on_timer(mut self, call: impl FnMut(&mut Conn<'_>) + 'static) -> Does {
        self.timer = Some(Box::new(call));
        self
    }

    pub fn on_drain(mut self, call: impl FnMut(&mut Conn<'_>) + 'static) -> Does {
        self.drain = Some(Box::new(call));
        self
    }

    pub fn on_end(mut self, call: impl FnMut(&mut Conn<'_>, &[u8]) + 'static) -> Does {
        self.end = Some(Box::new(call));
        self
    }

    pub fn on_close(mut self, call: impl FnMut(&mut Conn<'_>, Reason) + 'static) -> Does {
        self.close = Some(Box::new(call));
        self
    }
}

impl Handler for Does {
    fn on_open(&mut self, conn: &mut Conn<'_>) {
        if let Some(call) = &mut self.open {
            call(conn);
        }
    }

    fn on_data(&mut self, conn: &mut Conn<'_>, data: &[u8]) -> usize {
        self.data.as_mut().map_or(data.len(), |call| call(conn, data))
    }

    fn on_writable(&mut self, conn: &mut Conn<'_>) {
        if let Some(call) = &mut self.writable {
            call(conn);
        }
    }

    fn on_timer(&mut self, conn: &mut Conn<'_>) {
        if let Some(call) = &mut self.timer {
            call(conn);
        }
    }

    fn on_drain(&mut self, conn: &mut Conn<'_>) {
        match &mut self.drain {
            Some(call) => call(conn),
            None => conn.close(),
        }
    }

    fn on_end(&mut self, conn: &mut Conn<'_>, rest: &[u8]) {
        match &mut self.end {
            Some(call) => call(conn, rest),
            None => conn.close(),
        }
    }

    fn on_close(&mut self, conn: &mut Conn<'_>, reason: Reason) {
        if let Some(call) = &mut self.close {
            call(conn, reason);
        }
    }
}

/// Bytes in which a lost, doubled or moved piece shows; at most 16 MiB.
pub fn pattern(len: usize) -> &'static [u8] {
    static ALL: OnceLock<Vec<u8>> = OnceLock::new();
    let all = ALL.get_or_init(|| {
        let mut state = 0x9E37_79B9_7F4A_7C15u64;
        let mut bytes = Vec::with_capacity(16 << 20);
        while bytes.len() < 16 << 20 {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            bytes.extend_from_slice(&state.to_le_bytes());
        }
        bytes
    });
    &all[..len]
}

/// Compares long byte strings without printing them.
#[track_caller]
pub fn assert_same(got: &[u8], wanted: &[u8]) {
    if got != wanted {
        let differs = got.iter().zip(wanted).position(|(a, b)| a != b);
        panic!("got {} bytes, wanted {}; the first difference is at {differs:?}", got.len(), wanted.len());
    }
}

/// Runs `call` on the reactor, in one of its own turns.
pub fn on_reactor(world: &mut World, call: impl FnOnce(&mut Context<'_>) + 'static) {
    let done = shared(false);
    let told = done.clone();
    world.reactor().after(Duration::ZERO, move |cx| {
        call(cx);
        *told.borrow_mut() = true;
    });
    world.until("the reactor to run a closure", |_| *done.borrow());
}

/// Does something to a connection from outside its own callbacks.
pub fn on_other(world: &mut World, id: ConnId, call: impl FnOnce(&mut Other<'_>) + 'static) {
    on_reactor(world, move |cx| call(&mut cx.other(id).expect("the connection lives")));
}

/// A listener with these limits.
pub fn limited(limits: Limits) -> ListenConfig {
    ListenConfig { limits, ..ListenConfig::default() }
}

/// A listener whose sockets hold little in the kernel (over TCP).
pub fn tight(limits: Limits) -> ListenConfig {
    let socket = SocketOptions {
        send_buffer_bytes: Some(16 * 1024),
        receive_buffer_bytes: Some(16 * 1024),
        ..SocketOptions::default()
    };
    ListenConfig { limits, socket, ..ListenConfig::default() }
}
