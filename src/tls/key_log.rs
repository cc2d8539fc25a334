//! Secrets of sessions for who debugs them: files that Wireshark and its like read.
//!
//! Owns the file, its permissions and its lines.

use crate::error::Error;
use crate::tls::pem::Pem;
use rustix::fs::OFlags;
use std::collections::HashMap;
use std::fmt;
use std::fs::{File, OpenOptions};
use std::io::Write;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// Whether the secrets of sessions are written to a file, in the format of NSS that is known as SSLKEYLOGFILE
/// (draft-ietf-tls-keylogfile).
///
/// **Whoever reads that file reads the traffic**, of connections that are over too, if they were recorded. It is for
/// debugging with a copy of the traffic at hand, and for nothing else: turn it off again, and delete the file.
///
/// The file is created with mode 0600 and appended to. It is not opened through a symbolic link, and one that belongs to
/// another user than this program runs as, whose mode gives others rights to it, that has another name too (a hard link), or
/// that is no regular file, is refused: `build` and `reload` return `Error::Tls`. Access control lists beside the mode
/// are not looked at. A build or reload opens it once for all names of a server that log to it, and logs one warning. If
/// writing fails later, connections go on and one warning is logged.
#[derive(Clone, Default, PartialEq, Eq)]
pub enum KeyLog {
    /// They are not.
    #[default]
    Off,
    /// They are written to the file that the environment variable SSLKEYLOGFILE names when the configuration is built; if
    /// it names none, they are not.
    Environment,
    /// They are written to this file.
    File(PathBuf),
}

// Not derived: what is given for a path may be a key.
impl fmt::Debug for KeyLog {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            KeyLog::Off => f.write_str("Off"),
            KeyLog::Environment => f.write_str("Environment"),
            KeyLog::File(path) => f.debug_tuple("File").field(&Pem::file(path)).finish(),
        }
    }
}

/// The logs of one decision. What several names log to is opened once.
#[derive(Default)]
pub(super) struct Logs(HashMap<PathBuf, Arc<Lines>>);

impl Logs {
    /// Opens the file, where there is to be one.
    pub(super) fn open(&mut self, key_log: &KeyLog) -> Result<Arc<dyn rustls::KeyLog>, Error> {
        let path = match key_log {
            KeyLog::Off => return Ok(Arc::new(rustls::NoKeyLog)),
            KeyLog::Environment => match std::env::var_os("SSLKEYLOGFILE").filter(|path| !path.is_empty()) {
                None => return Ok(Arc::new(rustls::NoKeyLog)),
                Some(path) => PathBuf::from(path),
            },
            KeyLog::File(path) => path.clone(),
        };
        if let Some(lines) = self.0.get(&path) {
            return Ok(lines.clone());
        }
        // What is given may be a key, in place of a path.
        let name = Pem::file(&path).described("key log");
        let file = open(&path).map_err(|why| Error::Tls { what: name.clone(), why })?;
        log::warn!("tls: the secrets of all sessions are written to the {name}: whoever reads it reads the traffic");
        let lines = Arc::new(Lines { file, name, has_failed: AtomicBool::new(false) });
        self.0.insert(path, lines.clone());
        Ok(lines)
    }
}

fn open(path: &Path) -> Result<File, String> {
    // Without NONBLOCK a FIFO that nobody reads would hold up the build.
    let flags = (OFlags::NOFOLLOW | OFlags::NONBLOCK).bits() as i32;
    let file = OpenOptions::new().append(true).create(true).mode(0o600).custom_flags(flags).open(path);
    let file = file.map_err(|error| match rustix::io::Errno::from_io_error(&error) {
        Some(rustix::io::Errno::LOOP) => {
            "it is a symbolic link, which is not followed: name the file itself".to_owned()
        }
        Some(rustix::io::Errno::NXIO) => "it is no regular file: name another".to_owned(),
        _ => format!("{error}: name a file that can be written"),
    })?;
    let found = file.metadata().map_err(|error| error.to_string())?;
    if !found.is_file() {
        return Err("it is no regular file: name another".to_owned());
    }
    if found.uid() != rustix::process::geteuid().as_raw() {
        return Err("it belongs to another user, who could read it: name another".to_owned());
    }
    if found.nlink() != 1 {
        return Err("it has another name too (a hard link), or none: name another".to_owned());
    }
    match found.mode() & 0o077 {
        0 => Ok(file),
        _ => Err("others than its owner have rights to it: chmod 600, or name another".to_owned()),
    }
}

/// Writes lines.
struct Lines {
    file: File,
    name: String,
    has_failed: AtomicBool,
}

impl rustls::KeyLog for Lines {
    fn log(&self, label: &str, client_random: &[u8], secret: &[u8]) {
        let hex = |bytes: &[u8]| bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
        let line = format!("{label} {} {}\n", hex(client_random), hex(secret));
        // One write(2) of an appended file is not mixed with those of other threads.
        if let Err(error) = (&self.file).write_all(line.as_bytes()) {
            if !self.has_failed.swap(true, Ordering::Relaxed) {
                log::warn!("tls: the {} is not complete: {error}", self.name);
            }
        }
    }
}

// Not derived: it is asked for by rustls.
impl fmt::Debug for Lines {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "KeyLog({})", self.name)
    }
}
