//! What the web server is asked on its command line.

use std::ffi::OsString;
use std::path::PathBuf;
use windlass::Address;

pub(crate) const USAGE: &str = "\
usage: https [--listen ADDRESS]... [--cert PEM --key PEM] [--root FOLDER]

ADDRESS is tcp://HOST:PORT, tls://HOST:PORT, unix:/path or tls+unix:/path. Without --listen it listens on free loopback
ports, plain and with TLS. Without --cert it makes a certificate for localhost. FOLDER is the current one by default.";

pub(crate) struct Options {
    pub(crate) listen: Vec<Address>,
    pub(crate) identity: Option<(PathBuf, PathBuf)>,
    pub(crate) root: PathBuf,
}

pub(crate) fn parse(mut args: impl Iterator<Item = OsString>) -> Result<Option<Options>, String> {
    let mut options = Options { listen: Vec::new(), identity: None, root: ".".into() };
    let (mut cert, mut key) = (None, None);
    while let Some(arg) = args.next() {
        let name = arg.to_string_lossy().into_owned();
        let mut value = || args.next().ok_or(format!("{name} needs a value"));
        match name.as_str() {
            "--help" | "-h" => return Ok(None),
            "--listen" => {
                let value = value()?;
                let address = value.to_string_lossy().parse().map_err(|error| format!("--listen: {error}"))?;
                options.listen.push(address);
            }
            "--cert" => cert = Some(PathBuf::from(value()?)),
            "--key" => key = Some(PathBuf::from(value()?)),
            "--root" => options.root = value()?.into(),
            _ => return Err(format!("{name} is not an option; --help lists them")),
        }
    }
    options.identity = match (cert, key) {
        (Some(cert), Some(key)) => Some((cert, key)),
        (None, None) => None,
        _ => return Err("--cert and --key belong together; give both, or neither".to_owned()),
    };
    Ok(Some(options))
}
