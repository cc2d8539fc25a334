//! Revocation lists: which of several counts, which are refused and how that reads, and what those mean that become stale.

use crate::authorities::{Authority, DAY, ISSUER_SERIAL, VERSIONS, item};
use crate::building::{Own, listen, own, reload};
use crate::support::{World, alone, security};
use rcgen::{CrlDistributionPoint, CrlIssuingDistributionPoint, CrlScope};
use std::sync::Mutex;
use windlass::rustls::{HandshakeKind, version};
use windlass::tls::{ClientAuth, ListPolicy, Pem};
use windlass::{Error, ServerTls, ServerTlsBuilder};

fn demanding(server: &Own, roots: &[&Authority]) -> ServerTlsBuilder {
    let builder = server.server().client_auth(ClientAuth::Required);
    roots.iter().fold(builder, |builder, root| builder.client_roots(root.pem()))
}

fn with(builder: ServerTlsBuilder, lists: &[&str]) -> ServerTlsBuilder {
    lists.iter().fold(builder, |builder, list| builder.revoked(Pem::bytes(*list)))
}

/// Whether members with these serial numbers are let in.
fn let_in(server: &Own, tls: &ServerTls, issuer: &Authority, serials: &[u64]) -> Vec<bool> {
    let mut world = World::new();
    let address = listen(&mut world, tls);
    let visit = |serial: &u64| {
        let member = issuer.member(server, |params| params.serial_number = Some((*serial).into()));
        member.speaking(&version::TLS13).visit(&mut world, &address).is_some()
    };
    serials.iter().map(visit).collect()
}

#[test]
fn of_several_lists_of_one_issuer_the_newest_counts() {
    let (server, members) = (own("localhost"), Authority::root("members"));
    let oldest = members.list().dated(-90 * DAY, -60 * DAY).number(9).revoking(&[1, 2, 3]).pem();
    let middle = members.list().number(255).revoking(&[1]).pem();
    let newest = members.list().number(256).revoking(&[1, 2]).pem();
    let latest = members.list().dated(-DAY, 30 * DAY).number(2).revoking(&[2]).pem();
    for (lists, expected) in [
        (vec![&middle, &newest], [false, false, true]),
        (vec![&newest, &middle], [false, false, true]),
        // The one that is out of date does not matter, since there is a newer one.
        (vec![&oldest, &newest, &middle], [false, false, true]),
        (vec![&middle, &latest, &newest, &oldest], [true, false, true]),
        (vec![&latest, &oldest, &middle], [true, false, true]),
    ] {
        let lists: Vec<&str> = lists.into_iter().map(String::as_str).collect();
        let apart = with(demanding(&server, &[&members]), &lists).build().expect("lists in one text each");
        assert_eq!(let_in(&server, &apart, &members, &[1, 2, 3]), expected, "{} lists", lists.len());
        let joined = with(demanding(&server, &[&members]), &[&lists.concat()]).build().expect("lists in one text");
        assert_eq!(let_in(&server, &joined, &members, &[1, 2, 3]), expected, "{} lists in one", lists.len());
    }
}

#[test]
fn lists_of_two_issuers_and_of_two_scopes_all_count() {
    let server = own("localhost");
    let (ours, others) = (Authority::root("ours"), Authority::root("others"));
    let lists = [ours.list().revoking(&[1]).pem(), others.list().dated(-DAY, DAY).revoking(&[2]).pem()];
    let tls = with(demanding(&server, &[&ours, &others]), &[&lists[0], &lists[1]]).build().expect("a server");
    assert_eq!(let_in(&server, &tls, &ours, &[1, 2]), [false, true]);
    assert_eq!(let_in(&server, &tls, &others, &[1, 2]), [true, false]);
    // A newer one for issuers alone does not stand in for one that is for members.
    let point = CrlDistributionPoint { uris: vec!["http://example.org/list".to_owned()] };
    let scope = CrlIssuingDistributionPoint { distribution_point: point, scope: Some(CrlScope::CaCertsOnly) };
    let issuers = ours.list().dated(-DAY, DAY).scope(scope).pem();
    let tls = with(demanding(&server, &[&ours]), &[&issuers, &lists[0]]).build().expect("a server");
    assert_eq!(let_in(&server, &tls, &ours, &[1, 2]), [false, true]);
}

/// Of a certificate without distribution points webpki asks the first list of its issuer alone, whatever that is for.
#[test]
fn who_is_revoked_on_one_list_of_an_issuer_is_refused_whatever_the_others_say() {
    let (server, members) = (own("localhost"), Authority::root("members"));
    let point = |name: &str| CrlDistributionPoint { uris: vec![format!("http://example.org/{name}")] };
    let shard = |name: &str, scope: Option<CrlScope>| {
        members.list().scope(CrlIssuingDistributionPoint { distribution_point: point(name), scope })
    };
    // Whether members with these serial numbers get in: without distribution points, and with this one.
    let visits = |lists: &[&str], serials: &[u64], own_point: Option<&str>| -> Vec<bool> {
        let tls = with(demanding(&server, &[&members]), lists).build().expect("a server");
        let mut world = World::new();
        let address = listen(&mut world, &tls);
        let visit = |serial: &u64| {
            let member = members.member(&server, |params| {
                params.serial_number = Some((*serial).into());
                params.crl_distribution_points = own_point.map(point).into_iter().collect();
            });
            member.speaking(&version::TLS13).visit(&mut world, &address).is_some()
        };
        serials.iter().map(visit).collect()
    };
    let full = members.list().revoking(&[1]).pem();
    let (old, new) = (shard("1", None).revoking(&[2]).pem(), shard("2", None).dated(-DAY, 30 * DAY).pem());
    let revoking = shard("2", None).dated(-DAY, 30 * DAY).revoking(&[3]).pem();
    let of_members = shard("3", Some(CrlScope::UserCertsOnly)).dated(-DAY / 2, DAY).revoking(&[4]).pem();
    let of_issuers = shard("4", Some(CrlScope::CaCertsOnly)).dated(-DAY / 3, DAY).revoking(&[1, 2]).pem();
    for (lists, expected) in [
        (vec![&full, &new], [false, true, true, true]),
        (vec![&old, &full], [false, false, true, true]),
        (vec![&old, &new], [true, false, true, true]),
        (vec![&old, &revoking], [true, false, false, true]),
        (vec![&full, &old, &revoking, &of_members, &of_issuers], [false; 4]),
    ] {
        for turned in [false, true] {
            let mut lists: Vec<&str> = lists.iter().map(|list| list.as_str()).collect();
            if turned {
                lists.reverse();
            }
            for own_point in [None, Some("2")] {
                let found = visits(&lists, &[1, 2, 3, 4], own_point);
                assert_eq!(found, expected, "{} lists, {own_point:?}", lists.len());
            }
        }
    }
    // Nobody knows of one whose own list is not there.
    assert_eq!(visits(&[&old, &new], &[1], Some("5")), [false]);
    assert_eq!(visits(&[&old, &full], &[1, 5], Some("5")), [false, true]);
    // An issuer between root and members as well, and by two keys of one name.
    let (between, again) = (members.under("between"), members.under("between"));
    let revoked = shard("1", None).revoking(&[ISSUER_SERIAL]).pem();
    let (lower, upper) = (between.list().revoking(&[1]).pem(), again.list().pem());
    let build = |lists: &[&str]| {
        let builder = with(demanding(&server, &[&members]), lists).list_issuers(between.pem());
        builder.list_issuers(again.pem()).build().expect("a server")
    };
    let good = shard("1", None).pem();
    assert_eq!(let_in(&server, &build(&[&good, &new, &lower, &upper]), &between, &[1, 2]), [false, true]);
    assert_eq!(let_in(&server, &build(&[&good, &new, &lower, &upper]), &again, &[1, 2]), [true, true]);
    assert_eq!(let_in(&server, &build(&[&revoked, &new, &lower, &upper]), &again, &[2]), [false]);
    assert_eq!(let_in(&server, &build(&[&revoked, &new, &lower]), &between, &[2]), [false]);
}

#[test]
fn two_issuers_of_one_name_have_a_list_each() {
    let server = own("localhost");
    let (old, new) = (Authority::root("members"), Authority::root("members"));
    let third = Authority::root("third");
    let (a, b) = (old.list().revoking(&[1]).pem(), new.list().dated(-DAY, DAY).revoking(&[2]).pem());
    let older = new.list().dated(-20 * DAY, DAY).revoking(&[1, 2, 3]).pem();
    let c = third.list().revoking(&[3]).pem();
    for lists in [[&a, &b, &c, &older], [&older, &c, &b, &a]] {
        let lists = lists.map(String::as_str);
        let tls = with(demanding(&server, &[&old, &new, &third]), &lists).build().expect("a server");
        assert_eq!(let_in(&server, &tls, &old, &[1, 2, 3]), [false, true, true]);
        assert_eq!(let_in(&server, &tls, &new, &[1, 2, 3]), [true, false, true]);
        assert_eq!(let_in(&server, &tls, &third, &[1, 2, 3]), [true, true, false]);
    }
    // Between root and members too.
    let (below, renewed) = (third.under("below"), third.under("below"));
    let lists = [c, below.list().revoking(&[1]).pem(), renewed.list().revoking(&[2]).pem()];
    let builder = with(demanding(&server, &[&third]), &lists.each_ref().map(String::as_str));
    let tls = builder.list_issuers(below.pem()).list_issuers(renewed.pem()).build().expect("a server");
    assert_eq!(let_in(&server, &tls, &below, &[1, 2]), [false, true]);
    assert_eq!(let_in(&server, &tls, &renewed, &[1, 2]), [true, false]);
    assert_eq!(let_in(&server, &tls, &Authority::root("below"), &[1]), [false], "a stranger of that name");
    // A chain with the older of two keys below the newer of two others.
    let below = new.under("below");
    let lists = [a.clone(), b, below.list().dated(-9 * DAY, DAY).revoking(&[1]).pem(), renewed.list().pem()];
    let builder = with(demanding(&server, &[&old, &new, &third]), &lists.each_ref().map(String::as_str));
    let tls = builder.list_issuers(below.pem()).list_issuers(renewed.pem()).build().expect("a server");
    assert_eq!(let_in(&server, &tls, &below, &[1, 2]), [false, true]);
    // One without a list of its own lets nobody in.
    let tls = with(demanding(&server, &[&old, &new]), &[&a]).build().expect("a server");
    assert_eq!(let_in(&server, &tls, &old, &[1, 2]), [false, true]);
    assert_eq!(let_in(&server, &tls, &new, &[1, 2]), [false, false]);
    // Who shows an expired certificate for its issuer too, by the older one, is no less let in.
    for dated in [0, -DAY] {
        let lists =
            [old.list().dated(-DAY / 2, DAY).pem(), new.list().dated(-DAY / 2 + dated, DAY).revoking(&[2]).pem()];
        let tls = with(demanding(&server, &[&old, &new]), &lists.each_ref().map(String::as_str)).build();
        let mut world = World::new();
        let address = listen(&mut world, &tls.expect("a server"));
        for (serial, is_let_in) in [(1_u64, true), (2, false)] {
            let member = new.member(&server, |params| params.serial_number = Some(serial.into()));
            let member = member.showing(new.crossed("members", &old, -DAY)).speaking(&version::TLS13);
            assert_eq!(member.visit(&mut world, &address).is_some(), is_let_in, "{serial}");
        }
    }
    // There is an end to it.
    let many: Vec<_> = (0..17).map(|_| Authority::root("many")).collect();
    let lists: Vec<_> = many.iter().map(|issuer| issuer.list().pem()).collect();
    let build = |count: usize| {
        let lists: Vec<&str> = lists[..count].iter().map(String::as_str).collect();
        with(demanding(&server, &many.iter().take(count).collect::<Vec<_>>()), &lists).build()
    };
    assert!(build(16).is_ok());
    says(build(17), &["CN=many", "17 keys", "servers or names of their own"]);
}

fn says(built: Result<ServerTls, Error>, words: &[&str]) {
    let error = built.expect_err("a list that cannot be used").to_string();
    words.iter().for_each(|word| assert!(error.contains(word), "{word:?} is not in {error:?}"));
}

#[test]
fn a_list_that_cannot_be_used_is_named_with_its_cause_and_the_next_step() {
    let server = own("localhost");
    let (members, stranger) = (Authority::root("members"), Authority::root("stranger"));
    let namesake = Authority::root("members");
    let build = |lists: &[&str]| with(demanding(&server, &[&members]), lists).build();
    let good = members.list().pem();
    assert!(build(&[&good]).is_ok());
    let stale = members.list().dated(-60 * DAY, -30 * DAY).pem();
    says(build(&[&stale]), &["revocation list", "CN=members", "a newer one", "was due at", "fetch", "stale_lists"]);
    let early = members.list().dated(2 * DAY, 30 * DAY).pem();
    says(build(&[&early]), &["CN=members", "has made it for", "clock", "stale_lists"]);
    says(build(&[&good, &early]), &["has made it for"]);
    says(build(&[&good, &stranger.list().pem()]), &["CN=stranger", "client_roots", "list_issuers", "foreign_lists"]);
    says(build(&[&namesake.list().pem()]), &["CN=members", "signature", "fetch it anew"]);
    let mut spoilt = good.clone().into_bytes();
    let at = spoilt.len() - 60;
    spoilt[at] = if spoilt[at] == b'A' { b'B' } else { b'A' };
    says(build(&[&String::from_utf8(spoilt).expect("a text")]), &["revocation list"]);
    // Extensions: 2.5.29.27 makes a delta list; 2.5.29.28 with [4] TRUE an indirect one; 1.2.3.4 is nobody's.
    let critical = |id: &[u8], value: &[u8]| item(0x30, &[item(6, id), item(1, &[0xff]), item(4, value)].concat());
    let delta = members.list().extension(&critical(&[0x55, 0x1d, 27], &item(2, &[1]))).pem();
    says(build(&[&good, &delta]), &["delta list", "give the complete one"]);
    let indirect = critical(&[0x55, 0x1d, 28], &item(0x30, &[0x84, 1, 0xff]));
    says(build(&[&members.list().extension(&indirect).pem()]), &["indirect list"]);
    let some_reasons = critical(&[0x55, 0x1d, 28], &item(0x30, &[0x83, 2, 5, 0x20]));
    says(build(&[&members.list().extension(&some_reasons).pem()]), &["RevocationReasons", "complete list"]);
    let unknown = critical(&[0x2a, 3, 4], &item(5, &[]));
    says(build(&[&members.list().extension(&unknown).pem()]), &["critical extension"]);
    // One that is not critical does no harm.
    let harmless = item(0x30, &[item(6, &[0x2a, 3, 4]), item(4, &item(5, &[]))].concat());
    assert!(build(&[&members.list().extension(&harmless).pem()]).is_ok());
    let with_sha1 = item(0x30, &item(6, &[0x2a, 0x86, 0x48, 0xce, 0x3d, 4, 1]));
    says(build(&[&members.list().algorithm(&with_sha1).pem()]), &["CN=members", "algorithm", "SHA-1", "SHA-256"]);
    // Of several in one file the number is told.
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("lists.pem");
    std::fs::write(&path, [good.clone(), delta, good].concat()).expect("a file");
    says(demanding(&server, &[&members]).revoked(path).build(), &["revocation list 2 of 3 in", "lists.pem", "delta"]);
}

#[test]
fn a_list_of_which_any_byte_was_changed_or_cut_off_is_refused() {
    let (server, members) = (own("localhost"), Authority::root("members"));
    let list = members.list().revoking(&[1]).der();
    let is_taken =
        |list: &[u8]| with(demanding(&server, &[&members]), &[&security::pem("X509 CRL", list)]).build().is_ok();
    assert!(is_taken(&list));
    for at in 0..list.len() {
        let mut changed = list.clone();
        changed[at] ^= 1 << (at % 8);
        assert!(!is_taken(&changed), "byte {at}");
        assert!(!is_taken(&list[..at]), "{at} bytes");
    }
    assert!(!is_taken(&[&list[..], &[0]].concat()));
}

#[test]
fn an_issuer_between_root_and_members_has_its_list_checked_once_it_is_known() {
    let (server, root, stranger) = (own("localhost"), Authority::root("root"), Authority::root("stranger"));
    let between = root.under("between");
    let (upper, lower) = (root.list().pem(), between.list().revoking(&[1]).pem());
    let build = || with(demanding(&server, &[&root]), &[&upper, &lower]);
    says(build().build(), &["CN=between", "list_issuers"]);
    let tls = build().list_issuers(between.pem()).build().expect("all issuers are known");
    assert_eq!(let_in(&server, &tls, &between, &[1, 2]), [false, true]);
    assert_eq!(let_in(&server, &tls, &stranger, &[2]), [false]);
    let tls = build().foreign_lists(ListPolicy::Warn).build().expect("it is used all the same");
    assert_eq!(let_in(&server, &tls, &between, &[1, 2]), [false, true]);
    let silent = root.under_without_lists("silent");
    says(build().list_issuers(silent.pem()).build(), &["issuer of revocation lists", "cRLSign"]);
    // It does not make it a root.
    let alone = with(demanding(&server, &[&stranger]), &[&stranger.list().pem(), &lower]).list_issuers(between.pem());
    assert_eq!(let_in(&server, &alone.build().expect("a server"), &between, &[2]), [false]);
    // Who stands below an issuer that has revoked the one between is refused too.
    let revoking = root.list().dated(-DAY, DAY).revoking(&[ISSUER_SERIAL]).pem();
    let tls = with(build(), &[&revoking]).list_issuers(between.pem()).build().expect("a server");
    assert_eq!(let_in(&server, &tls, &between, &[2]), [false]);
}

#[test]
fn a_member_whose_issuer_has_no_list_is_refused_and_build_warns_of_it() {
    alone("revocation::a_member_whose_issuer_has_no_list_is_refused_and_build_warns_of_it", || {
        let warned = warnings();
        let server = own("localhost");
        let (ours, others) = (Authority::root("ours"), Authority::root("others"));
        let tls = with(demanding(&server, &[&ours, &others]), &[&ours.list().pem()]).build().expect("a server");
        let told = warned.lock().expect("a log").join("\n");
        assert!(told.contains("CN=others") && told.contains("unknown revocation status"), "{told}");
        assert!(!told.contains("CN=ours"), "{told}");
        assert_eq!(let_in(&server, &tls, &ours, &[1]), [true]);
        assert_eq!(let_in(&server, &tls, &others, &[1]), [false]);
    });
}

#[test]
fn stale_and_foreign_lists_are_used_with_a_warning_where_that_is_asked_for() {
    alone("revocation::stale_and_foreign_lists_are_used_with_a_warning_where_that_is_asked_for", || {
        let warned = warnings();
        let (server, members) = (own("localhost"), Authority::root("members"));
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("stale.pem");
        std::fs::write(&path, members.list().dated(-60 * DAY, -30 * DAY).revoking(&[1]).pem()).expect("a file");
        let builder = demanding(&server, &[&members]).revoked(path).stale_lists(ListPolicy::Warn);
        let tls = builder.build().expect("a server");
        let once = |warned: &Mutex<Vec<String>>, words: &[&str]| {
            let told = std::mem::take(&mut *warned.lock().expect("a log"));
            assert_eq!(told.len(), 1, "{told:?}");
            words.iter().for_each(|word| assert!(told[0].contains(word), "{word:?} is not in {told:?}"));
        };
        once(warned, &["stale.pem", "CN=members", "was due at"]);
        assert_eq!(let_in(&server, &tls, &members, &[1, 2]), [false, true]);
        reload(&tls, &builder);
        once(warned, &["stale.pem", "CN=members", "was due at"]);
        let early = members.list().dated(2 * DAY, 30 * DAY).revoking(&[1]).pem();
        let builder = with(demanding(&server, &[&members]), &[&early]).stale_lists(ListPolicy::Warn);
        let tls = builder.build().expect("a server");
        once(warned, &["CN=members", "has made it for"]);
        assert_eq!(let_in(&server, &tls, &members, &[1, 2]), [false, true]);
        let stranger = Authority::root("stranger").list().pem();
        let builder = with(demanding(&server, &[&members]), &[&members.list().pem(), &stranger]);
        let tls = builder.foreign_lists(ListPolicy::Warn).build().expect("a server");
        once(warned, &["CN=stranger"]);
        assert_eq!(let_in(&server, &tls, &members, &[1, 2]), [true, true]);
    });
}

#[test]
fn a_list_that_becomes_stale_while_the_server_runs_lets_nobody_in_until_there_is_a_newer_one() {
    let (server, members) = (own("localhost"), Authority::root("members"));
    let soon = members.list().dated(-DAY, 3).pem();
    let refusing = with(demanding(&server, &[&members]), &[&soon]).build().expect("it is good for three seconds");
    let warning = with(demanding(&server, &[&members]), &[&soon]).stale_lists(ListPolicy::Warn);
    let warning = warning.build().expect("a server");
    let mut world = World::new();
    let addresses = [&refusing, &warning].map(|tls| listen(&mut world, tls));
    let known = VERSIONS.map(|version| members.member(&server, |_| {}).speaking(version));
    for member in &known {
        assert_eq!(member.visit(&mut world, &addresses[0]), Some(HandshakeKind::Full), "it took over three seconds");
        assert_eq!(member.visit(&mut world, &addresses[0]), Some(HandshakeKind::Resumed), "it took over three seconds");
    }
    let newcomer = members.member(&server, |_| {}).speaking(&version::TLS13);
    world.until("its next update", |world| {
        let fresh = members.member(&server, |_| {}).speaking(&version::TLS13);
        fresh.visit(world, &addresses[0]).is_none()
    });
    for member in known.iter().chain([&newcomer]) {
        assert_eq!(member.visit(&mut world, &addresses[0]), None, "with a ticket or without");
        assert_eq!(member.visit(&mut world, &addresses[1]), Some(HandshakeKind::Full));
    }
    let newer = members.list().dated(-DAY + 60, DAY).pem();
    reload(&refusing, &with(demanding(&server, &[&members]), &[&soon, &newer]));
    for member in &known {
        assert!(member.visit(&mut world, &addresses[0]).is_some());
    }
}

/// What is logged as a warning from here on.
fn warnings() -> &'static Mutex<Vec<String>> {
    struct Kept(Mutex<Vec<String>>);
    static KEPT: Kept = Kept(Mutex::new(Vec::new()));
    impl log::Log for Kept {
        fn enabled(&self, _: &log::Metadata<'_>) -> bool {
            true
        }
        fn log(&self, record: &log::Record<'_>) {
            self.0.lock().expect("a log").push(record.args().to_string());
        }
        fn flush(&self) {}
    }
    log::set_logger(&KEPT).expect("the only logger");
    log::set_max_level(log::LevelFilter::Warn);
    &KEPT.0
}
