//! What the system knows of a TCP connection; TCP_INFO, tcp(7).
//!
//! Owns what is told of it. The layout that the kernel fills in is the system's.

use crate::net::system;
use std::os::fd::AsFd;
use std::time::Duration;

/// What the system measures of a TCP connection; TCP_INFO, tcp(7), on Linux.
///
/// Asking costs a system call. Windows and losses are in segments, as the system counts them.
///
/// ```
/// use windlass::Conn;
/// fn round_trip_ms(conn: &Conn<'_>) -> Option<u128> {
///     conn.tcp_info().map(|info| info.round_trip.as_millis())
/// }
/// ```
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
        system::tcp_info::ask(&socket.as_fd())
    }
}
