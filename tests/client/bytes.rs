//! Bytes there and back: how many, both ways at once, and behind an end of one side.

use crate::host::{Host, noise};
use crate::support::{Kind, each_kind};
use std::io::{Read, Write};
use std::sync::mpsc;
use windlass::Client;

/// Writes all of it on one thread while another reads all that comes.
fn there_and_back(client: &Client, sent: &[u8]) -> Vec<u8> {
    std::thread::scope(|scope| {
        let reader = scope.spawn(|| {
            let mut got = Vec::with_capacity(sent.len());
            (&*client).read_to_end(&mut got).expect("all of it, and the end");
            got
        });
        let mut writer = client;
        writer.write_all(sent).expect("written");
        client.shutdown_write().expect("our end");
        reader.join().expect("no panic")
    })
}

#[test]
fn one_byte_and_64_kib_come_back_from_everywhere() {
    Host::everywhere(|host| {
        let client = host.client();
        for bytes in [1, 64 * 1024] {
            let sent = noise(bytes);
            let got = std::thread::scope(|scope| {
                scope.spawn(|| host.accept().echo());
                client.connect(crate::support::PATIENCE).expect("a connection");
                there_and_back(&client, &sent)
            });
            assert!(got == sent, "other bytes came back");
            client.close().expect("closed");
        }
    });
}

fn carries_64_mib(kind: Kind) {
    let host = Host::new(kind);
    let (client, mut guest) = host.pair(host.builder());
    let echo = std::thread::spawn(move || guest.echo());
    let sent = noise(1 << 20).repeat(64);
    assert!(there_and_back(&client, &sent) == sent, "other bytes came back");
    echo.join().expect("no panic");
}

#[test]
fn so_do_64_mib_over_tcp() {
    carries_64_mib(Kind::Tcp);
}

#[test]
fn so_do_64_mib_over_unix_sockets() {
    carries_64_mib(Kind::Unix);
}

#[cfg(feature = "tls")]
#[test]
fn so_do_64_mib_over_tls() {
    carries_64_mib(Kind::Tls);
}

#[cfg(feature = "tls")]
#[test]
fn so_do_64_mib_over_tls_on_unix_sockets() {
    carries_64_mib(Kind::TlsUnix);
}

#[test]
fn who_ends_its_own_side_still_gets_the_whole_answer() {
    each_kind(|kind| {
        let host = Host::new(kind);
        let (mut client, mut guest) = host.pair(host.builder());
        let answer = noise(3_000_000);
        client.write_all(b"what?").expect("written");
        client.shutdown_write().expect("our end");
        let expected = answer.clone();
        let serving = std::thread::spawn(move || {
            assert_eq!(guest.rest(), b"what?");
            for piece in answer.chunks(100_000) {
                guest.send(piece);
            }
            guest.finish();
        });
        let mut got = Vec::new();
        client.read_to_end(&mut got).expect("all of it");
        assert!(got == expected, "{} of {} bytes came", got.len(), expected.len());
        serving.join().expect("no panic");
        assert_eq!(client.read(&mut [0; 8]).expect("the end is told as often as it is asked for"), 0);
        client.close().expect("closed");
    });
}

#[test]
fn two_threads_read_and_write_at_once_and_nothing_is_lost_or_mixed() {
    each_kind(|kind| {
        let host = Host::new(kind);
        let (client, guest) = host.pair(host.builder());
        let (down, up) = (noise(2_000_000), noise(1_999_999));
        // A guest with TLS has one thread: it writes a piece, and reads one, in turn.
        let (sent, expected) = (down.clone(), up.clone());
        let serving = std::thread::spawn(move || {
            let (mut guest, mut got) = (guest, Vec::new());
            let mut buffer = vec![0; 20_000];
            let mut pieces = sent.chunks(20_000);
            while got.len() < expected.len() || pieces.len() > 0 {
                if let Some(piece) = pieces.next() {
                    guest.send(piece);
                }
                if got.len() < expected.len() {
                    let some = guest.read(&mut buffer).expect("a read");
                    assert_ne!(some, 0, "an early end");
                    got.extend_from_slice(&buffer[..some]);
                }
            }
            assert!(got == expected, "other bytes came");
            guest.finish();
            assert_eq!(guest.rest(), b"");
        });
        let got = there_and_back(&client, &up);
        assert!(got == down, "other bytes came");
        serving.join().expect("no panic");
    });
}

#[test]
fn small_messages_of_several_writers_stay_whole() {
    const WRITERS: u8 = 4;
    const MESSAGES: usize = 300;
    each_kind(|kind| {
        let host = Host::new(kind);
        let (client, mut guest) = host.pair(host.builder());
        std::thread::scope(|scope| {
            for writer in 0..WRITERS {
                let client = client.clone();
                scope.spawn(move || {
                    for _ in 0..MESSAGES {
                        (&client).write_all(&[writer; 1000]).expect("written");
                    }
                });
            }
            let mut count = [0; WRITERS as usize];
            for _ in 0..usize::from(WRITERS) * MESSAGES {
                let message = guest.receive(1000);
                assert!(message.iter().all(|byte| *byte == message[0]), "mixed");
                count[usize::from(message[0])] += 1;
            }
            assert_eq!(count, [MESSAGES; WRITERS as usize]);
        });
    });
}

#[test]
fn a_ping_is_answered_while_another_thread_waits_to_read() {
    each_kind(|kind| {
        let host = Host::new(kind);
        let (client, mut guest) = host.pair(host.builder());
        let echo = std::thread::spawn(move || guest.echo());
        std::thread::scope(|scope| {
            let (tell, told) = mpsc::channel();
            let reading = client.clone();
            scope.spawn(move || {
                let mut byte = [0];
                while let Ok(1) = (&reading).read(&mut byte) {
                    tell.send(byte[0]).expect("somebody waits");
                }
            });
            for byte in 0..200 {
                (&client).write_all(&[byte]).expect("written");
                assert_eq!(told.recv_timeout(crate::support::PATIENCE), Ok(byte));
            }
            client.shutdown_write().expect("our end");
        });
        echo.join().expect("no panic");
    });
}

#[test]
fn nothing_at_all_can_be_read_and_written() {
    each_kind(|kind| {
        let host = Host::new(kind);
        let (mut client, mut guest) = host.pair(host.builder());
        assert_eq!(client.write(b"").expect("nothing"), 0);
        guest.send(b"x");
        assert_eq!(client.read(&mut []).expect("nothing"), 0);
        let mut byte = [0];
        client.read_exact(&mut byte).expect("it is still there");
        assert_eq!(&byte, b"x");
    });
}
