//! What is tried.

use crate::options::Options;
use crate::rig::bench::Scenario;
use crate::{accepting, deaths, draining, fairness, moments, overload, slow, stalled, starvation};

pub(crate) const SCENARIOS: &[Scenario<Options>] = &[
    Scenario::new("starvation", starvation::run),
    Scenario::new("accept-faults", accepting::faults),
    Scenario::new("accept-errnos", accepting::errnos),
    Scenario::new("drain-owed", draining::owed),
    Scenario::new("shutdown-moments", moments::run),
    Scenario::new("proxy-slow", slow::run),
    Scenario::new("proxy-stalled", stalled::run),
    Scenario::new("overload", overload::run),
    Scenario::new("ways-to-die", deaths::run),
    // Last, when the machine has come to rest.
    Scenario::new("fairness", fairness::run),
];
