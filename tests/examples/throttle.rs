//! The example `throttle`: its rate, and that it waits for it asleep.

#[path = "../../examples/throttle/bucket.rs"]
mod bucket;

use super::running::{PATIENCE, Running, dial, run};
use bucket::{Bucket, Rate};
use rustix::process::Signal;
use std::fs;
use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::time::{Duration, Instant};

// --- the bucket, in a time of its own ---------------------------------------------------------------------------------

#[test]
fn a_bucket_never_lets_more_through_than_a_burst_and_its_rate() {
    let begin = Instant::now();
    for (bytes_per_second, burst_bytes, step) in [(1000, 100, 7), (3, 1, 1000), (999_999_937, 65_537, 1), (10, 500, 30)]
    {
        let rate = Rate { bytes_per_second, burst_bytes };
        let mut bucket = Bucket::new(rate, begin);
        let mut passed = 0;
        for millis in (0..3000).step_by(step) {
            let now = begin + Duration::from_millis(millis as u64);
            let available = bucket.available(now);
            bucket.spend(now, available);
            passed += available;
            let most = burst_bytes + bytes_per_second * millis as u64 / 1000;
            assert!(passed <= most, "{rate:?}: {passed} bytes in {millis} ms, {most} at most");
            // Whoever takes all that there is gets all of it, but for what flows into a full bucket.
            let lost = bytes_per_second * step as u64 / 1000 >= burst_bytes;
            assert!(lost || passed + 1 >= most, "{rate:?}: {passed} bytes in {millis} ms, {most} are due");
        }
    }
}

#[test]
fn behind_its_wait_there_is_enough_in_a_bucket_and_just_before_there_is_not() {
    let begin = Instant::now();
    for wanted in [1, 10, 50, 1000] {
        let mut bucket = Bucket::new(Rate { bytes_per_second: 700, burst_bytes: 100 }, begin);
        bucket.spend(begin, 100);
        let wait = bucket.wait(begin, wanted);
        let piece = wanted.min(50);
        assert_eq!(bucket.available(begin + wait), piece);
        assert!(bucket.available(begin + wait - Duration::from_nanos(1)) < piece);
    }
}

// --- the program ------------------------------------------------------------------------------------------------------

/// A throttle before a listener of ours, and a connection through it.
fn through(rate: &[&str]) -> (Running, TcpStream, TcpStream) {
    let target = TcpListener::bind("127.0.0.1:0").expect("a listener");
    let to = format!("tcp://{}", target.local_addr().expect("an address"));
    let mut throttle = Running::start("throttle", &[&["tcp://127.0.0.1:0", &to], rate].concat());
    let client = dial(&throttle.tcp());
    let (server, _) = target.accept().expect("the throttle's connection");
    server.set_read_timeout(Some(PATIENCE)).expect("a timeout");
    (throttle, client, server)
}

/// Voluntary and other switches of context: a thread that sleeps makes none.
fn switches(pid: u32) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).expect("its status");
    let counts = status.lines().filter(|line| line.contains("ctxt_switches:"));
    counts.map(|line| line.rsplit('\t').next().and_then(|count| count.parse::<u64>().ok()).expect("a count")).sum()
}

#[test]
fn throttle_passes_so_many_bytes_a_second_in_each_direction() {
    const BYTES: usize = 500_000;
    let rate = ["--bytes-per-second", "1000000", "--burst", "100000"];
    let begin = Instant::now();
    let (throttle, client, server) = through(&rate);
    // Both directions at once: each has its own bucket.
    let directions = [(client.try_clone(), server.try_clone()), (Ok(server), Ok(client))];
    let transfers = directions.map(|(from, to)| {
        let (mut from, mut to) = (from.expect("a handle"), to.expect("a handle"));
        let writes = std::thread::spawn(move || {
            from.write_all(&[7; BYTES]).expect("a write");
            from.shutdown(Shutdown::Write).expect("a half-close");
        });
        let reads = std::thread::spawn(move || {
            let (mut total, mut buffer) = (0, [0; 16384]);
            loop {
                match to.read(&mut buffer).expect("bytes, or the end") {
                    0 => return (total, begin.elapsed()),
                    read => total += read,
                }
                let most = 100_000.0 + begin.elapsed().as_secs_f64() * 1e6;
                assert!(total as f64 <= most, "{total} bytes have passed, and {most} may have");
            }
        });
        (writes, reads)
    });
    for (writes, reads) in transfers {
        writes.join().expect("all written");
        let (total, took) = reads.join().expect("all read");
        println!("{total} bytes in {took:?}");
        assert_eq!(total, BYTES);
        // 400,000 bytes beyond the burst. A timer is a fiftieth late at most; the rest is for a busy machine.
        assert!(took < Duration::from_millis(408) + Duration::from_millis(400), "{took:?}");
    }
    throttle.signal(Signal::TERM);
    let (rest, ended_well) = throttle.rest();
    assert!(ended_well && rest.starts_with("drained: "), "{rest}");
}

#[test]
fn throttle_sleeps_while_it_waits_and_while_nothing_happens() {
    let (throttle, mut client, mut server) = through(&["--bytes-per-second", "10000", "--burst", "1000"]);
    let pid = throttle.child.id();
    // Throttled: half a burst is 50 ms, so it wakes 20 times a second.
    client.write_all(&[7; 8000]).expect("a write");
    server.read_exact(&mut [0; 2000]).expect("the first of it");
    let before = switches(pid);
    server.read_exact(&mut [0; 5000]).expect("more of it");
    let waking = switches(pid) - before;
    println!("{waking} wake-ups for 5,000 bytes at 10,000 a second");
    assert!((5..=40).contains(&waking), "{waking} wake-ups in half a second");
    server.read_exact(&mut [0; 1000]).expect("the rest");

    // Idle: whatever followed from the last byte is over when the peer has heard nothing for a while.
    for wait in [100, 500] {
        let before = switches(pid);
        server.set_read_timeout(Some(Duration::from_millis(wait))).expect("a timeout");
        let error = server.read(&mut [0]).expect_err("nothing is said");
        assert!(matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut), "{error}");
        let waking = switches(pid) - before;
        assert!(wait == 100 || waking == 0, "{waking} wake-ups in {wait} ms of silence");
    }
}

#[test]
fn throttle_refuses_what_it_cannot_do_and_says_why() {
    let cases: [(&[&str], &str); 5] = [
        (&["tcp://127.0.0.1:0", "tcp://127.0.0.1:9"], "--bytes-per-second is needed"),
        (&["tcp://127.0.0.1:0", "--bytes-per-second", "1"], "two addresses are needed"),
        (&["--bytes-per-second", "0"], "0 is not a positive number"),
        (&["--burst"], "--burst needs a value"),
        (&["--nonsense"], "--nonsense is not an option"),
    ];
    for (args, text) in cases {
        let output = run("throttle", args);
        let told = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(2), "{args:?}: {told}");
        assert!(told.starts_with("throttle: ") && told.contains(text), "{args:?}: {told}");
    }
}
