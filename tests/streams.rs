//! What a stream connection promises, over every transport.

mod support;

use support::{Echo, World, each_kind};
use windlass::{Conn, ListenConfig};

#[test]
fn one_byte_comes_back() {
    each_kind(|kind| {
        let mut world = World::new();
        let address = world.listen(kind, ListenConfig::default(), |_: &Conn<'_>| Echo);
        let mut peer = world.dial(&address);
        peer.send_all_while(&mut world, b"x");
        assert_eq!(peer.read_exact_while(&mut world, 1), b"x");
        peer.finish();
        assert_eq!(peer.read_to_end_while(&mut world).expect("a clean end"), b"");
        assert_eq!(world.until_empty(), [windlass::Reason::PeerClosed]);
    });
}
