//! The queue is built with loom's locks.

fn main() {
    println!("cargo::rustc-check-cfg=cfg(windlass_model)");
    println!("cargo::rustc-cfg=windlass_model");
}
