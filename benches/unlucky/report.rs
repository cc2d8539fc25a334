//! Rows for a person to read, and how many of them are errors.

use std::time::Instant;

#[derive(Default)]
pub(crate) struct Report {
    scenario: &'static str,
    begun: Option<Instant>,
    failures: usize,
}

impl Report {
    pub(crate) fn begin(&mut self, scenario: &'static str) {
        println!("\n{scenario}");
        self.scenario = scenario;
        self.begun = Some(Instant::now());
    }

    pub(crate) fn end(&mut self) {
        let seconds = self.begun.take().map_or(0.0, |begun| begun.elapsed().as_secs_f64());
        println!("  ({seconds:.1} s)");
    }

    /// A figure that should not be above its bound; it is no error if it is.
    pub(crate) fn figure(&mut self, what: &str, value: f64, bound: f64) {
        let (sign, verdict) = if value <= bound { ('≤', "PASS") } else { ('>', "over") };
        println!("  {}: {what}: {value:.3} {sign} {bound}  {verdict}", self.scenario);
    }

    /// A condition that must hold.
    pub(crate) fn condition(&mut self, what: &str, holds: bool) {
        if !holds {
            self.failures += 1;
        }
        println!("  {}: {what}  {}", self.scenario, if holds { "PASS" } else { "FAILED" });
    }

    /// A count that must be exactly so.
    pub(crate) fn exactly(&mut self, what: &str, value: u64, expected: u64) {
        if value == expected {
            self.condition(&format!("{what}: {value}"), true);
        } else {
            self.condition(&format!("{what}: {value}, not {expected}"), false);
        }
    }

    /// What helps to read the rows.
    pub(crate) fn note(&mut self, text: &str) {
        println!("  {text}");
    }

    pub(crate) fn skipped(&mut self, why: &str) {
        println!("  {}: skipped: {why}", self.scenario);
    }

    pub(crate) fn not_measured(&mut self, why: &str) {
        self.failures += 1;
        println!("  {}: FAILED: {why}", self.scenario);
    }

    pub(crate) fn failures(&self) -> usize {
        self.failures
    }
}

/// The middle one, or the upper one of the two in the middle; 0 of nothing.
pub(crate) fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted.get(sorted.len() / 2).copied().unwrap_or_default()
}

/// The largest one; 0 of nothing.
pub(crate) fn largest(values: impl IntoIterator<Item = f64>) -> f64 {
    values.into_iter().fold(0.0, f64::max)
}
