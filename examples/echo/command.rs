//! What comes of a command line: help, a fault, or the work; each with its exit code.

use std::error::Error;
use std::fmt::Display;
use std::process::ExitCode;

/// Runs `work` with the options of the program `name`, or prints `usage` where only help was asked for.
pub(crate) fn run<O>(
    name: &str,
    usage: &str,
    asked: Result<Option<O>, impl Display>,
    work: impl FnOnce(O) -> Result<(), Box<dyn Error>>,
) -> ExitCode {
    let options = match asked {
        Ok(Some(options)) => options,
        Ok(None) => {
            println!("{usage}");
            return ExitCode::SUCCESS;
        }
        Err(error) => {
            eprintln!("{name}: {error}");
            return ExitCode::from(2);
        }
    };
    match work(options) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{name}: {error}");
            ExitCode::FAILURE
        }
    }
}
