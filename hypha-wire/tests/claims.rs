//! Tests that no memory is reserved because of a declared length alone. A peer may declare any
//! length.
//!
//! This program contains no other test, because the test measures the address space of the program.
//! Memory that is reserved but not used appears only there.
#![cfg(target_os = "linux")]

#[path = "fuzz/targets/shapes.rs"]
mod shapes;

use hypha_wire::{Extra, Message, Value, from_slice, skip};

/// Returns the peak size of this program's address space, in bytes.
fn peak() -> usize {
    let status = std::fs::read_to_string("/proc/self/status").expect("Linux has it");
    let line = status.lines().find_map(|line| line.strip_prefix("VmPeak:"));
    let number = line.and_then(|line| line.split_whitespace().next());
    number
        .and_then(|number| number.parse::<usize>().ok())
        .expect("a number")
        << 10
}

/// Passes the input to each decoder.
fn decode(input: &[u8]) {
    let input = bytes::Bytes::copy_from_slice(input);
    let _ = (skip(&input).is_ok(), from_slice::<Value>(&input).is_ok());
    let _ = (
        Extra::parse(input.clone()).is_ok(),
        Message::parse(input.clone()).is_ok(),
    );
    for kind in 0..shapes::COUNT {
        shapes::pick(kind, &mut shapes::Decode(&input));
    }
}

#[test]
fn no_memory_is_reserved_for_declared_lengths() {
    // Run the decoders once before the measurement, because they allocate some memory only once and
    // keep it.
    decode(b"\x93\x01\xa1a\xc4\x01a");
    let before = peak();
    let mut inputs = 0;
    for claim in [u32::MAX, 100_000] {
        let claim = claim.to_be_bytes();
        let head = |marker: u8| [&[marker][..], &claim].concat();
        // Strings, bytes, extensions, lists, maps.
        for marker in [0xdb, 0xc6, 0xc9, 0xdd, 0xdf] {
            let head = head(marker);
            let nested = head.repeat(200);
            let mut keyed = Vec::new();
            (0..100).for_each(|_| keyed.extend([&head[..], b"\xa1k"].concat()));
            for start in [
                &b""[..],
                b"\x91",
                b"\x81\xa1k",
                b"\x81\xa4args",
                b"\x82\xa6_rtype\xa3set\xa7_rvalue",
                b"\x82\xa6_rtype\xaaorderedmap\xa7_rvalue",
                b"\x82\xa6_rtype\xaamemoryview\xa7_rvalue",
                b"\x84\xa6_rtype\xa7ndarray\xa7_rvalue",
                b"\x84\xa6_rtype\xa7ndarray\xa7_rdtype\xa2u1\xa7_rvalue\xc4\x01a\xa7_rshape",
                // A list whose declared length matches its content.
                b"\xdd\x00\x00\x10\x00",
            ] {
                for rest in [&head, &nested, &keyed] {
                    decode(&[start, rest].concat());
                    decode(&[start, rest, &[0xc0; 5000][..]].concat());
                    inputs += 2;
                }
            }
        }
    }
    // Arrays whose shape does not match their data.
    for shape in [vec![1u64 << 40], vec![u32::MAX.into(); 2], vec![0, 1 << 40]] {
        let array = serde_json::json!({
            "_rtype": "ndarray", "_rvalue": [1, 2], "_rshape": shape, "_rdtype": "float64",
        });
        decode(&hypha_wire::to_vec(&Value::from(array)).expect("encodes"));
    }
    let grown = peak() - before;
    assert!(
        grown < 32 << 20,
        "{grown} bytes for {inputs} inputs of 6 kB at most"
    );
}
