//! Servers that run by a file.

use crate::support::{Echo, PATIENCE};
use crate::{client, server};
use std::io::{Read, Write};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::os::unix::net::UnixStream;
use std::time::Duration;
use windlass::{AfterRequest, Client, Conn, Connector, Server};

/// Says a word and has it back.
pub(crate) fn echoes(stream: &mut (impl Read + Write)) {
    stream.write_all(b"hello").expect("a write");
    let mut back = [0; 5];
    stream.read_exact(&mut back).expect("an answer");
    assert_eq!(&back, b"hello");
}

#[test]
fn a_socket_file_has_the_mode_and_group_of_the_file() {
    let folder = tempfile::tempdir().expect("a folder");
    for (bits, mode) in [("'rw-rw----'", 0o660), ("'0600'", 0o600), ("'0o666'", 0o666)] {
        let path = folder.path().join(format!("{mode:o}.sock"));
        let group = std::fs::metadata(folder.path()).expect("a folder").gid();
        let config = server(&format!(
            "network = 'unix'\naddress = {path:?}\nperm-file = {bits}\ngroup-perm = {group}\nreactors = 1\n"
        ));
        let builder = Server::builder().config(&config).expect("a configuration");
        let server = builder.handler(|| |_: &Conn<'_>| Echo).build().expect("a server");
        server.listen().expect("it listens");
        let file = std::fs::metadata(&path).expect("a file");
        assert_eq!((file.permissions().mode() & 0o777, file.gid()), (mode, group));
        echoes(&mut UnixStream::connect(&path).expect("a connection"));
        server.shutdown(config.drain_timeout).expect("a report");
        assert!(!path.exists());
    }
}

#[test]
fn an_idle_connection_is_closed_after_con_idle_timeout() {
    let config = server("network = 'tcp'\naddress = '127.0.0.1:0'\nreactors = 1\ncon-idle-timeout = '100ms'");
    // The same configuration serves again after an end.
    for _ in 0..2 {
        let builder = Server::builder().config(&config).expect("a configuration");
        let server = builder.handler(|| |_: &Conn<'_>| Echo).build().expect("a server");
        server.listen().expect("it listens");
        let at = server.local_addresses()[0].ip().expect("an IP address");
        let mut stream = std::net::TcpStream::connect(at).expect("a connection");
        stream.set_read_timeout(Some(PATIENCE)).expect("a timeout");
        echoes(&mut stream);
        assert_eq!(stream.read(&mut [0]).expect("an end"), 0);
        server.close().expect("a report");
    }
}

#[test]
fn one_peer_has_no_more_than_per_peer_max() {
    let config = server("address = 'tcp://127.0.0.1:0'\nreactors = 1\nper-peer-max = 1");
    let builder = Server::builder().config(&config).expect("a configuration");
    let server = builder.handler(|| |_: &Conn<'_>| Echo).build().expect("a server");
    server.listen().expect("it listens");
    let at = server.local_addresses()[0].ip().expect("an IP address");
    let mut first = std::net::TcpStream::connect(at).expect("a connection");
    first.set_read_timeout(Some(PATIENCE)).expect("a timeout");
    echoes(&mut first);
    let mut second = std::net::TcpStream::connect(at).expect("a connection");
    second.set_read_timeout(Some(PATIENCE)).expect("a timeout");
    assert!(second.read(&mut [0]).map_or(true, |read| read == 0), "it was let in");
    server.close().expect("a report");
}

#[test]
fn clients_of_both_kinds_run_by_a_file() {
    let config = server("address = 'tcp://127.0.0.1:0'\nreactors = 1");
    let builder = Server::builder().config(&config).expect("a configuration");
    let server = builder.handler(|| |_: &Conn<'_>| Echo).build().expect("a server");
    server.listen().expect("it listens");
    let at = server.local_addresses().remove(0);
    let config = client(&format!("address = '{at}'\nread-timeout = '20s'\nconnect-timeout = '10s'"));
    let waits = Client::configured(&config).expect("a configuration").build().expect("a client");
    let answer = waits.once(&b"hello"[..], AfterRequest::HalfClose, PATIENCE, |answer| {
        let mut all = String::new();
        answer.read_to_string(&mut all).map(|_| all)
    });
    assert_eq!(answer.expect("an answer"), "hello");
    let idle = client(&format!("address = '{at}'\ncon-idle-timeout = '50ms'"));
    let idle = Client::configured(&idle).expect("a configuration").build().expect("a client");
    idle.connect(PATIENCE).expect("a connection");
    let late = (&idle).read(&mut [0; 1]).expect_err("nobody speaks");
    assert_eq!(late.kind(), std::io::ErrorKind::TimedOut, "{late}");
    let refused = Client::configured(&client(&format!("address = '{at}'\nlinger-timeout = '1s'")));
    let refused = refused.expect_err("it cannot be").to_string();
    assert!(refused.starts_with("linger-timeout cannot be 1s"), "{refused}");

    let remote = server.remotes().remove(0);
    let (tell, told) = std::sync::mpsc::channel();
    let builder = Connector::configured(&config).expect("a configuration");
    let connector = builder.start(&remote, move |_: &Conn<'_>| {
        tell.send(()).expect("somebody waits");
        Echo
    });
    told.recv_timeout(PATIENCE).expect("it connects");
    drop(connector);
    server.shutdown(Duration::from_secs(5)).expect("a report");
}

#[test]
fn a_datagram_client_binds_where_it_is_told_however_that_is_written() {
    let peer = std::net::UdpSocket::bind("127.0.0.1:0").expect("a socket");
    let at = peer.local_addr().expect("an address");
    for scheme in ["udp", "tcp"] {
        let config = client(&format!("address = 'udp://{at}'\nbind = '{scheme}://127.0.0.1:0'"));
        let client = Client::configured(&config).expect("a configuration").build().expect("a client");
        client.connect(PATIENCE).expect("a socket");
        let own = client.local_address().and_then(|own| own.ip()).expect("an IP address");
        assert!(own.ip().is_loopback() && own.port() > 0, "{own}");
    }
}
