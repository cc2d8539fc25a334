//! What all rows know of the system that this is built for. `net` has the rest, in `net/linux` and `net/elsewhere`.

/// The place for a path in the address of a Unix socket, with its NUL; unix(7), unix(4).
pub(crate) const SUN_PATH_BYTES: usize =
    if cfg!(any(target_os = "linux", target_os = "android", target_os = "illumos", target_os = "solaris")) {
        108
    } else {
        104
    };

/// Whether Unix sockets can have names without files.
pub(crate) const HAS_ABSTRACT_NAMES: bool = cfg!(any(target_os = "linux", target_os = "android"));
