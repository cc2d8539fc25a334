//! SIGPIPE, which a send raises where the peer has gone, and whose default is the end of the process.
//!
//! Owns what keeps each call from it: a flag of the call, an option of the socket where the system has no such flag, and for
//! sendfile(2), which has neither, what threads have blocked. Whether the process ignores the signal is not asked: it may
//! change that at any moment, while what a thread blocks is its own.
//!
//! 1. A SIGPIPE that a call of ours has raised is never delivered.

use rustix::net::SendFlags;
use socket2::Socket;
use std::io;

/// For every send.
#[cfg(not(target_vendor = "apple"))]
pub(crate) const NONE: SendFlags = SendFlags::NOSIGNAL;
/// Here the sockets have the option.
#[cfg(target_vendor = "apple")]
pub(crate) const NONE: SendFlags = SendFlags::empty();

/// Prepares a socket that was accepted or is somebody else's; those that socket2 makes are prepared.
pub(crate) fn prepare(socket: &Socket) -> io::Result<()> {
    #[cfg(target_vendor = "apple")]
    socket.set_nosigpipe(true)?;
    let _ = socket;
    Ok(())
}

pub(crate) use mask::{block, inherited};

#[cfg(any(target_os = "linux", target_os = "android"))]
pub(crate) use mask::without;

#[cfg(any(target_os = "linux", target_os = "android"))]
mod mask {
    use nix::sys::signal::{SigSet, SigmaskHow, Signal};
    use nix::sys::signalfd::{SfdFlags, SignalFd};
    use rustix::io::Errno;
    use std::cell::Cell;
    use std::io;

    /// What is known of a thread's mask.
    #[derive(Clone, Copy, PartialEq, Eq)]
    enum Mask {
        Unknown,
        /// It was blocked here, for good.
        Blocked,
        /// It was blocked before.
        Others,
    }

    thread_local! {
        static MASK: Cell<Mask> = const { Cell::new(Mask::Unknown) };
    }

    fn sigpipe() -> SigSet {
        Signal::SIGPIPE.into()
    }

    /// Blocks it for good, on a thread of this library's own: no call there need ask.
    pub(crate) fn block() {
        MASK.set(match sigpipe().thread_swap_mask(SigmaskHow::SIG_BLOCK) {
            Ok(before) if before.contains(Signal::SIGPIPE) => Mask::Others,
            Ok(_) => Mask::Blocked,
            Err(_) => Mask::Unknown,
        });
    }

    /// What a thread that is about to be started gets from this one.
    pub(crate) struct Inherited(bool);

    /// Asked before a thread is started.
    pub(crate) fn inherited() -> Inherited {
        Inherited(MASK.get() == Mask::Blocked)
    }

    impl Inherited {
        /// Gives the new thread the mask that it would have without [`block`]: what runs there may start processes.
        pub(crate) fn undo(self) {
            if self.0 {
                // It fails for no signal that there is.
                let _ = sigpipe().thread_unblock();
            }
        }
    }

    /// Makes `call`, and whatever SIGPIPE it raises is not delivered.
    pub(crate) fn without<T>(call: impl FnOnce() -> rustix::io::Result<T>) -> rustix::io::Result<T> {
        match MASK.get() {
            Mask::Unknown => {}
            Mask::Others => return call(),
            Mask::Blocked => {
                let result = call();
                if matches!(result, Err(Errno::PIPE)) {
                    // One that stays does no harm while it is blocked.
                    let _ = take();
                }
                return result;
            }
        }
        let Ok(before) = sigpipe().thread_swap_mask(SigmaskHow::SIG_BLOCK) else { return Err(Errno::NOSYS) };
        let result = call();
        if before.contains(Signal::SIGPIPE) {
            return result;
        }
        match result {
            // There is no descriptor to take it by, and delivered it would end the process.
            Err(Errno::PIPE) if take().is_err() => MASK.set(Mask::Blocked),
            Ok(_) | Err(_) => Inherited(true).undo(),
        }
        result
    }

    /// Takes the one that waits for this thread, if there is one; signalfd(2).
    fn take() -> io::Result<()> {
        let waiting = SignalFd::with_flags(&sigpipe(), SfdFlags::SFD_NONBLOCK | SfdFlags::SFD_CLOEXEC)?;
        waiting.read_signal()?;
        Ok(())
    }
}

/// Here nothing is sent by sendfile(2).
#[cfg(not(any(target_os = "linux", target_os = "android")))]
mod mask {
    pub(crate) fn block() {}

    pub(crate) struct Inherited;

    pub(crate) fn inherited() -> Inherited {
        Inherited
    }

    impl Inherited {
        pub(crate) fn undo(self) {}
    }
}
