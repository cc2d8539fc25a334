//! What all benchmarks have in common: roles, each a process of its own; scenarios, asked for by name; figures and their bounds.
//!
//! Each benchmark takes in the whole of it by one line in its `main.rs`, and uses a part.

pub(crate) mod account;
pub(crate) mod answer;
pub(crate) mod asked;
pub(crate) mod bare;
pub(crate) mod bare_buffered;
pub(crate) mod bare_plain;
pub(crate) mod bare_tls;
pub(crate) mod bench;
pub(crate) mod callgrind;
pub(crate) mod certificate;
pub(crate) mod channel;
pub(crate) mod child;
pub(crate) mod client;
pub(crate) mod dial;
pub(crate) mod dice;
pub(crate) mod handshaker;
pub(crate) mod holdings;
pub(crate) mod hosted;
pub(crate) mod launch;
pub(crate) mod load;
pub(crate) mod pattern;
pub(crate) mod peer;
pub(crate) mod probe;
pub(crate) mod process;
pub(crate) mod report;
pub(crate) mod scratch;
pub(crate) mod self_signed;
pub(crate) mod session;
pub(crate) mod slices;
pub(crate) mod socket;
pub(crate) mod strace;
pub(crate) mod until;

use std::error::Error;
use std::process::ExitCode;

/// What a step of a benchmark returns; the error is a sentence for the person who runs it.
pub(crate) type Outcome<T> = Result<T, Box<dyn Error>>;

/// A role of a benchmark's binary: the first argument that names it, and what it does with the others.
pub(crate) type Role = (&'static str, fn(&[String]) -> Outcome<()>);

/// Plays the role that the first argument names, and otherwise that of the harness.
pub(crate) fn play(roles: &[Role], harness: impl FnOnce(&[String]) -> Outcome<()>) -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let launch: Role = ("--launch", launch::run);
    let role = roles.iter().chain([&launch]).find(|(name, _)| arguments.first().is_some_and(|first| first == name));
    let outcome = match role {
        Some((_, run)) => run(&arguments[1..]),
        None => harness(&arguments),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}
