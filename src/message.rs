//! A value on its way to a handler.
//!
//! Owns what is taken out once, by whoever knows its type. Knows neither handlers nor reactors.

use crate::error::Error;
use crate::id::{ConnId, EndpointId};
use bytes::Bytes;
use std::any::Any;
use std::fmt;

/// A value that another thread, or another handler of the same reactor, sent to a handler: what
/// [`Handler::on_message`](crate::Handler::on_message) receives.
///
/// ```
/// use windlass::Message;
/// let mut message = Message::new(String::from("hello"));
/// assert_eq!(message.take::<u32>(), None);
/// assert_eq!(message.take::<String>().as_deref(), Some("hello"));
/// assert!(message.is_taken());
/// ```
pub struct Message(Option<Box<dyn Any + Send>>);

impl Message {
    /// A message that carries `value`; one allocation, unless its type has no size.
    pub fn new(value: impl Any + Send) -> Message {
        Message(Some(Box::new(value)))
    }

    /// Whether it still carries a value of this type.
    pub fn is<T: Any>(&self) -> bool {
        self.0.as_deref().is_some_and(|value| value.is::<T>())
    }

    /// Takes the value out if it is of this type. Another type stays, and can be asked for next.
    pub fn take<T: Any>(&mut self) -> Option<T> {
        match self.0.take()?.downcast::<T>() {
            Ok(value) => Some(*value),
            Err(other) => {
                self.0 = Some(other);
                None
            }
        }
    }

    /// Whether its value was taken out.
    pub fn is_taken(&self) -> bool {
        self.0.is_none()
    }
}

impl fmt::Debug for Message {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Message").field("is_taken", &self.is_taken()).finish_non_exhaustive()
    }
}

/// A value that was not sent, and why.
///
/// ```
/// use windlass::{ConnId, Remote};
/// fn tell(remote: &Remote, to: ConnId, news: String) {
///     if let Err(untold) = remote.tell(to, news) {
///         eprintln!("{} was not sent: {}", untold.value, untold.why);
///     }
/// }
/// ```
#[derive(thiserror::Error)]
#[error("not sent: {why}")]
pub struct Untold<T> {
    /// The value, as it was given.
    pub value: T,
    /// `MailboxFull`, `ReactorGone`, `Gone` if the id is of another reactor, or `OnReactorThread`.
    #[source]
    pub why: Error,
}

impl<T> fmt::Debug for Untold<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Untold").field("why", &self.why).finish_non_exhaustive()
    }
}

/// What was sent and could not be delivered; see [`Reactor::on_undelivered`](crate::Reactor::on_undelivered),
/// [`Engine::on_undelivered`](crate::Engine::on_undelivered) and [`ServerBuilder::on_undelivered`](crate::ServerBuilder::on_undelivered).
///
/// ```
/// use windlass::{Reactor, ReactorConfig, Undelivered};
/// let mut reactor = Reactor::new(ReactorConfig::default())?;
/// reactor.on_undelivered(|what, why| match what {
///     Undelivered::Bytes(to, bytes) => eprintln!("{} bytes to {to:?}: {why}", bytes.len()),
///     other => eprintln!("{other:?}: {why}"),
/// });
/// # Ok::<(), windlass::Error>(())
/// ```
#[derive(Debug)]
#[non_exhaustive]
pub enum Undelivered {
    /// Bytes for a connection.
    Bytes(ConnId, Bytes),
    /// A message for a connection.
    Message(ConnId, Message),
    /// A message for a datagram socket.
    EndpointMessage(EndpointId, Message),
}
