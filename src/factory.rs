//! What makes a value on each reactor's thread.
//!
//! Owns the two shapes that a closure may have: with the reactor's context, or without. Knows nothing of what is made.

use crate::context::Context;

/// A closure that is called on a reactor's thread and makes what serves there: `|| …`, or `|cx: &mut Context<'_>| …` if it
/// needs the reactor's [`Context`], whose type has to be written there.
///
/// `Shape` is found by the compiler.
///
/// ```
/// use windlass::{Conn, Context, Server, handler_fn};
/// struct Served(u64);
/// # fn main() -> Result<(), windlass::Error> {
/// let server = Server::builder()
///     .address("tcp://127.0.0.1:0".parse()?)
///     .handler(|cx: &mut Context<'_>| {
///         cx.set_local(Served(0));
///         |_: &Conn<'_>| {
///             handler_fn(|conn, data| {
///                 conn.context().local::<Served>().expect("it was set above").0 += 1;
///                 conn.write_some(data)
///             })
///         }
///     })
///     .build()?;
/// # Ok(()) }
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` is no `Factory`",
    label = "expected a closure such as `|| …`, or `|cx: &mut Context<'_>| …`",
    note = "`ServerBuilder::handler` and `Engine::listen` take one that makes what makes handlers: `|| |_: &Conn<'_>| Echo`",
    note = "`ServerBuilder::datagram_handler` and `Engine::bind` take one that makes a handler: `|| Echo`"
)]
pub trait Factory<Shape> {
    /// What it makes; it stays on the reactor's thread.
    type Made: 'static;

    /// Makes one.
    fn make(&self, cx: &mut Context<'_>) -> Self::Made;
}

// So that an error is about what was given, and not about `Fn`.
#[diagnostic::do_not_recommend]
impl<F: Fn() -> T, T: 'static> Factory<fn()> for F {
    type Made = T;

    fn make(&self, _: &mut Context<'_>) -> T {
        self()
    }
}

#[diagnostic::do_not_recommend]
impl<F: Fn(&mut Context<'_>) -> T, T: 'static> Factory<fn(&mut Context<'_>)> for F {
    type Made = T;

    fn make(&self, cx: &mut Context<'_>) -> T {
        self(cx)
    }
}
