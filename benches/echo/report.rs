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

/// Ratios in the order of their rounds.
pub(crate) fn list(ratios: &[f64]) -> String {
    let texts: Vec<String> = ratios.iter().map(|ratio| format!("{ratio:.3}")).collect();
    texts.join(" ")
}

/// The row that counts: a figure and how it stands to its bound, if the table of bounds has one.
///
/// A bound is the range of what passes; one end of it is infinite.
pub(crate) fn verdict(figure: &str, value: f64) {
    let Some(passing) = plan::bound(figure) else {
        println!("  {figure}: {value:.3}");
        return;
    };
    let passes = passing.contains(&value);
    let (sign, bound) = match (passing.end().is_finite(), passes) {
        (true, true) => ('≤', passing.end()),
        (true, false) => ('>', passing.end()),
        (false, true) => ('≥', passing.start()),
        (false, false) => ('<', passing.start()),
    };
    let word = if passes {
        "PASS"
    } else if sign == '>' {
        "over"
    } else {
        "under"
    };
    println!("  {figure}: {value:.3} {sign} {bound}  {word}");
}
