//! What a link with TLS keeps, and how much it takes.

use super::*;
use crate::config::Limits;
use crate::link::session::tests::greeting;
use std::os::unix::net::UnixStream;

fn link(outbox_bytes_max: usize) -> Link {
    let (ours, _) = UnixStream::pair().expect("a pair");
    let (outbox_bytes_low, outbox_bytes_high, inbox_bytes_max) = (10_000, 20_000, 20_000);
    let limits = Limits { outbox_bytes_low, outbox_bytes_high, outbox_bytes_max, inbox_bytes_max, ..Limits::default() };
    Link::new(ours, limits).expect("limits that fit").with_tls_server(&greeting().0).expect("it works")
}

#[test]
fn what_is_kept_of_a_record_is_counted_and_nothing_holds_no_memory() {
    let (mut link, mut pool) = (link(100_000), Pool::default());
    let tls = link.cold.tls().expect("a link with TLS");
    for bytes in [0, 3_000, 10, 30_000, 0, 20_000, 0] {
        tls.keep(&vec![7; bytes], &mut pool);
        assert_eq!((tls.kept.len(), tls.kept.capacity()), (bytes, pool.held()));
        assert_eq!(tls.kept.capacity() == 0, bytes == 0);
    }
}

#[test]
fn what_a_link_takes_fits_when_it_is_sealed_and_no_room_is_left_unused() {
    for limit in [60_000, 1_000_000] {
        let link = link(limit);
        let sealed_max = limit + sealing_bytes(limit) + SEALING_SLACK;
        assert_eq!((link.writable(0), link.writable(sealed_max)), (limit, 0));
        for queued in (0..sealed_max - SEALING_SLACK).step_by(999) {
            let room = link.writable(queued);
            let sealed = queued + room + sealing_bytes(room);
            assert!(sealed <= sealed_max, "{room} behind {queued}");
            assert!(room == limit || sealed + 512 > sealed_max, "{room} behind {queued}");
        }
    }
}
