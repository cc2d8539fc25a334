//! What TCP_INFO fills in, tcp(7): the layout of Linux 2.6.10, which every later one begins with.

use crate::net::tcp_info::TcpInfo;
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

pub(in crate::net) fn ask(socket: &BorrowedFd<'_>) -> Option<TcpInfo> {
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
