//! Tests that cannot run on this machine: a tool, a right or a network that it lacks.
//!
//! They say so on standard error, past the capture of their output. `WINDLASS_SKIPS` names a file to which each adds a line
//! too, as `.ci/run` has it; `WINDLASS_SKIPS=error` makes each of them fail.

use std::io::Write;

/// Says that the test that calls it, or a part of it, does not run, and why.
pub fn skip(why: &str) {
    let test = std::thread::current();
    let line = format!("{}: {why}\n", test.name().unwrap_or("a test"));
    let asked = std::env::var("WINDLASS_SKIPS").unwrap_or_default();
    assert!(asked != "error", "it cannot run here, and WINDLASS_SKIPS makes that an error: {line}");
    if !asked.is_empty() {
        // In one write, so that lines of several tests stay whole.
        let file = std::fs::OpenOptions::new().create(true).append(true).open(&asked);
        let added = file.and_then(|mut file| file.write_all(line.as_bytes()));
        added.unwrap_or_else(|error| panic!("WINDLASS_SKIPS={asked}: {error}; {line}"));
    }
    // The macros' output is captured where the test passes.
    let _ = std::io::stderr().write_all(format!("skipped: {line}").as_bytes());
}
