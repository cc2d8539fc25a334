//! Rows for a person to read, and the few statistics they need.

use crate::plan;

pub(crate) fn title(name: &str, text: &str) {
    println!("\n{name}: {text}");
}

/// The middle one, or the mean of the two in the middle.
pub(crate) fn median(values: &[f64]) -> f64 {
    assert!(!values.is_empty(), "a median of nothing");
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let middle = sorted.len() / 2;
    if sorted.len() % 2 == 1 { sorted[middle] } else { (sorted[middle - 1] + sorted[middle]) / 2.0 }
}

/// `median (least–most)`.
pub(crate) fn spread(values: &[f64]) -> String {
    let least = values.iter().copied().fold(f64::INFINITY, f64::min);
    let most = values.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    format!("{:.0} ({least:.0}–{most:.0})", median(values))
}

/// Bytes as a person reads them.
pub(crate) fn kib(bytes: u64) -> String {
    format!("{} KiB", bytes / 1024)
}

/// Ratios in the order of their rounds.
pub(crate) fn list(ratios: &[f64]) -> String {
    let texts: Vec<String> = ratios.iter().map(|ratio| format!("{ratio:.3}")).collect();
    texts.join(" ")
}

/// What a figure is held to.
#[derive(Clone, Copy)]
pub(crate) enum Bound {
    AtMost(f64),
    AtLeast(f64),
}

/// The row that counts: a figure and how it stands to its bound, if the table of bounds has one.
pub(crate) fn verdict(figure: &str, value: f64) {
    match plan::bound(figure) {
        None => println!("  {figure}: {value:.3}"),
        Some(Bound::AtMost(bound)) if value <= bound => println!("  {figure}: {value:.3} ≤ {bound}  PASS"),
        Some(Bound::AtMost(bound)) => println!("  {figure}: {value:.3} > {bound}  over"),
        Some(Bound::AtLeast(bound)) if value >= bound => println!("  {figure}: {value:.3} ≥ {bound}  PASS"),
        Some(Bound::AtLeast(bound)) => println!("  {figure}: {value:.3} < {bound}  under"),
    }
}
