//! In the place of TLS sessions where windlass is built without them: there never is one.

use crate::address::Address;
use crate::config::{ConnectConfig, ListenConfig};
use crate::error::{Error, TlsFault};
use crate::link::buffers::Sealed;
use crate::link::quota::{Quota, Unopened};

/// It cannot be made.
#[derive(Debug)]
pub(crate) enum Session {}

/// Never sent.
pub(crate) const DECODE_ERROR: [u8; 0] = [];

pub(crate) struct Opened {
    pub(crate) consumed: usize,
    pub(crate) seen: usize,
    pub(crate) rest: Unopened,
    pub(crate) fault: Option<TlsFault>,
}

/// There are none.
#[derive(Clone)]
pub(crate) enum HandshakeThreads {}

impl HandshakeThreads {
    pub(crate) fn count(&self) -> usize {
        match *self {}
    }

    pub(crate) fn run(&self, _: Box<dyn FnOnce() + Send>) {
        match *self {}
    }
}

/// It cannot be made either.
pub(crate) enum Template {}

impl Template {
    pub(crate) fn of(_: &ListenConfig) -> Option<Template> {
        None
    }

    pub(crate) fn session(&self) -> Session {
        match *self {}
    }
}

impl Session {
    pub(crate) fn dialled(_: &ConnectConfig, _: &Address) -> Result<Option<Session>, Error> {
        Ok(None)
    }

    pub(crate) fn open(&mut self, _: &mut [u8], _: usize, _: &mut Quota, _: &mut Vec<u8>, _: &mut Sealed) -> Opened {
        match *self {}
    }

    pub(crate) fn is_offloaded(&mut self, _: &[u8]) -> bool {
        match *self {}
    }

    pub(crate) fn take(&mut self) -> Session {
        match *self {}
    }

    pub(crate) fn seal(&mut self, _: &[u8], _: &mut [u8], _: &mut Sealed) -> Result<(), TlsFault> {
        match *self {}
    }

    pub(crate) fn close(&mut self, _: &mut [u8], _: &mut Sealed) {
        match *self {}
    }

    pub(crate) fn failure(&self) -> Option<&str> {
        match *self {}
    }

    pub(crate) fn is_shaking(&self) -> bool {
        match *self {}
    }

    pub(crate) fn fail(&mut self) {
        match *self {}
    }

    pub(crate) fn is_secured(&self) -> bool {
        match *self {}
    }

    pub(crate) fn is_just_open(&self) -> bool {
        match *self {}
    }

    pub(crate) fn is_silent(&self) -> bool {
        match *self {}
    }

    pub(crate) fn is_not_started(&self) -> bool {
        match *self {}
    }

    pub(crate) fn is_peer_closed(&self) -> bool {
        match *self {}
    }

    pub(crate) fn is_truncated(&self) -> bool {
        match *self {}
    }
}
