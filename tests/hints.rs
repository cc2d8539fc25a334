//! Slips in a call of the library, and what the compiler then says: it names what to write instead.
//!
//! Each slip is compiled by itself, as a user's program would be. Only our own words are looked for, since the compiler's
//! differ from one version to the next.
#![cfg(not(windlass_oldest))]

#[path = "examples/running.rs"]
mod running;

use running::{finish, library, skip};
use std::path::PathBuf;
use std::process::{Command, Output};
use std::sync::OnceLock;

/// What stands around each slip.
const PROGRAM: &str = "
use std::rc::Rc;
use windlass::*;

struct Echo;
impl Handler for Echo {
    fn on_data(&mut self, conn: &mut Conn<'_>, data: &[u8]) -> usize {
        conn.write_some(data)
    }
}
impl DatagramHandler for Echo {
    fn on_datagram(&mut self, _: &mut Datagrams<'_>, _: &Datagram<'_>) {}
}
struct Nothing;

fn listen(accept: impl Accept) -> impl Accept { accept }
fn watch(handler: impl WatchHandler) -> impl WatchHandler { handler }
fn server() -> ServerBuilder { Server::builder() }

#[allow(unused)]
fn calls(reactor: &mut Reactor, at: &Address) -> Result<(), Error> {
    HERE
    Ok(())
}
";

/// The compiler, the library and its dependencies; `None` if this machine has no compiler for them.
fn tools() -> Option<&'static (PathBuf, PathBuf, PathBuf)> {
    static TOOLS: OnceLock<Option<(PathBuf, PathBuf, PathBuf)>> = OnceLock::new();
    let tools = TOOLS.get_or_init(|| {
        let compiler = PathBuf::from(std::env::var_os("RUSTC").unwrap_or("rustc".into()));
        Command::new(&compiler).arg("--version").output().ok().filter(|told| told.status.success())?;
        let (library, folder) = library();
        Some((compiler, library, folder))
    });
    tools.as_ref()
}

/// Whether the compiler is the one that is named in `benches/guard.txt`, whose own words are known.
fn words_are_known() -> bool {
    let Some((compiler, ..)) = tools() else {
        skip("there is no rustc");
        return false;
    };
    let told = Command::new(compiler).arg("--version").output().expect("a compiler").stdout;
    let told = String::from_utf8_lossy(&told).trim().to_owned();
    let is_known = include_str!("../benches/guard.txt").contains(&format!("tools: {told},"));
    if !is_known {
        skip(&format!("{told} may use other words than the compiler of benches/guard.txt"));
    }
    is_known
}

/// Compiles the program with `code` in it; `None` where there is no compiler that can.
fn compile(code: &str) -> Option<(bool, String)> {
    let Some((compiler, library, dependencies)) = tools() else {
        skip("there is no rustc");
        return None;
    };
    let folder = tempfile::tempdir().expect("a folder");
    let mut command = Command::new(compiler);
    command.current_dir(env!("CARGO_MANIFEST_DIR")).args(["--edition=2024", "--crate-type=lib", "--emit=metadata"]);
    command.args(["--crate-name=slip", "--color=never", "-", "--out-dir"]).arg(folder.path());
    command.arg("--extern").arg(format!("windlass={}", library.display()));
    command.arg("-L").arg(format!("dependency={}", dependencies.display()));
    let Output { status, stderr, .. } =
        finish(&mut command, PROGRAM.replace("HERE", code).as_bytes()).expect("a compiler");
    let told = String::from_utf8_lossy(&stderr).into_owned();
    if told.contains("E0514") {
        skip("the rustc that is found is not the one that this test was built with");
        return None;
    }
    Some((status.success(), told))
}

fn compiles(code: &str) {
    if let Some((does, told)) = compile(code) {
        assert!(does, "{code}\n{told}");
    }
}

/// `code` does not compile, and the compiler says all of `hints`.
fn is_refused(code: &str, hints: &[&str]) {
    if let Some((does, told)) = compile(code) {
        assert!(!does, "{code}: it compiles");
        for hint in hints {
            assert!(told.contains(hint), "{hint:?} is not said of {code}:\n{told}");
        }
    }
}

#[test]
fn what_the_hints_tell_to_write_compiles() {
    compiles("reactor.listen(at, ListenConfig::default(), |_: &Conn<'_>| Echo)?;");
    compiles("server().handler(|| |_: &Conn<'_>| Echo).datagram_handler(|| Echo);");
    compiles("server().handler(|cx: &mut Context<'_>| { cx.set_local(1); |_: &Conn<'_>| Echo });");
    compiles("server().datagram_handler(|cx: &mut Context<'_>| { cx.set_local(1); Echo });");
    compiles("reactor.connect(at, ConnectConfig::default(), handler_fn(|conn, data| conn.write_some(data)))?;");
    compiles("reactor.bind(at, DatagramConfig::default(), Echo)?;");
    compiles(
        "watch(|cx: &mut Context<'_>, fd: std::os::fd::BorrowedFd<'_>, ready: Readiness| Next::Wait);
         server().handler(|| { let shared = Rc::new(0); move |_: &Conn<'_>| { let shared = shared.clone(); Echo } });",
    );
}

#[test]
fn handlers_of_several_types_are_returned_in_a_box() {
    compiles(
        "listen(|conn: &Conn<'_>| -> Box<dyn Handler> {
             if conn.peer_ip().is_some() { Box::new(Echo) } else { Box::new(handler_fn(|_, data| data.len())) }
         });
         reactor.connect(at, ConnectConfig::default(), Box::new(Echo) as Box<dyn Handler>)?;
         reactor.bind(at, DatagramConfig::default(), Box::new(Echo) as Box<dyn DatagramHandler>)?;",
    );
}

const MAKES_NONE: &str = "makes no handlers for a listener";
const WRITE_ONE: &str = "expected a closure such as `|_: &Conn<'_>| Echo`";

#[test]
fn a_handler_in_place_of_the_closure_that_makes_one_is_told_to_be_put_into_it() {
    is_refused("reactor.listen(at, ListenConfig::default(), Echo)?;", &["`Echo` makes no handlers", WRITE_ONE]);
    is_refused("server().handler(|| Echo);", &["`Echo` makes no handlers", WRITE_ONE, "`|| |_: &Conn<'_>| Echo`"]);
    is_refused("listen(|_: &Conn<'_>| Nothing);", &[MAKES_NONE, "what it returns must implement `windlass::Handler`"]);
}

/// The compiler has no place for words of ours here; the page of `Accept` has the compiler's.
#[test]
fn a_closure_whose_parameter_has_no_type_is_refused_as_the_page_of_accept_says() {
    let page =
        include_str!("../src/handler.rs").split("pub trait Accept").next().expect("its page").replace("\n/// ", " ");
    if !words_are_known() {
        return;
    }
    for code in ["listen(|_| Echo);", "server().handler(|| |_| Echo);", "listen(|conn| { conn.id(); Echo });"] {
        let Some((does, told)) = compile(code) else { return };
        assert!(!does, "{code}: it compiles; say so on the page of `Accept`");
        let is_on_page = |words: &&str| told.contains(*words) && page.contains(*words);
        let words = ["implementation of `FnOnce` is not general enough", "type annotations needed"];
        assert!(words.iter().any(is_on_page), "the page has other words than the compiler:\n{told}");
    }
}

/// The compiler's own words name what is captured and where that is asked for, which is more than a hint could.
#[test]
fn an_rc_that_goes_to_other_threads_is_named_with_the_method_that_asks_for_more() {
    if !words_are_known() {
        return;
    }
    is_refused(
        "let shared = Rc::new(0);
         server().handler(move || { let shared = shared.clone(); move |_: &Conn<'_>| { shared.clone(); Echo } });",
        &["`Rc<i32>` cannot be sent between threads safely", "ServerBuilder::handler"],
    );
}

#[test]
fn what_is_no_handler_is_told_how_to_become_one() {
    is_refused(
        "reactor.connect(at, ConnectConfig::default(), |conn: &mut Conn<'_>, data: &[u8]| data.len())?;",
        &["is no `Handler`", "cannot serve a connection", "handler_fn(|conn, data| conn.write_some(data))"],
    );
    is_refused(
        "reactor.bind(at, DatagramConfig::default(), || Echo)?;",
        &["is no `DatagramHandler`", "cannot serve a datagram socket", "take the handler itself"],
    );
    is_refused("server().datagram_handler(|| Nothing);", &["`Nothing` is no `DatagramHandler`", "`on_datagram`"]);
    is_refused("watch(Nothing);", &["`Nothing` is no `WatchHandler`", "cannot be called for a watched descriptor"]);
}
#[test]
fn what_makes_nothing_on_a_reactor_is_told_both_shapes_of_a_closure() {
    let either = "expected a closure such as `|| …`, or `|cx: &mut Context<'_>| …`";
    for code in ["Echo", "|_: &Conn<'_>| Echo", "|_| |_: &Conn<'_>| Echo"] {
        is_refused(&format!("server().handler({code});"), &[either, "`|| |_: &Conn<'_>| Echo`"]);
    }
    is_refused("server().datagram_handler(Echo);", &["`Echo` is no `Factory`", either, "`|| Echo`"]);
    is_refused("server().handler(|cx: &mut Context<'_>| Echo);", &["`Echo` makes no handlers", WRITE_ONE]);
}
