//! An echo server on tokio, with TLS by tokio-rustls, and with the interface of the library's `echo` example: on the
//! current-thread runtime, or with `--reactors N` from 2 on on the multi-thread one with N workers.
//!
//! One task and one 16 KiB buffer a connection; no timeouts and no limits: options other than `--listen`, `--reactors`,
//! `--cert` and `--key` have no effect.

use std::error::Error;
use std::io;
use std::sync::Arc;

use rustls::ServerConfig;
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::NoServerSessionStorage;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream, UnixListener, UnixStream};
use tokio::runtime::Builder;
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;

const BUFFER_BYTES: usize = 16 * 1024;

type Outcome<T> = Result<T, Box<dyn Error>>;

#[derive(Default)]
struct Options {
    listen: Vec<String>,
    certificate: String,
    key: String,
    workers: usize,
}

fn main() -> Outcome<()> {
    let options = parse()?;
    let mut builder = match options.workers {
        0 | 1 => Builder::new_current_thread(),
        _ => Builder::new_multi_thread(),
    };
    let runtime = builder.worker_threads(options.workers.max(1)).enable_io().build()?;
    runtime.block_on(async {
        let mut listeners = JoinSet::new();
        for address in &options.listen {
            listen(&mut listeners, address, &options)?;
        }
        while let Some(outcome) = listeners.join_next().await {
            outcome??;
        }
        Ok(())
    })
}

fn parse() -> Outcome<Options> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let mut options = Options::default();
    for pair in arguments.chunks(2) {
        let [option, value] = pair else {
            return Err(format!("option without a value: {pair:?}").into());
        };
        match option.as_str() {
            "--listen" => options.listen.push(value.clone()),
            "--reactors" => options.workers = value.parse()?,
            "--cert" => options.certificate.clone_from(value),
            "--key" => options.key.clone_from(value),
            _ => {}
        }
    }
    Ok(options)
}

/// Opens a listener, says so, and starts the task that accepts from it.
fn listen(listeners: &mut JoinSet<io::Result<()>>, address: &str, options: &Options) -> Outcome<()> {
    if let Some(ip) = address.strip_prefix("tcp://") {
        listeners.spawn(serve_tcp(bind_tcp("tcp", ip)?, echo));
    } else if let Some(path) = address.strip_prefix("unix:") {
        listeners.spawn(serve_unix(bind_unix("unix", path)?, echo));
    } else if let Some(ip) = address.strip_prefix("tls://") {
        let acceptor = acceptor(options)?;
        listeners.spawn(serve_tcp(bind_tcp("tls", ip)?, move |stream| echo_tls(acceptor.clone(), stream)));
    } else if let Some(path) = address.strip_prefix("tls+unix:") {
        let acceptor = acceptor(options)?;
        listeners.spawn(serve_unix(bind_unix("tls+unix", path)?, move |stream| echo_tls(acceptor.clone(), stream)));
    } else {
        return Err(format!("`{address}` is not tcp://IP:PORT, tls://IP:PORT, unix:PATH or tls+unix:PATH").into());
    }
    Ok(())
}

fn bind_tcp(scheme: &str, address: &str) -> io::Result<TcpListener> {
    let listener = std::net::TcpListener::bind(address)?;
    listener.set_nonblocking(true)?;
    // Accepted sockets inherit the option on Linux.
    socket2::SockRef::from(&listener).set_tcp_nodelay(true)?;
    println!("listening on {scheme}://{}", listener.local_addr()?);
    TcpListener::from_std(listener)
}

fn bind_unix(scheme: &str, path: &str) -> io::Result<UnixListener> {
    let listener = UnixListener::bind(path)?;
    println!("listening on {scheme}:{path}");
    Ok(listener)
}

async fn serve_tcp<F>(listener: TcpListener, talk: impl Fn(TcpStream) -> F + Send) -> io::Result<()>
where
    F: Future<Output = ()> + Send + 'static,
{
    loop {
        tokio::spawn(talk(listener.accept().await?.0));
    }
}

async fn serve_unix<F>(listener: UnixListener, talk: impl Fn(UnixStream) -> F + Send) -> io::Result<()>
where
    F: Future<Output = ()> + Send + 'static,
{
    loop {
        tokio::spawn(talk(listener.accept().await?.0));
    }
}

/// The same configuration as that of the `echo` example: stateless tickets, and nothing kept of a session.
fn acceptor(options: &Options) -> Outcome<TlsAcceptor> {
    let chain = CertificateDer::pem_file_iter(&options.certificate)?.collect::<Result<Vec<_>, _>>()?;
    let key = PrivateKeyDer::from_pem_file(&options.key)?;
    let mut config = ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_single_cert(chain, key)?;
    config.ticketer = aws_lc_rs::Ticketer::new()?;
    config.session_storage = Arc::new(NoServerSessionStorage {});
    Ok(TlsAcceptor::from(Arc::new(config)))
}

async fn echo_tls(acceptor: TlsAcceptor, stream: impl AsyncRead + AsyncWrite + Unpin) {
    if let Ok(mut stream) = acceptor.accept(stream).await {
        echo(&mut stream).await;
        // A close_notify for the peer's; if the peer is gone it has no use for it.
        let _ = stream.shutdown().await;
    }
}

/// Echoes until the peer ends or fails.
async fn echo(mut stream: impl AsyncRead + AsyncWrite + Unpin) {
    let mut buffer = vec![0; BUFFER_BYTES];
    while let Ok(count @ 1..) = stream.read(&mut buffer).await {
        // Flushing does nothing but for TLS, which may have kept records.
        if stream.write_all(&buffer[..count]).await.is_err() || stream.flush().await.is_err() {
            return;
        }
    }
}
