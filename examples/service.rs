//! A server as a service manager runs it: SIGTERM and SIGINT drain it, a second one closes the remaining connections, SIGHUP
//! reads its certificates again.
//!
//! `cargo run --release --example service --features signals -- tls://127.0.0.1:7007 CERT.pem KEY.pem` echoes over TLS;
//! without certificates it takes `tcp://` and `unix:` addresses.

use std::error::Error;
use std::process::ExitCode;
use std::time::Duration;
use windlass::tls::Pem;
use windlass::{Address, Conn, ListenConfig, Server, ServerEvent, ServerTls, ServerTlsBuilder, Signals, handler_fn};

const USAGE: &str = "usage: service ADDRESS [CERT.pem KEY.pem]";

/// How long a drain may take.
const DRAIN: Duration = Duration::from_secs(30);

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let served = match &args[..] {
        [address] => serve(address, None),
        [address, cert, key] => serve(address, Some(ServerTls::builder().certificate(Pem::file(cert), Pem::file(key)))),
        _ => {
            eprintln!("{USAGE}");
            return ExitCode::from(2);
        }
    };
    match served {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("service: {error}");
            ExitCode::FAILURE
        }
    }
}

fn serve(address: &str, certificates: Option<ServerTlsBuilder>) -> Result<(), Box<dyn Error>> {
    // First, so that whoever reads that it listens may send a signal.
    let mut signals = Signals::new()?;
    let mut listen = ListenConfig::default();
    if let Some(builder) = certificates {
        let tls = builder.build()?;
        listen.tls = Some(tls.clone());
        signals = signals.on_hangup(move || match tls.reload(&builder) {
            Ok(reloaded) => {
                eprintln!("service: certificates read again");
                reloaded.faults.iter().for_each(|fault| eprintln!("service: {fault}"));
            }
            Err(error) => eprintln!("service: the old certificates stay: {error}"),
        })?;
    }
    let server = Server::builder()
        .address(address.parse::<Address>()?)
        .listen_config(listen)
        .handler(|| |_: &Conn<'_>| handler_fn(|conn, data| conn.write_some(data)))
        .on_error(|error| eprintln!("service: {error}"))
        .on_event(|event| {
            if let ServerEvent::Listening(address) = event {
                println!("listening on {address}");
            }
        })
        .build()?;
    let report = signals.run(&server, DRAIN)?;
    println!("drained: {report}");
    Ok(())
}
