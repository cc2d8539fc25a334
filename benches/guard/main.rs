//! The guard: what a message, a connection, a handshake, a round trip and a send of another thread cost in instructions
//! and system calls, beside what they cost when `benches/guard.txt` was written. More than 1 % more is an error.
//!
//! `cargo bench --bench guard -- --help` lists the options; `benches/README.md` says what is counted and how.
//!
//! `--subject` is the role of the process under callgrind.

mod callgrind;
mod host;
mod record;
#[allow(dead_code, reason = "each benchmark uses a part of it")]
#[path = "../rig/mod.rs"]
mod rig;
mod subjects;

use callgrind::Cost;
use record::{Record, Row};
use rig::Outcome;
use rig::asked::Asked;
use rig::child::is_installed;
use std::process::ExitCode;
use subjects::SUBJECTS;

const USAGE: &str = "\
usage: cargo bench --bench guard -- [OPTIONS]

Counts, and compares with benches/guard.txt: what costs more than 1 % more is an error.

  --update    writes the file: figures that are more than 1 % off are replaced, and all if the tools are others
  --why TEXT  why they are; wanted by --update where one has grown
  --help      this text

Linux and glibc only; needs valgrind.";

/// What is taken for the same.
const TOLERANCE: f64 = 0.01;

fn main() -> ExitCode {
    rig::play(&[("--subject", subjects::run)], harness)
}

fn harness(arguments: &[String]) -> Outcome<()> {
    let asked = Asked::parse(arguments, &["--update", "--why TEXT"], || USAGE.to_owned())?;
    let Some(asked) = asked else { return Ok(()) };
    if let Some(name) = asked.names.first() {
        return Err(format!("no option `{name}`; --help lists them").into());
    }
    if !is_installed("valgrind") {
        println!("skipped: instructions are not counted: valgrind not installed");
        return Ok(());
    }
    let (old, here) = (Record::read()?, Record::here()?);
    if asked.has("--update") {
        return update(&old, here, asked.value("--why"));
    }
    if old.tools != here.tools {
        println!("skipped: instructions are not compared: here is {}; benches/guard.txt has {}", here.tools, old.tools);
        return Ok(());
    }
    check(&old, &here)
}

/// How a subject stands to its row.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Change {
    Same,
    Grew,
    Fell,
}

fn change(old: Cost, new: Cost) -> Change {
    let pairs = [(old.instructions, new.instructions), (old.system_calls, new.system_calls)];
    if pairs.iter().any(|(old, new)| *new > old * (1.0 + TOLERANCE)) {
        Change::Grew
    } else if pairs.iter().any(|(old, new)| *new < old * (1.0 - TOLERANCE)) {
        Change::Fell
    } else {
        Change::Same
    }
}

/// Counts a subject, and prints how it stands to its row; without one, everything has grown.
fn count(subject: &str, times: usize, row: Option<&Row>) -> Outcome<(Cost, Change)> {
    let cost = callgrind::cost(subject, times)?;
    let old = row.map_or(Cost::default(), |row| row.cost);
    let change = change(old, cost);
    let word = match change {
        Change::Same => "PASS",
        Change::Grew => "grew",
        Change::Fell => "fell",
    };
    println!(
        "  {subject:<20} {:>11.1} instructions, {:+.2} %; {:.3} system calls, {:+.3}  {word}",
        cost.instructions,
        (cost.instructions / old.instructions - 1.0) * 100.0,
        cost.system_calls,
        cost.system_calls - old.system_calls
    );
    Ok((cost, change))
}

fn check(old: &Record, here: &Record) -> Outcome<()> {
    println!("\nguard: user instructions and system calls, beside benches/guard.txt");
    let (mut grew, mut fell) = (Vec::new(), Vec::new());
    for (subject, times) in SUBJECTS {
        match count(subject, times, old.row(subject))?.1 {
            Change::Same => {}
            Change::Grew => grew.push(subject),
            Change::Fell => fell.push(subject),
        }
    }
    if !fell.is_empty() {
        println!("  less than in the file: {}; please `--update` it, so that it stays so", fell.join(", "));
    }
    if old.dependencies != here.dependencies {
        println!("  here is {}\n  the file has {}", here.dependencies, old.dependencies);
    }
    if grew.is_empty() {
        return Ok(());
    }
    let advice = "if they must, `cargo bench --bench guard -- --update --why TEXT` and commit benches/guard.txt";
    Err(format!("more than 1 % above the file: {}; {advice}", grew.join(", ")).into())
}

fn update(old: &Record, mut new: Record, why: Option<&str>) -> Outcome<()> {
    let are_comparable = old.tools == new.tools;
    for (subject, times) in SUBJECTS {
        let row = old.row(subject);
        let (counted, change) = count(subject, times, row)?;
        let old_why = row.map(|row| row.why.as_str()).unwrap_or_default();
        let (cost, why) = match (change, row) {
            // Not what was counted now, or many small steps would never be a growth.
            (Change::Same, Some(row)) if are_comparable => (row.cost, old_why),
            (Change::Same, _) => (counted, old_why),
            (Change::Fell, _) => (counted, why.unwrap_or(old_why)),
            (Change::Grew, _) => (counted, why.ok_or_else(|| format!("{subject} grew: `--why TEXT` is wanted"))?),
        };
        new.rows.push(Row { subject: subject.to_owned(), cost, why: why.to_owned() });
    }
    new.write()
}
