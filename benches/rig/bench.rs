//! A benchmark: its scenarios, which of them are asked for, and their run.

use std::process::ExitCode;

use crate::rig::asked::Asked;
use crate::rig::report::{Bounds, Report};
use crate::rig::{Outcome, Role, child, holdings, play};

/// What is measured under one name.
pub(crate) struct Scenario<O> {
    name: &'static str,
    is_default: bool,
    run: fn(&O, &mut Report) -> Outcome<()>,
}

impl<O> Scenario<O> {
    /// One that runs if no other is named.
    pub(crate) const fn new(name: &'static str, run: fn(&O, &mut Report) -> Outcome<()>) -> Self {
        Scenario { name, is_default: true, run }
    }

    /// One that runs only if it is named.
    pub(crate) const fn named(name: &'static str, run: fn(&O, &mut Report) -> Outcome<()>) -> Self {
        Scenario { name, is_default: false, run }
    }
}

/// All that a benchmark is; `O` is what its scenarios are told of the command line.
pub(crate) struct Bench<O: 'static> {
    /// Of the one binary, besides the harness.
    pub(crate) roles: &'static [Role],
    /// What `--help` shows above the names of the scenarios.
    pub(crate) usage: &'static str,
    /// As in the usage: `--quick`, or `--seed N` for one with a value.
    pub(crate) options: &'static [&'static str],
    pub(crate) scenarios: &'static [Scenario<O>],
    pub(crate) bounds: Bounds,
    pub(crate) prepare: fn(Asked) -> Outcome<O>,
}

impl<O> Bench<O> {
    pub(crate) fn main(&self) -> ExitCode {
        play(self.roles, |arguments| self.run(arguments))
    }

    /// Runs scenarios one after the other; one that fails does not stop the next.
    fn run(&self, arguments: &[String]) -> Outcome<()> {
        let Some(asked) = Asked::parse(arguments, self.options, || self.help())? else { return Ok(()) };
        let scenarios = self.scenarios(&asked.names)?;
        holdings::raise_descriptor_limit()?;
        child::remove_stale_directories();
        let mut report = Report::new(self.bounds, asked.beyond());
        let options = (self.prepare)(asked)?;
        for scenario in scenarios {
            report.run(scenario.name, |report| (scenario.run)(&options, report));
        }
        report.outcome()
    }

    /// Those of these names; without any, the default ones.
    fn scenarios(&self, names: &[String]) -> Outcome<Vec<&Scenario<O>>> {
        let find = |name: &String| {
            let found = self.scenarios.iter().find(|scenario| scenario.name == name);
            Ok(found.ok_or_else(|| format!("no scenario or option `{name}`; --help lists them"))?)
        };
        match names {
            [] => Ok(self.scenarios.iter().filter(|scenario| scenario.is_default).collect()),
            names => names.iter().map(find).collect(),
        }
    }

    fn help(&self) -> String {
        let are_all_default = self.scenarios.iter().all(|scenario| scenario.is_default);
        let lines = self.scenarios.iter().map(|scenario| {
            let mark = if scenario.is_default && !are_all_default { " (default)" } else { "" };
            format!("\n  {}{mark}", scenario.name)
        });
        lines.fold(self.usage.to_owned(), |text, line| text + &line)
    }
}
