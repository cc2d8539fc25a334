//! What benchmarks that compare are asked on their command lines, and the order of their work.
//!
//! Knows no scenario, only names.

use crate::Outcome;
use crate::peer::Peer;

#[derive(Default)]
pub(crate) struct Asked {
    /// Of scenarios.
    pub(crate) names: Vec<String>,
    pub(crate) others: Vec<Peer>,
    pub(crate) quick: bool,
    rounds: Option<usize>,
    /// Options without a value that this benchmark alone has.
    flags: Vec<String>,
}

impl Asked {
    /// Reads a command line; `flags` are the options of this benchmark alone. `None` if there is nothing to run: then
    /// `usage` has been shown, or why.
    pub(crate) fn parse(
        arguments: &[String],
        bench: &str,
        flags: &[&str],
        usage: impl FnOnce() -> String,
    ) -> Outcome<Option<Self>> {
        let mut asked = Asked::default();
        if arguments.is_empty() {
            // Cargo adds `--bench` for `cargo bench`, and leaves it out for `cargo test --benches`.
            println!("nothing to test; run it by `cargo bench --bench {bench}`");
            return Ok(None);
        }
        let mut rest = arguments.iter();
        while let Some(argument) = rest.next() {
            let mut value = || rest.next().ok_or_else(|| format!("{argument} wants a value"));
            match argument.as_str() {
                "--bench" => {}
                "--rounds" => asked.rounds = Some(value()?.parse::<usize>()?.max(1)),
                "--server" => asked.others.push(Peer::named(value()?)?),
                "--quick" => asked.quick = true,
                "--help" => {
                    println!("{}", usage());
                    return Ok(None);
                }
                flag if flags.contains(&flag) => asked.flags.push(flag.to_owned()),
                name => asked.names.push(name.to_owned()),
            }
        }
        Ok(Some(asked))
    }

    pub(crate) fn has(&self, flag: &str) -> bool {
        self.flags.iter().any(|asked| asked == flag)
    }

    /// Rounds of each comparison.
    pub(crate) fn rounds(&self) -> usize {
        let few = if self.quick { 2 } else { 3 };
        self.rounds.unwrap_or(if self.names.is_empty() || self.quick { few } else { 7 })
    }

    /// Slices of work a server does in one round.
    pub(crate) fn slices(&self) -> usize {
        if self.quick { 5 } else { 25 }
    }

    /// The scenarios that were named, out of `all`.
    pub(crate) fn scenarios<S: Copy>(&self, all: &[S], name: impl Fn(S) -> &'static str) -> Outcome<Vec<S>> {
        let find = |asked: &String| {
            let found = all.iter().copied().find(|scenario| name(*scenario) == *asked);
            Ok(found.ok_or_else(|| format!("no scenario or option `{asked}`; --help lists them"))?)
        };
        self.names.iter().map(find).collect()
    }
}

/// Runs scenarios one after the other; one that fails does not stop the next.
pub(crate) fn run_each<S: Copy>(
    scenarios: &[S],
    name: impl Fn(S) -> &'static str,
    run: impl Fn(S) -> Outcome<()>,
) -> Outcome<()> {
    let mut failed = Vec::new();
    for scenario in scenarios {
        if let Err(error) = run(*scenario) {
            println!("  failed: {error}");
            failed.push(name(*scenario));
        }
    }
    if failed.is_empty() { Ok(()) } else { Err(format!("failed: {}", failed.join(", ")).into()) }
}
