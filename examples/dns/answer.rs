//! What is answered to a query: pure, from bytes to bytes; RFC 1034, section 4.3.2.

use crate::message::{CLASS_ANY, Code, IN, Name, Piece, Query, Record, Reply, kind};
use crate::zone::Zone;

/// The longest answer over UDP: to peers without EDNS, and whatever others say by it.
const UDP_BYTES: u16 = 512;
const UDP_BYTES_MAX: u16 = 4096;

/// How many aliases are followed from one to the next.
const ALIASES_MAX: usize = 8;

/// How the query came.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Over {
    Udp,
    Tcp,
}

/// The answer to a query; `None` to what is none.
pub(crate) fn answer(zone: &Zone, message: &[u8], over: Over) -> Option<Vec<u8>> {
    let query = match Query::read(message) {
        Ok(query) => query,
        Err(refusal) => return refusal,
    };
    let mut reply = Reply::new(&query);
    let code = match query.edns {
        Some(edns) if edns.version > 0 => Code::BadVersion,
        _ => resolve(zone, &query, &mut reply),
    };
    let room = match (over, query.edns) {
        (Over::Tcp, _) => u16::MAX,
        (Over::Udp, None) => UDP_BYTES,
        (Over::Udp, Some(edns)) => edns.room.clamp(UDP_BYTES, UDP_BYTES_MAX),
    };
    Some(reply.finish(code, room.into()))
}

/// Puts into the reply what the zone has.
fn resolve(zone: &Zone, query: &Query<'_>, reply: &mut Reply) -> Code {
    let is_served = zone.contains(&query.name) && matches!(query.class, IN | CLASS_ANY);
    if !is_served || matches!(query.kind, kind::AXFR | kind::IXFR) {
        return Code::Refused;
    }
    reply.set_authoritative();
    let mut name: &Name = &query.name;
    for _ in 0..ALIASES_MAX {
        let Some(records) = zone.find(name) else {
            reply.authority(&zone.origin, &zone.soa);
            return Code::NameError;
        };
        let kind = match (query.kind, records.first()) {
            // Records of one type are enough; RFC 8482.
            (kind::ANY, Some(first)) => first.kind,
            (kind, _) => kind,
        };
        if let Some(alias) = records.iter().find_map(alias).filter(|_| kind != kind::CNAME) {
            records.iter().for_each(|record| reply.answer(name, record));
            // It may well lead out of the zone.
            if !zone.contains(alias) {
                return Code::NoError;
            }
            name = alias;
            continue;
        }
        records.iter().filter(|record| record.kind == kind).for_each(|record| reply.answer(name, record));
        if !records.iter().any(|record| record.kind == kind) {
            reply.authority(&zone.origin, &zone.soa);
        }
        return Code::NoError;
    }
    Code::ServerFailure
}

/// Where an alias leads.
fn alias(record: &Record) -> Option<&Name> {
    match record.data.first() {
        Some(Piece::Name(target)) if record.kind == kind::CNAME => Some(target),
        _ => None,
    }
}
