//! Until when a certificate is valid; RFC 5280, section 4.1.2.5.
//!
//! Owns the way to that one field: rustls tells a certificate's dates to nobody.

use x509_cert::der::asn1::AnyRef;
use x509_cert::der::{Decode, Reader, Result, SliceReader, Tag, TagNumber};
use x509_cert::time::{Time, Validity};

/// The last second in which it is valid; `None` for what is no certificate, such as a raw public key.
pub(crate) fn not_after(certificate: &[u8]) -> Option<Time> {
    validity(certificate).ok().map(|validity| validity.not_after)
}

/// In seconds since 1970.
pub(crate) fn seconds(time: &Time) -> u64 {
    time.to_unix_duration().as_secs()
}

/// Nothing else of it is looked at, so that this costs a handshake next to nothing.
fn validity(certificate: &[u8]) -> Result<Validity> {
    let mut outer = SliceReader::new(AnyRef::from_der(certificate)?.value())?;
    let mut inner = SliceReader::new(AnyRef::from_der(outer.tlv_bytes()?)?.value())?;
    if Tag::peek(&inner)? == (Tag::ContextSpecific { constructed: true, number: TagNumber(0) }) {
        inner.tlv_bytes()?;
    }
    for _serial_algorithm_issuer in 0..3 {
        inner.tlv_bytes()?;
    }
    inner.decode()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_end_of_a_certificate_is_read_in_both_forms_of_time() {
        for (year, text) in [(2031, "2031-02-03T00:00:00Z"), (2101, "2101-02-03T00:00:00Z")] {
            let mut params = rcgen::CertificateParams::new(["localhost".to_owned()]).expect("a name");
            params.not_after = rcgen::date_time_ymd(year, 2, 3);
            let made = params.self_signed(&rcgen::KeyPair::generate().expect("a key")).expect("a certificate");
            let found = not_after(made.der()).expect("a date");
            assert_eq!(found.to_string(), text);
            for length in 0..made.der().len() {
                assert_eq!(not_after(&made.der()[..length]), None, "{length} bytes of it");
            }
        }
        let key = rcgen::KeyPair::generate().expect("a key");
        assert_eq!(not_after(&rcgen::PublicKeyData::subject_public_key_info(&key)), None, "a key is no certificate");
    }
}
