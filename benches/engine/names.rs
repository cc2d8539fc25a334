//! How long it takes to build a server that has configurations for a thousand names, from files of their own.

use std::fs;
use std::time::Instant;

use windlass::ServerTls;
use windlass::tls::ServerTlsBuilder;

use crate::options::Options;
use crate::rig::Outcome;
use crate::rig::child;
use crate::rig::report::{self, Report};

const NAMES: usize = 1_000;
const NAMES_MIN: usize = 20;

pub(crate) fn run(options: &Options, report: &mut Report) -> Outcome<()> {
    let count = options.asked.count(NAMES).max(NAMES_MIN);
    report::title("thousand-names", &format!("a server with configurations for {count} names, from files; ms"));
    let folder = child::directory()?;
    let mut builder: Option<ServerTlsBuilder> = None;
    for number in 0..count {
        let name = format!("host{number}.example.org");
        let made = rcgen::generate_simple_self_signed([name.clone()])?;
        let [chain, key] = ["pem", "key"].map(|end| folder.path().join(format!("{number}.{end}")));
        fs::write(&chain, made.cert.pem())?;
        fs::write(&key, made.signing_key.serialize_pem())?;
        let own = ServerTls::builder().certificate(chain, key);
        builder = Some(match builder {
            None => own,
            Some(all) => all.name(name, own),
        });
    }
    let builder = builder.ok_or("no names")?;
    let (mut built, mut reloaded) = (Vec::new(), Vec::new());
    for _ in 0..options.rounds.count {
        let since = Instant::now();
        let server = builder.build()?;
        built.push(since.elapsed().as_secs_f64() * 1e3);
        let since = Instant::now();
        if !server.reload(&builder)?.is_complete() {
            return Err("a reload was not complete".into());
        }
        reloaded.push(since.elapsed().as_secs_f64() * 1e3);
    }
    println!("  built {}, reloaded {}", report::spread(&built), report::spread(&reloaded));
    report.verdict("thousand-names: ms to build", report::largest(built));
    report.verdict("thousand-names: ms to reload", report::median(&reloaded));
    Ok(())
}
