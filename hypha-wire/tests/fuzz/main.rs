//! Runs the fuzz targets on the stored inputs of the fuzzer and on the recorded vectors. This
//! detects regressions, and compiles the targets together with the tests.
//!
//! `cargo xtask fuzz` searches for new inputs. The file `corpus/<target>.hex` contains the stored
//! inputs of a target, one per line.

mod targets;

use std::cell::Cell;
use std::path::Path;
use std::sync::Once;

use proptest::prelude::*;
use proptest::sample::Index;
use proptest::test_runner::TestRunner;

thread_local! {
    static PANICS: Cell<usize> = const { Cell::new(0) };
}

/// Counts panics. Without the counter, a panic in a task of the crate would only end that task.
fn watch_panics() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let usual = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |info| {
            PANICS.set(PANICS.get() + 1);
            usual(info);
        }));
    });
}

fn run(target: &str, input: &[u8]) {
    PANICS.set(0);
    targets::run(target, input);
    assert_eq!(PANICS.get(), 0, "{target}: {input:02x?}");
}

/// Returns the stored inputs of every target.
fn corpora() -> Vec<(&'static str, Vec<Vec<u8>>)> {
    watch_panics();
    let corpus = |(target, _): &(&'static str, _)| {
        let path = format!("tests/fuzz/corpus/{target}.hex");
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(path);
        let kept = std::fs::read_to_string(&path).expect("a corpus");
        let inputs = kept.lines().map(|line| unhex(line).expect("bytes"));
        (*target, inputs.collect())
    };
    targets::TARGETS.iter().map(corpus).collect()
}

#[test]
fn kept_inputs_pass() {
    for (target, inputs) in corpora() {
        assert!(inputs.len() >= 10, "{target}: only {}", inputs.len());
        inputs.iter().for_each(|input| run(target, input));
    }
}

/// Runs the fuzz targets on damaged inputs. Each test run tries a limited number of damaged inputs.
#[test]
fn damaged_inputs_pass() {
    let corpora = corpora();
    let change = (any::<Index>(), any::<u8>(), 0u8..3);
    let damage = (
        any::<Index>(),
        any::<Index>(),
        prop::collection::vec(change, 1..6),
    );
    let mut runner = TestRunner::new(ProptestConfig::with_cases(2000));
    let outcome = runner.run(&damage, |(target, input, changes)| {
        let (target, inputs) = target.get(&corpora);
        let mut input = input.get(inputs).clone();
        for (at, byte, kind) in changes {
            let at = at.index(input.len() + 1);
            match kind {
                0 => input.insert(at, byte),
                1 => input.truncate(at),
                _ => input
                    .iter_mut()
                    .skip(at)
                    .take(1)
                    .for_each(|old| *old = byte),
            }
        }
        run(target, &input);
        Ok(())
    });
    outcome.expect("every input passes");
}

#[test]
fn recorded_bytes_pass() {
    watch_panics();
    let vectors = Path::new(env!("CARGO_MANIFEST_DIR")).join("../vectors");
    let mut kind = 0u8;
    for file in std::fs::read_dir(vectors).expect("vectors are there") {
        let path = file.expect("readable").path();
        if path.extension().is_none_or(|extension| extension != "json") {
            continue;
        }
        let text = std::fs::read_to_string(path).expect("readable");
        let file: serde_json::Value = serde_json::from_str(&text).expect("JSON");
        for entry in file["vectors"].as_array().expect("a list") {
            let Some(bytes) = entry["hex"].as_str().and_then(unhex) else {
                continue;
            };
            run("texts", &bytes);
            // Decode the input as three types only, because the stored inputs cover all types.
            for _ in 0..3 {
                kind = (kind + 1) % targets::shapes::COUNT;
                let input = [&[kind], &*bytes].concat();
                run("message", &input);
                run("value", &input);
            }
        }
    }
}

fn unhex(line: &str) -> Option<Vec<u8>> {
    let pairs = line.as_bytes().chunks(2);
    pairs
        .map(|pair| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok())
        .collect()
}
