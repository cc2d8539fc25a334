//! What the system does to a server beside moving its bytes: calls that it denies, signals that it raises.

mod support;

#[path = "system/accepting.rs"]
mod accepting;
#[path = "system/signals.rs"]
mod signals;
