//! What the system knows of a TCP connection; TCP_INFO, tcp(7).
//!
//! Owns the layout that the kernel fills in. It is that of Linux 2.6.10, which every later one begins with.

use std::os::fd::AsFd;
use std::time::Duration;

/// What the system measures of a TCP connection; TCP_INFO, tcp(7), on Linux.
///
/// Asking costs a system call. Windows and losses are in segments, as the system counts them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct TcpInfo {
    /// The smoothed round-trip time; RFC 6298.
    pub round_trip: Duration,
    /// How much it varies; RFC 6298.
    pub round_trip_variation: Duration,
    /// How long a segment may stay unacknowledged before it is sent again; RFC 6298.
    pub retransmission_timeout: Duration,
    /// Segments sent again, since the connection began.
    pub retransmitted_segments: u32,
    /// Segments sent and not acknowledged yet.
    pub unacknowledged_segments: u32,
    /// Of those: taken for lost.
    pub lost_segments: u32,
    /// Segments that may be on their way at once.
    pub congestion_window_segments: u32,
    /// The longest segment that is sent, in bytes.
    pub send_segment_bytes_max: u32,
    /// The longest packet that the path takes, in bytes; RFC 1191.
    pub path_bytes_max: u32,
    /// How long ago data was sent.
    pub since_sent: Duration,
    /// How long ago data was received.
    pub since_received: Duration,
    /// How long ago an acknowledgement was received.
    pub since_acknowledged: Duration,
}

impl TcpInfo {
    /// Asks the system about a socket; `None` if it is not TCP, or this system does not tell.
    pub fn of(socket: impl AsFd) -> Option<TcpInfo> {
        system::ask(&socket.as_fd())
    }
}

#[cfg(any(target_os = "linux", target_os = "android"))]
mod system {
    use super::TcpInfo;
    use nix::libc;
    use nix::sys::socket::sockopt::GetStruct;
    use std::os::fd::BorrowedFd;
    use std::time::Duration;

    /// `struct tcp_info`, linux/tcp.h, up to `tcpi_total_retrans`. Any bytes are a value of it.
    #[repr(C)]
    struct Raw {
        state: u8,
        ca_state: u8,
        retransmits: u8,
        probes: u8,
        backoff: u8,
        options: u8,
        scales: u8,
        flags: u8,
        rto_us: u32,
        ato_us: u32,
        snd_mss: u32,
        rcv_mss: u32,
        unacked: u32,
        sacked: u32,
        lost: u32,
        retrans: u32,
        fackets: u32,
        last_data_sent_ms: u32,
        last_ack_sent_ms: u32,
        last_data_recv_ms: u32,
        last_ack_recv_ms: u32,
        pmtu: u32,
        rcv_ssthresh: u32,
        rtt_us: u32,
        rttvar_us: u32,
        snd_ssthresh: u32,
        snd_cwnd: u32,
        advmss: u32,
        reordering: u32,
        rcv_rtt: u32,
        rcv_space: u32,
        total_retrans: u32,
    }

    #[derive(Clone, Copy)]
    struct Asked;

    nix::getsockopt_impl!(Asked, libc::IPPROTO_TCP, libc::TCP_INFO, Raw, GetStruct<Raw>);

    pub(super) fn ask(socket: &BorrowedFd<'_>) -> Option<TcpInfo> {
        let raw = nix::sys::socket::getsockopt(socket, Asked).ok()?;
        let micros = |micros: u32| Duration::from_micros(micros.into());
        let millis = |millis: u32| Duration::from_millis(millis.into());
        Some(TcpInfo {
            round_trip: micros(raw.rtt_us),
            round_trip_variation: micros(raw.rttvar_us),
            retransmission_timeout: micros(raw.rto_us),
            retransmitted_segments: raw.total_retrans,
            unacknowledged_segments: raw.unacked,
            lost_segments: raw.lost,
            congestion_window_segments: raw.snd_cwnd,
            send_segment_bytes_max: raw.snd_mss,
            path_bytes_max: raw.pmtu,
            since_sent: millis(raw.last_data_sent_ms),
            since_received: millis(raw.last_data_recv_ms),
            since_acknowledged: millis(raw.last_ack_recv_ms),
        })
    }
}

#[cfg(not(any(target_os = "linux", target_os = "android")))]
mod system {
    pub(super) fn ask(_: &std::os::fd::BorrowedFd<'_>) -> Option<super::TcpInfo> {
        None
    }
}
