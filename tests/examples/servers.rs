//! The examples over `Server`: `admit` and `prometheus`; and what `echo` tells of a listener that cannot accept.

use super::running::{Running, Said, program, run, skip};
use super::{dial, exchange};
use rustix::process::Signal;
use std::io::{Read, Write};
use std::process::{Command, Stdio};

#[cfg(all(feature = "signals", feature = "aws-lc-rs"))]
#[test]
fn service_reads_its_certificates_again_on_sighup_and_drains_on_sigterm() {
    let folder = tempfile::tempdir().expect("a folder");
    let [cert, key] = ["cert.pem", "key.pem"].map(|name| folder.path().join(name));
    let renew = || {
        let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).expect("a certificate");
        std::fs::write(&key, made.signing_key.serialize_pem()).expect("a key");
        std::fs::write(&cert, made.cert.pem()).expect("a certificate");
    };
    renew();
    let mut command = Command::new(program("service"));
    command.arg("tls://127.0.0.1:0").args([&cert, &key]).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().expect("a program that starts");
    let mut told = Said::by(child.stderr.take().expect("its errors"));
    let mut service = Running::of(child);
    assert!(service.address().starts_with("tls://"));
    renew();
    service.signal(Signal::HUP);
    assert_eq!(told.line(), "service: certificates read again");
    std::fs::write(&key, "no key").expect("a file");
    service.signal(Signal::HUP);
    let line = told.line();
    assert!(line.starts_with("service: the old certificates stay: "), "{line}");
    service.signal(Signal::TERM);
    let (rest, ended_well) = service.rest();
    assert!(ended_well && rest.starts_with("drained: "), "{rest}");
}

#[test]
fn admit_lets_in_whom_its_rules_allow_and_reads_them_again() {
    let folder = tempfile::tempdir().expect("a folder");
    let rules = folder.path().join("rules");
    std::fs::write(&rules, "# nobody from here\ndeny 127.0.0.0/8\nallow ::/0\n").expect("rules");
    let program = program("admit");
    let mut command = Command::new(program);
    command.args(["--rules", rules.to_str().expect("text"), "--listen", "tcp://[::]:0"]);
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("a program that starts");
    let mut told = Said::by(child.stderr.take().expect("its errors"));
    let mut admit = Running::of(child);
    let port = admit.tcp().rsplit(':').next().expect("a port").to_owned();
    // A mapped address is the IPv4 address that it maps.
    let mut refused = dial(&format!("127.0.0.1:{port}"));
    assert!(matches!(refused.read(&mut [0; 8]), Ok(0) | Err(_)));
    let mut welcome = dial(&format!("[::1]:{port}"));
    assert_eq!(exchange(&mut welcome, "hello"), "hello");

    let mut line = String::new();
    for (text, said) in [("deny ::1\n", "1 rules read again"), ("forbid all\n", "the old rules stay: ")] {
        std::fs::write(&rules, text).expect("rules");
        admit.signal(Signal::HUP);
        line = told.line();
        assert!(line.contains(said), "{line}");
    }
    assert!(line.contains("rules:1: write allow NETWORK or deny NETWORK"), "{line}");
    assert_eq!(exchange(&mut dial(&format!("127.0.0.1:{port}")), "now"), "now");
    assert!(matches!(dial(&format!("[::1]:{port}")).read(&mut [0; 8]), Ok(0) | Err(_)));
    drop(welcome);
    admit.signal(Signal::TERM);
    let (rest, ended_well) = admit.rest();
    assert!(ended_well && rest.starts_with("drained: "), "{rest}");
}

#[test]
fn admit_refuses_what_it_cannot_read() {
    let output = run("admit", &["--listen", "tcp://127.0.0.1:0"]);
    assert_eq!(output.status.code(), Some(2));
    let output = run("admit", &["--rules", "/nowhere/at/all"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&output.stderr).contains("/nowhere/at/all"));
}

#[test]
fn prometheus_serves_the_counters_of_all_reactors() {
    let mut server = Running::start("prometheus", &["--reactors", "2"]);
    let address = server.tcp();
    let line = server.line();
    let metrics = line.trim().strip_prefix("curl http://").and_then(|line| line.strip_suffix("/metrics"));
    let metrics = metrics.expect("how to scrape").to_owned();
    assert!(server.line().contains("/health"));
    let mut clients: Vec<_> = (0..3).map(|_| dial(&address)).collect();
    for client in &mut clients {
        assert_eq!(exchange(client, "twelve bytes"), "twelve bytes");
    }
    let scrape = |path: &str| {
        let mut scraper = dial(&metrics);
        write!(scraper, "GET {path} HTTP/1.1\r\nHost: metrics\r\n\r\n").expect("a write");
        let mut answer = String::new();
        scraper.read_to_string(&mut answer).expect("an answer");
        answer
    };
    let answer = scrape("/metrics");
    assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");
    let sum = |name: &str| -> u64 {
        let values = answer.lines().filter(|line| line.starts_with(&format!("windlass_{name}{{")));
        values.map(|line| line.rsplit(' ').next().and_then(|value| value.parse::<u64>().ok()).expect("a number")).sum()
    };
    assert!(answer.contains("\nwindlass_connections 3\n"), "{answer}");
    assert_eq!((sum("accepted_total"), sum("opened_total")), (3, 3));
    assert_eq!((sum("received_bytes_total"), sum("sent_bytes_total")), (36, 36));
    let health = scrape("/health");
    assert!(health.starts_with("HTTP/1.1 200 OK\r\n") && health.matches(" connections, ").count() == 2, "{health}");
    assert!(health.contains("1 listeners accept"), "{health}");
    assert!(scrape("/").starts_with("HTTP/1.1 404"));
    drop(clients);
    server.signal(Signal::TERM);
    let (rest, ended_well) = server.rest();
    assert!(ended_well && rest.contains("drained: "), "{rest}");
}

/// Runs `echo` where accept(2) always fails with this error, and tells what it says after a connect. `None`, and why, if
/// strace(1) is missing or may not trace.
fn echo_where_accepts_fail(errno: rustix::io::Errno, args: &[&str]) -> Option<String> {
    let echo = program("echo");
    let fault = format!("inject=accept4:error={}", errno.raw_os_error());
    let mut command = Command::new("strace");
    // The program is the child, so that it is what ends with the test.
    command.args(["-D", "-f", "-qq", "-o", "/dev/null", "-e", "trace=accept4", "-e", &fault]).arg(echo).args(args);
    if !Command::new("strace").args(["-qq", "-o", "/dev/null", "true"]).status().is_ok_and(|status| status.success()) {
        skip("strace is not installed, or may not trace");
        return None;
    }
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("a program that starts");
    let mut told = Said::by(child.stderr.take().expect("its errors"));
    let mut echo = Running::of(child);
    let address = echo.tcp();
    // What the kernel accepts, the program does not; where it is over, the kernel does neither.
    let _peer = std::net::TcpStream::connect(&address);
    let line = told.line();
    assert!(line.contains(&address) || line.contains(args.last().expect("an address")), "{line}");
    Some(line)
}

#[test]
fn echo_tells_that_a_listener_cannot_accept_or_is_over() {
    use rustix::io::Errno;
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("echo.toml");
    std::fs::write(&file, "address = 'tcp://127.0.0.1:0'\nreactors = 1\n").expect("a file");
    let file = file.to_str().expect("text");
    let mut ways =
        vec![vec!["--listen", "tcp://127.0.0.1:0"], vec!["--reactors", "2", "--listen", "tcp://127.0.0.1:0"]];
    if cfg!(feature = "serde") {
        ways.push(vec!["--config", file, "--listen", "tcp://127.0.0.1:0"]);
    }
    for args in ways {
        for (errno, says) in [(Errno::ACCESS, "Permission denied"), (Errno::INVAL, "Invalid argument")] {
            let Some(line) = echo_where_accepts_fail(errno, &args) else { return };
            assert!(line.starts_with("echo: ") && line.contains(says), "{line}");
        }
    }
}
