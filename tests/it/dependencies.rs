//! What the crates that we build on need: no newer Rust than `Cargo.toml` promises.

use std::fs;
use std::path::Path;
use std::process::Command;

use serde_json::Value;

/// The numbers of a version: `1.88` and `1.88.0` are the same.
fn version(text: &str) -> [u32; 3] {
    let mut numbers = text.split('.').map(|number| number.parse().unwrap());
    std::array::from_fn(|_| numbers.next().unwrap_or(0))
}

/// The target that we build for, since the crates of others have not been downloaded.
fn host() -> String {
    let rustc = std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    let said = Command::new(rustc).arg("-vV").output().unwrap();
    let said = String::from_utf8(said.stdout).unwrap();
    let host = said.lines().find_map(|line| line.strip_prefix("host: "));
    host.unwrap().to_owned()
}

/// All packages of the lock file that are built here.
fn packages() -> Vec<Value> {
    let metadata = Command::new(env!("CARGO"))
        .args(["metadata", "--locked", "--offline", "--format-version", "1"])
        .args(["--filter-platform", &host()])
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&metadata.stderr);
    assert!(metadata.status.success(), "{said}");
    let metadata: Value = serde_json::from_slice(&metadata.stdout).unwrap();
    metadata["packages"].as_array().unwrap().clone()
}

#[test]
fn dependencies_need_no_newer_rust_than_we_promise() {
    let ours = version(env!("CARGO_PKG_RUST_VERSION"));
    let packages = packages();
    let newer: Vec<String> = packages
        .iter()
        .filter_map(|package| {
            let needed = package["rust_version"].as_str()?;
            let text = format!("{} needs Rust {needed}", package["name"].as_str().unwrap());
            (version(needed) > ours).then_some(text)
        })
        .collect();
    assert!(packages.len() > 50, "{} packages", packages.len());
    assert!(newer.is_empty(), "{newer:#?}");
}

#[test]
fn the_image_is_built_with_the_minimum_version_or_a_newer_one() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docker/Dockerfile");
    let text = fs::read_to_string(path).unwrap();
    let image = text
        .lines()
        .find_map(|line| line.strip_prefix("ARG RUST_IMAGE=rust:"));
    let tag = image.unwrap().split('-').next().unwrap();
    assert!(version(tag) >= version(env!("CARGO_PKG_RUST_VERSION")));
}
