//! The signal mask of a thread, for sendfile(2), which has no flag against SIGPIPE.
//!
//! Owns what is known of each thread's mask. `net/sigpipe` says why it is asked for.

use nix::sys::signal::{SigSet, SigmaskHow, Signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use rustix::io::Errno;
use std::cell::Cell;
use std::io;

/// What is known of a thread's mask.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Mask {
    Unknown,
    /// Blocked here, permanently.
    Blocked,
    /// Already blocked by the program, whose threads then all begin so.
    Others,
}

thread_local! {
    static MASK: Cell<Mask> = const { Cell::new(Mask::Unknown) };
}

fn sigpipe() -> SigSet {
    Signal::SIGPIPE.into()
}

/// Blocks it permanently on the calling thread, one of this library's own, so that [`without`] costs nothing there.
pub(crate) fn block() {
    MASK.set(match sigpipe().thread_swap_mask(SigmaskHow::SIG_BLOCK) {
        Ok(before) if before.contains(Signal::SIGPIPE) => Mask::Others,
        Ok(_) => Mask::Blocked,
        Err(_) => Mask::Unknown,
    });
}

/// What a new thread inherits from the one that starts it.
pub(crate) struct Inherited(bool);

/// Asked before a thread is started.
pub(crate) fn inherited() -> Inherited {
    Inherited(MASK.get() == Mask::Blocked)
}

impl Inherited {
    /// Undoes [`block`] in the new thread: the processes that its code may start inherit its mask.
    pub(crate) fn undo(self) {
        if self.0 {
            // It fails for no signal that there is.
            let _ = sigpipe().thread_unblock();
        }
    }
}

/// Sends `bytes` by `send`, which is given how many are left, and discards the SIGPIPE that it may raise.
pub(crate) fn without(
    bytes: usize,
    mut send: impl FnMut(usize) -> rustix::io::Result<usize>,
) -> rustix::io::Result<usize> {
    let is_ours = match MASK.get() {
        Mask::Blocked | Mask::Others => {
            let result = send(bytes);
            if matches!(result, Err(Errno::PIPE)) {
                // If it stays pending it does no harm while it is blocked. So does one behind a part that was sent, until
                // the next call fails.
                let _ = take();
            }
            return result;
        }
        Mask::Unknown => {
            let swapped = sigpipe().thread_swap_mask(SigmaskHow::SIG_BLOCK);
            !swapped.map_err(|_| Errno::NOSYS)?.contains(Signal::SIGPIPE)
        }
    };
    let (result, pending) = watched(bytes, &mut send);
    let is_left = pending == Pending::Maybe && take().is_err();
    if is_ours && is_left {
        // No descriptor is left for signalfd(2), and unblocking would deliver it.
        MASK.set(Mask::Blocked);
    } else if is_ours {
        Inherited(true).undo();
    }
    result
}

/// Whether a call may have raised it.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Pending {
    No,
    Maybe,
}

/// Sends, and says whether that may have raised the signal. Of an error behind the first piece sendfile(2) says nothing
/// but that it has sent less: the next call says whether the socket was full, as it mostly was, or dead.
fn watched(
    bytes: usize,
    send: &mut impl FnMut(usize) -> rustix::io::Result<usize>,
) -> (rustix::io::Result<usize>, Pending) {
    let first = send(bytes);
    match first {
        Err(Errno::PIPE) => (first, Pending::Maybe),
        Ok(sent) if 0 < sent && sent < bytes => match send(bytes - sent) {
            Err(Errno::AGAIN) => (first, Pending::No),
            Ok(more) if more == bytes - sent => (Ok(bytes), Pending::No),
            Ok(more) => (Ok(sent + more), Pending::Maybe),
            Err(_) => (first, Pending::Maybe),
        },
        Ok(_) | Err(_) => (first, Pending::No),
    }
}

/// Discards the pending one, if there is one; signalfd(2). Where the program blocks it itself, one of the program's own
/// goes with ours, of which the write that failed has told already.
fn take() -> io::Result<()> {
    let waiting = SignalFd::with_flags(&sigpipe(), SfdFlags::SFD_NONBLOCK | SfdFlags::SFD_CLOEXEC)?;
    waiting.read_signal()?;
    Ok(())
}
