//! What a benchmark is asked on its command line.
//!
//! Knows no scenario, only names.

use std::fmt;

use crate::rig::Outcome;
use crate::rig::peer::Peer;
use crate::rig::report::Beyond;

/// With any of these a bound is shown and binds nobody: figures mean nothing, or are those of something else.
const WITHOUT_BOUNDS: [&str; 3] = ["--quick", "--self-check", "--singly"];

#[derive(Default)]
pub(crate) struct Asked {
    /// Whatever is no option.
    pub(crate) names: Vec<String>,
    /// Each with its value, or an empty one.
    options: Vec<(String, String)>,
}

/// How much work is compared: rounds, and the slices that each server does in one.
#[derive(Clone, Copy)]
pub(crate) struct Rounds {
    pub(crate) count: usize,
    pub(crate) slices: usize,
}

impl fmt::Display for Rounds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} × {}", self.count, self.slices)
    }
}

impl Asked {
    /// Reads a command line; `known` are its options, those with a value as `--seed N`. `None` if there is nothing to run:
    /// then `help` has been shown, or why.
    pub(crate) fn parse(arguments: &[String], known: &[&str], help: impl FnOnce() -> String) -> Outcome<Option<Self>> {
        // Cargo adds `--bench` for `cargo bench`, and leaves it out for `cargo test --benches`.
        if arguments.is_empty() {
            println!("nothing to test; run it by `cargo bench --bench {}`", env!("CARGO_CRATE_NAME"));
            return Ok(None);
        }
        let mut asked = Asked::default();
        let mut rest = arguments.iter();
        while let Some(argument) = rest.next() {
            let option = known.iter().find(|option| option.split(' ').next() == Some(argument));
            match option.map(|option| option.split_once(' ')) {
                Some(Some((name, what))) => {
                    let value = rest.next().ok_or_else(|| format!("{name} wants {what}"))?;
                    asked.options.push((name.to_owned(), value.clone()));
                }
                Some(None) => asked.options.push((argument.clone(), String::new())),
                None if argument == "--bench" => {}
                None if argument == "--help" => {
                    println!("{}", help());
                    return Ok(None);
                }
                None => asked.names.push(argument.clone()),
            }
        }
        Ok(Some(asked))
    }

    pub(crate) fn has(&self, option: &str) -> bool {
        self.value(option).is_some()
    }

    /// The last one that was given.
    pub(crate) fn value(&self, option: &str) -> Option<&str> {
        self.options.iter().rev().find(|(name, _)| name == option).map(|(_, value)| value.as_str())
    }

    pub(crate) fn number(&self, option: &str) -> Outcome<Option<u64>> {
        let number = self.value(option).map(str::parse).transpose();
        Ok(number.map_err(|error| format!("{option}: {error}"))?)
    }

    /// The servers that are compared besides.
    pub(crate) fn others(&self) -> Outcome<Vec<Peer>> {
        self.options.iter().filter(|(name, _)| name == "--server").map(|(_, value)| Peer::named(value)).collect()
    }

    pub(crate) fn beyond(&self) -> Beyond {
        if WITHOUT_BOUNDS.iter().any(|option| self.has(option)) { Beyond::IsShown } else { Beyond::IsMissed }
    }

    /// The one in a full run, the other in a smoke run.
    pub(crate) fn pick<T>(&self, full: T, quick: T) -> T {
        if self.has("--quick") { quick } else { full }
    }

    /// A number of messages or connections: less in a smoke run.
    pub(crate) fn count(&self, count: usize) -> usize {
        self.pick(count, count.div_ceil(50))
    }

    /// Of comparisons of servers.
    pub(crate) fn rounds(&self) -> Outcome<Rounds> {
        let many = if self.names.is_empty() { 3 } else { 7 };
        self.rounds_or(Rounds { count: self.pick(many, 2), slices: self.pick(25, 5) })
    }

    /// As many as asked for, if any were.
    pub(crate) fn rounds_or(&self, usual: Rounds) -> Outcome<Rounds> {
        let asked = self.number("--rounds")?;
        Ok(Rounds { count: asked.map_or(Ok(usual.count), usize::try_from)?.max(1), ..usual })
    }
}
