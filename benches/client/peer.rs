//! The servers that both sorts of clients talk to: threads of this process.

use crate::rig::Outcome;
use crate::rig::self_signed;
use crate::talker::{Maker, Talker};
use rustls::pki_types::CertificateDer;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::thread;
use windlass::rustls::{self, ClientConnection, ServerConnection, StreamOwned};
use windlass::{Client, Limits, Link, ServerTls};

/// What is spoken.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Layer {
    Tcp,
    Tls,
}

/// A request for bulk: so many bytes each way.
pub(crate) const REQUEST_BYTES: usize = 16;

/// How many bytes are written and read at a time.
pub(crate) const PIECE_BYTES: usize = 64 * 1024;

/// Who listens at an address, and what certificate it shows there.
pub(crate) struct Peer {
    pub(crate) layer: Layer,
    pub(crate) address: SocketAddr,
    pub(crate) certificate: CertificateDer<'static>,
}

impl Peer {
    /// Sends back what comes.
    pub(crate) fn echo(layer: Layer) -> Outcome<Peer> {
        Peer::start(layer, move |socket, config| match layer {
            Layer::Tcp => echo(socket),
            Layer::Tls => echo(StreamOwned::new(ServerConnection::new(config)?, socket)),
        })
    }

    /// Sends and takes, at once, what it is asked to.
    pub(crate) fn bulk() -> Outcome<Peer> {
        Peer::start(Layer::Tls, |socket, config| {
            let link = Link::new(socket, Limits::default())?.with_tls_server(&ServerTls::from(config))?;
            let link = link.into_blocking()?;
            let mut request = [0; REQUEST_BYTES];
            while (&link).read_exact(&mut request).is_ok() {
                let (down, up) = request.split_at(8);
                let (down, up) = (u64::from_le_bytes(down.try_into()?), u64::from_le_bytes(up.try_into()?));
                thread::scope(|scope| -> Outcome<()> {
                    scope.spawn(|| write(&link, down).map_err(|error| eprintln!("the peer: {error}")));
                    Ok(read(&link, up)?)
                })?;
                // So that the client knows that all has come.
                (&link).write_all(b"!")?;
            }
            Ok(())
        })
    }

    fn start(
        layer: Layer,
        serve: impl Fn(TcpStream, Arc<rustls::ServerConfig>) -> Outcome<()> + Send + Sync + 'static,
    ) -> Outcome<Peer> {
        let (config, certificate) = self_signed::server(windlass::tls::provider())?;
        let serve = Arc::new(serve);
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let address = listener.local_addr()?;
        thread::spawn(move || {
            for socket in listener.incoming().flatten() {
                let (config, serve) = (config.clone(), serve.clone());
                thread::spawn(move || {
                    let served = socket.set_nodelay(true).map_err(Into::into).and_then(|()| serve(socket, config));
                    // A client that goes without a word is no news.
                    drop(served);
                });
            }
        });
        Ok(Peer { layer, address, certificate })
    }

    fn roots(&self) -> Outcome<Arc<rustls::ClientConfig>> {
        Ok(Arc::new(self_signed::client(windlass::tls::provider(), &self.certificate)?))
    }

    /// A client of this crate.
    pub(crate) fn client(&self) -> Outcome<Client> {
        let mut builder = Client::builder(windlass::Address::tcp(self.address));
        if self.layer == Layer::Tls {
            builder = builder.with_tls(self.roots()?.into(), "localhost");
        }
        let client = builder.build()?;
        client.connect(std::time::Duration::from_secs(10))?;
        Ok(client)
    }

    /// A client of the standard library's.
    pub(crate) fn socket(&self) -> Outcome<TcpStream> {
        let socket = TcpStream::connect(self.address)?;
        socket.set_nodelay(true)?;
        Ok(socket)
    }

    /// A client of rustls'.
    pub(crate) fn stream(&self) -> Outcome<StreamOwned<ClientConnection, TcpStream>> {
        let session = ClientConnection::new(self.roots()?, "localhost".try_into()?)?;
        Ok(StreamOwned::new(session, self.socket()?))
    }

    pub(crate) fn connect(&self, maker: Maker) -> Outcome<Box<dyn Talker>> {
        Ok(match (maker, self.layer) {
            (Maker::Windlass, _) => Box::new(self.client()?),
            (Maker::Std, Layer::Tcp) => Box::new(self.socket()?),
            (Maker::Std, Layer::Tls) => Box::new(self.stream()?),
        })
    }
}

fn echo(mut stream: impl Read + Write) -> Outcome<()> {
    let mut buffer = vec![0; PIECE_BYTES];
    loop {
        match stream.read(&mut buffer)? {
            0 => return Ok(()),
            some => stream.write_all(&buffer[..some]).and_then(|()| stream.flush())?,
        }
    }
}

/// Writes so many bytes.
pub(crate) fn write(mut to: impl Write, bytes: u64) -> std::io::Result<()> {
    let piece = vec![7; PIECE_BYTES];
    let mut left = bytes;
    while left > 0 {
        let some = left.min(PIECE_BYTES as u64) as usize;
        to.write_all(&piece[..some])?;
        left -= some as u64;
    }
    to.flush()
}

/// Reads so many bytes.
pub(crate) fn read(mut from: impl Read, bytes: u64) -> std::io::Result<()> {
    let mut buffer = vec![0; PIECE_BYTES];
    let mut left = bytes;
    while left > 0 {
        let some = left.min(PIECE_BYTES as u64) as usize;
        match from.read(&mut buffer[..some])? {
            0 => return Err(std::io::ErrorKind::UnexpectedEof.into()),
            some => left -= some as u64,
        }
    }
    Ok(())
}
