//! How a step of a benchmark ends, and what the process makes of it.

use std::error::Error;
use std::process::ExitCode;

/// What a step of the benchmark returns; the error is a sentence for the person who runs it.
pub(crate) type Outcome<T> = Result<T, Box<dyn Error>>;

/// Tells an error.
pub(crate) fn exit_code(outcome: Outcome<()>) -> ExitCode {
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}
