//! What kind of stream socket it is, as far as that matters to a read, and what the kernel keeps for it.

use crate::net::stream::ShortRead;
use mio::net::UnixStream;
use nix::libc;
use nix::sys::socket::sockopt::{GetOsString, GetStruct};
use nix::sys::socket::{MsgFlags, getsockopt, recvmsg};
use socket2::{Protocol, SockRef};
use std::ffi::OsString;
use std::io::{self, IoSliceMut};
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd};

/// The longest name of a layer on TCP, TCP_ULP_NAME_MAX of linux/tcp.h.
const LAYER_NAME_BYTES: usize = 16;

#[derive(Clone, Copy)]
struct Layer;

nix::getsockopt_impl!(Layer, libc::IPPROTO_TCP, libc::TCP_ULP, OsString, GetOsString<[u8; LAYER_NAME_BYTES]>);

/// What a short read of plain TCP says.
pub(in crate::net) const TCP_SHORT_READ: ShortRead = ShortRead::IsDry;

/// Whether a stream socket over IP is TCP and nothing else. A system that knows no layers has none.
pub(in crate::net) fn is_plain_tcp(socket: &OwnedFd) -> bool {
    let is_tcp = matches!(SockRef::from(socket).protocol(), Ok(Some(Protocol::TCP)));
    is_tcp && getsockopt(socket, Layer).map_or(true, |layer| layer.is_empty())
}

/// What a socket's memory is used for, SO_MEMINFO; linux/sock_diag.h.
#[derive(Clone, Copy)]
struct Memory;

/// Of the architectures that Android runs on; libc has it for Linux only.
#[cfg(target_os = "android")]
const SO_MEMINFO: libc::c_int = 55;
#[cfg(not(target_os = "android"))]
use libc::SO_MEMINFO;

/// Values of SK_MEMINFO_*, the first of which every kernel with this option fills.
const MEMORY_VALUES: usize = 9;

nix::getsockopt_impl!(Memory, libc::SOL_SOCKET, SO_MEMINFO, [u32; MEMORY_VALUES], GetStruct<[u32; MEMORY_VALUES]>);

/// The values of a socket, by their index; linux/sock_diag.h.
fn memory(socket: BorrowedFd<'_>) -> Option<[u32; MEMORY_VALUES]> {
    getsockopt(&socket, Memory).ok()
}

const WMEM_ALLOC: usize = 2;
const SNDBUF: usize = 3;
const WMEM_QUEUED: usize = 5;

/// SK_MEMINFO_WMEM_ALLOC, what Unix peers have not read, and SK_MEMINFO_WMEM_QUEUED, what is not acknowledged.
pub(in crate::net) fn output_bytes(socket: BorrowedFd<'_>) -> u32 {
    memory(socket).map_or(0, |memory| memory[WMEM_ALLOC].wrapping_add(memory[WMEM_QUEUED]))
}

/// Bytes that a socket is likely to take before it blocks; SK_MEMINFO_SNDBUF without what is queued.
pub(in crate::net) fn output_room(socket: BorrowedFd<'_>) -> usize {
    let room =
        |memory: [u32; MEMORY_VALUES]| memory[SNDBUF].saturating_sub(memory[WMEM_QUEUED].max(memory[WMEM_ALLOC]));
    memory(socket).map_or(0, |memory| room(memory) as usize)
}

/// recvmsg(2) without room for control messages. A read ends where descriptors were passed along, and where the writer
/// changes if SO_PASSCRED or SO_PASSPIDFD is set, unix(7): the kernel drops what there is no room for, descriptors are
/// closed, and it says so in the same call.
pub(in crate::net) fn read_unix(unix: &UnixStream, buffer: &mut [u8]) -> io::Result<(usize, ShortRead)> {
    let mut whole = [IoSliceMut::new(buffer)];
    let read = recvmsg::<()>(unix.as_raw_fd(), &mut whole, None, MsgFlags::empty())?;
    let is_cut = read.flags.contains(MsgFlags::MSG_CTRUNC);
    Ok((read.bytes, if is_cut { ShortRead::ProvesNothing } else { ShortRead::IsDry }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::net::stream::Stream;
    use rustix::net::{SendAncillaryBuffer, SendFlags};
    use socket2::{Domain, Socket, Type};
    use std::io::{IoSlice, Write};
    use std::net::SocketAddr;
    use std::os::fd::AsFd;

    fn adopted(protocol: Option<Protocol>) -> io::Result<(Stream, Socket)> {
        let listener = Socket::new(Domain::IPV4, Type::STREAM, protocol)?;
        listener.bind(&SocketAddr::from(([127, 0, 0, 1], 0)).into())?;
        listener.listen(1)?;
        let peer = Socket::new(Domain::IPV4, Type::STREAM, protocol)?;
        peer.connect(&listener.local_addr()?)?;
        let stream = Stream::adopt(listener.accept()?.0.into())?;
        Ok((stream, peer))
    }

    fn short_read(stream: &Stream, mut peer: &Socket) -> ShortRead {
        peer.write_all(b"abc").expect("a write");
        rustix::event::poll(&mut [rustix::event::PollFd::new(stream, rustix::event::PollFlags::IN)], None)
            .expect("a poll");
        let (read, short) = stream.read(&mut [0; 64]).expect("a read");
        assert_eq!(read, 3);
        short
    }

    #[test]
    fn a_short_read_proves_something_of_plain_tcp_only() {
        let (tcp, peer) = adopted(None).expect("a connection");
        assert_eq!(short_read(&tcp, &peer), ShortRead::IsDry);
        for protocol in [Protocol::MPTCP, Protocol::SCTP] {
            match adopted(Some(protocol)) {
                Ok((other, peer)) => {
                    assert_eq!(short_read(&other, &peer), ShortRead::ProvesNothing);
                    let (shared, _handle) = other.shared();
                    assert_eq!(short_read(&shared, &peer), ShortRead::ProvesNothing);
                }
                Err(error) => eprintln!("not over protocol {protocol:?}, which this system lacks: {error}"),
            }
        }
    }

    #[test]
    fn a_short_read_of_a_unix_socket_proves_nothing_where_a_descriptor_was_passed() {
        use rustix::net::{SendAncillaryMessage, sendmsg};
        let (ours, theirs) = Socket::pair(Domain::UNIX, Type::STREAM, None).expect("a pair");
        let stream = Stream::adopt(ours.into()).expect("a stream");
        assert_eq!(short_read(&stream, &theirs), ShortRead::IsDry);
        let mut space = [std::mem::MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
        let mut rights = SendAncillaryBuffer::new(&mut space);
        let passed = [theirs.as_fd()];
        assert!(rights.push(SendAncillaryMessage::ScmRights(&passed)));
        sendmsg(&theirs, &[IoSlice::new(b"x")], &mut rights, SendFlags::NOSIGNAL).expect("a descriptor");
        assert_eq!(stream.read(&mut [0; 64]).expect("a read"), (1, ShortRead::ProvesNothing));
    }
}
