//! Payload and keys appear in nothing that is printed: a marked payload and a real key, looked for in every log record
//! and in what Debug shows.

use crate::raw::Client;
use crate::support::{Hooks, Kind, World, security};
use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Mutex;
use windlass::{Conn, ListenConfig};

const PAYLOAD: &str = "canary-in-the-payload-7713";

static TOLD: Mutex<String> = Mutex::new(String::new());

/// From here on every record of this process is kept.
pub(crate) fn listen_to_the_log() {
    static ONCE: std::sync::Once = std::sync::Once::new();
    ONCE.call_once(|| {
        log::set_logger(&Listener).expect("the only logger");
        log::set_max_level(log::LevelFilter::Trace);
    });
}

/// What was logged.
pub(crate) fn log_told() -> String {
    TOLD.lock().expect("a log").clone()
}

struct Listener;

impl log::Log for Listener {
    fn enabled(&self, _: &log::Metadata<'_>) -> bool {
        true
    }

    fn log(&self, record: &log::Record<'_>) {
        let line = format!("{} {}\n", record.target(), record.args());
        TOLD.lock().expect("a log").push_str(&line);
    }

    fn flush(&self) {}
}

/// Whether a line that was logged ends so.
pub(crate) fn was_logged(end: &str) -> bool {
    TOLD.lock().expect("a log").lines().any(|line| line.ends_with(end))
}

#[test]
fn payload_and_keys_are_never_printed() {
    // Other tests of this process may log meanwhile, which makes this one only stricter.
    listen_to_the_log();
    let told = Rc::new(RefCell::new(String::new()));
    for kind in [Kind::Tls, Kind::TlsUnix] {
        let mut world = World::new();
        let config = ListenConfig { tls: Some(security::server()), ..ListenConfig::default() };
        told.borrow_mut().push_str(&format!("{config:?} {:?} {:?}", security::server(), security::client()));
        let hears = told.clone();
        let address = world.listen(kind, config, move |_: &Conn<'_>| {
            let hears = hears.clone();
            Hooks::new().data(move |conn, data| {
                // Half of it waits in the inbox, the answer in the gather buffer.
                conn.write(data).expect("room");
                hears.borrow_mut().push_str(&format!("{conn:?} {:?}", conn.tls()));
                conn.detach(|link, _| drop(format!("{:?}", link.into_parts())));
                data.len() / 2
            })
        });
        let mut client = Client::usual(&address);
        client.shake(&mut world, 500);
        client.write(PAYLOAD.as_bytes());
        client.send_in_pieces(&mut world, 500);
        world.until("it to be shown", |world| world.log.reasons().len() == 1);
        told.borrow_mut().push_str(&format!("{:?}", world.reactor()));
        // A fault, whose text goes to the log.
        let mut faulty = Client::usual(&address);
        faulty.shake(&mut world, 500);
        faulty.write(PAYLOAD.as_bytes());
        let mut records = faulty.records();
        *records.last_mut().expect("a record") ^= 1;
        faulty.peer.send_all_while(&mut world, &records);
        drop(faulty);
        world.until_empty();
    }
    let told = format!("{}{}", told.borrow(), log_told());
    assert!(told.contains("cannot decrypt") || told.contains("decrypt"), "the fault was not logged: {told}");
    let secret = security::key();
    for bytes in [PAYLOAD.as_bytes(), &secret[secret.len() - 16..], &secret[36..52]] {
        let listed = bytes.iter().map(|byte| byte.to_string()).collect::<Vec<_>>().join(", ");
        let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
        for form in [String::from_utf8_lossy(bytes).into_owned(), listed, hex] {
            assert!(!told.to_lowercase().contains(&form.to_lowercase()), "{form} was printed: {told}");
        }
    }
}
