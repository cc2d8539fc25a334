//! User-mode instructions of a server's whole life, as callgrind counts them.

use std::fs;

use crate::rig::Outcome;
use crate::rig::child;
use crate::rig::process::{Load, Server};

/// Has a server started by the wrapper that it is given, loaded by `work`, and ended. The load is not counted.
pub(crate) fn total(
    start: impl FnOnce(&[String]) -> Outcome<Server>,
    work: impl FnOnce(&mut Load) -> Outcome<()>,
) -> Outcome<f64> {
    let directory = child::directory()?;
    let log = directory.path().join("log");
    let wrapper = [
        "valgrind".to_owned(),
        "--tool=callgrind".to_owned(),
        format!("--callgrind-out-file={}", directory.path().join("out").display()),
        format!("--log-file={}", log.display()),
    ];
    let server = start(&wrapper)?;
    let mut load = Load::start(&server)?;
    work(&mut load)?;
    load.close()?;
    server.stop()?;
    collected(&fs::read_to_string(log)?)
}

/// The sum that callgrind puts at the end of its log.
pub(crate) fn collected(log: &str) -> Outcome<f64> {
    let collected = log.lines().find_map(|line| line.split_once("Collected :"));
    let (_, number) = collected.ok_or("callgrind printed no total")?;
    Ok(number.trim().parse()?)
}
