//! A server program with the interface of the `echo` example.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::rig::Outcome;
use crate::rig::child::own_executable;

#[derive(Clone)]
pub(crate) struct Peer {
    pub(crate) name: String,
    pub(crate) program: PathBuf,
    /// What it gets on its command line besides what all get.
    pub(crate) options: &'static [&'static str],
}

impl Peer {
    /// From `NAME=PATH`.
    pub(crate) fn named(text: &str) -> Outcome<Self> {
        let (name, path) = text.split_once('=').ok_or("--server wants NAME=PATH")?;
        Ok(Peer { name: name.to_owned(), program: existing(Path::new(path))?, options: &[] })
    }

    /// This binary, in the role that the options name.
    pub(crate) fn own(name: &str, options: &'static [&'static str]) -> Outcome<Self> {
        Ok(Peer { name: name.to_owned(), program: own_executable()?, options })
    }

    /// The server under test: the `echo` example.
    pub(crate) fn windlass() -> Outcome<Self> {
        Ok(Peer { name: "windlass".to_owned(), program: example("echo")?, options: &[] })
    }
}

/// The program of an example, brought up to date and as optimized as this one, or what the environment names:
/// `WINDLASS_ECHO` for `echo`.
pub(crate) fn example(name: &str) -> Outcome<PathBuf> {
    let variable = format!("WINDLASS_{}", name.to_uppercase());
    if let Some(path) = std::env::var_os(&variable) {
        return existing(Path::new(&path));
    }
    // A bench is `TARGET/release/deps/NAME-HASH`, or `debug` with `--profile dev`.
    let own = own_executable()?;
    let built = own.ancestors().nth(2).ok_or("this binary is in no target directory")?;
    let target = built.parent().ok_or("this binary is in no target directory")?;
    let profile = if built.ends_with("debug") { "dev" } else { "release" };
    let status = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()))
        .args(["build", "--profile", profile, "--quiet", "--example", name, "--manifest-path"])
        .arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("Cargo.toml"))
        .arg("--target-dir")
        .arg(target)
        .status()?;
    if !status.success() {
        return Err(format!("cannot build the `{name}` example; {variable}=PATH names another program").into());
    }
    existing(&built.join("examples").join(name))
}

fn existing(path: &Path) -> Outcome<PathBuf> {
    path.canonicalize().map_err(|error| format!("{}: {error}", path.display()).into())
}
