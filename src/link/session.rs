//! The TLS state of one link: records in, plaintext out, and records to send.
//!
//! Owns the rustls connection, and what rustls does not latch by itself: that it failed, and who has said close_notify.
//! Knows no socket and keeps no buffer. With `tls` it is the only file that names rustls. Without the feature there are
//! no sessions, and `session/none.rs` stands in its place.
//!
//! 1. A server's session holds nothing of rustls' before a whole ClientHello is there, a client's nothing before its
//!    socket is connected.
//! 2. After a failure, or our close_notify, nothing is sealed; after the peer's, nothing is opened.
//! 3. Whenever rustls is asked to seal it is shown what it has seen of what was kept: it goes on from there, and panics if that is
//!    not there.
//! 4. What is sealed or answered is in `Sealed` when a call returns, and must leave before the next byte of user code.
//! 5. A peer's alert is never answered by one.

mod hello;
mod pump;
mod showing;
#[cfg(test)]
pub(crate) mod tests;

use crate::address::Address;
use crate::config::{ConnectConfig, ListenConfig, sealing_bytes};
use crate::error::{Error, TlsFault};
use crate::link::buffers::Sealed;
use crate::link::quota::{Quota, Unopened};
use crate::shown::shown;
pub(crate) use crate::tls::HandshakeThreads;
use crate::tls::asked::{self, Seen};
use crate::tls::failure::{Detail, Scene, diagnose};
use crate::tls::{Chosen, ClientTls, Era, Guard, ServerTls, Truncation};
use hello::{Hello, Parsed};
use pump::{encode, pump};
use rustls::client::UnbufferedClientConnection;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::server::{ServerConfig, UnbufferedServerConnection};
use rustls::unbuffered::{ConnectionState, EncryptError, UnbufferedStatus, WriteTraffic};
use rustls::{CipherSuite, CommonState, NamedGroup, PeerMisbehaved, ProtocolVersion};
use showing::{Records, RustlsConnection};
use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;

/// The TLS state of one link.
pub(crate) struct Session {
    engine: Engine,
    latch: Latch,
    truncation: Truncation,
    /// What is known of its failure beyond the reason that is told.
    failure: Option<Box<Detail>>,
}

enum Engine {
    /// A server that waits for the peer's first message.
    Awaiting(Hello),
    /// A client that has not spoken.
    ClientPending(Box<(ClientTls, ServerName<'static>)>),
    Server(Box<Server>),
    Client(Box<Client>),
    /// Another thread has it.
    Away,
}

struct Server {
    rustls: UnbufferedServerConnection,
    place: Place,
    /// What the peer asked for; rustls' unbuffered connections cannot tell.
    name: Option<Box<str>>,
    /// Where the configuration was chosen by a name: until rustls has read that, too.
    guard: Option<Guard>,
}

impl Server {
    /// Opens records. The first error is one of the name that was asked for, the second rustls'.
    fn open(
        &mut self,
        wire: &mut [u8],
        records: Records<'_>,
        plain: &mut Vec<u8>,
        out: &mut Sealed,
        latch: &mut Latch,
    ) -> Result<Result<Opened, rustls::Error>, TlsFault> {
        if *latch != Latch::Shaking {
            return Ok(pump(&mut self.rustls, wire, records, plain, out, latch));
        }
        let sealed = out.len();
        asked::take();
        let done = pump(&mut self.rustls, wire, records, plain, out, latch);
        let has_gone_on = out.len() > sealed || *latch != Latch::Shaking;
        self.saw(asked::take(), has_gone_on)?;
        Ok(done)
    }

    /// Takes note of what rustls has read; `has_gone_on` says whether it has answered.
    fn saw(&mut self, seen: Option<Seen>, has_gone_on: bool) -> Result<(), TlsFault> {
        let Some(Seen { name }) = seen else {
            // It reads the name before all else. If that ever changes, nobody is served unseen.
            return if has_gone_on && self.guard.is_some() { Err(TlsFault::Internal) } else { Ok(()) };
        };
        let admitted = self.guard.take().map_or(Ok(()), |guard| guard.admit(name.as_deref()));
        self.name = self.name.take().or(name);
        admitted
    }
}

/// What a server's handshake began with.
struct Begun {
    config: Arc<ServerConfig>,
    /// The first message, if it spans records: rustls moves those together in place.
    hello: Option<Vec<u8>>,
}

struct Client {
    rustls: UnbufferedClientConnection,
    place: Place,
    name: ServerName<'static>,
    /// To be shown what the server is verified by, during the handshake.
    era: Option<Arc<Era>>,
}

impl Client {
    /// Its handshake is done.
    fn is_through(&mut self) {
        let Some(era) = self.era.take() else { return };
        let chain = self.rustls.peer_certificates().unwrap_or_default();
        if self.rustls.handshake_kind() != Some(rustls::HandshakeKind::Resumed) {
            era.saw(chain);
        }
    }
}

/// Which thread works on the handshake.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    Reactor,
    Elsewhere,
}

impl Place {
    fn of(is_offloaded: bool) -> Place {
        if is_offloaded { Place::Elsewhere } else { Place::Reactor }
    }
}

/// What the sessions of one listener are made of.
pub(crate) struct Template(Arc<ServerTls>);

impl Template {
    /// That of such a listener; `None` if its connections are to be plain.
    pub(crate) fn of(config: &ListenConfig) -> Option<Template> {
        config.tls.as_ref().map(Template::new)
    }

    pub(crate) fn new(tls: &ServerTls) -> Template {
        Template(Arc::new(tls.clone()))
    }

    pub(crate) fn session(&self) -> Session {
        let engine = Engine::Awaiting(Hello::new(self.0.clone()));
        Session { engine, latch: Latch::Shaking, truncation: self.0.truncation, failure: None }
    }
}

/// How far both sides are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Latch {
    Shaking,
    Secured,
    /// The peer has said close_notify.
    PeerClosed,
    /// We have.
    WeClosed,
    BothClosed,
    Failed,
}

impl Latch {
    fn after_peers_close(self) -> Latch {
        match self {
            Latch::Shaking | Latch::Secured | Latch::PeerClosed => Latch::PeerClosed,
            Latch::WeClosed | Latch::BothClosed => Latch::BothClosed,
            Latch::Failed => Latch::Failed,
        }
    }

    fn after_our_close(self) -> Latch {
        match self {
            Latch::Secured | Latch::WeClosed => Latch::WeClosed,
            Latch::PeerClosed | Latch::BothClosed => Latch::BothClosed,
            Latch::Shaking | Latch::Failed => self,
        }
    }
}

/// What a call of [`Session::open`] did.
#[derive(Debug)]
pub(crate) struct Opened {
    /// Bytes that are done with; the rest must be shown again, as it is now, with more behind it.
    pub(crate) consumed: usize,
    /// How many bytes of that rest rustls has seen: the beginning of a message that spans records.
    pub(crate) seen: usize,
    /// Whether whole records are left, for which the quota was too small.
    pub(crate) rest: Unopened,
    /// What is wrong, if anything is; what answers it is sealed already.
    pub(crate) fault: Option<TlsFault>,
}

impl Opened {
    /// All of it is done with.
    fn all(consumed: usize, fault: Option<TlsFault>) -> Opened {
        Opened { consumed, seen: 0, rest: Unopened::None, fault }
    }
}

impl fmt::Debug for Session {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Session").field("latch", &self.latch).finish_non_exhaustive()
    }
}

impl Session {
    /// The session of a connect to `address`; `None` if it is to be plain.
    ///
    /// # Errors
    /// `Config` if there is no name to check the server's certificate against.
    pub(crate) fn dialled(config: &ConnectConfig, address: &Address) -> Result<Option<Session>, Error> {
        let Some(tls) = &config.tls else { return Ok(None) };
        Session::client(tls, Some(address)).map(Some)
    }

    pub(crate) fn client(tls: &ClientTls, address: Option<&Address>) -> Result<Session, Error> {
        let refuse = |value: String, why| Err(Error::Config { field: "server_name", value, why });
        let name = match (&tls.server_name, address.and_then(Address::host_name), address.and_then(Address::ip)) {
            (Some(given), _, _) => given.clone(),
            (None, Some(host), _) => match ServerName::try_from(host.to_owned()) {
                Ok(name) => name,
                Err(_) => return refuse(shown(host), "no certificate can be for it; give server_name"),
            },
            (None, None, Some(ip)) => ServerName::from(ip.ip()),
            (None, None, None) => {
                return refuse("None".to_owned(), "the address names no host; give the name of the certificate");
            }
        };
        let engine = Engine::ClientPending(Box::new((tls.clone(), name)));
        Ok(Session { engine, latch: Latch::Shaking, truncation: tls.truncation, failure: None })
    }

    /// Opens whole records of `wire`, as far as the quota goes: appends plaintext to `plain`, and what answers them to `out`.
    /// `seen` is as the last call returned it.
    pub(crate) fn open(
        &mut self,
        wire: &mut [u8],
        seen: usize,
        quota: &mut Quota,
        plain: &mut Vec<u8>,
        out: &mut Sealed,
    ) -> Opened {
        let all = wire.len();
        if matches!(self.latch, Latch::Failed | Latch::PeerClosed | Latch::BothClosed) {
            return Opened::all(all, None);
        }
        let (is_first, sealed) = (self.is_not_started(), out.len());
        let begun = match self.begin(wire) {
            Ok(begun) => begun,
            Err(fault) => {
                self.latch = Latch::Failed;
                if fault == TlsFault::UnknownName {
                    self.failure = Detail::of_unknown_name(wire);
                    out.push(&UNRECOGNIZED_NAME);
                }
                return Opened::all(all, Some(fault));
            }
        };
        let (opened, is_shaking) = (plain.len(), self.latch == Latch::Shaking);
        let records = Records { seen, quota, before: None };
        let done = match &mut self.engine {
            Engine::Awaiting(_) | Engine::ClientPending(_) | Engine::Away => return Opened::all(0, None),
            Engine::Server(server) => match server.open(wire, records, plain, out, &mut self.latch) {
                Ok(done) => done,
                Err(fault) => {
                    self.latch = Latch::Failed;
                    self.failure = Detail::of_other_name(server.name.as_deref());
                    plain.truncate(opened);
                    out.truncate(sealed);
                    // Nothing was said yet, so nothing is encrypted.
                    out.push(if fault == TlsFault::UnknownName { &UNRECOGNIZED_NAME } else { &DECODE_ERROR });
                    return Opened::all(all, Some(fault));
                }
            },
            Engine::Client(client) => {
                let done = pump(&mut client.rustls, wire, records, plain, out, &mut self.latch);
                if client.era.is_some() && self.latch != Latch::Shaking {
                    client.is_through();
                }
                done
            }
        };
        let error = match done {
            Ok(opened) => return opened,
            Err(error) => error,
        };
        self.latch = Latch::Failed;
        let first = (is_shaking && (is_first || error == NOT_TLS)).then_some(&*wire);
        let (config, hello) = begun.as_ref().map(|it| (&*it.config, it.hello.as_deref())).unzip();
        let fault = self.explain(&error, &Scene { asked: None, first, hello: hello.flatten(), config });
        // Who has sent an alert has gone (session 5).
        if !is_of_an_alert(&error) {
            self.answer_fault(fault, is_first.then_some(sealed), out);
        }
        Opened::all(all, Some(fault))
    }

    /// Tells the peer what is wrong with what it sent. `first_behind` is how much was sealed before the first of it came.
    fn answer_fault(&mut self, fault: TlsFault, first_behind: Option<usize>, out: &mut Sealed) {
        // Whether plain text is answered by an alert is not for us to say.
        if first_behind.is_some() && fault == TlsFault::NotTls {
            return;
        }
        self.answer(out);
        if first_behind == Some(out.len()) {
            // For some faults rustls has no alert. Nothing is encrypted yet, so this one can be said without it.
            out.push(&DECODE_ERROR);
        }
    }

    /// Makes rustls' connection once it is time; returns what a server's goes by, where this made it.
    fn begin(&mut self, wire: &[u8]) -> Result<Option<Begun>, TlsFault> {
        match &mut self.engine {
            Engine::Server(_) | Engine::Client(_) | Engine::Away => {}
            Engine::ClientPending(silent) => {
                let (tls, name) = &**silent;
                let era = tls.era();
                match UnbufferedClientConnection::new(era.config().clone(), name.clone()) {
                    Ok(rustls) => {
                        let place = Place::of(tls.is_offloaded(era.config()));
                        let client = Client { rustls, place, name: name.clone(), era: Some(era) };
                        self.engine = Engine::Client(Box::new(client));
                    }
                    Err(error) => return Err(self.explain(&error, &Scene::default())),
                }
            }
            Engine::Awaiting(hello) => match hello.feed(wire) {
                Parsed::Incomplete => {}
                Parsed::Alert(description) => return Err(TlsFault::AlertReceived(description)),
                Parsed::Complete => {
                    let message = hello.message(wire);
                    let Chosen { config, is_offloaded, guard } =
                        hello.server().choose(hello.is_whole().then_some(&message))?;
                    match UnbufferedServerConnection::new(config.clone()) {
                        Ok(rustls) => {
                            let server = Server { rustls, place: Place::of(is_offloaded), name: None, guard };
                            self.engine = Engine::Server(Box::new(server));
                            let hello = match message {
                                Cow::Borrowed(_) => None,
                                Cow::Owned(message) => Some(message),
                            };
                            return Ok(Some(Begun { config, hello }));
                        }
                        Err(error) => return Err(self.explain(&error, &Scene::default())),
                    }
                }
            },
        }
        Ok(None)
    }

    /// Which fault an error is, in a scene whose name is not looked up yet. What else it says is kept.
    fn explain(&mut self, error: &rustls::Error, scene: &Scene<'_>) -> TlsFault {
        let name = match &self.engine {
            Engine::Server(server) => server.name.as_deref().map(Cow::Borrowed),
            Engine::Client(client) => Some(client.name.to_str()),
            Engine::Awaiting(_) | Engine::ClientPending(_) | Engine::Away => None,
        };
        let (fault, detail) = diagnose(error, &Scene { asked: name.as_deref(), ..*scene });
        self.failure = detail;
        fault
    }

    /// What is known of its failure beyond the fault.
    pub(crate) fn failure(&self) -> Option<&str> {
        self.failure.as_deref().map(Detail::text)
    }

    /// Seals the alert after a failure.
    fn answer(&mut self, out: &mut Sealed) {
        match &mut self.engine {
            Engine::Awaiting(_) | Engine::ClientPending(_) | Engine::Away => {}
            Engine::Server(server) => drain_alert(&mut server.rustls, out),
            Engine::Client(client) => drain_alert(&mut client.rustls, out),
        }
    }

    /// Seals `plain` behind what is in `out`. `kept` is what rustls has seen of what [`Session::open`] left: it goes over it again, and panics
    /// if it is not there.
    ///
    /// # Errors
    /// The keys are worn out and cannot be renewed (TLS 1.2).
    pub(crate) fn seal(&mut self, plain: &[u8], kept: &mut [u8], out: &mut Sealed) -> Result<(), TlsFault> {
        if plain.is_empty() || !matches!(self.latch, Latch::Secured | Latch::PeerClosed) {
            return Ok(());
        }
        let sealed = self.say(Say::Data(plain), kept, out);
        sealed.inspect_err(|_| self.latch = Latch::Failed)
    }

    /// Seals our close_notify, once, if the handshake is done; `kept` as for [`Session::seal`].
    pub(crate) fn close(&mut self, kept: &mut [u8], out: &mut Sealed) {
        if !matches!(self.latch, Latch::Secured | Latch::PeerClosed) {
            return;
        }
        self.latch = self.latch.after_our_close();
        // Without it the peer sees a truncation, which is what it then is.
        let _ = self.say(Say::Close, kept, out);
    }

    fn say(&mut self, say: Say<'_>, kept: &mut [u8], out: &mut Sealed) -> Result<(), TlsFault> {
        match &mut self.engine {
            Engine::Awaiting(_) | Engine::ClientPending(_) | Engine::Away => Ok(()),
            Engine::Server(server) => write(&mut server.rustls, say, kept, out),
            Engine::Client(client) => write(&mut client.rustls, say, kept, out),
        }
    }

    /// Whether another thread should open `wire`, since that may take long. A client's first words never do.
    pub(crate) fn is_offloaded(&mut self, wire: &[u8]) -> bool {
        if self.latch != Latch::Shaking {
            return false;
        }
        match &mut self.engine {
            Engine::Awaiting(hello) => {
                if hello.feed(wire) != Parsed::Complete {
                    return false;
                }
                let message = hello.is_whole().then(|| hello.message(wire));
                hello.server().choose(message.as_deref()).is_ok_and(|chosen| chosen.is_offloaded)
            }
            Engine::Server(server) => server.place == Place::Elsewhere,
            Engine::Client(client) => client.place == Place::Elsewhere,
            Engine::ClientPending(_) | Engine::Away => false,
        }
    }

    /// Takes it out, to be put back by the thread that owns the link.
    pub(crate) fn take(&mut self) -> Session {
        let engine = std::mem::replace(&mut self.engine, Engine::Away);
        Session { engine, latch: self.latch, truncation: self.truncation, failure: self.failure.take() }
    }

    /// Ends it after user code of its configuration panicked: rustls is not asked again.
    pub(crate) fn fail(&mut self) {
        self.latch = Latch::Failed;
    }

    /// Whether the handshake is under way.
    pub(crate) fn is_shaking(&self) -> bool {
        self.latch == Latch::Shaking
    }

    /// Whether the handshake is done.
    pub(crate) fn is_secured(&self) -> bool {
        !matches!(self.latch, Latch::Shaking | Latch::Failed)
    }

    /// Whether the handshake is done, and neither side has ended.
    pub(crate) fn is_just_open(&self) -> bool {
        self.latch == Latch::Secured
    }

    /// Whether it has something to say before it has heard anything.
    pub(crate) fn is_silent(&self) -> bool {
        matches!(self.engine, Engine::ClientPending(_))
    }

    /// Whether nothing was spent on it yet.
    pub(crate) fn is_not_started(&self) -> bool {
        matches!(self.engine, Engine::Awaiting(_) | Engine::ClientPending(_))
    }

    /// Whether the peer has said that it ends.
    pub(crate) fn is_peer_closed(&self) -> bool {
        matches!(self.latch, Latch::PeerClosed | Latch::BothClosed)
    }

    /// Whether an end of the socket's stream now is no end of the peer's.
    pub(crate) fn is_truncated(&self) -> bool {
        self.truncation == Truncation::Refused && !self.is_peer_closed()
    }
}

/// A record with the fatal alert decode_error; RFC 8446, section 6.
pub(crate) const DECODE_ERROR: [u8; 7] = [21, 3, 3, 0, 2, 2, 50];

/// What rustls says where no record begins.
const NOT_TLS: rustls::Error = rustls::Error::InvalidMessage(rustls::InvalidMessage::InvalidContentType);

/// Whether it is the peer's alert that ended it. That is never answered by another one, whatever rustls would say to its level:
/// the peer has gone, and each would only tell the other that it was told something.
fn is_of_an_alert(error: &rustls::Error) -> bool {
    use rustls::Error;
    let warned_too_often = Error::PeerMisbehaved(PeerMisbehaved::TooManyWarningAlertsReceived);
    matches!(error, Error::AlertReceived(_)) || *error == warned_too_often
}

/// The same with unrecognized_name.
const UNRECOGNIZED_NAME: [u8; 7] = [21, 3, 3, 0, 2, 2, 112];

/// What is to be sealed.
#[derive(Clone, Copy)]
enum Say<'a> {
    Data(&'a [u8]),
    Close,
}

/// Takes away what rustls still has to say after a failure: its alert. Not more: a call without anything to say would go
/// on where the bytes were that failed, and panic, since they are gone.
fn drain_alert<R: RustlsConnection>(rustls: &mut R, out: &mut Sealed) {
    while rustls.wants_write() {
        let Ok(ConnectionState::EncodeTlsData(message)) = rustls.process(&mut []).state else { return };
        if encode(message, out).is_err() {
            return;
        }
    }
}

/// Seals what is to be said, behind all that rustls has to say by itself.
fn write<R: RustlsConnection>(rustls: &mut R, say: Say<'_>, kept: &mut [u8], out: &mut Sealed) -> Result<(), TlsFault> {
    loop {
        let UnbufferedStatus { discard, state, .. } = rustls.process(kept);
        debug_assert_eq!(discard, 0, "what can be eaten was eaten when it came");
        match state {
            Ok(ConnectionState::WriteTraffic(traffic)) => return fill(traffic, say, out),
            Ok(ConnectionState::EncodeTlsData(message)) => encode(message, out).map_err(|_| TlsFault::Internal)?,
            Ok(ConnectionState::TransmitTlsData(sent)) => sent.done(),
            _ => return Err(TlsFault::Internal),
        }
    }
}

fn fill<D>(mut traffic: WriteTraffic<'_, D>, say: Say<'_>, out: &mut Sealed) -> Result<(), TlsFault> {
    let mut bytes = match say {
        Say::Data(plain) => plain.len() + sealing_bytes(plain.len()),
        Say::Close => sealing_bytes(0),
    };
    loop {
        let room = out.room(bytes);
        let sealed = match say {
            Say::Data(plain) => traffic.encrypt(plain, room),
            Say::Close => traffic.queue_close_notify(room),
        };
        match sealed {
            Ok(written) => {
                out.written(written);
                return Ok(());
            }
            Err(EncryptError::InsufficientSize(needed)) if needed.required_size > bytes => bytes = needed.required_size,
            Err(_) => return Err(TlsFault::Internal),
        }
    }
}

// --- what a handler may ask -------------------------------------------------------------------------------------------

/// What was agreed on in a TLS handshake, lent by `Conn::tls` and `Link::tls`.
///
/// Everything is known from `on_open` on, and already when a listener makes the handler.
///
/// ```
/// use windlass::Conn;
/// fn speaks_http2(conn: &Conn<'_>) -> bool {
///     conn.tls().is_some_and(|tls| tls.alpn() == Some(b"h2".as_slice()))
/// }
/// ```
pub struct TlsInfo<'a>(&'a Session);

impl fmt::Debug for TlsInfo<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TlsInfo")
            .field("version", &self.version())
            .field("suite", &self.suite())
            .field("group", &self.group())
            .field("server_name", &self.server_name())
            .finish_non_exhaustive()
    }
}

impl Session {
    /// What was agreed on; `None` before the handshake is done.
    pub(crate) fn info(&self) -> Option<TlsInfo<'_>> {
        self.common().filter(|common| !common.is_handshaking()).map(|_| TlsInfo(self))
    }

    fn common(&self) -> Option<&CommonState> {
        match &self.engine {
            Engine::Awaiting(_) | Engine::ClientPending(_) | Engine::Away => None,
            Engine::Server(server) => Some(&server.rustls),
            Engine::Client(client) => Some(&client.rustls),
        }
    }
}

impl<'a> TlsInfo<'a> {
    fn common(&self) -> Option<&'a CommonState> {
        self.0.common()
    }

    /// The protocol version.
    pub fn version(&self) -> Option<ProtocolVersion> {
        self.common()?.protocol_version()
    }

    /// The cipher suite.
    pub fn suite(&self) -> Option<CipherSuite> {
        self.common()?.negotiated_cipher_suite().map(|suite| suite.suite())
    }

    /// The key exchange group; `None` if a session was resumed without a new key exchange (TLS 1.2).
    pub fn group(&self) -> Option<NamedGroup> {
        self.common()?.negotiated_key_exchange_group().map(|group| group.name())
    }

    /// The application protocol (ALPN, RFC 7301), `None` if none was agreed on.
    pub fn alpn(&self) -> Option<&'a [u8]> {
        self.common()?.alpn_protocol()
    }

    /// The name that the client asked for (SNI, RFC 6066), in lower case; a client's own is that of its configuration.
    /// `None` if it asked for none, or for an IP address.
    pub fn server_name(&self) -> Option<&'a str> {
        match &self.0.engine {
            Engine::Awaiting(_) | Engine::ClientPending(_) | Engine::Away => None,
            Engine::Server(server) => server.name.as_deref(),
            Engine::Client(client) => match &client.name {
                ServerName::DnsName(name) => Some(name.as_ref()),
                _ => None,
            },
        }
    }

    /// The peer's certificate chain, its own first; `None` if it showed none.
    pub fn peer_certificates(&self) -> Option<&'a [CertificateDer<'static>]> {
        self.common()?.peer_certificates()
    }

    /// Whether an earlier session was resumed: no certificate was shown again. That which a client showed then was checked again,
    /// by a server that was built by [`ServerTls::builder`] or has the storage of `tls::check_resumed`.
    pub fn is_resumed(&self) -> bool {
        self.common().and_then(CommonState::handshake_kind) == Some(rustls::HandshakeKind::Resumed)
    }
}
