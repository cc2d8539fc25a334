//! A link that is not open yet, and that is waited for beside others.
//!
//! Owns what it waits for, and how it goes on when there is news. Which of several is wanted is for whoever waits to say.

use crate::blocking::{BlockingLink, Tried, now};
use crate::error::Reason;
use crate::link::Link;
use crate::link::phase::Phase;
use crate::net::Readiness;
use crate::net::stream::{Progress, Stream};
use crate::net::wait::{Wanted, Wish};
use std::io;
use std::sync::Arc;

/// Why a connect came to nothing.
pub(crate) enum Unopened {
    /// The system refused it.
    Unmade(io::Error),
    /// It was connected, and its handshake failed.
    Broken(Reason, Option<String>),
}

impl BlockingLink {
    /// Goes on with a connect and its handshake without waiting, if there is news; says when that is over.
    pub(crate) fn try_opening(&self, news: Option<Readiness>) -> Option<Result<(), Unopened>> {
        let mut inside = self.lock();
        if let (Some(Phase::Connecting), Some(_), Some(link)) = (inside.phase(), news, &mut inside.link) {
            match link.try_connecting(now()) {
                Ok(Progress::Done) => {}
                Ok(Progress::Waiting | Progress::Busy) => return None,
                Err(error) => return Some(Err(Unopened::Unmade(error))),
            }
        } else if let (Some(news), Some(link)) = (news, &mut inside.link) {
            if news.error {
                self.socket.drop_notices();
            }
            link.note(news);
        }
        let (Tried::Done(tried), phase) = (inside.try_shaking(), inside.phase()) else { return None };
        let shaken = tried.unwrap_or_else(|error| Err(Reason::of(&error)));
        debug_assert!(shaken.is_err() || phase != Some(Phase::Connecting), "a connect is decided before its handshake");
        let detail = inside.link.as_ref().and_then(Link::failure_detail).map(str::to_owned);
        Some(shaken.map_err(|reason| Unopened::Broken(reason, detail)))
    }

    /// What it waits for until it is open.
    pub(crate) fn wish(&self) -> Wish<'_> {
        let inside = self.lock();
        if inside.phase() == Some(Phase::Connecting) {
            return Wish::new(&*self.socket, Wanted::No, Wanted::Yes);
        }
        Wish::new(&*self.socket, Wanted::Yes, inside.wants_to_send())
    }

    pub(crate) fn is_shaking_hands(&self) -> bool {
        self.lock().phase() == Some(Phase::Handshaking)
    }

    pub(crate) fn socket(&self) -> &Arc<Stream> {
        &self.socket
    }
}
