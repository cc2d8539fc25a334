//! What goes wrong in the middle of a connect by name: nothing hangs, panics, or leaves a descriptor or a thread behind.

use crate::support::blocking::{Tale, until};
use crate::support::{Hooks, PATIENCE, alone, descriptors};
use crate::{FACES, black_hole, millis, within};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::os::fd::AsRawFd;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, mpsc};
use std::thread;
use std::time::{Duration, Instant};
use windlass::{
    Address, Backoff, Client, Conn, ConnectConfig, Connector, ConnectorState, Engine, EngineConfig, Limits, Reactor,
    ReactorConfig, Reason, Resolver,
};

/// Descriptors and threads of this process.
fn held() -> (usize, usize) {
    (descriptors(), std::fs::read_dir("/proc/self/task").expect("/proc").count())
}

fn address(text: &str) -> Address {
    text.parse().expect("an address")
}

fn knowing(addresses: Vec<SocketAddr>) -> Resolver {
    Resolver::new(move |_| Ok(addresses.clone()))
}

/// Addresses at all of which nobody answers.
fn swallowing(count: u8) -> (Vec<socket2::Socket>, Vec<SocketAddr>) {
    let hole = black_hole((Ipv4Addr::UNSPECIFIED, 0).into());
    let port = hole[0].local_addr().expect("an address").as_socket().expect("an IP address").port();
    let each = (1..=count).map(|last| (Ipv4Addr::new(127, 0, 0, last), port).into()).collect();
    (hole, each)
}

/// A resolver that hangs until the sender is dropped.
fn hanging() -> (Resolver, mpsc::Sender<()>) {
    let (hold, held) = mpsc::channel::<()>();
    let held = Mutex::new(held);
    let resolver = Resolver::new(move |_| {
        let _ = held.lock().expect("the lock").recv();
        Err(std::io::Error::other("no answer"))
    });
    (resolver, hold)
}

fn patient(connect_timeout: Duration) -> ConnectConfig {
    ConnectConfig { limits: Limits { connect_timeout, ..Limits::default() }, ..ConnectConfig::default() }
}

fn one_reactor() -> Engine {
    Engine::start(EngineConfig { reactors: 1, ..EngineConfig::default() }).expect("an engine")
}

/// A connector, and what it tells.
fn connector(engine: &Engine, name: &str, resolver: &Resolver, config: ConnectConfig) -> (Connector, Tale<String>) {
    let told = Tale::default();
    let tells = told.clone();
    let builder = Connector::builder(address(name)).resolver(resolver.clone()).connect_config(config);
    let builder = builder.backoff(Backoff { attempts_max: Some(1), ..Backoff::default() });
    let builder = builder.on_state(move |state| {
        tells.tell(match state {
            ConnectorState::Connected(_) => "connected".to_owned(),
            other => other.to_string(),
        })
    });
    (builder.start(engine.least_loaded(), |_: &Conn<'_>| Hooks::new()).expect("it starts"), told)
}

#[test]
fn who_gives_up_in_the_middle_leaves_nothing_behind() {
    alone("troubles::who_gives_up_in_the_middle_leaves_nothing_behind", || {
        let (hole, addresses) = swallowing(8);
        let (races, (hangs, hold)) = (knowing(addresses), hanging());
        let config = || patient(Duration::from_secs(60));
        // What stays for good, such as the standard output's.
        one_reactor().shutdown(PATIENCE).expect("it ends");
        let before = held();
        for (what, resolver) in [("a race", &races), ("a lookup", &hangs)] {
            // An attempt each 250 ms.
            let under_way = |base: (usize, usize)| {
                until(what, || if what == "a race" { held().0 >= base.0 + 3 } else { held().1 > base.1 });
            };
            let client = Client::builder(address("tcp://host.example:1")).resolver(resolver.clone());
            let client = client.connect_config(config()).build().expect("a client");
            thread::scope(|scope| {
                let connects = scope.spawn(|| client.connect(PATIENCE).expect_err("it is called off"));
                under_way((before.0, before.1 + 1));
                client.close().expect("it connects");
                let error = connects.join().expect("no panic").to_string();
                assert!(error.contains("closed"), "{what}: {error}");
            });
            drop(client);
            for ends in ["stopped", "drained", "dropped"] {
                let engine = one_reactor();
                let base = held();
                let (connector, told) = connector(&engine, "tcp://host.example:1", resolver, config());
                under_way(base);
                match ends {
                    "stopped" => {
                        connector.stop();
                        told.until("it to stop", |told| told.last().is_some_and(|last| last == "stopped"));
                        engine.shutdown(PATIENCE).expect("it ends");
                    }
                    "drained" => {
                        let since = Instant::now();
                        engine.shutdown(PATIENCE).expect("it ends");
                        assert!(since.elapsed() < PATIENCE / 2, "{what}: {:?}", since.elapsed());
                    }
                    _ => drop(engine),
                }
                drop(connector);
            }
        }
        // By the system's resolver, on a reactor of this thread.
        for (ends, expected) in
            [("closed", Reason::Aborted), ("drained", Reason::Drain), ("dropped", Reason::ReactorDropped)]
        {
            let mut reactor = Reactor::new(ReactorConfig::default()).expect("a reactor");
            let port = hole[0].local_addr().expect("an address").as_socket().expect("an IP address").port();
            let told = Tale::default();
            let tells = told.clone();
            let handler = Hooks::new().close(move |_, reason| tells.tell(reason));
            let base = held();
            let name = address(&format!("tcp4://localhost:{port}"));
            let id = reactor.connect(&name, config(), handler).expect("it begins");
            until("an attempt", || {
                reactor.poll_once(Some(millis(1))).expect("a turn");
                held().0 > base.0
            });
            match ends {
                "closed" => reactor.remote().abort(id).expect("room"),
                "drained" => reactor.shutdown(PATIENCE),
                _ => {}
            }
            until("its end", || {
                if ends != "dropped" {
                    reactor.poll_once(Some(millis(1))).expect("a turn");
                }
                ends == "dropped" || told.count() > 0
            });
            drop(reactor);
            assert_eq!(told.all(), [expected]);
        }
        until("descriptors to be closed", || held().0 == before.0);
        drop(hold);
        until("threads to end", || held() == before);
    });
}

#[test]
fn lookups_that_hang_in_one_resolver_hold_up_no_other() {
    // 64 held all threads, and nobody's name was looked up.
    let (hangs, hold) = hanging();
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
    let there = listener.local_addr().expect("an address");
    let engine = one_reactor();
    let config = || patient(Duration::from_secs(60));
    let hanging: Vec<_> =
        (0..64).map(|number| connector(&engine, &format!("tcp://up{number}.example:1"), &hangs, config())).collect();
    for (_, told) in &hanging {
        told.until_count("it to begin", 1);
    }
    let name = address(&format!("tcp4://localhost:{}", there.port()));
    for (what, face) in FACES {
        within(millis(50), &format!("localhost beside 64 that hang, {what}"), || {
            let (peer, took) = face(&name, ConnectConfig::default()).expect(what);
            assert_eq!(peer, there);
            took
        });
    }
    drop((hanging, hold));
}

#[test]
fn a_thousand_connects_by_name_at_once_all_open() {
    alone("troubles::a_thousand_connects_by_name_at_once_all_open", || {
        const COUNT: usize = 1000;
        let all = getrlimit(Resource::Nofile);
        setrlimit(Resource::Nofile, Rlimit { current: all.maximum, ..all }).expect("the highest limit");
        let listener = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).expect("a socket");
        listener.bind(&SocketAddr::from((Ipv4Addr::LOCALHOST, 0)).into()).expect("a port");
        // What finds a full backlog comes again a second later.
        listener.listen(4096).expect("it listens");
        let listener = TcpListener::from(listener);
        let there = listener.local_addr().expect("an address");
        thread::spawn(move || listener.incoming().flatten().collect::<Vec<_>>());
        let mut reactor = Reactor::new(ReactorConfig::default()).expect("a reactor");
        let told = Tale::default();
        let before = held();
        let name = address(&format!("tcp4://localhost:{}", there.port()));
        let since = Instant::now();
        for _ in 0..COUNT {
            let (opens, closes) = (told.clone(), told.clone());
            let handler =
                Hooks::new().open(move |_| opens.tell(None)).close(move |_, reason| closes.tell(Some(reason)));
            reactor.connect(&name, patient(PATIENCE), handler).expect("it begins");
        }
        let began = since.elapsed();
        let mut longest = Duration::ZERO;
        while told.count() < COUNT {
            assert!(since.elapsed() < PATIENCE, "{} of them", told.count());
            let turn = Instant::now();
            reactor.poll_once(Some(millis(1))).expect("a turn");
            longest = longest.max(turn.elapsed());
        }
        assert!(told.all().iter().all(Option::is_none), "{:?}", told.all());
        println!("the same name: begun in {began:?}, open in {:?}, longest turn {longest:?}", since.elapsed());
        drop(reactor);
        until("threads to end", || held().1 == before.1);
        // Each has a name of its own, of a resolver that takes its time.
        let looking = Arc::new((AtomicUsize::new(0), AtomicUsize::new(0)));
        let lookups = looking.clone();
        let slow = Resolver::new(move |_| {
            let (now, most) = &*lookups;
            most.fetch_max(now.fetch_add(1, Ordering::Relaxed) + 1, Ordering::Relaxed);
            thread::yield_now();
            now.fetch_sub(1, Ordering::Relaxed);
            Ok(vec![there])
        });
        let engine = one_reactor();
        let since = Instant::now();
        let connectors: Vec<_> = (0..COUNT)
            .map(|number| connector(&engine, &format!("tcp://host{number}.example:1"), &slow, patient(PATIENCE)))
            .collect();
        let most = held().1;
        for (_, told) in &connectors {
            told.until("a connection", |told| told.iter().any(|told| told == "connected"));
        }
        let lookups = looking.1.load(Ordering::Relaxed);
        println!("names of their own: {:?}, {most} threads, {lookups} lookups at once", since.elapsed());
        // A thread that has done its work is there for a while yet.
        assert!(lookups <= 64 && most <= before.1 + 2 * 65, "{lookups} lookups, {most} threads");
        drop(connectors);
        engine.shutdown(PATIENCE).expect("it ends");
        until("threads to end", || held().1 == before.1);
    });
}

#[test]
fn a_race_without_descriptors_ends_with_an_error_and_leaves_those_it_had() {
    alone("troubles::a_race_without_descriptors_ends_with_an_error_and_leaves_those_it_had", || {
        let (_hole, addresses) = swallowing(8);
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
        let there = listener.local_addr().expect("an address");
        let client = |timeout, addresses: &[SocketAddr]| {
            let builder = Client::builder(address("tcp://host.example:1")).resolver(knowing(addresses.to_vec()));
            builder.connect_config(patient(timeout)).build().expect("a client")
        };
        let (late, good) = (client(millis(800), &addresses), client(PATIENCE, &[addresses[0], there]));
        let engine = one_reactor();
        let mut reactor = Reactor::new(ReactorConfig::default()).expect("a reactor");
        let old = getrlimit(Resource::Nofile);
        let before = held();
        for spare in 0..6 {
            let next = listener.try_clone().expect("the lowest number that is free").as_raw_fd() as u64;
            let tight = Rlimit { current: Some(next + spare), ..old };
            setrlimit(Resource::Nofile, tight).expect("a lower limit");
            let error = late.connect(PATIENCE).expect_err("nobody answers");
            // A pair to be woken by, then an attempt for each that is left.
            let found = if spare < 3 { "open files" } else { "none of " };
            assert!(error.to_string().contains(found), "{spare}: {error}");
            let (made, told) =
                connector(&engine, "tcp://host.example:1", &knowing(addresses.clone()), patient(millis(300)));
            told.until("its end", |told| told.last().is_some_and(|last| last == "stopped"));
            drop(made);
            let reasons = Arc::new(Mutex::new(None));
            let tells = reasons.clone();
            let handler = Hooks::new().close(move |_, reason| *tells.lock().expect("no panic") = Some(reason));
            let name = address(&format!("tcp4://localhost:{}", addresses[0].port()));
            reactor.connect(&name, patient(millis(100)), handler).expect("it begins");
            until("its end", || {
                reactor.poll_once(Some(millis(1))).expect("a turn");
                reasons.lock().expect("no panic").is_some()
            });
            setrlimit(Resource::Nofile, old).expect("the old limit");
            until("all to be given back", || {
                reactor.poll_once(Some(millis(1))).expect("a turn");
                held() == before
            });
        }
        good.connect(PATIENCE).expect("there are descriptors again");
    });
}

#[test]
fn whatever_a_resolver_answers_a_connect_ends_as_it_should() {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
    let there = listener.local_addr().expect("an address");
    let SocketAddr::V4(v4) = there else { panic!("an address of IPv4") };
    let mapped: SocketAddr = (v4.ip().to_ipv6_mapped(), v4.port()).into();
    let refusing = |count: u32| -> Vec<SocketAddr> {
        (0..count).map(|number| (Ipv4Addr::from(0x7f01_0000 + number), there.port()).into()).collect()
    };
    let cases: [(&str, Resolver, Result<(), &str>); 8] = [
        ("panics", Resolver::new(|_| panic!("on purpose")), Err("the resolver panicked")),
        ("is empty", knowing(Vec::new()), Err("no address")),
        ("fails", Resolver::new(|_| Err(std::io::Error::other("no such service"))), Err("no such service")),
        ("gives no port", knowing(vec![(Ipv4Addr::LOCALHOST, 0).into()]), Err("host.example")),
        ("gives 10,000 that refuse", knowing(refusing(10_000)), Err("the last of 64 addresses")),
        ("gives a good one behind 60 that refuse", knowing([refusing(60), vec![there]].concat()), Ok(())),
        ("gives the same one often", knowing([vec![there; 500], vec![mapped; 500]].concat()), Ok(())),
        ("gives one in the form of IPv6", knowing(vec![mapped]), Ok(())),
    ];
    let engine = one_reactor();
    for (what, resolver, expected) in cases {
        for scheme in ["tcp", "tcp4"] {
            let name = format!("{scheme}://host.example:1");
            let client = Client::builder(address(&name)).resolver(resolver.clone()).build().expect("a client");
            let came = client.connect(PATIENCE).map_err(|error| error.to_string());
            assert_eq!(client.peer_address().and_then(|peer| peer.ip()), came.is_ok().then_some(there), "{what}");
            let (_connector, told) = connector(&engine, &name, &resolver, ConnectConfig::default());
            let told = told.until("a connection or its end", |told| {
                told.iter().any(|told| told == "connected" || told == "stopped")
            });
            match expected {
                Ok(()) => assert!(came.is_ok() && told.contains(&"connected".to_owned()), "{what}: {came:?}, {told:?}"),
                Err(says) => {
                    let error = came.expect_err(what);
                    assert!(
                        error.contains(says) && told.iter().any(|told| told.contains(says)),
                        "{what}: {error}, {told:?}"
                    );
                }
            }
        }
    }
}

#[test]
fn odd_names_are_found_or_refused_like_others() {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
    let there = listener.local_addr().expect("an address");
    let long = "a".repeat(300);
    let labels = ["a".repeat(60).as_str(); 5].join(".");
    let mut reactor = Reactor::new(ReactorConfig::default()).expect("a reactor");
    for host in ["localhost", "localhost.", "LOCALHOST", &*long, &*labels] {
        let is_found = std::net::ToSocketAddrs::to_socket_addrs(&(host, 1)).is_ok();
        let Ok(name) = format!("tcp4://{host}:{}", there.port()).parse::<Address>() else {
            assert!(!is_found, "{host}");
            continue;
        };
        let client = Client::builder(name.clone()).build().expect("a client");
        assert_eq!(client.connect(PATIENCE).is_ok(), is_found, "{host}");
        let told = Tale::default();
        let (opens, closes) = (told.clone(), told.clone());
        let handler = Hooks::new().open(move |_| opens.tell(None)).close(move |_, reason| closes.tell(Some(reason)));
        reactor.connect(&name, ConnectConfig::default(), handler).expect("it begins");
        until("its end", || {
            reactor.poll_once(Some(millis(1))).expect("a turn");
            told.count() > 0
        });
        assert_eq!(told.all(), [if is_found { None } else { Some(Reason::Unresolved) }], "{host}");
    }
}
