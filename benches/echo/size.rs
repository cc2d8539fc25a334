//! What a user of the library takes in: dependencies, bytes of program, seconds of build.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Instant;

use crate::memory;
use crate::options::{CLEAN_BUILD, Options};
use crate::rig::Outcome;
use crate::rig::child;
use crate::rig::report::{self, Report};
use crate::rig::socket::Security;

pub(crate) fn run(options: &Options, _: &mut Report) -> Outcome<()> {
    report::title("size", "what a user of the library takes in");
    println!("  dependencies: {} without default features", dependencies(&["--no-default-features"])?);
    println!("  dependencies: {} with default features", dependencies(&[])?);
    for peer in options.peers(Security::Plain) {
        println!("  {:<12} {} stripped", peer.name, memory::kib(stripped_bytes(&peer.program)?));
    }
    if options.asked.has(CLEAN_BUILD) {
        println!("  clean build: {:.1} s without default features", clean_build_seconds(&["--no-default-features"])?);
        println!("  clean build: {:.1} s with default features", clean_build_seconds(&[])?);
    }
    Ok(())
}

/// A cargo command on this package.
fn cargo(command: &str, options: &[&str]) -> Command {
    let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo.arg(command).arg("--manifest-path").arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("Cargo.toml"));
    cargo.args(options);
    cargo
}

/// Distinct packages below this one, for the machine at hand.
fn dependencies(options: &[&str]) -> Outcome<usize> {
    let output = cargo("tree", &["-e", "normal", "--prefix", "none", "--format", "{p}"]).args(options).output()?;
    if !output.status.success() {
        return Err(String::from_utf8_lossy(&output.stderr).into_owned().into());
    }
    let text = String::from_utf8(output.stdout)?;
    let packages: BTreeSet<&str> = text.lines().map(|line| line.trim_end_matches(" (*)")).collect();
    Ok(packages.len() - 1)
}

fn stripped_bytes(program: &Path) -> Outcome<u64> {
    let directory = child::directory()?;
    let copy = directory.path().join("stripped");
    let status = Command::new("strip").arg("-o").arg(&copy).arg(program).status();
    if !status.map_err(|error| format!("strip: {error}"))?.success() {
        return Err("strip failed".into());
    }
    Ok(fs::metadata(copy)?.len())
}

/// Builds the library in release mode with nothing built before; downloads are not counted.
fn clean_build_seconds(options: &[&str]) -> Outcome<f64> {
    cargo("fetch", &["--quiet"]).status()?;
    let directory = child::directory()?;
    let begun = Instant::now();
    let status = cargo("build", &["--release", "--lib", "--quiet", "--target-dir"])
        .arg(directory.path().join("target"))
        .args(options)
        .status()?;
    if !status.success() {
        return Err("the build failed".into());
    }
    Ok(begun.elapsed().as_secs_f64())
}
