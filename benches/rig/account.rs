//! What the kernel has written down about a process: processor time, and who traces it.
//!
//! Reads /proc and nothing else.

use std::fs;

use crate::rig::Outcome;

/// The scheduler's own account of all live threads of a process (proc(5), `schedstat`), in nanoseconds.
///
/// It is exact for a thread that sleeps; a running one is charged at its next tick.
#[derive(Clone, Copy)]
pub(crate) struct Scheduled {
    /// Time on a processor.
    pub(crate) ran_ns: u64,
    /// Time ready to run while something else had the processor.
    pub(crate) waited_ns: u64,
}

pub(crate) fn scheduled(pid: u32) -> Outcome<Scheduled> {
    let mut total = Scheduled { ran_ns: 0, waited_ns: 0 };
    for task in fs::read_dir(format!("/proc/{pid}/task"))? {
        let text = fs::read_to_string(task?.path().join("schedstat"))?;
        let mut fields = text.split_whitespace().map(str::parse::<u64>);
        let mut field = || fields.next().ok_or("a short schedstat");
        total.ran_ns += field()??;
        total.waited_ns += field()??;
    }
    Ok(total)
}

/// Time on a processor of the thread that asks, in nanoseconds.
pub(crate) fn own_thread_ns() -> Outcome<u64> {
    let account = fs::read_to_string("/proc/thread-self/schedstat")?;
    Ok(account.split_whitespace().next().ok_or("a short schedstat")?.parse()?)
}

/// Whether a tracer is attached to the main thread.
pub(crate) fn is_traced(pid: u32) -> Outcome<bool> {
    Ok(number_after(&fs::read_to_string(format!("/proc/{pid}/status"))?, "TracerPid:")? != 0)
}

/// The number that follows a key at the start of a line.
pub(crate) fn number_after(text: &str, key: &str) -> Outcome<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix(key));
    let number = line.and_then(|rest| rest.split_whitespace().next()).ok_or_else(|| format!("no `{key}` in /proc"))?;
    Ok(number.parse()?)
}
