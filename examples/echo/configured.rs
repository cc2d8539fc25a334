//! The server that a file describes: a `ServerConfig` in TOML, and what was said on the command line, which goes first.

use crate::options::Options;
use crate::signals::on_signals;
use crate::{AN_HOUR, Echo, tell_stats};
use signal_hook::consts::{SIGINT, SIGTERM};
use std::error::Error;
use std::io::{self, Write};
use std::path::Path;
use std::time::Duration;
use windlass::{
    Conn, Context, DatagramConfig, EngineConfig, ListenConfig, PauseCause, Server, ServerBuilder, ServerConfig,
    ServerEvent,
};

/// What a file describes. Certificates are read once: from a pipe they come no second time.
pub(crate) struct Described {
    config: ServerConfig,
    listen: ListenConfig,
    datagram: DatagramConfig,
    engine: EngineConfig,
}

/// Reads and checks everything that a file says; the message of a fault names the file and the key, or the line that is no
/// TOML.
pub(crate) fn read(path: &Path, options: &Options) -> Result<Described, String> {
    let at = path.display();
    let text = std::fs::read_to_string(path).map_err(|error| format!("{at}: {error}"))?;
    let mut config = toml::from_str(&text).map_err(|error| format!("{at}: {}", told(&text, &error)))?;
    overlay(&mut config, options);
    described(config).map_err(|error| format!("{at}: {error}"))
}

fn described(config: ServerConfig) -> Result<Described, windlass::Error> {
    let (listen, datagram) = (config.listen_config()?, config.datagram_config()?);
    Ok(Described { listen, datagram, engine: config.engine_config()?, config })
}

/// An error without the line that it is about, which displaying it would show: the line may be a private key's.
fn told(text: &str, error: &toml::de::Error) -> String {
    let line = |at: usize| text.bytes().take(at).filter(|byte| *byte == b'\n').count() + 1;
    let line = error.span().map(|span| format!("line {}: ", line(span.start)));
    format!("{}{}", line.unwrap_or_default(), error.message())
}

fn overlay(config: &mut ServerConfig, options: &Options) {
    if !options.listen.is_empty() {
        config.addresses.clone_from(&options.listen);
    }
    if let Some(idle) = options.idle {
        config.limits.idle_timeout = Some(idle).filter(|idle| !idle.is_zero());
    }
    config.reactors = options.reactors.unwrap_or(config.reactors);
    config.connections_max = options.max_connections.or(config.connections_max);
    config.drain_timeout = options.drain.unwrap_or(config.drain_timeout);
    config.handshake_threads = options.handshake_threads.or(config.handshake_threads);
    #[cfg(any(feature = "aws-lc-rs", feature = "ring"))]
    overlay_tls(config, options);
}

#[cfg(any(feature = "aws-lc-rs", feature = "ring"))]
fn overlay_tls(config: &mut ServerConfig, options: &Options) {
    use windlass::tls::{ClientAuth, Pem};
    if options.cert.is_none() && options.client_ca.is_none() {
        return;
    }
    let tls = config.tls.get_or_insert_default();
    let file = |path: &std::path::PathBuf| Pem::file(path.clone());
    if let Some((chain, key)) = options.cert.as_ref().zip(options.key.as_ref()) {
        tls.certs = vec![windlass::CertPair { chain: file(chain), key: file(key) }];
    }
    if let Some(ca) = &options.client_ca {
        (tls.auth_client, tls.client_ca) = (ClientAuth::Required, vec![file(ca)]);
    }
}

/// Runs it until it is stopped.
pub(crate) fn serve(described: Described, options: &Options) -> Result<(), Box<dyn Error>> {
    let Described { config, listen, mut datagram, engine } = described;
    datagram.socket.receive_buffer_bytes = options.receive_buffer.or(datagram.socket.receive_buffer_bytes);
    let mut builder = Server::builder().listen_config(listen.clone()).datagram_config(datagram).engine_config(engine);
    if let Some(connections) = config.per_peer_max {
        builder = builder.per_peer_max(connections);
    }
    let builder = config.addresses.iter().cloned().fold(builder, ServerBuilder::address);
    let server = with_handlers(builder).build()?;
    server.listen()?;
    // Whoever reads that it listens may send a signal.
    let (stops, drain, mut seen) = (server.clone(), config.drain_timeout, 0);
    on(&server, &[SIGTERM, SIGINT], move |_, came| {
        seen += came;
        stops.stop(if seen == 1 { drain } else { Duration::ZERO });
    })?;
    reload_on_hangup(&server, &config, &listen)?;
    for real in server.local_addresses() {
        println!("listening on {real}");
    }
    io::stdout().flush()?;
    let report = loop {
        match server.wait(options.stats.unwrap_or(AN_HOUR)) {
            Err(windlass::Error::NotDriven) if options.stats.is_some() => tell_stats(&server.snapshots()?),
            Err(windlass::Error::NotDriven) => {}
            ended => break ended?,
        }
    };
    println!("drained: {report}");
    Ok(())
}

fn with_handlers(builder: ServerBuilder) -> ServerBuilder {
    // What goes wrong with single connections is theirs.
    let builder = builder.on_error(|error| {
        if let windlass::ServerError::Accept { .. } = error {
            eprintln!("echo: {error}");
        }
    });
    let builder = builder.on_event(|event| {
        if let ServerEvent::AcceptPaused(_, PauseCause::Starved(_)) = event {
            eprintln!("echo: {event}");
        }
    });
    builder.handler(|| |_: &Conn<'_>| Echo).datagram_handler(|| Echo)
}

/// Has `act` run on the first reactor after signals.
fn on(
    server: &Server,
    signals: &'static [i32],
    act: impl FnMut(&mut Context<'_>, usize) + Send + 'static,
) -> Result<(), Box<dyn Error>> {
    let remotes = server.remotes();
    let first = remotes.first().ok_or("the server is gone")?;
    let (told, done) = std::sync::mpsc::channel();
    first.run(move |cx| drop(told.send(on_signals(cx, signals, act))))?;
    Ok(done.recv()??)
}

#[cfg(any(feature = "aws-lc-rs", feature = "ring"))]
fn reload_on_hangup(server: &Server, config: &ServerConfig, listen: &ListenConfig) -> Result<(), Box<dyn Error>> {
    let Some((tls, config)) = listen.tls.clone().zip(config.tls.as_ref()) else { return Ok(()) };
    let builder = config.to_builder();
    on(server, &[signal_hook::consts::SIGHUP], move |_, _| match tls.reload(&builder) {
        Ok(reloaded) => {
            eprintln!("echo: certificates read again");
            reloaded.faults.iter().for_each(|fault| eprintln!("echo: {fault}"));
        }
        Err(error) => eprintln!("echo: the old certificates stay: {error}"),
    })
}

#[cfg(not(any(feature = "aws-lc-rs", feature = "ring")))]
fn reload_on_hangup(_: &Server, _: &ServerConfig, _: &ListenConfig) -> Result<(), Box<dyn Error>> {
    Ok(())
}
