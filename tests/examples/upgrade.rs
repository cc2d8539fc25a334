//! The `upgrade` example: HTTP/1.1 that becomes WebSocket, asked by curl, by tungstenite's client, and by hand.

use super::running::{Running, dial, finish, skip};
use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::process::Command;
use tungstenite::protocol::frame::coding::CloseCode;
use tungstenite::protocol::{CloseFrame, Role};
use tungstenite::{Message, WebSocket};

fn serve() -> (Running, String) {
    let mut server = Running::start("upgrade", &[]);
    let address = server.tcp();
    (server, address)
}

const PAGE: &str = "This server echoes WebSockets.\n";

/// The key and its answer of RFC 6455, section 1.3.
const UPGRADE: &str = "GET /chat HTTP/1.1\r\nHost: server.example.com\r\nUpgrade: websocket\r\nConnection: keep-alive, Upgrade\r\n\
                       Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n";
const ACCEPT: &str = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=";

/// One frame of a client, masked as it must be.
fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
    const MASK: [u8; 4] = [0x37, 0xfa, 0x21, 0x3d];
    let mut bytes = vec![first];
    match payload.len() {
        len @ 0..126 => bytes.push(0x80 | len as u8),
        len @ 126..65_536 => {
            bytes.push(0x80 | 126);
            bytes.extend_from_slice(&(len as u16).to_be_bytes());
        }
        len => {
            bytes.push(0x80 | 127);
            bytes.extend_from_slice(&(len as u64).to_be_bytes());
        }
    }
    bytes.extend_from_slice(&MASK);
    bytes.extend(payload.iter().zip(MASK.iter().cycle()).map(|(byte, mask)| byte ^ mask));
    bytes
}

/// Reads a head to its end.
fn head(stream: &mut TcpStream) -> String {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        assert_eq!(stream.read(&mut byte).expect("a byte"), 1, "{}", String::from_utf8_lossy(&head));
        head.extend_from_slice(&byte);
    }
    String::from_utf8(head).expect("text")
}

/// A connection that speaks WebSocket already, as bytes.
fn upgraded(address: &str) -> TcpStream {
    let mut stream = dial(address);
    stream.write_all(UPGRADE.as_bytes()).expect("a request");
    let head = head(&mut stream);
    assert!(head.starts_with("HTTP/1.1 101 ") && head.contains(ACCEPT), "{head}");
    stream
}

/// The same, as a client of tungstenite has it.
fn client(address: &str) -> WebSocket<TcpStream> {
    let (client, response) = tungstenite::client(format!("ws://{address}/"), dial(address)).expect("an upgrade");
    assert_eq!(response.status(), 101);
    client
}

#[test]
fn upgrade_answers_http_until_it_is_asked_for_another_protocol() {
    let (_server, address) = serve();
    // Two requests of one connection.
    let url = format!("http://{address}/");
    match finish(Command::new("curl").args(["-sS", "-v", &url, &url]), b"") {
        Ok(output) => {
            assert_eq!(String::from_utf8_lossy(&output.stdout), PAGE.repeat(2));
            let told = String::from_utf8_lossy(&output.stderr).into_owned();
            assert!(output.status.success() && told.to_lowercase().contains("re-using"), "{told}");
        }
        Err(_) => skip("curl is not installed"),
    }
    for (request, status) in [
        ("POST / HTTP/1.1\r\nHost: a\r\n\r\n".to_owned(), "405 "),
        ("GET / HTTP/1.1\r\n\r\n".to_owned(), "400 "),
        ("GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc".to_owned(), "400 "),
        ("no request at all\r\n\r\n".to_owned(), "400 "),
        (format!("GET / HTTP/1.1\r\nHost: a\r\nX: {}", "x".repeat(10_000)), "431 "),
        (UPGRADE.replace("Version: 13", "Version: 8"), "426 "),
        (UPGRADE.replace("dGhlIHNhbXBsZSBub25jZQ==", "short"), "400 "),
        (UPGRADE.replace("keep-alive, Upgrade", "close"), "400 "),
        (UPGRADE.replace("websocket", "h2c"), "400 "),
        ("GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n".to_owned(), "200 "),
    ] {
        let mut stream = dial(&address);
        stream.write_all(request.as_bytes()).expect("a request");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).expect("an answer, and an end in order");
        assert!(answer.starts_with(&format!("HTTP/1.1 {status}")), "{request:?}: {answer:?}");
    }
}

#[test]
fn upgrade_loses_no_byte_that_comes_right_behind_the_request() {
    let (_server, address) = serve();
    let page = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";
    let frames = [frame(0x81, b"hello"), frame(0x01, b"in "), frame(0x80, b"pieces"), frame(0x88, &[3, 232])].concat();
    let all = [page.as_bytes(), UPGRADE.as_bytes(), &frames].concat();
    for piece in [all.len(), 1, 7, page.len() + UPGRADE.len() + 1] {
        let mut stream = dial(&address);
        stream.set_nodelay(true).expect("TCP_NODELAY");
        for part in all.chunks(piece) {
            stream.write_all(part).expect("a write");
        }
        assert!(head(&mut stream).starts_with("HTTP/1.1 200 "));
        let mut body = vec![0; PAGE.len()];
        stream.read_exact(&mut body).expect("the page");
        assert!(head(&mut stream).contains(ACCEPT));
        let mut rest = Vec::new();
        stream.read_to_end(&mut rest).expect("an end in order");
        assert_eq!(rest, [b"\x81\x05hello".as_slice(), b"\x81\x09in pieces", b"\x88\x02\x03\xe8"].concat());
    }
}

#[test]
fn upgrade_echoes_messages_of_every_kind_and_size() {
    let (_server, address) = serve();
    let mut client = client(&address);
    for length in [0, 1, 125, 126, 65_535, 65_536, 1_000_000, 1024 * 1024] {
        for message in [Message::text("x".repeat(length)), Message::binary(vec![7; length])] {
            client.send(message.clone()).expect("a message");
            assert_eq!(client.read().expect("its echo"), message);
        }
    }
    client.send(Message::Ping(b"are you there?".to_vec().into())).expect("a ping");
    assert_eq!(client.read().expect("a pong"), Message::Pong(b"are you there?".to_vec().into()));
    let bye = CloseFrame { code: CloseCode::Normal, reason: "bye".into() };
    client.close(Some(bye.clone())).expect("a close frame");
    match client.read().expect("an answer") {
        Message::Close(Some(frame)) => assert_eq!(frame.code, bye.code),
        other => panic!("{other}"),
    }
    assert!(matches!(client.read(), Err(tungstenite::Error::ConnectionClosed)));
}

#[test]
fn upgrade_tells_whoever_breaks_the_protocol_which_way_and_goes_on_with_others() {
    let (_server, address) = serve();
    let mut bystander = client(&address);
    let too_long = [vec![0x82, 0xff], (1_u64 << 40).to_be_bytes().to_vec(), vec![0; 4]].concat();
    let in_pieces = [frame(0x02, &[0; 700_000]), frame(0x80, &[0; 700_000])].concat();
    let cases = [
        ("a frame that is not masked", b"\x81\x01x".to_vec(), 1002),
        ("a reserved bit", frame(0xc1, b"x"), 1002),
        ("an unknown kind of frame", frame(0x83, b"x"), 1002),
        ("a continuation of nothing", frame(0x80, b"x"), 1002),
        ("a message within another", [frame(0x01, b"x"), frame(0x81, b"y")].concat(), 1002),
        ("a ping in pieces", frame(0x09, b"x"), 1002),
        ("a long ping", frame(0x89, &[0; 126]), 1002),
        ("a close frame of one byte", frame(0x88, b"x"), 1002),
        ("text that is no UTF-8", frame(0x81, b"\xff"), 1007),
        ("a frame of a tebibyte", too_long, 1009),
        ("a message that is too long in pieces", in_pieces, 1009),
    ];
    for (what, bytes, code) in cases {
        let mut stream = upgraded(&address);
        stream.write_all(&bytes).unwrap_or_else(|error| panic!("{what}: {error}"));
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).unwrap_or_else(|error| panic!("{what}: {error}"));
        assert_eq!(answer, [&[0x88, 2], &u16::to_be_bytes(code)[..]].concat(), "{what}");
    }
    // One that ends in the middle, and one that only ends.
    for bytes in [&frame(0x81, b"whole")[..4], &[]] {
        let mut stream = upgraded(&address);
        stream.write_all(bytes).expect("a write");
        stream.shutdown(Shutdown::Write).expect("an end");
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).expect("an end in order");
        assert_eq!(answer, []);
    }
    bystander.send(Message::text("still here")).expect("a message");
    assert_eq!(bystander.read().expect("its echo"), Message::text("still here"));
}

#[test]
fn upgrade_reads_a_client_only_as_fast_as_that_takes_its_answers() {
    let (_server, address) = serve();
    let mut stream = upgraded(&address);
    let message = frame(0x82, &[5; 100_000]);
    stream.set_nonblocking(true).expect("a mode");
    // Until nothing moves any more. The kernel's buffers hold some megabytes, the server its queue.
    let (mut sent, mut blocked) = (0, 0);
    while blocked < 100 {
        match stream.write(&message[sent % message.len()..]) {
            Ok(count) => (sent, blocked) = (sent + count, 0),
            Err(error) => {
                assert_eq!(error.kind(), ErrorKind::WouldBlock);
                blocked += 1;
                std::thread::park_timeout(std::time::Duration::from_millis(1));
            }
        }
        assert!(sent < 64_000_000, "it takes all that it is sent");
    }
    stream.set_nonblocking(false).expect("a mode");
    let mut left = stream.try_clone().expect("a copy");
    let rest = message[sent % message.len()..].to_vec();
    let writer = std::thread::spawn(move || left.write_all(&rest));
    let messages = sent / message.len() + 1;
    let mut client = WebSocket::from_raw_socket(stream, Role::Client, None);
    for _ in 0..messages {
        assert_eq!(client.read().expect("an echo"), Message::binary(vec![5; 100_000]));
    }
    writer.join().expect("a writer").expect("the rest of a message");
}
