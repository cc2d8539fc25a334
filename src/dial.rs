//! What comes before a connect: addresses for a name, and the order in which they are tried.
//!
//! Owns nothing that lives. Clients of both kinds, those that wait and those that reactors drive, go by it.

pub(crate) mod backoff;
pub(crate) mod race;
pub(crate) mod resolver;
