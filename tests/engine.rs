//! What reactors on threads of their own promise together.

mod support;

#[path = "engine/ending.rs"]
mod ending;
#[path = "engine/limits.rs"]
mod limits;
#[path = "engine/moving.rs"]
mod moving;
#[path = "engine/placement.rs"]
mod placement;
#[path = "engine/retiring.rs"]
mod retiring;
#[path = "engine/rolling.rs"]
mod rolling;
#[path = "engine/scenarios.rs"]
mod scenarios;
