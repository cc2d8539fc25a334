//! Servers that read their files again: what was good stays where something is not, and the rest is taken.

use crate::authorities::{Authority, DAY, lasting};
use crate::building::{Own, dated, listen, own, reload, shakes, trusting};
use crate::raw::Client;
use crate::support::{Heard, World};
use rcgen::CertificateParams;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};
use windlass::rustls::ClientConfig;
use windlass::rustls::client::Resumption;
use windlass::rustls::version;
use windlass::tls::{ClientAuth, Instead, ListPolicy, Pem, UnknownName, Version};
use windlass::{Address, ClientTls, Reason, ServerTls, ServerTlsBuilder, TlsFault};

/// Pairs of files that are written anew.
struct Files(tempfile::TempDir);

impl Files {
    fn new() -> Files {
        Files(tempfile::tempdir().expect("a folder"))
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn put(&self, name: &str, own: &Own) {
        std::fs::write(self.path(&format!("{name}.pem")), &own.chain).expect("a file");
        std::fs::write(self.path(&format!("{name}.key")), &own.key).expect("a file");
    }

    fn server(&self, name: &str) -> ServerTlsBuilder {
        self.add(name, ServerTls::builder())
    }

    fn add(&self, name: &str, builder: ServerTlsBuilder) -> ServerTlsBuilder {
        builder.certificate(self.path(&format!("{name}.pem")), self.path(&format!("{name}.key")))
    }
}

/// As rustls knows it.
fn given(own: &Own) -> Arc<windlass::rustls::ServerConfig> {
    use windlass::rustls::pki_types::{PrivateKeyDer, pem::PemObject};
    let config = windlass::rustls::ServerConfig::builder_with_provider(windlass::tls::provider())
        .with_safe_default_protocol_versions()
        .expect("versions")
        .with_no_client_auth()
        .with_single_cert(vec![own.der()], PrivateKeyDer::from_pem_slice(&own.key).expect("a key"));
    Arc::new(config.expect("a certificate and its key"))
}

fn expired(name: &str) -> Own {
    dated(name, lasting(-DAY))
}

/// Whether somebody who trusts this certificate alone, without sessions, gets through by this name.
fn serves(world: &mut World, address: &Address, own: &Own, name: &str) -> bool {
    let mut config: ClientConfig = (*trusting(&[own])).clone();
    config.resumption = Resumption::disabled();
    shakes(world, &mut Client::new(address, Arc::new(config), name))
}

/// What is told of each fault: for whom, in whose place what is, and words of its text.
fn tells(faults: &[windlass::tls::NotTaken], expected: &[(Option<&str>, Instead, &[&str])]) {
    assert_eq!(faults.len(), expected.len(), "{faults:?}");
    for (fault, (name, instead, words)) in faults.iter().zip(expected) {
        assert_eq!((fault.name.as_deref(), fault.instead), (*name, *instead), "{fault}");
        let text = fault.to_string();
        words.iter().for_each(|word| assert!(text.contains(word), "{word:?} is not in {text:?}"));
    }
}

#[test]
fn a_reload_takes_what_is_good_and_keeps_what_was_for_each_name() {
    let files = Files::new();
    let olds = ["usual.example", "a.example", "x.b.example"].map(own);
    let [usual, a, b] = &olds;
    for (name, own) in [("usual", usual), ("a", a), ("b", b)] {
        files.put(name, own);
    }
    let build = || files.server("usual").name("a.example", files.server("a"));
    let builder = build().name("*.b.example", files.server("b"));
    let tls = builder.build().expect("a server");
    let mut world = World::new();
    let address = listen(&mut world, &tls);
    let news = ["usual.example", "a.example", "x.b.example"].map(own);
    let [new_usual, new_a, new_b] = &news;
    // One name's is bad, the others' are renewed.
    files.put("usual", new_usual);
    files.put("a", &expired("a.example"));
    files.put("b", new_b);
    let reloaded = tls.reload(&builder).expect("two are good");
    assert_eq!(reloaded.taken, [None, Some("*.b.example".to_owned())]);
    tells(&reloaded.faults, &[(Some("a.example"), Instead::LastGood, &["a.pem", "for a.example", "expired", "stays"])]);
    for (own, name, is_served) in [
        (new_usual, "usual.example", true),
        (usual, "usual.example", false),
        (a, "a.example", true),
        (new_b, "x.b.example", true),
        (b, "x.b.example", false),
    ] {
        assert_eq!(serves(&mut world, &address, own, name), is_served, "{name}");
    }
    // The usual one's is bad.
    files.put("usual", &expired("usual.example"));
    files.put("a", new_a);
    let reloaded = tls.reload(&builder).expect("two are good");
    tells(&reloaded.faults, &[(None, Instead::LastGood, &["usual.pem", "expired"])]);
    assert!(serves(&mut world, &address, new_usual, "usual.example"));
    assert!(serves(&mut world, &address, new_a, "a.example"));
    // None is good: that is an error, which names them all, and nothing changes.
    files.put("a", &expired("a.example"));
    files.put("b", &expired("x.b.example"));
    let error = tls.reload(&build().name("*.b.example", files.server("b"))).expect_err("nothing is good").to_string();
    for word in ["usual.pem", "a.pem (for a.example)", "b.pem (for *.b.example)", "stays"] {
        assert!(error.contains(word), "{word:?} is not in {error:?}");
    }
    assert!(serves(&mut world, &address, new_a, "a.example"));
    // A name that is taken away is gone, and what comes back afterwards has nothing good before it.
    files.put("usual", new_usual);
    files.put("a", new_a);
    reload(&tls, &build());
    assert!(!serves(&mut world, &address, new_b, "x.b.example"));
    assert!(serves(&mut world, &address, new_usual, "usual.example"));
    let reloaded = tls.reload(&builder).expect("two are good");
    tells(&reloaded.faults, &[(Some("*.b.example"), Instead::Nothing, &["b.pem", "expired", "left out"])]);
    let failed = world.log.heard().len();
    assert!(!serves(&mut world, &address, new_b, "x.b.example"));
    let refused = Heard::Failed(Reason::Tls(TlsFault::UnknownName));
    world.until("the refusal", |world| world.log.heard()[failed..].contains(&refused));
    files.put("b", new_b);
    reload(&tls, &builder);
    assert!(serves(&mut world, &address, new_b, "x.b.example"));
}

#[test]
fn a_name_that_is_left_out_gets_no_configuration_that_asks_for_less() {
    let files = Files::new();
    let (usual, admin, wild) = (own("usual.example"), own("admin.example.org"), own("b.example.org"));
    let root = Authority::root("members");
    files.put("usual", &usual);
    files.put("admin", &expired("admin.example.org"));
    let strict = files.server("admin").client_auth(ClientAuth::Required).client_roots(root.pem());
    let builder = files
        .server("usual")
        .unknown_names(UnknownName::Usual)
        .name("admin.example.org", strict)
        .name("*.example.org", wild.server());
    let error = builder.build().expect_err("one has expired").to_string();
    assert!(error.contains("admin.pem") && error.contains("expired"), "{error}");
    let (tls, built) = builder.build_lenient().expect("the usual one is good");
    assert_eq!(built.taken, [None, Some("*.example.org".to_owned())]);
    tells(&built.faults, &[(Some("admin.example.org"), Instead::Nothing, &["admin.pem", "expired", "left out"])]);
    assert!(built.to_string().starts_with("2 of 3 configurations are new; cannot use certificate"), "{built}");
    let mut world = World::new();
    let address = listen(&mut world, &tls);
    assert!(serves(&mut world, &address, &usual, "usual.example"));
    assert!(serves(&mut world, &address, &wild, "b.example.org"));
    for own in [&usual, &wild] {
        assert!(!serves(&mut world, &address, own, "admin.example.org"), "neither the usual one nor the wildcard's");
    }
    let refused = Heard::Failed(Reason::Tls(TlsFault::UnknownName));
    world.until("both refusals", |world| world.log.heard().iter().filter(|heard| **heard == refused).count() == 2);
    // Once it is good, a reload takes it, with what it asks for.
    files.put("admin", &admin);
    let _ = tls.reload(&builder).expect("it is good");
    assert!(!serves(&mut world, &address, &admin, "admin.example.org"), "without a certificate");
    let member = root.member(&admin, |_| {}).speaking(&version::TLS13);
    let mut client = Client::new(&address, member.config(), "admin.example.org");
    assert!(shakes(&mut world, &mut client));
    // The usual one must be there.
    files.put("usual", &expired("usual.example"));
    let error = builder.build_lenient().map(|_| ()).expect_err("the usual one has expired").to_string();
    assert!(error.contains("usual.pem"), "{error}");
}

/// It was left out of what was built, and its clients got the usual configuration, which asks for less.
#[test]
fn a_name_that_no_client_could_ask_for_is_an_error_and_opens_no_way_around_what_was_there() {
    let (usual, admin, other) = (own("usual.example"), own("admin.example.org"), own("c.example.org"));
    let root = Authority::root("members");
    let strict = || admin.server().client_auth(ClientAuth::Required).client_roots(root.pem());
    let nested = || strict().name("c.example.org", other.server());
    let tls = usual.server().name("admin.example.org", strict()).build().expect("a server");
    let mut world = World::new();
    let address = listen(&mut world, &tls);
    let is_open = |world: &mut World, address: &Address| {
        let name = "admin.example.org";
        let mut client = Client::new(address, trusting(&[&usual, &admin]), name);
        shakes(world, &mut client)
    };
    assert!(!is_open(&mut world, &address));
    for (builder, word) in [
        (usual.server().name("admin.example.org", nested()), "names of its own"),
        (usual.server().name("*.example.org", nested()), "names of its own"),
        (usual.server().name("admin.example.org ", strict()), "no DNS name"),
        (usual.server().name("admin.example.org..", strict()), "no DNS name"),
        (usual.server().name("*.", strict()), "no DNS name"),
        (usual.server().name("no name", other.server()), "no DNS name"),
        (usual.server().name("admin.example.org", strict()).name("ADMIN.example.org.", other.server()), "twice"),
    ] {
        for error in
            [tls.reload(&builder).map(drop).err(), builder.build_lenient().map(drop).err(), builder.build().err()]
        {
            let error = error.expect("such a name is an error").to_string();
            assert!(error.contains(word), "{word:?} is not in {error:?}");
        }
        assert!(!is_open(&mut world, &address), "{word}");
    }
    let member = root.member(&admin, |_| {}).speaking(&version::TLS13);
    assert!(shakes(&mut world, &mut Client::new(&address, member.config(), "admin.example.org")));
}

/// The certificate that was good before was kept under settings that it does not fit, and every handshake failed.
#[test]
fn a_last_good_certificate_stays_with_its_own_settings_where_the_new_ones_do_not_fit_it() {
    let files = Files::new();
    let (site, other) = (own("localhost"), own("other.example"));
    let build = || files.server("site").versions(Version::Tls12, Version::Tls12);
    let unfit = || build().suites(["TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256"]);
    files.put("site", &site);
    let mut world = World::new();
    for is_torn in [false, true] {
        let tls = build().build().expect("a server");
        let named = other.server().name("localhost", build()).build().expect("a server");
        if is_torn {
            std::fs::write(files.path("site.key"), "nothing").expect("a file");
        }
        let error = tls.reload(&unfit()).expect_err("no suite fits the key").to_string();
        assert!(error.contains("site.") && error.contains("stays"), "{error}");
        let reloaded = named.reload(&other.server().name("localhost", unfit())).expect("the usual one is good");
        assert_eq!(reloaded.taken, [None]);
        assert!(reloaded.faults.iter().all(|fault| fault.instead == Instead::LastGood), "{reloaded}");
        assert!(reloaded.faults.iter().any(|fault| fault.error.to_string().contains("site.")), "{reloaded}");
        for tls in [&tls, &named] {
            let address = listen(&mut world, tls);
            assert!(serves(&mut world, &address, &site, "localhost"), "torn: {is_torn}");
        }
    }
    // Settings that do fit are taken, with the certificate that was good before.
    files.put("site", &site);
    let tls = build().build().expect("a server");
    std::fs::write(files.path("site.key"), "nothing").expect("a file");
    files.put("extra", &other);
    let fit = files.add("extra", build().suites(["TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256"]));
    let reloaded = tls.reload(&fit).expect("one is good");
    tells(&reloaded.faults, &[(None, Instead::LastGood, &["site.key"])]);
    let address = listen(&mut world, &tls);
    assert!(serves(&mut world, &address, &site, "localhost"));
}

#[test]
fn every_certificate_that_cannot_be_used_is_named_also_beside_other_faults() {
    let (good, root) = (own("localhost"), Authority::root("members"));
    let files = Files::new();
    for name in ["one", "two"] {
        let mut long = own("localhost");
        long.chain = long.chain.repeat(101);
        files.put(name, &long);
    }
    let (tls, built) = files.add("two", files.add("one", good.server())).build_lenient().expect("one is good");
    let long = |name: &'static str| (None, Instead::Nothing, [name, "101 certificates"]);
    let expected = [long("one.pem"), long("two.pem")];
    tells(&built.faults, &expected.each_ref().map(|(name, instead, words)| (*name, *instead, &words[..])));
    let mut world = World::new();
    let address = listen(&mut world, &tls);
    assert!(serves(&mut world, &address, &good, "localhost"));
    // None is good, or something else is wrong too.
    files.put("old", &expired("localhost"));
    let lists = files.path("lists.pem");
    std::fs::write(&lists, "nothing").expect("a file");
    let neither = || files.add("two", files.server("one"));
    let strict = || files.add("old", good.server()).client_auth(ClientAuth::Required).client_roots(root.pem());
    for (builder, words) in
        [(neither(), ["one.pem", "two.pem"]), (strict().revoked(lists.as_path()), ["lists.pem", "old.pem"])]
    {
        let (tls, built) = good.server().name("localhost", builder.clone()).build_lenient().expect("the usual one");
        let named = |name: &'static str| (Some("localhost"), Instead::Nothing, [name]);
        let expected = words.map(named);
        tells(&built.faults, &expected.each_ref().map(|(name, instead, words)| (*name, *instead, &words[..])));
        let error = tls.reload(&builder).expect_err("nothing is good").to_string();
        words.iter().for_each(|word| assert!(error.contains(word), "{word:?} is not in {error:?}"));
        let error = builder.build().expect_err("nothing is good").to_string();
        assert!(error.starts_with("cannot use") && error.contains(words[0]), "{error}");
    }
}

/// What was left out at the start does not move the others up to its place.
#[test]
fn a_certificate_that_was_renewed_at_another_path_leaves_none_of_the_old_ones_behind() {
    let files = Files::new();
    let (b1, b2) = (own("localhost"), own("localhost"));
    for (name, own) in [("a1", &expired("a.example")), ("b1", &b1), ("a2", &expired("a.example")), ("b2", &b2)] {
        files.put(name, own);
    }
    let (tls, _) = files.add("b1", files.server("a1")).build_lenient().expect("one is good");
    let reloaded = tls.reload(&files.add("b2", files.server("a2"))).expect("one is good");
    tells(&reloaded.faults, &[(None, Instead::Nothing, &["a2.pem", "left out"])]);
    let mut world = World::new();
    let address = listen(&mut world, &tls);
    assert!(serves(&mut world, &address, &b2, "localhost"));
    assert!(!serves(&mut world, &address, &b1, "localhost"));
}

/// Former lists, which may be used stale, were kept under a builder that refuses that, and it counted as reloaded.
#[test]
fn where_a_stricter_policy_cannot_be_taken_the_whole_configuration_stays_and_that_is_told() {
    let files = Files::new();
    let (site, renewed, root) = (own("localhost"), own("localhost"), Authority::root("members"));
    let lists = files.path("lists.pem");
    let stale = root.list().dated(-60 * DAY, -30 * DAY).pem();
    let strict = || files.server("site").client_auth(ClientAuth::Required).client_roots(root.pem());
    let listed = |policy| strict().revoked(lists.as_path()).stale_lists(policy);
    let mut world = World::new();
    // More is asked than before: stale lists are refused now, or there are lists for the first time.
    for (before, after, list) in [
        (listed(ListPolicy::Warn), listed(ListPolicy::Refuse), stale.as_str()),
        (strict(), listed(ListPolicy::Refuse), "nothing"),
        (listed(ListPolicy::Warn), listed(ListPolicy::Warn).revoked(files.path("none.pem")), stale.as_str()),
    ] {
        files.put("site", &site);
        std::fs::write(&lists, list).expect("a file");
        let tls = before.build().expect("a server");
        let named = site.server().name("localhost", before).build().expect("a server");
        files.put("site", &renewed);
        let error = tls.reload(&after).expect_err("the whole configuration stays").to_string();
        assert!(error.contains(".pem") && error.contains("asks its clients"), "{error}");
        let reloaded = named.reload(&site.server().name("localhost", after)).expect("the usual one is good");
        assert_eq!(reloaded.taken, [None]);
        assert!(reloaded.to_string().contains("asks its clients"), "{reloaded}");
        let address = listen(&mut world, &tls);
        let member = |own: &Own| root.member(own, |_| {}).speaking(&version::TLS13);
        assert!(member(&site).visit(&mut world, &address).is_some(), "with the certificate of then");
        assert!(member(&renewed).visit(&mut world, &address).is_none());
    }
}

/// Who began first had read what was there first, and put it back over what the other had taken.
#[test]
fn of_two_reloads_at_once_the_one_that_began_last_counts() {
    use std::sync::mpsc::{RecvTimeoutError, channel};
    let (first, last) = (own("localhost"), own("localhost"));
    let folder = tempfile::tempdir().expect("a folder");
    let fifo = folder.path().join("key");
    rustix::fs::mknodat(rustix::fs::CWD, &fifo, rustix::fs::FileType::Fifo, 0o600.into(), 0).expect("a FIFO");
    let mut world = World::new();
    for by_reload in [true, false] {
        let tls = own("localhost").server().build().expect("a server");
        std::thread::scope(|scope| {
            let slow = ServerTls::builder().certificate(Pem::bytes(first.chain.clone()), fifo.as_path());
            let begun = scope.spawn({
                let tls = tls.clone();
                move || reload(&tls, &slow)
            });
            // It opens once the other side reads.
            let mut key = std::fs::File::options().write(true).open(&fifo).expect("the FIFO");
            let (done, wait) = channel();
            let (tls, last) = (tls.clone(), &last);
            let second = scope.spawn(move || {
                match by_reload {
                    true => reload(&tls, &last.server()),
                    false => tls.replace(given(last)).expect("a good one"),
                }
                let _ = done.send(());
            });
            let waited = wait.recv_timeout(Duration::from_millis(200));
            std::io::Write::write_all(&mut key, &first.key).expect("a key");
            drop(key);
            begun.join().expect("the first");
            second.join().expect("the second");
            assert_eq!(waited, Err(RecvTimeoutError::Timeout), "it waits for the one that has begun");
        });
        let address = listen(&mut world, &tls);
        assert!(serves(&mut world, &address, &last, "localhost"), "by reload: {by_reload}");
    }
}

#[test]
fn of_several_certificates_the_good_ones_are_taken() {
    let files = Files::new();
    let (one, two) = (own("one.example"), own("two.example"));
    files.put("one", &one);
    files.put("two", &two);
    let builder = files.add("two", files.server("one"));
    let tls = builder.build().expect("a server");
    let mut world = World::new();
    let address = listen(&mut world, &tls);
    let (new_one, new_two) = (own("one.example"), own("two.example"));
    files.put("one", &new_one);
    files.put("two", &expired("two.example"));
    let reloaded = tls.reload(&builder).expect("one is good");
    tells(&reloaded.faults, &[(None, Instead::LastGood, &["two.pem", "expired"])]);
    assert!(serves(&mut world, &address, &new_one, "one.example"));
    assert!(serves(&mut world, &address, &two, "two.example"));
    files.put("one", &expired("one.example"));
    files.put("two", &new_two);
    let reloaded = tls.reload(&builder).expect("one is good");
    tells(&reloaded.faults, &[(None, Instead::LastGood, &["one.pem", "expired"])]);
    assert!(serves(&mut world, &address, &new_one, "one.example"));
    assert!(serves(&mut world, &address, &new_two, "two.example"));
    // The first is taken away: the second's stays its own, though it stands elsewhere now.
    files.put("two", &expired("two.example"));
    let error = tls.reload(&files.server("two")).expect_err("nothing is good").to_string();
    assert!(error.contains("two.pem") && error.contains("stays"), "{error}");
    files.put("one", &one);
    let reloaded = tls.reload(&files.add("one", files.server("two"))).expect("one is good");
    tells(&reloaded.faults, &[(None, Instead::LastGood, &["two.pem"])]);
    assert!(serves(&mut world, &address, &one, "one.example"));
    assert!(serves(&mut world, &address, &new_two, "two.example"));
    // A start without it.
    assert!(builder.build().is_err());
    let (tls, built) = builder.build_lenient().expect("one is good");
    tells(&built.faults, &[(None, Instead::Nothing, &["two.pem", "left out"])]);
    let address = listen(&mut world, &tls);
    assert!(serves(&mut world, &address, &one, "one.example"));
    assert!(!serves(&mut world, &address, &new_two, "two.example"));
}

#[test]
fn revocation_lists_and_certificates_are_renewed_apart() {
    let files = Files::new();
    let (site, root) = (own("localhost"), Authority::root("members"));
    files.put("site", &site);
    let lists = files.path("lists.pem");
    let put = |text: String| std::fs::write(&lists, text).expect("a file");
    put(root.list().pem());
    let build =
        || files.server("site").client_auth(ClientAuth::Required).client_roots(root.pem()).revoked(lists.as_path());
    let tls = build().build().expect("a server");
    let mut world = World::new();
    let address = listen(&mut world, &tls);
    let mut visit = |site: &Own, serial: u64| {
        let member = root.member(site, |params| params.serial_number = Some(serial.into()));
        member.speaking(&version::TLS13).visit(&mut world, &address).is_some()
    };
    assert!(visit(&site, 1) && visit(&site, 2));
    // Who is revoked is so at once, although the certificate beside the list is torn.
    std::fs::write(files.path("site.key"), &own("localhost").key).expect("a file");
    put(root.list().dated(-DAY, DAY).revoking(&[1]).pem());
    let reloaded = tls.reload(&build()).expect("the list is good");
    tells(&reloaded.faults, &[(None, Instead::LastGood, &["site.pem", "not that of this certificate"])]);
    assert!(!visit(&site, 1) && visit(&site, 2));
    // And the certificate is renewed although the list is no good: what was revoked stays so.
    let renewed = own("localhost");
    files.put("site", &renewed);
    put("nothing".to_owned());
    let reloaded = tls.reload(&build()).expect("the certificate is good");
    tells(&reloaded.faults, &[(None, Instead::LastGood, &["lists.pem"])]);
    assert!(!visit(&renewed, 1) && visit(&renewed, 2));
    // Where more is asked for than before, a certificate is not taken without it.
    let another = own("localhost");
    files.put("site", &another);
    for less in [renewed.server(), renewed.server().client_auth(ClientAuth::Optional).client_roots(root.pem())] {
        let tls = less.build().expect("a server");
        let error = tls.reload(&build()).expect_err("the list is no good").to_string();
        assert!(error.contains("lists.pem") && error.contains("stays"), "{error}");
    }
    // Without anything before there is no server, and no name, that would ask for less.
    assert!(build().build_lenient().is_err());
    let (_, built) = site.server().name("localhost", build()).build_lenient().expect("the usual one is good");
    tells(&built.faults, &[(Some("localhost"), Instead::Nothing, &["lists.pem"])]);
}

#[test]
fn it_is_told_when_what_was_good_before_has_expired_too() {
    let files = Files::new();
    files.put("soon", &dated("localhost", lasting(2)));
    let builder = files.server("soon");
    let tls = builder.build().expect("it is good for two seconds");
    let since = Instant::now();
    std::fs::write(files.path("soon.key"), "nothing").expect("a file");
    loop {
        let error = tls.reload(&builder).expect_err("there is no key").to_string();
        assert!(error.contains("soon.") && error.contains("what was good before stays"), "{error}");
        if error.contains("stays, and has expired") {
            break;
        }
        assert!(since.elapsed() < Duration::from_secs(10), "{error}");
        std::thread::yield_now();
    }
}

// --- files as they are renewed in practice ---------------------------------------------------------------------------

/// A mounted secret: `..data` leads to a folder, and is exchanged for one that leads to the next.
struct Secret(tempfile::TempDir, u32);

impl Secret {
    fn new(own: &Own) -> Secret {
        let mut secret = Secret(tempfile::tempdir().expect("a folder"), 0);
        for name in ["tls.crt", "tls.key"] {
            let link = secret.0.path().join(name);
            std::os::unix::fs::symlink(Path::new("..data").join(name), link).expect("a link");
        }
        secret.swap(own);
        secret
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn swap(&mut self, own: &Own) {
        self.1 += 1;
        let data = format!("..data_{}", self.1);
        std::fs::create_dir(self.path(&data)).expect("a folder");
        std::fs::write(self.path(&data).join("tls.crt"), &own.chain).expect("a file");
        std::fs::write(self.path(&data).join("tls.key"), &own.key).expect("a file");
        std::os::unix::fs::symlink(&data, self.path("..data_tmp")).expect("a link");
        std::fs::rename(self.path("..data_tmp"), self.path("..data")).expect("a new link");
        if self.1 > 1 {
            std::fs::remove_dir_all(self.path(&format!("..data_{}", self.1 - 1))).expect("the old folder");
        }
    }
}

fn member_of(root: &Authority) -> Own {
    let key = rcgen::KeyPair::generate().expect("a key");
    let params = CertificateParams::new(["member".to_owned()]).expect("a name");
    let made = params.signed_by(&key, &root.issuer).expect("a certificate");
    Own { chain: made.pem().into_bytes(), key: key.serialize_pem().into_bytes() }
}

#[test]
fn secrets_that_are_swapped_by_a_link_are_read_anew_by_servers_and_clients() {
    let (mut site, root) = (own("localhost"), Authority::root("members"));
    let mut member = member_of(&root);
    let (mut sites, mut members) = (Secret::new(&site), Secret::new(&member));
    let server = ServerTls::builder().certificate(sites.path("tls.crt"), sites.path("tls.key"));
    let server = server.client_auth(ClientAuth::Required).client_roots(root.pem());
    let tls = server.build().expect("a server");
    let mut world = World::new();
    let address = listen(&mut world, &tls);
    let shows = || ClientTls::builder().certificate(members.path("tls.crt"), members.path("tls.key"));
    let root_file = sites.path("tls.crt");
    let client_builder = shows().roots(root_file.as_path());
    let client = client_builder.build().expect("a client");
    for _ in 0..3 {
        let mut visitor = Client::new(&address, client.config(), "localhost");
        assert!(shakes(&mut world, &mut visitor));
        assert_eq!(visitor.tls.peer_certificates().expect("a chain")[0], site.der());
        (site, member) = (own("localhost"), member_of(&root));
        sites.swap(&site);
        members.swap(&member);
        reload(&tls, &server);
        client.reload(&client_builder).expect("files that fit");
    }
}

#[test]
fn a_pair_that_is_half_renewed_leaves_the_last_good_one_in_place() {
    let (root, folder) = (Authority::root("members"), tempfile::tempdir().expect("a folder"));
    let (chain, key) = (folder.path().join("chain.pem"), folder.path().join("key.pem"));
    let (old, new) = (own("localhost"), own("localhost"));
    let [put_chain, put_key] =
        [&chain, &key].map(|path| move |bytes: &[u8]| std::fs::write(path, bytes).expect("a file"));
    put_chain(&old.chain);
    put_key(&old.key);
    let builder = ServerTls::builder().certificate(chain.as_path(), key.as_path());
    let tls = builder.build().expect("a server");
    let mut world = World::new();
    let address = listen(&mut world, &tls);
    put_chain(&new.chain);
    let error = tls.reload(&builder).expect_err("a torn pair").to_string();
    assert!(error.contains("chain.pem") && error.contains("not that of this certificate"), "{error}");
    assert!(serves(&mut world, &address, &old, "localhost"));
    put_key(&new.key);
    reload(&tls, &builder);
    assert!(serves(&mut world, &address, &new, "localhost"));
    // The same for a client, half of a file included.
    let (first, second) = (member_of(&root), member_of(&root));
    put_chain(&first.chain);
    put_key(&first.key);
    let demanding = old.server().client_auth(ClientAuth::Required).client_roots(root.pem());
    let address = listen(&mut world, &demanding.build().expect("a server"));
    let builder = ClientTls::builder().roots(Pem::bytes(old.chain.clone())).certificate(chain.as_path(), key.as_path());
    let client = builder.build().expect("a client");
    let good = client.config();
    put_key(&second.key);
    let error = client.reload(&builder).expect_err("a torn pair").to_string();
    assert!(error.contains("chain.pem"), "{error}");
    put_chain(&second.chain[..second.chain.len() / 2]);
    client.reload(&builder).expect_err("half a file");
    assert!(Arc::ptr_eq(&good, &client.config()), "nothing has changed");
    put_chain(&second.chain);
    client.reload(&builder).expect("files that fit");
    assert!(!Arc::ptr_eq(&good, &client.config()));
    assert!(shakes(&mut world, &mut Client::new(&address, client.config(), "localhost")));
}

#[test]
fn a_reload_changes_no_handshake_that_has_begun_and_no_connection_that_there_is() {
    const EACH: usize = 8;
    let owns = [own("localhost"), own("localhost")];
    let tls = owns[0].server().build().expect("a server");
    let mut world = World::new();
    let address = listen(&mut world, &tls);
    let config = trusting(&[&owns[0], &owns[1]]);
    let mut open = Vec::new();
    std::thread::scope(|scope| {
        let (stop, stopped) = std::sync::mpsc::channel::<()>();
        let (tls, owns) = (&tls, &owns);
        let reloading = scope.spawn(move || {
            let mut reloads = 0;
            while stopped.try_recv() == Err(std::sync::mpsc::TryRecvError::Empty) {
                reloads += 1;
                reload(tls, &owns[reloads % 2].server());
            }
            reloads
        });
        for _ in 0..EACH {
            // Each has sent half of its hello, or all of it, when the next reload comes.
            let mut begun: Vec<_> = (0..EACH)
                .map(|_| {
                    let mut config = (*config).clone();
                    config.resumption = Resumption::disabled();
                    Client::new(&address, Arc::new(config), "localhost")
                })
                .collect();
            for client in &mut begun {
                client.send_in_pieces(&mut world, 100);
            }
            for client in &mut begun {
                assert!(shakes(&mut world, client), "{:?}", client.fault);
            }
            open.extend(begun);
        }
        drop(stop);
        assert!(reloading.join().expect("reloads") > 1);
    });
    for client in &mut open {
        client.write(b"still here");
        client.send_in_pieces(&mut world, 10_000);
        world.until("the echo", |_| client.receive() && client.read() == b"still here");
    }
}
