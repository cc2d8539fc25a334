//! Signals on the loop: a pipe that the signal handler writes to, watched like any other descriptor.

use std::io;
use std::os::unix::net::UnixStream;
use windlass::{Context, Direction, Next};

/// Has `act` run on the reactor after signals, with how many came.
pub(crate) fn on_signals(
    cx: &mut Context<'_>,
    signals: &[i32],
    mut act: impl FnMut(&mut Context<'_>, usize) + 'static,
) -> io::Result<()> {
    let (reader, writer) = UnixStream::pair()?;
    reader.set_nonblocking(true)?;
    for signal in signals {
        signal_hook::low_level::pipe::register(*signal, writer.try_clone()?)?;
    }
    let mut pipe = reader.try_clone()?;
    let watched = cx.watch(reader, Direction::Read, move |cx: &mut Context<'_>, _: std::os::fd::BorrowedFd<'_>, _| {
        let (mut bytes, mut came) = ([0; 64], 0);
        while let Ok(n @ 1..) = io::Read::read(&mut pipe, &mut bytes) {
            came += n;
        }
        if came > 0 {
            act(cx, came);
        }
        Next::Wait
    });
    watched.map(drop).map_err(io::Error::other)
}
