//! The `https` example, asked what browsers ask and what attackers ask.

use super::running::Running;
use super::{PATIENCE, dial};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::path::Path;

/// A folder with a page, a file of some size, and one beside it that must not be served.
fn site() -> tempfile::TempDir {
    let folder = tempfile::tempdir().expect("a folder");
    let root = folder.path().join("site");
    std::fs::create_dir_all(root.join("sub/empty")).expect("folders");
    std::fs::write(folder.path().join("secret"), "secret").expect("a file");
    std::fs::write(root.join("index.html"), "<h1>page</h1>").expect("a file");
    std::fs::write(root.join("sub/a b&c.txt"), "text").expect("a file");
    std::fs::write(root.join("large"), large()).expect("a file");
    std::fs::write(root.join(".hidden"), "secret").expect("a file");
    std::fs::create_dir(root.join(".git")).expect("a folder");
    std::fs::write(root.join(".git/config"), "secret").expect("a file");
    std::os::unix::fs::symlink(folder.path().join("secret"), root.join("out")).expect("a link");
    std::os::unix::fs::symlink("..", root.join("up")).expect("a link");
    std::os::unix::fs::symlink("/", root.join("sub/top")).expect("a link");
    std::os::unix::fs::symlink("sub", root.join("inside")).expect("a link");
    folder
}

fn large() -> Vec<u8> {
    (0..3_000_000u32).map(|i| (i.wrapping_mul(2_654_435_761) >> 24) as u8).collect()
}

fn serve(folder: &Path) -> (Running, String) {
    let root = folder.join("site");
    let mut server =
        Running::start("https", &["--listen", "tcp://127.0.0.1:0", "--root", root.to_str().expect("text")]);
    let address = server.tcp();
    (server, address)
}

/// A status, the fields of a head in lower case, and a body.
struct Answer {
    status: String,
    fields: String,
    body: Vec<u8>,
}

/// Reads one answer; to a HEAD, and for 304, there is no body.
fn answer(stream: &mut BufReader<TcpStream>, has_body: bool) -> Answer {
    let mut status = String::new();
    stream.read_line(&mut status).expect("a status line");
    let (mut fields, mut length) = (String::new(), 0);
    loop {
        let mut line = String::new();
        assert!(stream.read_line(&mut line).expect("a field") > 0, "it ended within a head: {fields}");
        if line == "\r\n" {
            break;
        }
        let line = line.to_lowercase();
        if let Some(value) = line.strip_prefix("content-length: ") {
            length = value.trim().parse().expect("a length");
        }
        fields.push_str(&line);
    }
    let mut body = vec![0; if has_body { length } else { 0 }];
    stream.read_exact(&mut body).expect("a body");
    Answer { status: status.trim_end().strip_prefix("HTTP/1.1 ").expect("HTTP").to_owned(), fields, body }
}

fn ask(stream: &mut BufReader<TcpStream>, request: &str) -> Answer {
    stream.get_mut().write_all(request.as_bytes()).expect("a request");
    answer(stream, !request.starts_with("HEAD"))
}

fn get(path: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nHost: a\r\n\r\n")
}

#[test]
fn https_answers_many_requests_of_one_connection_in_order() {
    let folder = site();
    let (_server, address) = serve(folder.path());
    let mut stream = BufReader::new(dial(&address));
    let page = ask(&mut stream, &get("/?query"));
    assert_eq!((page.status.as_str(), &page.body[..]), ("200 OK", &b"<h1>page</h1>"[..]));
    assert!(page.fields.contains("content-type: text/html\r\n"), "{}", page.fields);
    let head = ask(&mut stream, "HEAD /large HTTP/1.1\r\nHost: a\r\n\r\n");
    assert!(head.fields.contains("content-length: 3000000\r\n"), "{}", head.fields);

    let paths = ["/large", "/", "/nothing", "/sub/a%20b&c.txt", "/-/noise/5000", "/large", "/"];
    let requests: String = paths.iter().map(|path| get(path)).collect();
    // All before the first answer is read: more than any buffer holds.
    stream.get_mut().write_all(requests.as_bytes()).expect("requests");
    let answers: Vec<Answer> = paths.iter().map(|_| answer(&mut stream, true)).collect();
    let bodies: Vec<&[u8]> = answers.iter().map(|answer| &answer.body[..]).collect();
    assert!(bodies[0] == large() && bodies[5] == large(), "other bytes");
    assert_eq!(bodies[1..5], [b"<h1>page</h1>", &b"404 Not Found\n"[..], b"text", &[b'.'; 5000]]);

    let mut parts = Vec::new();
    for range in ["0-0", "1-1999999", "2000000-", "-1"] {
        let request = format!("GET /large HTTP/1.1\r\nHost: a\r\nRange: bytes={range}\r\n\r\n");
        let part = ask(&mut stream, &request);
        assert_eq!(part.status, "206 Partial Content");
        assert!(part.fields.contains("/3000000\r\n"), "{}", part.fields);
        parts.extend(part.body);
    }
    assert_eq!(parts.pop(), large().pop());
    assert!(parts == large(), "other bytes");

    let modified =
        page.fields.lines().find_map(|line| line.strip_prefix("last-modified: ")).expect("a time").to_owned();
    let since = titled(&modified.to_uppercase());
    stream
        .get_mut()
        .write_all(get("/").replace("\r\n\r\n", &format!("\r\nIf-Modified-Since: {since}\r\n\r\n")).as_bytes())
        .expect("a request");
    assert_eq!(answer(&mut stream, false).status, "304 Not Modified");

    let last = ask(&mut stream, "GET / HTTP/1.1\r\nHost: a\r\nConnection: Close\r\n\r\n");
    assert!(last.fields.contains("connection: close\r\n"), "{}", last.fields);
    assert_eq!(stream.read(&mut [0]).expect("an end"), 0);
}

/// A date with its letters as HTTP writes them: `Tue, 24 Nov 2026 10:00:00 GMT`.
fn titled(date: &str) -> String {
    date.trim_end_matches("GMT")
        .split_inclusive(' ')
        .map(|word| word[..1].to_owned() + &word[1..].to_lowercase())
        .collect::<String>()
        + "GMT"
}

#[test]
fn https_refuses_what_is_no_request_and_what_it_does_not_serve() {
    let folder = site();
    let (_server, address) = serve(folder.path());
    let long = format!("GET / HTTP/1.1\r\nHost: a\r\nLong: {}", "x".repeat(20_000));
    let many = format!("GET / HTTP/1.1\r\nHost: a\r\n{}\r\n", "a: b\r\n".repeat(100));
    let cases = [
        (get("/../secret"), "400"),
        (get("/%2e%2e/secret"), "400"),
        (get("/sub/..%2f..%2fsecret"), "400"),
        (get("//etc/passwd"), "400"),
        (get("/large%00.html"), "400"),
        (get("*"), "400"),
        (get("/large/"), "404"),
        (get("/sub"), "301"),
        (get("/sub/"), "200"),
        ("GET http://a/ HTTP/1.1\r\nHost: a\r\n\r\n".to_owned(), "200"),
        ("GET /large HTTP/1.1\r\nHost: a\r\nRange: bytes=3000000-\r\n\r\n".to_owned(), "416"),
        ("GET / HTTP/1.1\r\nHost: a\r\nRange: bytes=1-2,4-5\r\n\r\n".to_owned(), "200"),
        ("GET / HTTP/1.1\r\n\r\n".to_owned(), "400"),
        ("GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n".to_owned(), "400"),
        ("GET / HTTP/1.0\r\n\r\n".to_owned(), "200"),
        ("GET / HTTP/2.0\r\nHost: a\r\n\r\n".to_owned(), "505"),
        ("DELETE / HTTP/1.1\r\nHost: a\r\n\r\n".to_owned(), "405"),
        ("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 24\r\n\r\nGET /large HTTP/1.1\r\n\r\n\r\n".to_owned(), "405"),
        ("\x16\x03\x01 what is this\r\n\r\n".to_owned(), "400"),
        (get("/.hidden"), "404"),
        (get("/.git/config"), "404"),
        (get("/%2egit/config"), "404"),
        (get("/out"), "404"),
        (get("/up/secret"), "404"),
        (get("/sub/top/etc/passwd"), "404"),
        (get("/inside/"), "200"),
        (get("/-/noise/99999999999"), "404"),
        ("GET / HTTP/1.1\nHost: a\n\n".to_owned(), "400"),
        ("GET / HTTP/1.1\r\nHost: a\n\r\n".to_owned(), "400"),
        ("GET / HTTP/1.1\r\nHost: a b\r\n\r\n".to_owned(), "400"),
        ("GET / HTTP/1.1\r\nHost: a/b\r\n\r\n".to_owned(), "400"),
        ("GET / HTTP/1.1\r\nHost: user@a\r\n\r\n".to_owned(), "400"),
        ("GET / HTTP/1.1\r\nHost: a:x\r\n\r\n".to_owned(), "400"),
        ("GET / HTTP/1.1\r\nHost: [::1]:80\r\n\r\n".to_owned(), "200"),
        ("GET / HTTP/1.1\r\nHost: a\r\nContent-Length: +0\r\n\r\n".to_owned(), "400"),
        ("GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 0, 0\r\n\r\n".to_owned(), "400"),
        ("GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\nContent-Length: 5\r\n\r\n".to_owned(), "400"),
        ("GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n".to_owned(), "400"),
        ("GET /large HTTP/1.1\r\nHost: a\r\nRange: bytes=99999999999999999999999-\r\n\r\n".to_owned(), "416"),
        ("GET / HTTP/1.1\r\nHost: a\r\nRange: bytes=0-99999999999999999999999\r\n\r\n".to_owned(), "206"),
        (format!("GET / HTTP/1.1\r\nHost: a\r\nConnection: close, keep-alive\r\n\r\n{}", get("/sub/")), "200"),
        (long, "431"),
        (many, "431"),
    ];
    for (request, status) in cases {
        let mut stream = dial(&address);
        stream.write_all(request.as_bytes()).expect("a request");
        stream.shutdown(Shutdown::Write).expect("an end");
        let mut said = Vec::new();
        stream.read_to_end(&mut said).expect("an answer and an end");
        let said = String::from_utf8_lossy(&said);
        assert!(said.starts_with(&format!("HTTP/1.1 {status} ")), "{request:.80} got {said:.200}");
        assert_eq!(said.matches("HTTP/1.1 ").count(), 1, "{request:.80} got several answers");
        assert!(!said.contains("secret"), "{request:.80} left the folder");
    }
}

#[test]
fn https_drains_what_was_asked_to_its_end() {
    let folder = site();
    let (mut server, address) = serve(folder.path());
    let length = 40_000_000;
    let mut streams = Vec::new();
    for path in ["/large", "/-/noise/40000000"] {
        let mut stream = BufReader::new(dial(&address));
        stream.get_mut().write_all(get(path).as_bytes()).expect("a request");
        // So that it has begun.
        stream.fill_buf().expect("the beginning");
        streams.push(stream);
    }
    assert!(server.line().starts_with("  curl"));
    server.signal(rustix::process::Signal::TERM);
    assert!(answer(&mut streams[0], true).body == large(), "other bytes");
    assert_eq!(answer(&mut streams[1], true).body.len(), length);
    for stream in &mut streams {
        assert_eq!(stream.read(&mut [0]).expect("an end in order"), 0);
    }
    drop(streams);
    let (rest, ended_well) = server.rest();
    assert!(ended_well && rest.contains("drained: 2 drained, 0 cut, 0 bytes never sent"), "{rest}");
}

#[test]
fn https_tells_a_plain_request_at_its_tls_port_what_is_wrong() {
    let mut server = Running::start("https", &["--listen", "tls://127.0.0.1:0"]);
    let address = server.address().strip_prefix("tls://").expect("a TLS address").to_owned();
    let mut stream = dial(&address);
    stream.set_read_timeout(Some(PATIENCE)).expect("a timeout");
    stream.write_all(get("/").as_bytes()).expect("a request");
    let mut said = String::new();
    stream.read_to_string(&mut said).expect("an answer and an end");
    assert!(
        said.starts_with("HTTP/1.1 400 ") && said.ends_with("\r\n\r\nThis port speaks TLS: use https.\r\n"),
        "{said}"
    );
}

#[test]
fn https_lists_a_folder_however_large_and_whatever_its_names() {
    use std::os::unix::ffi::OsStrExt;
    let folder = site();
    let many = folder.path().join("site/many");
    std::fs::create_dir(&many).expect("a folder");
    let odd = many.join(std::ffi::OsStr::from_bytes(b"odd\xff name"));
    std::fs::write(&odd, "found").expect("a file");
    // More than the 1 MiB that an output queue holds.
    let names: Vec<String> = (0..9_000).map(|n| format!("{n:05}-{}", "n".repeat(100))).collect();
    names.iter().for_each(|name| std::fs::write(many.join(name), "").expect("a file"));
    let (_server, address) = serve(folder.path());
    let mut stream = BufReader::new(dial(&address));
    let page = ask(&mut stream, &get("/many/"));
    assert!(page.status.starts_with("200") && page.body.len() > 1 << 20, "{} {}", page.status, page.body.len());
    let text = String::from_utf8(page.body).expect("UTF-8");
    assert!(
        names.iter().zip(text.lines().filter(|line| line.contains("-nnn"))).all(|(name, line)| line.contains(name))
    );
    assert!(text.contains("./odd%FF%20name"));
    assert_eq!(ask(&mut stream, &get("/many/odd%FF%20name")).body, b"found");
    let root = ask(&mut stream, &get("/sub/"));
    assert!(!String::from_utf8_lossy(&root.body).contains("hidden"));
}

#[test]
fn https_answers_plain_text_that_is_no_http_by_an_alert() {
    let mut server = Running::start("https", &["--listen", "tls://127.0.0.1:0"]);
    let address = server.address().strip_prefix("tls://").expect("a TLS address").to_owned();
    for said in ["SSH-2.0-OpenSSH_9.9\r\n", "EHLO example.org\r\n", "get / http/1.1\r\n\r\n"] {
        let mut stream = dial(&address);
        stream.set_read_timeout(Some(PATIENCE)).expect("a timeout");
        stream.write_all(said.as_bytes()).expect("a word");
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).expect("an answer and an end");
        assert!(matches!(answer[..], [21, 3, _, 0, 2, 2, _]), "{answer:?}");
    }
}
