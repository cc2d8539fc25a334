//! What the figures are held to.

use std::ops::RangeInclusive;

/// A figure that is not listed has no bound.
const BOUNDS: [(&str, RangeInclusive<f64>); 7] = [
    ("tcp-64", f64::NEG_INFINITY..=1.3),
    ("tls-64", f64::NEG_INFINITY..=1.3),
    ("tcp-64-calls", f64::NEG_INFINITY..=1.0),
    ("tls-64-calls", f64::NEG_INFINITY..=1.0),
    ("tls-both-ways", 0.9..=f64::INFINITY),
    ("descriptors", f64::NEG_INFINITY..=1.0),
    ("black-hole-ms", f64::NEG_INFINITY..=300.0),
];

pub(crate) fn bound(figure: &str) -> Option<RangeInclusive<f64>> {
    BOUNDS.iter().find(|(name, _)| *name == figure).map(|(_, bound)| bound.clone())
}
