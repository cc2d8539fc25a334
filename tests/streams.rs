//! What stream connections promise, over every transport.

mod support;

#[path = "streams/bytes.rs"]
mod bytes;
#[path = "streams/client.rs"]
mod client;
#[path = "streams/copies.rs"]
mod copies;
#[path = "streams/crowd.rs"]
mod crowd;
#[path = "streams/input.rs"]
mod input;
#[path = "streams/listening.rs"]
mod listening;
#[path = "streams/losing.rs"]
mod losing;
#[path = "streams/output.rs"]
mod output;
#[path = "streams/overload.rs"]
mod overload;
#[path = "streams/panics.rs"]
mod panics;
#[path = "streams/probes.rs"]
mod probes;
#[path = "streams/sending_files.rs"]
mod sending_files;
#[path = "streams/timeouts.rs"]
mod timeouts;
