//! What a process of the benchmark does to itself before it works: its core, and whom it dies with.

use std::os::unix::process::CommandExt;
use std::process::Command;

use rustix::process::{Signal, set_parent_process_death_signal};
use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};

use crate::rig::Outcome;

/// Where a process of a run may work, picked from the cores that the harness may use.
#[derive(Clone, Copy)]
pub(crate) enum Core {
    /// The server has this one to itself: the first.
    Server,
    /// The load generator, and tools that watch a server: the last.
    Load,
    /// Nothing is pinned.
    All,
}

impl Core {
    pub(crate) fn argument(self) -> &'static str {
        match self {
            Core::Server => "server",
            Core::Load => "load",
            Core::All => "all",
        }
    }

    fn of(argument: &str) -> Outcome<Self> {
        let known = [Core::Server, Core::Load, Core::All].into_iter().find(|core| core.argument() == argument);
        Ok(known.ok_or_else(|| format!("`{argument}` is no core"))?)
    }

    fn set(self) -> Outcome<CpuSet> {
        let allowed = sched_getaffinity(None)?;
        let mut cores = (0..CpuSet::MAX_CPU).filter(|core| allowed.is_set(*core));
        let core = match self {
            Core::Server => cores.next(),
            Core::Load => cores.next_back(),
            Core::All => return Ok(allowed),
        };
        let mut set = CpuSet::new();
        set.set(core.ok_or("no core is allowed")?);
        Ok(set)
    }
}

/// Becomes the program, kept to its core, and killed by the kernel when the harness dies however it may.
pub(crate) fn run(arguments: &[String]) -> Outcome<()> {
    let [core, program, rest @ ..] = arguments else {
        return Err("--launch wants a core and a program".into());
    };
    set_parent_process_death_signal(Some(Signal::KILL))?;
    sched_setaffinity(None, &Core::of(core)?.set()?)?;
    let error = Command::new(program).args(rest).exec();
    Err(format!("cannot run {program}: {error}").into())
}
