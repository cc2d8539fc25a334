//! The examples over datagrams, `statsd`, `dns` and `syslog`, asked by the tools that people have, and by rude peers.

use super::running::{Running, finish, run, skip};
use super::{PATIENCE, dial};
use rustix::process::Signal;
use std::fs;
use std::io::{ErrorKind, Read, Write};
use std::net::{TcpStream, UdpSocket};
use std::os::unix::net::UnixDatagram;
use std::process::Command;

/// What a tool says to its input; `None`, and said so, if it is not installed.
fn tool(name: &str, args: &[&str], input: &[u8]) -> Option<String> {
    let output = match finish(Command::new(name).args(args), input) {
        Ok(output) => output,
        Err(error) if error.kind() == ErrorKind::NotFound => {
            skip(&format!("{name} is not installed"));
            return None;
        }
        Err(error) => panic!("{name}: {error}"),
    };
    assert!(output.status.success(), "{name} {args:?}: {output:?}");
    Some(String::from_utf8_lossy(&output.stdout).into_owned())
}

fn udp(running: &mut Running) -> String {
    running.address().strip_prefix("udp://").expect("a UDP address").to_owned()
}

fn talk(address: &str) -> UdpSocket {
    let socket = UdpSocket::bind("127.0.0.1:0").expect("a socket");
    socket.connect(address).expect("a peer");
    socket.set_read_timeout(Some(PATIENCE)).expect("a timeout");
    socket
}

fn ended(running: Running) -> String {
    running.signal(Signal::TERM);
    let (rest, ended_well) = running.rest();
    assert!(ended_well && rest.contains("\ndrained: "), "{rest}");
    rest
}

// --- statsd -----------------------------------------------------------------------------------------------------------

#[test]
fn statsd_counts_what_came_before_the_signal_and_tells_what_it_cannot_read() {
    let mut statsd = Running::start("statsd", &["--every", "60"]);
    let address = udp(&mut statsd);
    let socket = talk(&address);
    for _ in 0..100 {
        socket.send(b"hits:1|c").expect("a datagram");
    }
    let many = b"hits:2|c\r\nsampled:1|c|@0.1\n\nload:0.5|g\nload:+0.25|g\nload:-1|g\nquery:3|ms\nquery:5|ms|@0.5";
    socket.send(many).expect("a datagram");
    let malformed = [
        "",
        "nonsense",
        ":1|c",
        "a b:1|c",
        "a:|c",
        "a:1",
        "a:1|x",
        "a:x|c",
        "a:nan|g",
        "a:inf|c",
        "a:1e308|c",
        "a:1|c|@1e-300",
        "a:1|c|0.1",
        "a:1|c|@0",
        "a:1|c|@2",
        "a:-1|ms",
        "a:1|c|@1|more",
        "hits:3|g",
        "\x1b[2J:1|c",
        &format!("{}:1|c", "n".repeat(201)),
        "a:1|c\u{fffd}",
    ];
    for line in malformed {
        socket.send(line.as_bytes()).expect("a datagram");
    }
    socket.send(b"\xff\xfe:1|c").expect("a datagram");
    let rest = ended(statsd);
    // All but the empty one, which has no line.
    let told =
        "--- datagrams 123, lines 128, malformed 21 (the last: \\xff\\xfe:1|c), dropped by the kernel so far 0\n";
    assert!(rest.contains(told), "{rest}");
    let rows: Vec<String> = rest.lines().map(|line| line.split_whitespace().collect::<Vec<_>>().join(" ")).collect();
    for row in [
        "hits counter 102",
        "sampled counter 10",
        "load gauge -0.25",
        "query timer 3 times, min 3 mean 4.333333 max 5 ms",
    ] {
        assert!(rows.iter().any(|line| line.starts_with(row)), "{row:?} is not in {rest}");
    }
    assert!(!rest.contains('\x1b'), "{rest}");
}

#[test]
fn statsd_prints_every_so_often_keeps_gauges_and_counts_further_names_together() {
    let mut statsd = Running::start("statsd", &["--every", "0.05", "--names-max", "2"]);
    let socket = talk(&udp(&mut statsd));
    assert!(statsd.line().contains("nc -u"));
    for _ in 0..2 {
        socket.send(b"level:7|g\nfirst:1|c\nsecond:1|c\nthird:1|c\nfirst:1|c").expect("a datagram");
        let lines: Vec<String> = (0..4).map(|_| statsd.line()).collect();
        assert!(lines[0].starts_with("--- datagrams 1, lines 5, malformed 0, "), "{lines:?}");
        for (line, told) in lines[1..].iter().zip(["first counter 2", "level gauge 7", "statsd.overflow counter 2"]) {
            assert!(line.split_whitespace().collect::<Vec<_>>().join(" ").starts_with(told), "{lines:?}");
        }
    }
    socket.send(b"other:1|c").expect("a datagram");
    assert!(statsd.line().starts_with("--- datagrams 1, lines 1,"));
    assert!(statsd.line().starts_with("level ") && statsd.line().starts_with("other "));
}

#[test]
fn statsd_is_fed_by_nc_and_socat_over_udp_and_unix_sockets() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("statsd.sock");
    let path = path.to_str().expect("a path of letters");
    let at = format!("unixgram:{path}");
    let args = ["--every", "60", "--listen", "udp://127.0.0.1:0", "--listen", &at];
    let mut statsd = Running::start("statsd", &args);
    let address = udp(&mut statsd);
    assert_eq!(statsd.address(), at);
    let (ip, port) = address.split_once(':').expect("a port");
    let mut sent = 1;
    sent += u32::from(tool("nc", &["-u", "-w", "1", ip, port], b"fed:1|c\n").is_some());
    sent += u32::from(tool("socat", &["-", &format!("UDP:{address}")], b"fed:1|c\n").is_some());
    sent += u32::from(tool("socat", &["-", &format!("UNIX-SENDTO:{path}")], b"fed:1|c\n").is_some());
    UnixDatagram::unbound().expect("a socket").send_to(b"fed:1|c", path).expect("a datagram");
    let rest = ended(statsd);
    let row = rest.lines().find(|line| line.starts_with("fed ")).expect("its row");
    assert!(row.contains(&format!("counter {sent} ")), "{row}, and {sent} were sent");
    assert!(!fs::exists(path).expect("a look"), "its file is gone");
}

// --- syslog -----------------------------------------------------------------------------------------------------------

#[test]
fn syslog_prints_a_line_for_each_message_whatever_is_in_it() {
    let mut syslog = Running::start("syslog", &[]);
    let path = syslog.address().strip_prefix("unixgram:").expect("a Unix address").to_owned();
    assert!(syslog.line().contains("logger -u"));
    let socket = UnixDatagram::unbound().expect("a socket");
    let cases: [(&[u8], &str); 14] = [
        (
            b"<34>Oct 11 22:14:15 mymachine su: 'su root' failed\n",
            "auth.crit Oct 11 22:14:15 mymachine su: 'su root' failed",
        ),
        (
            b"<165>1 2003-08-24T05:14:15Z host app - - - text",
            "local4.notice 1 2003-08-24T05:14:15Z host app - - - text",
        ),
        (b"<0>worst\0", "kern.emerg worst"),
        (b"<191>least", "local7.debug least"),
        (b"<192>too much", "user.notice <192>too much"),
        (b"<13", "user.notice <13"),
        (b"<>none", "user.notice <>none"),
        (b"<1234>long", "user.notice <1234>long"),
        (b"<+13>sign", "user.notice <+13>sign"),
        (b"", "user.notice"),
        (b"<14>a\nkern.emerg forged\r\n", "user.info a\\nkern.emerg forged"),
        (b"<14>\x1b[2J\x07 \\n \xc2\x9b", "user.info \\u{1b}[2J\\u{7} \\\\n \\u{9b}"),
        (b"<14>\xff\xe2\x80\xae\xe2\x80\xa8", "user.info \u{fffd}\\u{202e}\\u{2028}"),
        (b"<14>gr\xc3\xbc\xc3\x9fe", "user.info gr\u{fc}\u{df}e"),
    ];
    for (message, line) in cases {
        socket.send_to(message, &path).expect("a datagram");
        assert_eq!(syslog.line(), line, "{}", message.escape_ascii());
    }
    socket.send_to(&[b'x'; 10_000], &path).expect("a datagram");
    assert_eq!(syslog.line(), format!("user.notice {} (cut)", "x".repeat(8192)));
    for _ in 0..100 {
        socket.send_to(b"<11>unread as yet", &path).expect("a datagram");
    }
    let rest = ended(syslog);
    assert_eq!(rest.matches("user.err unread as yet\n").count(), 100, "{rest}");
    assert!(rest.contains("\nmessages 115, emerg 1, crit 1, err 100, notice 8, info 4, debug 1\ndrained: "), "{rest}");
}

#[test]
fn syslog_takes_what_logger_writes_to_a_unix_socket_and_over_udp() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("log.sock");
    let at = format!("unixgram:{}", path.display());
    let mut syslog = Running::start("syslog", &["--listen", &at, "--listen", "udp://127.0.0.1:0"]);
    assert_eq!(syslog.address(), at);
    let address = udp(&mut syslog);
    assert!(syslog.line().contains("logger -d"));
    talk(&address).send(b"<78>job").expect("a datagram");
    assert_eq!(syslog.line(), "cron.info job (from 127.0.0.1)");
    let socket = path.to_str().expect("a path of letters");
    if tool("logger", &["-u", socket, "-p", "local0.err", "-t", "me", "two words"], b"").is_none() {
        return;
    }
    let line = syslog.line();
    assert!(line.starts_with("local0.err ") && line.ends_with(" me: two words"), "{line}");
    let (ip, port) = address.split_once(':').expect("a port");
    tool("logger", &["-d", "-n", ip, "-P", port, "-p", "mail.warning", "over UDP"], b"");
    let line = syslog.line();
    assert!(line.starts_with("mail.warning 1 ") && line.ends_with(" over UDP (from 127.0.0.1)"), "{line}");
}

// --- dns --------------------------------------------------------------------------------------------------------------

const A: u16 = 1;
const TXT: u16 = 16;

/// A name as on the wire.
fn wire(name: &str) -> Vec<u8> {
    let labels = name.split('.').flat_map(|label| [&[label.len() as u8], label.as_bytes()].concat());
    labels.chain([0]).collect()
}

/// A query for one name of class IN, with "recursion desired", and EDNS if `room` is given.
fn query(id: u16, name: &str, kind: u16, room: Option<u16>) -> Vec<u8> {
    let mut query = [&id.to_be_bytes()[..], &[1, 0, 0, 1, 0, 0, 0, 0, 0, room.is_some().into()]].concat();
    query.extend([&wire(name)[..], &kind.to_be_bytes(), &[0, 1]].concat());
    if let Some(room) = room {
        query.extend([&[0, 0, 41][..], &room.to_be_bytes(), &[0; 6]].concat());
    }
    query
}

struct Dns {
    _running: Running,
    socket: UdpSocket,
    address: String,
}

impl Dns {
    fn start(args: &[&str]) -> Dns {
        let mut running = Running::start("dns", args);
        let address = udp(&mut running);
        assert_eq!(running.tcp(), address, "one port for both");
        Dns { _running: running, socket: talk(&address), address }
    }

    fn ask(&self, query: &[u8]) -> Vec<u8> {
        self.socket.send(query).expect("a datagram");
        let mut answer = [0; 65536];
        let length = self.socket.recv(&mut answer).expect("an answer");
        answer[..length].to_vec()
    }
}

fn read_answer(stream: &mut TcpStream) -> Vec<u8> {
    let mut head = [0; 2];
    stream.read_exact(&mut head).expect("a length");
    let mut answer = vec![0; u16::from_be_bytes(head).into()];
    stream.read_exact(&mut answer).expect("an answer");
    answer
}

fn framed(query: &[u8]) -> Vec<u8> {
    [&(query.len() as u16).to_be_bytes(), query].concat()
}

/// The four bits of the answer's code.
fn code(answer: &[u8]) -> u8 {
    answer[3] & 0x0f
}

#[test]
fn dns_answers_as_the_peer_wrote_the_name_and_compresses() {
    let dns = Dns::start(&[]);
    let answer = dns.ask(&query(7, "wWw.Example.test", A, None));
    let expected = [
        // A reply, authoritative, recursion desired; one question, two answers.
        &[0, 7, 0x85, 0, 0, 1, 0, 2, 0, 0, 0, 0][..],
        &wire("wWw.Example.test"),
        &[0, 1, 0, 1],
        // An alias: its name is that of the question, its target the end of it.
        &[0xc0, 12, 0, 5, 0, 1, 0, 0, 1, 44, 0, 2, 0xc0, 16],
        &[0xc0, 16, 0, 1, 0, 1, 0, 0, 1, 44, 0, 4, 192, 0, 2, 1],
    ];
    assert_eq!(answer, expected.concat());

    let none = dns.ask(&query(8, "nothing.example.test", A, Some(1232)));
    assert_eq!(none[..12], [0, 8, 0x85, 3, 0, 1, 0, 0, 0, 1, 0, 1], "no such name, and the zone's SOA record");
    assert!(none.ends_with(&[0, 0, 41, 4, 208, 0, 0, 0, 0, 0, 0]), "EDNS is answered by EDNS");
    let between = dns.ask(&query(9, "b.example.test", A, None));
    assert_eq!(between[..12], [0, 9, 0x85, 0, 0, 1, 0, 0, 0, 1, 0, 0], "a name that only has others below it");
}

#[test]
fn dns_cuts_what_is_too_long_for_udp_and_has_it_whole_over_tcp() {
    let dns = Dns::start(&[]);
    for room in [None, Some(0), Some(1232)] {
        let cut = dns.ask(&query(1, "big.example.test", TXT, room));
        let others = u8::from(room.is_some());
        assert_eq!(cut[..12], [0, 1, 0x87, 0, 0, 1, 0, 0, 0, 0, 0, others], "the bit that says so, and no answer");
    }
    let whole = dns.ask(&query(1, "big.example.test", TXT, Some(4096)));
    assert_eq!(whole[..12], [0, 1, 0x85, 0, 0, 1, 0, 13, 0, 0, 0, 1]);

    let mut stream = dial(&dns.address);
    let asked = framed(&query(1, "big.example.test", TXT, Some(4096)));
    for byte in &asked {
        stream.write_all(&[*byte]).expect("a byte");
    }
    assert_eq!(read_answer(&mut stream), whole);
    // Many at once, answered in order; the last is cut off.
    let many: Vec<u8> = (0..500).flat_map(|id| framed(&query(id, "big.example.test", TXT, None))).collect();
    let mut writer = stream.try_clone().expect("a handle");
    let sender = std::thread::spawn(move || {
        writer.write_all(&many).expect("queries");
        writer.write_all(&asked[..20]).expect("the beginning of one");
        writer.shutdown(std::net::Shutdown::Write).expect("an end");
    });
    for id in 0..500u16 {
        let answer = read_answer(&mut stream);
        assert_eq!((&answer[..2], answer[7]), (&id.to_be_bytes()[..], 13));
    }
    sender.join().expect("a sender");
    assert_eq!(stream.read(&mut [0]).expect("a clean end"), 0);
}

#[test]
fn dns_refuses_what_it_does_not_serve_and_never_answers_an_answer() {
    let dns = Dns::start(&[]);
    let good = query(1, "example.test", A, None);
    let changed = |at: usize, byte: u8| {
        let mut query = good.clone();
        query[at] = byte;
        query
    };
    let end = good.len();
    let edns = query(1, "example.test", A, Some(1232));
    let opt = &edns[end..];
    let mut twice = [&edns[..], opt].concat();
    twice[11] = 2;
    let pointed = |pointer: u8| [&good[..12], &[0xc0, pointer, 0, 1, 0, 1]].concat();
    let long = query(1, &["x".repeat(63).as_str(); 4].join("."), A, None);
    let cases = [
        ("another zone", query(1, "example.org", A, None), 5),
        ("the zone above", query(1, "test", A, None), 5),
        ("the whole zone", query(1, "example.test", 252, None), 5),
        ("another class", changed(end - 1, 3), 5),
        ("an unknown type", changed(end - 3, 200), 0),
        ("another opcode", changed(2, 0x21), 4),
        ("no question", changed(5, 0), 1),
        ("two questions", changed(5, 2), 1),
        ("an answer in a query", changed(7, 1), 1),
        ("a record that is not there", changed(11, 1), 1),
        ("cut off", good[..end - 1].to_vec(), 1),
        ("a header alone", good[..12].to_vec(), 1),
        ("a pointer to itself", pointed(12), 1),
        ("a pointer into the header", pointed(0), 1),
        ("a pointer forwards", pointed(14), 1),
        ("a reserved label", changed(12, 0x41), 1),
        ("a name that is too long", long, 1),
        ("two OPT records", twice, 1),
    ];
    for (what, query, expected) in cases {
        assert_eq!(code(&dns.ask(&query)), expected, "{what}");
    }
    let mut newer = edns.clone();
    newer[end + 6] = 1;
    let bad_version = dns.ask(&newer);
    assert_eq!((code(&bad_version), bad_version[bad_version.len() - 6]), (0, 1), "BADVERS is 16");

    // None of these is answered: the next answer is that of the query behind them.
    for silent in [&[][..], &good[..11], &changed(2, 0x81), &[0xff; 600], &[good.clone(), vec![0; 2000]].concat()] {
        dns.socket.send(silent).expect("a datagram");
    }
    assert_eq!(dns.ask(&query(77, "example.test", A, None))[..2], [0, 77]);
    for silent in [framed(&changed(2, 0x81)), framed(&[]), framed(&[0; 1233])] {
        let mut stream = dial(&dns.address);
        stream.write_all(&silent).expect("a frame");
        assert_eq!(stream.read(&mut [0]).expect("a clean end"), 0, "{silent:?}");
    }
}

#[test]
fn dns_stands_any_bytes() {
    let dns = Dns::start(&[]);
    let mut state = 1u64;
    let mut next = move |below: usize| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) as usize % below
    };
    let mut stream = dial(&dns.address);
    for round in 0..20_000u16 {
        let mut query = query(0, "a.b.example.test", A, Some(512));
        for _ in 0..1 + next(4) {
            let at = next(query.len());
            query[at] = next(256) as u8;
        }
        query.truncate(1 + next(query.len() + 20));
        dns.socket.send(&query).expect("a datagram");
        if stream.write_all(&framed(&query)).is_err() || round % 50 == 0 {
            stream = dial(&dns.address);
        }
        if round % 20 == 0 {
            let good = self::query(u16::MAX, "example.test", A, None);
            let mut answer = dns.ask(&good);
            while answer[..2] != [255, 255] || answer[6..8] != [0, 1] {
                let mut more = [0; 4096];
                let length = dns.socket.recv(&mut more).expect("an answer");
                answer = more[..length].to_vec();
            }
        }
    }
    let mut stream = dial(&dns.address);
    stream.write_all(&framed(&query(5, "example.test", A, None))).expect("a query");
    assert_eq!(read_answer(&mut stream)[..8], [0, 5, 0x85, 0, 0, 1, 0, 1]);
}

#[test]
fn dns_serves_a_zone_file_to_dig_and_names_the_line_that_is_wrong() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("zone");
    let path = path.to_str().expect("a path of letters");
    let soa = "Zone.Test. 60 SOA ns.zone.test me.zone.test 1 2 3 4 5\n";
    let text = "zone.test 60 NS ns.zone.test\nzone.test 60 MX 5 mx.zone.test\nzone.test 60 A 192.0.2.9\n\
        six.zone.test 60 AAAA 2001:db8::1\nalias.zone.test 60 CNAME six.zone.test\n\
        loop.zone.test 60 CNAME loop.zone.test\nt.zone.test 60 TXT \"a; \\\"b\\\"\" \"\"\n";
    fs::write(path, format!("; a comment\n\n{soa}{text}")).expect("a file");
    let dns = Dns::start(&["--zone", path]);
    assert_eq!(code(&dns.ask(&query(1, "loop.zone.test", A, None))), 2, "an alias of itself");
    let answer = dns.ask(&query(1, "ZONE.test", A, None));
    assert!(answer.ends_with(&[192, 0, 2, 9]));
    let (ip, port) = dns.address.split_once(':').expect("a port");
    let dig = |asked: &str| {
        let fixed = ["-r", "@", "-p", port, "+tries=2", "+time=5", "+short"].map(str::to_owned);
        let mut args: Vec<String> = fixed.into_iter().chain(asked.split(' ').map(str::to_owned)).collect();
        args[1] = format!("@{ip}");
        tool("dig", &args.iter().map(String::as_str).collect::<Vec<_>>(), b"")
    };
    let cases = [
        ("zone.test SOA", "ns.zone.test. me.zone.test. 1 2 3 4 5\n"),
        ("zone.test NS", "ns.zone.test.\n"),
        ("zone.test MX", "5 mx.zone.test.\n"),
        ("zone.test A +tcp", "192.0.2.9\n"),
        ("alias.zone.test AAAA +dnssec +cookie", "six.zone.test.\n2001:db8::1\n"),
        ("t.zone.test TXT +noedns", "\"a; \\\"b\\\"\" \"\"\n"),
    ];
    for (asked, expected) in cases {
        let Some(told) = dig(asked) else { break };
        assert_eq!(told, expected, "{asked}");
    }

    let wrong = [
        ("", "it has no records"),
        ("zone.test 60 A 192.0.2.1", "line 1: the first record must be SOA"),
        ("zone.test 60 SOA ns me 1", "line 1: SOA with 3 words"),
        (&format!("{soa}other.test 60 A 192.0.2.1"), "line 2: other.test is not in the zone zone.test"),
        (&format!("{soa}\na.zone.test 60 A 192.0.2"), "line 3: \"192.0.2\""),
        (&format!("{soa}a.zone.test soon A 192.0.2.1"), "line 2: \"soon\""),
        (&format!("{soa}a..zone.test 60 A 192.0.2.1"), "line 2: \"a..zone.test\" is no name"),
        (&format!("{soa}a.zone.test 60 SRV 1 2 3 b"), "line 2: \"SRV\" is not one of"),
        (&format!("{soa}a.zone.test 60 NS b.zone.test"), "no zones begin within"),
        (&format!("{soa}zone.test 60 CNAME b.zone.test"), "CNAME stands alone"),
        (&format!("{soa}a.zone.test 60 TXT bare"), "TXT needs strings in quotation marks"),
        (&format!("{soa}a.zone.test 60 TXT \"open"), "a string does not end"),
        (&format!("{soa}a.zone.test 60 TXT \"{}\"", "x".repeat(256)), "longer than 255 bytes"),
    ];
    for (text, why) in wrong {
        fs::write(path, text).expect("a file");
        let output = run("dns", &["--zone", path]);
        let told = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.code() == Some(1) && told.contains(why), "{why:?} is not in {told}");
    }
}

// --- all --------------------------------------------------------------------------------------------------------------

#[test]
fn what_the_datagram_examples_cannot_do_they_refuse_and_say_why() {
    let cases: [(&str, &[&str], i32, &str); 13] = [
        ("statsd", &["--nonsense"], 2, "--nonsense is not an option"),
        ("statsd", &["--listen", "here"], 2, "--listen: the address \"here\""),
        ("statsd", &["--every", "0"], 2, "--every: 0"),
        ("statsd", &["--names-max", "few"], 2, "--names-max: few is not a number"),
        ("statsd", &["--listen", "tcp://127.0.0.1:0"], 1, "tcp://127.0.0.1:0 cannot be used here"),
        ("statsd", &["--listen", "unixgram:/nowhere/at/all"], 1, "cannot listen on unixgram:/nowhere/at/all"),
        ("syslog", &["--nonsense"], 2, "--nonsense is not an option"),
        ("syslog", &["--listen"], 2, "--listen needs a value"),
        ("syslog", &["--listen", "unix:/nowhere"], 1, "unix:/nowhere cannot be used here"),
        ("dns", &["--nonsense"], 2, "--nonsense is not an option"),
        ("dns", &["--listen", "localhost"], 2, "--listen: localhost is not IP:PORT"),
        ("dns", &["--listen", "192.0.2.1:0"], 1, "cannot listen on tcp://192.0.2.1:0"),
        ("dns", &["--zone", "/nowhere/at/all"], 1, "/nowhere/at/all: "),
    ];
    for (name, args, code, text) in cases {
        let output = run(name, args);
        let told = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(code), "{name} {args:?}: {told}");
        assert!(told.starts_with(&format!("{name}: ")) && told.contains(text), "{name} {args:?}: {told}");
        assert!(output.stdout.is_empty(), "{name} {args:?}");
        let help = run(name, &["--help"]);
        assert!(help.status.success() && help.stdout.starts_with(format!("usage: {name} ").as_bytes()));
    }
}
