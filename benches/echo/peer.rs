//! A server program with the interface of the `echo` example.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::Outcome;
use crate::child::own_executable;

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

    /// The server under test: the `echo` example, brought up to date, or what the environment names.
    pub(crate) fn windlass() -> Outcome<Self> {
        let name = "windlass".to_owned();
        if let Some(path) = std::env::var_os("WINDLASS_ECHO") {
            return Ok(Peer { name, program: existing(Path::new(&path))?, options: &[] });
        }
        // A bench is `TARGET/release/deps/NAME-HASH`.
        let own = own_executable()?;
        let release = own.ancestors().nth(2).ok_or("this binary is in no target directory")?;
        let target = release.parent().ok_or("this binary is in no target directory")?;
        let status = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()))
            .args(["build", "--release", "--quiet", "--example", "echo", "--manifest-path"])
            .arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("Cargo.toml"))
            .arg("--target-dir")
            .arg(target)
            .status()?;
        if !status.success() {
            return Err("cannot build the `echo` example; WINDLASS_ECHO=PATH names another server".into());
        }
        Ok(Peer { name, program: existing(&target.join("release/examples/echo"))?, options: &[] })
    }
}

fn existing(path: &Path) -> Outcome<PathBuf> {
    path.canonicalize().map_err(|error| format!("{}: {error}", path.display()).into())
}
