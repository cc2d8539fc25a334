//! What a process of the benchmark does to itself before it works: its core, and whom it dies with.

use std::os::unix::process::CommandExt;
use std::process::Command;

use rustix::process::{Signal, set_parent_process_death_signal};
use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};

use crate::Outcome;

/// The two cores of a run, picked from those the harness may use.
#[derive(Clone, Copy)]
pub(crate) enum Core {
    /// The server has this one to itself: the first.
    Server,
    /// The load generator, and tools that watch a server: the last.
    Load,
}

impl Core {
    pub(crate) fn argument(self) -> &'static str {
        match self {
            Core::Server => "server",
            Core::Load => "load",
        }
    }

    fn index(self) -> Outcome<usize> {
        let allowed = sched_getaffinity(None)?;
        let mut cores = (0..CpuSet::MAX_CPU).filter(|core| allowed.is_set(*core));
        let core = match self {
            Core::Server => cores.next(),
            Core::Load => cores.next_back(),
        };
        Ok(core.ok_or("no core is allowed")?)
    }
}

/// Becomes the program, pinned to a core, and killed by the kernel when the harness dies however it may.
pub(crate) fn run(arguments: &[String]) -> Outcome<()> {
    let [core, program, rest @ ..] = arguments else {
        return Err("--launch wants a core and a program".into());
    };
    let core = if core == Core::Server.argument() { Core::Server } else { Core::Load };
    set_parent_process_death_signal(Some(Signal::KILL))?;
    let mut cores = CpuSet::new();
    cores.set(core.index()?);
    sched_setaffinity(None, &cores)?;
    let error = Command::new(program).args(rest).exec();
    Err(format!("cannot run {program}: {error}").into())
}
