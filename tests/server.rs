//! What a server promises as a whole: how it begins and ends, what it tells, whom it takes in.

mod support;

#[path = "server/accepted.rs"]
mod accepted;
#[path = "server/attacks.rs"]
mod attacks;
#[path = "server/blocking.rs"]
mod blocking;
#[path = "server/building.rs"]
mod building;
#[path = "server/deadlines.rs"]
mod deadlines;
#[path = "server/ending.rs"]
mod ending;
#[path = "server/factories.rs"]
mod factories;
#[path = "server/limits.rs"]
mod limits;
#[path = "server/mapped.rs"]
mod mapped;
#[path = "server/states.rs"]
mod states;
#[path = "server/telling.rs"]
mod telling;
