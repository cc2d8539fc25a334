//! Which states of a connection may still be reported, where several threads use it.
//!
//! Owns the order of ends: threads come to report what they did in another order than that in which they did it.
//!
//! 1. Each end is reported once, and nothing of what it ends behind it. Close is the last.

use crate::handler::ConnState;

/// States that may wait while a callback takes its time; more reads and writes are not reported.
pub(crate) const PENDING_MAX: usize = 1024;

/// The ends of a connection that were reported.
#[derive(Debug, Default)]
pub(crate) struct Ended(Vec<ConnState>);

impl Ended {
    /// Whether a state may be reported now.
    pub(crate) fn admits(&mut self, state: ConnState) -> bool {
        let end = match state {
            ConnState::Read | ConnState::CloseRead => ConnState::CloseRead,
            ConnState::Write | ConnState::CloseWrite => ConnState::CloseWrite,
            ConnState::Dial | ConnState::New | ConnState::Handshake | ConnState::Close => ConnState::Close,
        };
        let admits = !self.0.contains(&ConnState::Close) && !self.0.contains(&end);
        if admits && state == end {
            self.0.push(end);
        }
        admits
    }
}

/// Whether there is room for one more state.
pub(crate) fn has_room(waiting: usize, state: ConnState) -> bool {
    waiting < PENDING_MAX || !matches!(state, ConnState::Read | ConnState::Write)
}

#[cfg(test)]
mod tests {
    use super::*;
    use ConnState::{Close, CloseRead, CloseWrite, Read, Write};

    #[test]
    fn an_end_is_reported_once_and_nothing_of_what_it_ends_behind_it() {
        let mut ended = Ended::default();
        let come = [Read, CloseRead, Read, CloseRead, Write, CloseWrite, Write, Close, Close, Read, CloseWrite];
        let told: Vec<_> = come.into_iter().filter(|state| ended.admits(*state)).collect();
        assert_eq!(told, [Read, CloseRead, Write, CloseWrite, Close]);
        assert!(has_room(PENDING_MAX - 1, Read) && !has_room(PENDING_MAX, Read) && has_room(PENDING_MAX, Close));
    }
}
