//! Checks every recorded vector in `vectors/`. Fails for an entry that is neither checked by this
//! program nor listed in `ELSEWHERE`, and for an entry that is both checked and listed.

mod frames;
mod rendering;
mod values;

use std::collections::HashSet;

use serde_json::Value as Json;

use frames::{check_frame, check_http, check_http_stream, check_malformed};
use rendering::{directory, load, unhex};
use values::{check_conversion, check_decode, check_encode};

/// Entries that other tests check. Each row contains a file, the name of an entry (a prefix if it
/// ends with `*`), and the test.
const ELSEWHERE: &[(&str, &str, &str)] = &[
    ("crypto-box.json", "*", BOXES),
    ("service-schema.json", "*", SCHEMAS),
    ("frames-handshake.json", "connect_token/01", TEXT),
    ("frames-handshake.json", "connect_token/02", TEXT),
    ("frames-handshake.json", "connect_anonymous/01", TEXT),
    ("frames-handshake.json", "connect_anonymous/02", TEXT),
    ("frames-handshake.json", "keepalive/*", TEXT),
    ("frames-handshake.json", "error_bad_token/*", TEXT),
    ("frames-handshake.json", "error_wrong_workspace/*", TEXT),
    ("frames-handshake.json", "error_client_id_missing/*", TEXT),
    ("frames-handshake.json", "reconnect_auth/*", TEXT),
    ("frames-calls-javascript.json", "connect/01", TEXT),
    ("frames-calls-javascript.json", "connect/02", TEXT),
    ("frames-malformed.json", "from_no_slash", DISPATCH),
    ("frames-malformed.json", "to_relative", DISPATCH),
    ("frames-malformed.json", "to_other_workspace", DISPATCH),
    ("frames-malformed.json", "unknown_method", DISPATCH),
    ("frames-malformed.json", "unknown_service", DISPATCH),
    ("frames-malformed.json", "unknown_session", DISPATCH),
    ("frames-malformed.json", "undotted_method", DISPATCH),
    ("frames-malformed.json", "not_callable", DISPATCH),
    ("frames-malformed.json", "whole_service", DISPATCH),
    ("frames-malformed.json", "protected_*", DISPATCH),
    ("frames-malformed.json", "late_*", DISPATCH),
    ("frames-malformed.json", "parent_closed_service", DISPATCH),
];

const TEXT: &str = "hypha-rpc/tests/vectors/handshake.rs: the first texts of a connection";
const DISPATCH: &str = "hypha-rpc/tests/engine/hostile.rs: well formed, dispatch decides";

const BOXES: &str = "hypha-rpc/tests/vectors/encryption.rs: needs the keys";
const SCHEMAS: &str = "hypha-rpc/tests/vectors/schemas.rs: needs services";

const FILES: [&str; 18] = [
    "conversions.json",
    "crypto-box.json",
    "frames-calls-javascript.json",
    "frames-calls-python.json",
    "frames-chunked.json",
    "frames-cross-workspace.json",
    "frames-encryption.json",
    "frames-events.json",
    "frames-handshake.json",
    "frames-malformed.json",
    "frames-rintf.json",
    "frames-timing.json",
    "frames-webrtc.json",
    "http-rpc.json",
    "service-schema.json",
    "values-decode.json",
    "values-encode-javascript.json",
    "values-encode-python.json",
];

/// Whether an entry has a check. The check panics if it fails.
#[derive(PartialEq)]
enum Coverage {
    Checked,
    None,
}

#[test]
fn every_vector_is_checked() {
    let mut problems = Vec::new();
    let mut used = HashSet::new();
    for file in FILES {
        for entry in load(file) {
            let name = entry["name"]
                .as_str()
                .expect("vectors have names")
                .to_owned();
            let listed = ELSEWHERE.iter().position(|(in_file, pattern, _)| {
                *in_file == file
                    && match pattern.strip_suffix('*') {
                        Some(prefix) => name.starts_with(prefix),
                        None => name == *pattern,
                    }
            });
            used.extend(listed);
            let outcome = std::panic::catch_unwind(|| check(file, &name, &entry));
            match (outcome, listed) {
                (Ok(Coverage::Checked), None) | (Ok(Coverage::None), Some(_)) => {}
                (Ok(Coverage::Checked), Some(_)) => {
                    problems.push(format!(
                        "{file} {name}: is checked, and listed as checked elsewhere"
                    ));
                }
                (Ok(Coverage::None), None) => {
                    problems.push(format!("{file} {name}: not checked"));
                }
                (Err(panic), _) => {
                    let text = panic
                        .downcast_ref::<String>()
                        .map_or("failed", String::as_str);
                    problems.push(format!("{file} {name}: {text}"));
                }
            }
        }
    }
    for (index, (file, pattern, _)) in ELSEWHERE.iter().enumerate() {
        if !used.contains(&index) {
            problems.push(format!("{file} {pattern}: listed, but no entry matches"));
        }
    }
    assert!(
        problems.is_empty(),
        "{} problems:\n{}",
        problems.len(),
        problems.join("\n")
    );
}

/// Checks that every file in `vectors/` is listed above.
#[test]
fn every_file_is_read() {
    let found = std::fs::read_dir(directory()).expect("vectors are there");
    let mut found: Vec<String> = found
        .map(|file| {
            file.expect("readable")
                .file_name()
                .to_string_lossy()
                .into_owned()
        })
        .filter(|name| name.ends_with(".json"))
        .collect();
    found.sort();
    assert_eq!(found, FILES);
}

fn check(file: &str, name: &str, entry: &Json) -> Coverage {
    match file {
        "conversions.json" => check_conversion(name, entry),
        "values-decode.json" => check_decode(name, entry),
        "values-encode-python.json" | "values-encode-javascript.json" => {
            check_encode(file, name, entry)
        }
        "frames-malformed.json" => check_malformed(name, entry),
        _ if file.starts_with("frames-") && entry["frame"] == "binary" => {
            check_frame(file, entry, unhex(&entry["hex"]))
        }
        "http-rpc.json" if entry["hex"].is_string() => check_http(file, entry),
        "http-rpc.json" => check_http_stream(entry),
        _ => Coverage::None,
    }
}
