//! Rows for a person to read, what is missed in them, and the few statistics they need.

use std::ops::RangeInclusive;
use std::time::Instant;

use crate::rig::Outcome;

/// What passes. One end of it is infinite.
pub(crate) type Bound = RangeInclusive<f64>;

/// What figures are held to, by their names. One that is not listed has no bound.
pub(crate) type Bounds = &'static [(&'static str, Bound)];

pub(crate) const fn at_most(bound: f64) -> Bound {
    f64::NEG_INFINITY..=bound
}

pub(crate) const fn at_least(bound: f64) -> Bound {
    bound..=f64::INFINITY
}

/// What becomes of a figure beyond its bound.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Beyond {
    IsMissed,
    IsShown,
}

/// What a run came to so far.
pub(crate) struct Report {
    bounds: Bounds,
    beyond: Beyond,
    scenario: &'static str,
    missed: Vec<String>,
}

impl Report {
    pub(crate) fn new(bounds: Bounds, beyond: Beyond) -> Self {
        Report { bounds, beyond, scenario: "", missed: Vec::new() }
    }

    /// Runs a scenario and tells how long it took; if it fails, that is missed.
    pub(crate) fn run(&mut self, scenario: &'static str, run: impl FnOnce(&mut Self) -> Outcome<()>) {
        self.scenario = scenario;
        let begun = Instant::now();
        if let Err(error) = run(self) {
            println!("  FAILED: {error}");
            self.missed.push(format!("{scenario}: {error}"));
        }
        println!("  ({:.1} s)", begun.elapsed().as_secs_f64());
    }

    /// The row that counts: a figure and how it stands to its bound, if the table of bounds has one.
    pub(crate) fn verdict(&mut self, figure: &str, value: f64) {
        match self.bounds.iter().find(|(name, _)| *name == figure) {
            Some((_, bound)) => self.figure(figure, value, bound),
            None => println!("  {figure}: {value:.3}"),
        }
    }

    /// A figure with a bound of its own.
    pub(crate) fn at_most(&mut self, what: &str, value: f64, bound: f64) {
        self.figure(what, value, &at_most(bound));
    }

    fn figure(&mut self, what: &str, value: f64, bound: &Bound) {
        let passes = bound.contains(&value);
        let (sign, end, word) = match (bound.end().is_finite(), passes) {
            (true, true) => ('≤', bound.end(), "PASS"),
            (true, false) => ('>', bound.end(), "over"),
            (false, true) => ('≥', bound.start(), "PASS"),
            (false, false) => ('<', bound.start(), "under"),
        };
        let row = format!("{what}: {value:.3} {sign} {end}");
        println!("  {row}  {word}");
        if !passes && self.beyond == Beyond::IsMissed {
            self.miss(&row);
        }
    }

    /// A condition that must hold, in any run.
    pub(crate) fn condition(&mut self, what: &str, holds: bool) {
        println!("  {what}  {}", if holds { "PASS" } else { "FAILED" });
        if !holds {
            self.miss(what);
        }
    }

    /// A count that must be exactly so.
    pub(crate) fn exactly(&mut self, what: &str, value: u64, expected: u64) {
        if value == expected {
            self.condition(&format!("{what}: {value}"), true);
        } else {
            self.condition(&format!("{what}: {value}, not {expected}"), false);
        }
    }

    fn miss(&mut self, row: &str) {
        // Figures of the tables have the scenario's name in them.
        let is_named = row.starts_with(self.scenario);
        self.missed.push(if is_named { row.to_owned() } else { format!("{}: {row}", self.scenario) });
    }

    /// An error if anything was missed.
    pub(crate) fn outcome(self) -> Outcome<()> {
        match self.missed.as_slice() {
            [] => Ok(()),
            missed => Err(format!("{} missed:\n  {}", missed.len(), missed.join("\n  ")).into()),
        }
    }
}

pub(crate) fn title(name: &str, text: &str) {
    println!("\n{name}: {text}");
}

/// What helps to read the rows.
pub(crate) fn note(text: &str) {
    println!("  {text}");
}

pub(crate) fn skipped(why: &str) {
    println!("  skipped: {why}");
}

/// The middle one, or the mean of the two in the middle.
pub(crate) fn median(values: &[f64]) -> f64 {
    assert!(!values.is_empty(), "a median of nothing");
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let middle = sorted.len() / 2;
    if sorted.len() % 2 == 1 { sorted[middle] } else { (sorted[middle - 1] + sorted[middle]) / 2.0 }
}

/// The largest one; 0 of nothing.
pub(crate) fn largest(values: impl IntoIterator<Item = f64>) -> f64 {
    values.into_iter().fold(0.0, f64::max)
}

/// `median (least–most)`.
pub(crate) fn spread(values: &[f64]) -> String {
    let least = values.iter().copied().fold(f64::INFINITY, f64::min);
    let most = values.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    format!("{:.0} ({least:.0}–{most:.0})", median(values))
}

/// Ratios in the order of their rounds.
pub(crate) fn list(ratios: &[f64]) -> String {
    let texts: Vec<String> = ratios.iter().map(|ratio| format!("{ratio:.3}")).collect();
    texts.join(" ")
}
