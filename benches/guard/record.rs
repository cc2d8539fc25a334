//! `benches/guard.txt`: what each subject may cost, why that is more than it was, and what it was counted with.

use crate::callgrind::Cost;
use crate::rig::Outcome;
use std::fmt::{self, Display};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

const HEADER: &str = "\
# What each subject of `cargo bench --bench guard` costs, done once: see benches/README.md.
# `cargo bench --bench guard -- --update --why TEXT` writes this file; TEXT is put where more than 1 % has changed.
";
/// What the counted code is made of, besides this crate.
const DEPENDENCIES: [&str; 9] =
    ["aws-lc-rs", "aws-lc-sys", "bytes", "mio", "nix", "rustix", "rustls", "slab", "socket2"];
/// What valgrind passes on of a processor, and libraries choose their code by.
const PROCESSOR_FLAGS: [&str; 3] = ["avx2", "rdrand", "rdseed"];

#[derive(Default)]
pub(crate) struct Record {
    /// With others, counts cannot be compared.
    pub(crate) tools: String,
    /// With others, they can: it is what users get. But they may be the reason.
    pub(crate) dependencies: String,
    pub(crate) rows: Vec<Row>,
}

pub(crate) struct Row {
    pub(crate) subject: String,
    pub(crate) cost: Cost,
    pub(crate) why: String,
}

impl Record {
    /// Without rows, of what is counted with here.
    pub(crate) fn here() -> Outcome<Record> {
        Ok(Record { tools: tools()?, dependencies: dependencies()?, rows: Vec::new() })
    }

    pub(crate) fn read() -> Outcome<Record> {
        let mut record = Record::default();
        let text = fs::read_to_string(path()).unwrap_or_default();
        for line in text.lines().filter(|line| !line.starts_with('#') && !line.is_empty()) {
            let words: Vec<&str> = line.split_whitespace().collect();
            match words[..] {
                ["tools:", ..] => record.tools = words[1..].join(" "),
                ["dependencies:", ..] => record.dependencies = words[1..].join(" "),
                [subject, instructions, system_calls, ..] => record.rows.push(Row {
                    subject: subject.to_owned(),
                    cost: Cost { instructions: instructions.parse()?, system_calls: system_calls.parse()? },
                    why: words[3..].join(" "),
                }),
                _ => return Err(format!("benches/guard.txt: not a row: {line}").into()),
            }
        }
        Ok(record)
    }

    pub(crate) fn write(&self) -> Outcome<()> {
        Ok(fs::write(path(), self.to_string())?)
    }

    pub(crate) fn row(&self, subject: &str) -> Option<&Row> {
        self.rows.iter().find(|row| row.subject == subject)
    }
}

impl Display for Record {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{HEADER}\ntools: {}\ndependencies: {}\n\n", self.tools, self.dependencies)?;
        writeln!(f, "# {:<19} {:>12} {:>13}  why", "subject", "instructions", "system calls")?;
        for Row { subject, cost, why } in &self.rows {
            writeln!(f, "{subject:<21} {:>12.1} {:>13.3}  {why}", cost.instructions, cost.system_calls)?;
        }
        Ok(())
    }
}

fn path() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("benches/guard.txt")
}

/// What a program says of itself in one line.
fn ask(program: &str, argument: &str) -> Outcome<String> {
    let output = Command::new(program).arg(argument).output().map_err(|error| format!("{program}: {error}"))?;
    Ok(String::from_utf8(output.stdout)?.trim().to_owned())
}

fn tools() -> Outcome<String> {
    let rustc = std::env::var("RUSTC").unwrap_or_else(|_| "rustc".to_owned());
    let cpu = fs::read_to_string("/proc/cpuinfo")?;
    let flags = cpu.lines().find(|line| line.starts_with("flags")).unwrap_or_default();
    let flags = PROCESSOR_FLAGS.iter().filter(|flag| flags.split_whitespace().any(|known| known == **flag));
    let processor: Vec<&str> = [std::env::consts::ARCH].into_iter().chain(flags.copied()).collect();
    let mut tools = vec![ask(&rustc, "-V")?];
    tools.extend(std::env::var("RUSTFLAGS").ok().filter(|flags| !flags.is_empty()));
    tools.extend([ask("valgrind", "--version")?, ask("getconf", "GNU_LIBC_VERSION")?, processor.join(" ")]);
    Ok(tools.join(", "))
}

fn dependencies() -> Outcome<String> {
    let lock = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("Cargo.lock"))?;
    let value = |line: &str, key: &str| Some(line.strip_prefix(key)?.trim_matches(['=', ' ', '"']).to_owned());
    let lines: Vec<&str> = lock.lines().collect();
    let packages = lines.windows(2).filter_map(|pair| Some((value(pair[0], "name")?, value(pair[1], "version")?)));
    let counted = packages.filter(|(name, _)| DEPENDENCIES.contains(&name.as_str()));
    Ok(counted.map(|(name, version)| format!("{name} {version}")).collect::<Vec<_>>().join(", "))
}
