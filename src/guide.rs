//! The guide: windlass, one subject a page.
//!
//! Pages are short, and their code runs: it is tested with the crate.
//!
//! | page | what it is about |
//! |---|---|
//! | [Getting started](getting_started) | a server, a client, addresses |
//! | [Writing a handler](handlers) | callbacks and their order, state, three ways to end |
//! | [Sharing state](sharing) | state of a reactor, messages to handlers |
//! | [Servers](servers) | several addresses over several reactors, what handlers share, callbacks |
//! | [Clients](clients) | for threads that wait, and for reactors: connecting again, once, pools |
//! | [Framing](framing) | where one message ends |
//! | [Back-pressure](back_pressure) | what to do when a peer is slow |
//! | [TLS](mod@tls) | certificates, names, reload, roots, STARTTLS |
//! | [Settings in files](settings) | keys, files of the Go package, what to print of errors, which limit holds where |
//! | [Limits and defaults](limits) | every limit and deadline, what it is by default, and its field |
//! | [Planning](planning) | memory, threads and descriptors for so many connections |
//! | [Draining](draining) | how to stop without losing anything; signals |
//! | [Inside another loop](embedding) | poll, epoll, calloop, tokio |
//! | [Many reactors](many_reactors) | threads, placement, talking to them, moving a connection |
//! | [Datagrams](datagrams) | UDP and Unix datagrams |
//! | [Platforms](platforms) | what differs from Linux |
//! | [Observing](observing) | counters, health, slow callbacks, the log |
//! | [When not to use it](when_not) | and what to use then |
//! | [Coming from the Go package](from_go) | its names beside ours; what is alike, but different |

#[doc = include_str!("../guide/back_pressure.md")]
pub mod back_pressure {}

#[doc = include_str!("../guide/clients.md")]
pub mod clients {}

#[doc = include_str!("../guide/datagrams.md")]
pub mod datagrams {}

#[doc = include_str!("../guide/draining.md")]
pub mod draining {}

#[doc = include_str!("../guide/embedding.md")]
pub mod embedding {}

#[doc = include_str!("../guide/framing.md")]
pub mod framing {}

#[doc = include_str!("../guide/from_go.md")]
pub mod from_go {}

#[doc = include_str!("../guide/getting_started.md")]
pub mod getting_started {}

#[doc = include_str!("../guide/handlers.md")]
pub mod handlers {}

#[doc = include_str!("../guide/limits.md")]
pub mod limits {}

#[doc = include_str!("../guide/many_reactors.md")]
pub mod many_reactors {}

#[doc = include_str!("../guide/observing.md")]
pub mod observing {}

#[doc = include_str!("../guide/planning.md")]
pub mod planning {}

#[doc = include_str!("../guide/platforms.md")]
pub mod platforms {}

#[doc = include_str!("../guide/servers.md")]
pub mod servers {}

#[doc = include_str!("../guide/settings.md")]
pub mod settings {}

#[doc = include_str!("../guide/sharing.md")]
pub mod sharing {}

#[doc = include_str!("../guide/tls.md")]
pub mod tls {}

#[doc = include_str!("../guide/when_not.md")]
pub mod when_not {}
