//! A mail server that takes no mail, but speaks TLS when it is asked to (STARTTLS, RFC 3207).
//!
//! `starttls [ADDRESS]`, by default `tcp://127.0.0.1:0`. It makes a certificate for `localhost` and writes it to
//! `starttls.pem` in a temporary folder. Talk to it with
//! `openssl s_client -starttls smtp -connect HOST:PORT -CAfile PEM`.

use std::process::ExitCode;
use windlass::framing::{Found, Lines};
use windlass::tls::Pem;
use windlass::{Address, Conn, Handler, ListenConfig, Reactor, Reason, ServerTls};

struct Mail {
    tls: ServerTls,
    lines: Lines,
}

/// Longer lines are not for us, their end not counted; RFC 5321, section 4.5.3.1.4.
const LINE_BYTES_MAX: usize = 510;

impl Mail {
    /// Answers one command; the line's end is cut off.
    fn answer(&mut self, conn: &mut Conn<'_>, line: &[u8]) -> Result<(), windlass::Error> {
        let line = String::from_utf8_lossy(line);
        let command = line.split_whitespace().next().unwrap_or_default().to_ascii_uppercase();
        let is_secured = conn.tls().is_some();
        match command.as_str() {
            "EHLO" if is_secured => conn.write(b"250 localhost\r\n")?,
            "EHLO" => conn.write(b"250-localhost\r\n250 STARTTLS\r\n")?,
            "HELO" | "NOOP" | "RSET" => conn.write(b"250 done\r\n")?,
            "STARTTLS" if !is_secured => {
                // In plain, and before the handshake.
                conn.write(b"220 go ahead\r\n")?;
                conn.start_tls_server(&self.tls)?;
            }
            "QUIT" => {
                conn.write(b"221 bye\r\n")?;
                conn.close();
            }
            _ => conn.write(b"502 this server takes no mail\r\n")?,
        }
        Ok(())
    }
}

impl Handler for Mail {
    fn on_open(&mut self, conn: &mut Conn<'_>) {
        if conn.write(b"220 localhost\r\n").is_err() {
            conn.abort();
        }
    }

    fn on_data(&mut self, conn: &mut Conn<'_>, data: &[u8]) -> usize {
        // One command a call: what stands behind STARTTLS in plain must never be taken for a command. Left unused, it is
        // the beginning of the handshake, or of its failure.
        match self.lines.first(data) {
            Ok(Found::Frame { payload, used }) => {
                if self.answer(conn, payload).is_err() {
                    // A peer that asks and never reads.
                    conn.abort();
                }
                return used;
            }
            Ok(Found::Incomplete { .. }) => {}
            Err(_) => conn.abort(),
        }
        0
    }

    fn on_secured(&mut self, conn: &mut Conn<'_>) {
        if let Some(tls) = conn.tls() {
            println!("secured: {:?} {:?}", tls.version(), tls.suite());
        }
    }

    fn on_close(&mut self, _: &mut Conn<'_>, reason: Reason) {
        println!("closed: {reason}");
    }
}

fn main() -> ExitCode {
    match serve() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("starttls: {error}");
            ExitCode::FAILURE
        }
    }
}

fn serve() -> Result<(), Box<dyn std::error::Error>> {
    let address: Address = std::env::args().nth(1).unwrap_or("tcp://127.0.0.1:0".to_owned()).parse()?;
    let folder = tempfile::tempdir()?;
    let trust = folder.path().join("starttls.pem");
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned(), "127.0.0.1".to_owned()])?;
    std::fs::write(&trust, made.cert.pem())?;
    let tls = ServerTls::builder()
        .certificate(Pem::bytes(made.cert.pem()), Pem::bytes(made.signing_key.serialize_pem()))
        .build()?;

    let mut reactor = Reactor::new(Default::default())?;
    let id = reactor.listen(&address, ListenConfig::default(), move |_: &Conn<'_>| Mail {
        tls: tls.clone(),
        lines: Lines::new(LINE_BYTES_MAX),
    })?;
    let real = reactor.listener_address(id).ok_or("the listener is gone")?;
    println!("listening on {real}");
    if let Some(ip) = real.ip() {
        println!("  talk to it: openssl s_client -starttls smtp -connect {ip} -CAfile {}", trust.display());
    }
    reactor.run()?;
    Ok(())
}
