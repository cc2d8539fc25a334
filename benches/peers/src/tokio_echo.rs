//! An echo server on tokio's current-thread runtime, with the interface of the library's `echo` example.
//!
//! One task and one 16 KiB buffer a connection; no timeouts and no limits: options other than `--listen` have no
//! effect.

use std::error::Error;
use std::io;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, UnixListener};
use tokio::runtime::Builder;
use tokio::task::JoinSet;

const BUFFER_BYTES: usize = 16 * 1024;

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let runtime = Builder::new_current_thread().enable_io().build()?;
    runtime.block_on(async {
        let mut listeners = JoinSet::new();
        for pair in arguments.chunks(2) {
            match pair {
                [option, value] if option == "--listen" => listen(&mut listeners, value)?,
                [_, _] => {}
                _ => return Err(format!("option without a value: {pair:?}").into()),
            }
        }
        while let Some(outcome) = listeners.join_next().await {
            outcome??;
        }
        Ok(())
    })
}

/// Opens a listener, says so, and starts the task that accepts from it.
fn listen(listeners: &mut JoinSet<io::Result<()>>, address: &str) -> Result<(), Box<dyn Error>> {
    if let Some(address) = address.strip_prefix("tcp://") {
        let listener = std::net::TcpListener::bind(address)?;
        listener.set_nonblocking(true)?;
        // Accepted sockets inherit the option on Linux.
        socket2::SockRef::from(&listener).set_tcp_nodelay(true)?;
        let listener = TcpListener::from_std(listener)?;
        println!("listening on tcp://{}", listener.local_addr()?);
        listeners.spawn(async move {
            loop {
                tokio::spawn(echo(listener.accept().await?.0));
            }
        });
    } else if let Some(path) = address.strip_prefix("unix:") {
        let listener = UnixListener::bind(path)?;
        println!("listening on unix:{path}");
        listeners.spawn(async move {
            loop {
                tokio::spawn(echo(listener.accept().await?.0));
            }
        });
    } else {
        return Err(format!("`{address}` is neither tcp://IP:PORT nor unix:PATH").into());
    }
    Ok(())
}

/// Echoes until the peer ends or fails.
async fn echo(mut stream: impl AsyncRead + AsyncWrite + Unpin) {
    let mut buffer = vec![0; BUFFER_BYTES];
    while let Ok(count @ 1..) = stream.read(&mut buffer).await {
        if stream.write_all(&buffer[..count]).await.is_err() {
            return;
        }
    }
}
