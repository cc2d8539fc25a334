//! System calls of a round trip: those of a process that does N, subtracted from those of one that does 2N.

use crate::peer::{Layer, Peer};
use crate::rig::Outcome;
use crate::rig::child::is_installed;
use crate::rig::report::{self, Report};
use crate::talker::Maker;
use std::fs;
use std::process::{Command, Stdio};

/// The process under strace: does round trips, and nothing else.
pub(crate) fn exchange(arguments: &[String]) -> Outcome<()> {
    let [maker, layer, address, certificate, count] = arguments else { return Err("five arguments are wanted".into()) };
    let peer = Peer {
        layer: if layer == "tls" { Layer::Tls } else { Layer::Tcp },
        address: address.parse()?,
        certificate: fs::read(certificate)?.into(),
    };
    let mut talker = peer.connect(if maker == "windlass" { Maker::Windlass } else { Maker::Std })?;
    for _ in 0..count.parse::<usize>()? {
        talker.round_trip(&[7; 64])?;
    }
    Ok(())
}

/// Prints how many calls more windlass makes than its yardstick.
pub(crate) fn run(layer: Layer, count: usize, report: &mut Report) -> Outcome<()> {
    let (name, spoken) = match layer {
        Layer::Tcp => ("tcp-64-calls", "tcp"),
        Layer::Tls => ("tls-64-calls", "tls"),
    };
    report::title(name, "system calls of a round trip, beyond those of std");
    if !is_installed("strace") {
        report::skipped("strace is not installed");
        return Ok(());
    }
    let peer = Peer::echo(layer)?;
    let folder = tempfile::tempdir()?;
    let (certificate, log) = (folder.path().join("certificate"), folder.path().join("calls"));
    fs::write(&certificate, &peer.certificate)?;
    let calls = |maker: &str, count: usize| -> Outcome<f64> {
        let mut command = Command::new("strace");
        command.args(["-f", "-qq", "-s", "0", "-o"]).arg(&log).arg(std::env::current_exe()?);
        command.args(["--exchange", maker, spoken, &peer.address.to_string()]).arg(&certificate);
        let status = command.arg(count.to_string()).stdin(Stdio::null()).status()?;
        if !status.success() {
            return Err(format!("strace ended with {status}").into());
        }
        // What is resumed was counted when it began.
        Ok(fs::read_to_string(&log)?.lines().filter(|line| line.contains('(')).count() as f64)
    };
    let each = |maker| -> Outcome<f64> { Ok((calls(maker, 2 * count)? - calls(maker, count)?) / count as f64) };
    let (ours, theirs) = (each("windlass")?, each("std")?);
    println!("  windlass  {ours:.3}");
    println!("  std       {theirs:.3}");
    // To a hundredth: a wait that is interrupted is begun again.
    report.verdict(name, ((ours - theirs) * 100.0).round() / 100.0);
    Ok(())
}
