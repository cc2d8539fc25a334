//! TLS alerts: their names, and what each mostly means to the side that receives it.
//!
//! Owns the table of IANA's registry; RFC 8446, section 6.2, RFC 5246, RFC 6066 and others that added some.

/// An alert as the side that receives it reads it.
pub(super) struct Alert {
    /// `None` if it is in no RFC.
    pub(super) name: Option<&'static str>,
    pub(super) advice: &'static str,
}

const OTHER: Alert = Alert { name: None, advice: "what it means is in the peer's log, or its documentation" };

/// Both sides disagree about the bytes.
const BYTES: &str = "something between the two changes bytes, or either side's TLS library is at fault: update both, and look at the peer's log";

/// About a certificate of ours that a peer refused for a reason that it does not tell.
const REFUSED: &str = "the peer refused this side's certificate, or wants one and got none; its log says why. Mostly: it does \
    not trust the issuer (give the whole chain, or add the root at the peer), it is for another name, or it has expired";

impl Alert {
    pub(super) fn of(number: u8) -> Alert {
        let (name, advice) = match number {
            0 => {
                ("close_notify", "the peer ended before the handshake was done, without an error; its log may say why")
            }
            10 => {
                ("unexpected_message", "is that port one of TLS, and of this protocol? Else: update both TLS libraries")
            }
            20 => ("bad_record_mac", BYTES),
            21 => ("decryption_failed", BYTES),
            22 => ("record_overflow", BYTES),
            30 => ("decompression_failure", BYTES),
            40 => (
                "handshake_failure",
                "mostly there is no cipher suite, group or signature scheme in common, or the peer wants a client \
                 certificate: compare both sides' suites, groups and kinds of keys, and look at the peer's log",
            ),
            41 => ("no_certificate", "the peer has no certificate to show: give it one, or require none here"),
            42 => ("bad_certificate", REFUSED),
            43 => (
                "unsupported_certificate",
                "this side's certificate is not for this use, or of a kind that the peer cannot verify: issue it with \
                 the right extended key usage (serverAuth, clientAuth) and kind of key",
            ),
            44 => ("certificate_revoked", "this side's certificate is on a revocation list: get a new one"),
            45 => (
                "certificate_expired",
                "this side's certificate is out of date or not valid yet: renew it and reload; if it is valid, the \
                 peer's clock is wrong",
            ),
            46 => ("certificate_unknown", REFUSED),
            47 => ("illegal_parameter", BYTES),
            48 => (
                "unknown_ca",
                "the peer does not trust the issuer of this side's certificate: give the whole chain here, the \
                 certificate first and then the intermediate ones, or add the root at the peer",
            ),
            49 => (
                "access_denied",
                "the peer does not let this side in: it has no certificate for the name that was asked for (rustls), this \
                 side's is valid and not allowed, or it was refused for whatever reason (GnuTLS): expired, or of an \
                 issuer that the peer does not trust; look at the peer's log",
            ),
            50 => (
                "decode_error",
                "is that port one of TLS, and does the peer want a client certificate (GnuTLS says so in TLS 1.2 where it \
                 got none)? Else: update both TLS libraries, and look at the peer's log",
            ),
            51 => (
                "decrypt_error",
                "a signature of this side does not verify: does the key belong to the certificate, and is the peer's \
                 root the one that issued it, and not an older one of the same name?",
            ),
            60 => ("export_restriction", "the peer's TLS is from the last century: update it"),
            70 => (
                "protocol_version",
                "no TLS version in common: allow TLS 1.2 or 1.3 at the peer, or more versions here (versions)",
            ),
            71 => (
                "insufficient_security",
                "the peer wants stronger suites, groups or keys than are offered: allow them here (suites, groups)",
            ),
            80 => ("internal_error", "the peer failed for a reason of its own: look at its log"),
            86 => {
                ("inappropriate_fallback", "the peer speaks a newer version than was offered: allow it here (versions)")
            }
            90 => {
                ("user_canceled", "the peer gave up for a reason that has nothing to do with TLS; its log may say why")
            }
            100 => ("no_renegotiation", "the peer does not negotiate anew: do not ask it to"),
            109 => (
                "missing_extension",
                "the peer needs an extension that was not sent; mostly the server name: connect by a name, not by an \
                 IP address (server_name)",
            ),
            110 => ("unsupported_extension", BYTES),
            111 => ("certificate_unobtainable", "the peer could not fetch this side's certificate: send it whole"),
            112 => (
                "unrecognized_name",
                "the peer has no certificate for the name that was asked for: correct the address or server_name, or \
                 add the name at the peer",
            ),
            113 => (
                "bad_certificate_status_response",
                "the peer did not accept the OCSP answer: send a fresh one, or none",
            ),
            114 => ("bad_certificate_hash_value", "the peer fetched another certificate than was meant: send it whole"),
            115 => ("unknown_psk_identity", "the peer does not know the pre-shared key: give both sides the same one"),
            116 => (
                "certificate_required",
                "the peer wants a client certificate and got none: give one with its key (certificate)",
            ),
            117 => ("general_error", "the peer failed for a reason of its own: look at its log"),
            120 => (
                "no_application_protocol",
                "the peer speaks none of the protocols that were offered: add one of its own here (alpn), or one of \
                 these at the peer",
            ),
            121 => ("ech_required", "the peer wants an encrypted hello, by a current configuration of its own"),
            _ => return OTHER,
        };
        Alert { name: Some(name), advice }
    }
}
