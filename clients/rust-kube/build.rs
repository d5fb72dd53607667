//! Reads the version of kube from the lock file: the library does not tell its own.

use std::{env, fs, path::Path};

fn main() {
    println!("cargo::rerun-if-changed=Cargo.lock");
    let lock =
        fs::read_to_string(Path::new(&env::var("CARGO_MANIFEST_DIR").unwrap()).join("Cargo.lock"))
            .unwrap();
    let after = lock
        .split("name = \"kube\"\nversion = \"")
        .nth(1)
        .expect("kube is locked");
    println!(
        "cargo::rustc-env=KUBE_VERSION={}",
        after.split('"').next().unwrap()
    );
}
