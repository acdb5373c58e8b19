//! Checks the recorded vectors in `vectors/` that need keys, services or connections. The tests in
//! `hypha-wire/tests/vectors` check all other vectors, and check that no vector is unused.

#[cfg(feature = "encryption")]
mod encryption;
mod handshake;
#[path = "../../../hypha-wire/tests/vectors/rendering.rs"]
#[allow(dead_code)]
mod rendering;
mod schemas;

use rendering::load;

#[test]
fn every_schema_is_checked() {
    for entry in load("service-schema.json") {
        schemas::check_schema(entry["name"].as_str().expect("vectors have names"), &entry);
    }
}
