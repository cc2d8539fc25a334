//! The example `redis`, as its clients use it and as hostile peers do.

use super::running::{Running, dial, finish, skip};
use rustix::process::Signal;
use std::fs;
use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::process::Command;
use std::time::Duration;

fn start() -> (Running, String) {
    let mut redis = Running::start("redis", &[]);
    let address = redis.tcp();
    (redis, address)
}

/// Sends `requests` and checks that the answers begin with `expected`.
fn ask(stream: &mut TcpStream, requests: &[u8], expected: &str) {
    stream.write_all(requests).expect("a write");
    let mut answer = vec![0; expected.len()];
    stream.read_exact(&mut answer).expect("an answer");
    assert_eq!(String::from_utf8_lossy(&answer), expected);
}

/// A request as clients send it.
fn request(args: &[&[u8]]) -> Vec<u8> {
    let mut bytes = format!("*{}\r\n", args.len()).into_bytes();
    for arg in args {
        bytes.extend(format!("${}\r\n", arg.len()).into_bytes());
        bytes.extend_from_slice(arg);
        bytes.extend_from_slice(b"\r\n");
    }
    bytes
}

/// Writes until the server has taken nothing for a while; how many bytes it took.
fn fill(stream: &mut TcpStream, piece: &[u8], most: usize) -> usize {
    stream.set_write_timeout(Some(Duration::from_millis(500))).expect("a timeout");
    let mut total = 0;
    while total < most {
        match stream.write(piece) {
            Ok(taken) => total += taken,
            Err(error) => {
                assert!(matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut), "{error}");
                return total;
            }
        }
    }
    total
}

/// The resident memory of a process, in bytes; `None` where the system does not tell it so.
fn resident(redis: &Running) -> Option<usize> {
    let status = fs::read_to_string(format!("/proc/{}/status", redis.child.id())).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    line.trim().strip_suffix(" kB")?.parse::<usize>().ok().map(|kilobytes| kilobytes * 1024)
}

#[test]
fn redis_answers_arrays_and_lines_pipelined_or_byte_by_byte_in_order() {
    let (redis, address) = start();
    let commands =
        b"SET a 1\r\nget a\n\r\n*2\r\n$4\r\nINCR\r\n$1\r\na\r\n*0\r\nDEL a b\r\nGET a\r\nPING\r\nECHO x\r\nINCR a\r\n";
    let answers = "+OK\r\n$1\r\n1\r\n:2\r\n:1\r\n$-1\r\n+PONG\r\n$1\r\nx\r\n:1\r\n";
    let mut stream = dial(&address);
    ask(&mut stream, commands, answers);
    ask(&mut stream, b"DEL a\r\n", ":1\r\n");
    stream.set_nodelay(true).expect("an option");
    for byte in commands {
        stream.write_all(&[*byte]).expect("a write");
    }
    ask(
        &mut stream,
        b"SET a x\r\nINCR a\r\nGET\r\nNONSENSE\r\nSET a 9223372036854775807\r\nINCR a\r\n",
        &format!(
            "{answers}+OK\r\n-ERR value is not an integer or out of range\r\n-ERR unknown command, or wrong number of arguments\r\n\
        -ERR unknown command, or wrong number of arguments\r\n+OK\r\n-ERR value is not an integer or out of range\r\n"
        ),
    );
    // Binary, and as long as they may be.
    let value: Vec<u8> = (0..1024 * 1024).map(|index| (index % 251) as u8).collect();
    stream.write_all(&request(&[b"SET", b"\r\n\0", &value])).expect("a write");
    ask(&mut stream, &request(&[b"GET", b"\r\n\0"]), "+OK\r\n$1048576\r\n");
    let mut back = vec![0; value.len()];
    stream.read_exact(&mut back).expect("the value");
    assert!(back == value);
    ask(&mut stream, b"QUIT\r\nPING\r\n", "\r\n+OK\r\n");
    assert_eq!(stream.read(&mut [0]).expect("a clean end"), 0);

    let mut stream = dial(&address);
    stream.write_all(&b"PING\r\n".repeat(100_000)).expect("a write");
    stream.shutdown(Shutdown::Write).expect("a half-close");
    let mut all = Vec::new();
    stream.read_to_end(&mut all).expect("the answers and the end");
    assert_eq!(all.len(), 700_000, "an end behind the requests takes no answer away");

    let mut idle = dial(&address);
    ask(&mut idle, b"PING\r\n", "+PONG\r\n");
    redis.signal(Signal::TERM);
    let (rest, ended_well) = redis.rest();
    assert!(ended_well && rest.contains(" 0 cut"), "{rest}");
}

#[test]
fn redis_refuses_what_is_too_long_or_no_request_with_an_error_and_a_close() {
    let (redis, address) = start();
    let long = [b"*2\r\n$3\r\nGET\r\n$".to_vec(), b"1".repeat(100)].concat();
    let several = request(&[&vec![b'x'; 1024 * 1024][..]; 3]);
    let cases: [(&[u8], &str); 11] = [
        (b"*2\r\n$3\r\nGET\r\n$999999999\r\n", "expected '*' or '$' and a valid length"),
        (b"*1\r\n$1048577\r\n", "expected '*' or '$' and a valid length"),
        (b"*1\r\n$-1\r\n", "expected '*' or '$' and a valid length"),
        (b"*999999999\r\n", "expected '*' or '$' and a valid length"),
        (b"*99999999999999999999999999999999999999", "expected '*' or '$' and a valid length"),
        (b"*\r\n", "expected '*' or '$' and a valid length"),
        (b"*1\r\n*1\r\n*1\r\n*1\r\n", "expected '*' or '$' and a valid length"),
        (&long, "expected '*' or '$' and a valid length"),
        (b"*1\r\n$4\r\nPINGPING\r\n", "expected CRLF behind an argument"),
        (&[b'x'; 70_000], "too big inline request"),
        (&several, "too big request"),
    ];
    for (hostile, fault) in cases {
        let mut stream = dial(&address);
        // What came before is answered.
        stream.write_all(b"PING\r\n").expect("a write");
        stream.write_all(hostile).expect("a write");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).expect("an answer and a clean end");
        assert_eq!(answer, format!("+PONG\r\n-ERR Protocol error: {fault}\r\n"));
    }
    let mut browser = dial(&address);
    browser.write_all(b"POST / HTTP/1.1\r\nHost: x\r\n\r\nSET a 1\r\n").expect("a write");
    let mut answer = String::new();
    browser.read_to_string(&mut answer).expect("an answer and a clean end");
    assert_eq!(answer, "-ERR this is not HTTP\r\n");
    let mut stream = dial(&address);
    ask(&mut stream, b"GET a\r\n", "$-1\r\n");
    drop(redis);
}

#[test]
fn redis_holds_back_who_does_not_read_its_answers_and_serves_others() {
    let (redis, address) = start();
    let mut stream = dial(&address);
    ask(&mut stream, &request(&[b"SET", b"large", &[b'x'; 100_000]]), "+OK\r\n");
    let mut greedy = dial(&address);
    let piece = b"GET large\r\n".repeat(1000);
    // Gigabytes of answers: the server holds a few of them.
    let taken = fill(&mut greedy, &piece, 64 * 1024 * 1024);
    println!("{taken} bytes of requests were taken");
    assert!(taken < 32 * 1024 * 1024, "{taken} bytes of requests were taken, and nothing was read");
    if let Some(resident) = resident(&redis) {
        println!("{resident} bytes resident");
        assert!(resident < 64 * 1024 * 1024, "{resident} bytes resident");
    }
    ask(&mut stream, b"PING\r\n", "+PONG\r\n");
    // When it reads, everything comes.
    let answer = [&b"$100000\r\n"[..], &[b'x'; 100_000], b"\r\n"].concat();
    let mut back = vec![0; answer.len()];
    for _ in 0..200 {
        greedy.read_exact(&mut back).expect("an answer");
        assert!(back == answer);
    }
}

#[test]
fn redis_sends_messages_to_subscribers_and_resets_one_that_does_not_read() {
    let (redis, address) = start();
    let mut reader = dial(&address);
    ask(&mut reader, b"SUBSCRIBE news\r\n", "*3\r\n$9\r\nsubscribe\r\n$4\r\nnews\r\n:1\r\n");
    ask(
        &mut reader,
        b"SUBSCRIBE a news\r\n",
        "*3\r\n$9\r\nsubscribe\r\n$1\r\na\r\n:2\r\n*3\r\n$9\r\nsubscribe\r\n$4\r\nnews\r\n:2\r\n",
    );
    ask(
        &mut reader,
        b"GET a\r\nPING\r\n",
        "-ERR only (UN)SUBSCRIBE, PING and QUIT while subscribed\r\n*2\r\n$4\r\npong\r\n$0\r\n\r\n",
    );
    let mut publisher = dial(&address);
    ask(&mut publisher, b"PUBLISH news hello\r\nPUBLISH others hello\r\n", ":1\r\n:0\r\n");
    ask(&mut reader, b"", "*3\r\n$7\r\nmessage\r\n$4\r\nnews\r\n$5\r\nhello\r\n");
    ask(
        &mut reader,
        b"UNSUBSCRIBE\r\nUNSUBSCRIBE\r\nPING\r\n",
        "*3\r\n$11\r\nunsubscribe\r\n$1\r\na\r\n:1\r\n*3\r\n$11\r\nunsubscribe\r\n$4\r\nnews\r\n:0\r\n\
         *3\r\n$11\r\nunsubscribe\r\n$-1\r\n:0\r\n+PONG\r\n",
    );
    let names = (0..1025).map(|number| format!(" {number}")).collect::<String>();
    reader.write_all(format!("SUBSCRIBE{names}\r\n").as_bytes()).expect("a write");
    let mut all = Vec::new();
    while !all.ends_with(b"-ERR too many channels, or the name of one is too long\r\n") {
        let mut piece = [0; 4096];
        let read = reader.read(&mut piece).expect("confirmations");
        all.extend_from_slice(&piece[..read]);
    }

    let mut sleeper = dial(&address);
    ask(&mut sleeper, b"SUBSCRIBE news\r\n", "*3\r\n$9\r\nsubscribe\r\n$4\r\nnews\r\n:1\r\n");
    let publish = request(&[b"PUBLISH", b"news", &[b'x'; 100_000]]);
    let (mut sent, mut answer) = (0, [0; 4]);
    loop {
        publisher.write_all(&publish).expect("a write");
        publisher.read_exact(&mut answer).expect("an answer");
        match &answer {
            b":1\r\n" => sent += 1,
            other => break assert_eq!(other, b":0\r\n"),
        }
        assert!(sent < 1000, "100 MB wait for one that does not read");
    }
    println!("{sent} messages of 100,000 bytes until it was reset");
    let error = std::io::copy(&mut sleeper, &mut std::io::sink()).expect_err("a reset");
    assert_eq!(error.kind(), ErrorKind::ConnectionReset);
    if let Some(resident) = resident(&redis) {
        assert!(resident < 64 * 1024 * 1024, "{resident} bytes resident");
    }
}

#[test]
fn redis_cli_and_redis_benchmark_talk_to_it() {
    let (_redis, address) = start();
    let port = address.rsplit(':').next().expect("a port");
    let run = |program: &str, args: &[&str], input: &[u8]| match finish(
        Command::new(program).args(["-p", port]).args(args),
        input,
    ) {
        Ok(output) => {
            assert!(output.status.success(), "{program} {args:?}: {}", String::from_utf8_lossy(&output.stderr));
            Some(String::from_utf8_lossy(&output.stdout).into_owned())
        }
        Err(error) if error.kind() == ErrorKind::NotFound => {
            skip(&format!("{program} not installed"));
            None
        }
        Err(error) => panic!("{program}: {error}"),
    };
    if let Some(said) = run("redis-cli", &[], b"SET a 'one two'\nGET a\nINCR n\nGET none\nPING\nDEL a n\n") {
        assert_eq!(said, "OK\none two\n1\n\nPONG\n2\n");
    }
    if let Some(said) = run("redis-benchmark", &["-n", "2000", "-P", "16", "-q", "-t", "ping,set,get,incr"], b"") {
        assert_eq!(said.matches("requests per second").count(), 5, "{said}");
    }
}
