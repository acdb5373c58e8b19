//! Tests that decoded values occupy a bounded multiple of their encoded size.
//!
//! This program contains no other test, because the test measures the memory of the program.
#![cfg(target_os = "linux")]

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use hypha_wire::{
    Args, DecodeError, Head, IncomingArgs, MemoryCharge, Message, NdArray, PeerMemory, ReplyMode,
    Value, from_slice, from_slice_within, to_vec,
};
use serde::{Deserialize, Serialize};

/// Returns a memory field from the status of this process, in bytes.
fn memory(field: &str) -> usize {
    let status = std::fs::read_to_string("/proc/self/status").expect("Linux has it");
    let line = status.lines().find_map(|line| line.strip_prefix(field));
    let number = line.and_then(|line| line.split_whitespace().next());
    number
        .and_then(|number| number.parse::<usize>().ok())
        .expect("a number")
        << 10
}

/// Encodes a list of `len` copies of `item`.
fn list(len: usize, item: &[u8]) -> Bytes {
    let mut list = vec![0xdd];
    list.extend_from_slice(&(len as u32).to_be_bytes());
    list.extend(std::iter::repeat_n(item, len).flatten());
    list.into()
}

/// Returns the arguments of a call with the single argument `value`.
fn received(value: &Bytes) -> IncomingArgs {
    let mut args = Args::new(1, 0);
    args.push("value", &0);
    let head = Head {
        from: "ws/a",
        to: "ws/b",
        method: "services.s.f",
        parent: None,
        session: Some("S"),
    };
    let message = args.finish(&head, ReplyMode::Star { interval: 10.0 });
    let message = Message::parse(message.expect("encodes")).expect("parses");
    // Replace the zero, which is the only item of the first list, with the argument.
    let extra = message.extra_raw();
    let at = extra.windows(2).position(|two| two == [0x91, 0]);
    let at = at.expect("the argument") + 1;
    let extra = [&extra[..at], value, &extra[at + 1..]].concat();
    let message = message.with_extra(extra.into());
    message.extra().expect("has arguments").args
}

fn refused<T: std::fmt::Debug>(result: Result<T, DecodeError>) -> String {
    let error = result.expect_err("refused");
    assert!(error.to_string().len() < 300, "{error}");
    error.message().to_owned()
}

#[derive(Debug, Deserialize)]
struct Sparse {
    #[serde(default)]
    #[expect(dead_code)]
    values: [Option<u64>; 16],
}

#[derive(Debug, Serialize, Deserialize)]
struct Point {
    x: f64,
    y: f64,
}

#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum Either {
    #[expect(dead_code)]
    Number(u64),
    #[expect(dead_code)]
    Numbers(Vec<Option<u64>>),
}

/// Counts the charged memory, in bytes.
#[derive(Debug, Default)]
struct Accounts {
    used: Arc<AtomicUsize>,
    peers: Mutex<Vec<String>>,
}

const ACCOUNT: usize = 1 << 20;

struct Charge(Arc<AtomicUsize>, usize);

impl Drop for Charge {
    fn drop(&mut self) {
        self.0.fetch_sub(self.1, Ordering::Relaxed);
    }
}

impl PeerMemory for Accounts {
    fn charge(&self, peer: &str, bytes: usize) -> Result<MemoryCharge, String> {
        if self.used.load(Ordering::Relaxed) + bytes > ACCOUNT {
            return Err("its account is empty".into());
        }
        self.used.fetch_add(bytes, Ordering::Relaxed);
        self.peers.lock().expect("no panic").push(peer.to_owned());
        Ok(Box::new(Charge(Arc::clone(&self.used), bytes)))
    }
}

#[test]
fn decoded_values_have_a_bound() {
    small_values();
    honest_values_fit();
    an_account_is_charged_until_the_arguments_are_dropped();
    hostile_values_do_not_fit();
}

fn small_values() {
    for limit in [0, 1 << 10] {
        let nulls = list(100_000, &[0xc0]);
        let text = refused(from_slice_within::<Value>(&nulls, limit));
        assert!(text.contains("more than 204106 bytes of memory"), "{text}");
    }
    assert!(from_slice::<Value>(&list(100_000, &[0xc0])).is_ok());
    // Decoding the same argument twice needs more memory than the message may use.
    let args = received(&list(4_000, &[0xc0])).within(500_000);
    let first: Value = args.get(0).expect("is there").expect("fits");
    assert_eq!(first.as_list().map(<[_]>::len), Some(4_000));
    let text = refused(args.get::<Value>(0).expect("is there"));
    assert!(text.contains("`max_decoded_bytes`"), "{text}");
    // Items that need no memory are accepted in any number.
    let nulls = list(100_000, &[0xc0]);
    assert!(from_slice_within::<serde::de::IgnoredAny>(&nulls, 0).is_ok());
    let args = received(&nulls).within(0);
    assert_eq!(
        args.get::<Vec<()>>(0).map(|r| r.map(|v| v.len())),
        Some(Ok(100_000))
    );
}

fn honest_values_fit() {
    let pass = |value: Bytes, decode: &dyn Fn(&IncomingArgs) -> Option<DecodeError>| {
        // With a limit of 0, the message may still use memory in proportion to its length.
        let error = decode(&received(&value).within(0));
        assert_eq!(error, None);
    };
    fn get<T: for<'a> Deserialize<'a>>(args: &IncomingArgs) -> Option<DecodeError> {
        args.get::<T>(0).expect("is there").err()
    }
    let float: &[u8] = &to_vec(&1.5f64).expect("encodes");
    pass(list(200_000, float), &get::<Vec<f64>>);
    let point: &[u8] = &to_vec(&Point { x: 1.5, y: 2.5 }).expect("encodes");
    pass(list(100_000, point), &get::<Vec<Point>>);
    let text: &[u8] = &to_vec(&"x".repeat(200)).expect("encodes");
    pass(list(10_000, text), &get::<Vec<String>>);
    pass(list(10_000, text), &get::<Value>);
    let numbers = NdArray::from(vec![0.5f32; 500_000]);
    let numbers: Bytes = to_vec(&numbers).expect("encodes").into();
    pass(numbers.clone(), &get::<NdArray>);
    pass(numbers.clone(), &get::<Value>);
    pass(numbers, &get::<Vec<f32>>);
    let bytes = hypha_wire::Binary::from(vec![7; 2_000_000]);
    let bytes: Bytes = to_vec(&bytes).expect("encodes").into();
    pass(bytes.clone(), &get::<hypha_wire::Binary>);
    pass(bytes, &get::<Vec<u8>>);
}

fn an_account_is_charged_until_the_arguments_are_dropped() {
    let accounts = Arc::new(Accounts::default());
    let used = || accounts.used.load(Ordering::Relaxed);
    // The first 4 KiB of a message are not charged.
    let args = received(&list(10, &[0xc0])).charged_to(accounts.clone(), "ws/a");
    assert!(args.get::<Value>(0).expect("is there").is_ok());
    assert_eq!(used(), 0);
    let args = received(&list(4_000, &[0xc0])).charged_to(accounts.clone(), "ws/a");
    assert!(args.get::<Value>(0).expect("is there").is_ok());
    let needed = 4_000 * size_of::<Value>();
    assert!(
        (needed - 4096..needed + (64 << 10)).contains(&used()),
        "{}",
        used()
    );
    let clone = args.clone();
    drop(args);
    assert!(used() > 0);
    drop(clone);
    assert_eq!(used(), 0);
    assert_eq!(accounts.peers.lock().expect("no panic")[0], "ws/a");
    let args = received(&list(40_000, &[0xc0])).charged_to(accounts.clone(), "ws/a");
    let text = refused(args.get::<Value>(0).expect("is there"));
    assert!(text.ends_with("may occupy: its account is empty"), "{text}");
    drop(args);
    // The limit of a message applies in addition to the account of the peer.
    let args = received(&list(4_000, &[0xc0])).within(100_000);
    let args = args.charged_to(accounts.clone(), "ws/a");
    let text = refused(args.get::<Value>(0).expect("is there"));
    assert!(text.contains("more than 100000 bytes"), "{text}");
}

/// Checks that values which need much memory are rejected. Without a limit, each of these values
/// would need 8 to 144 times its length.
fn hostile_values_do_not_fit() {
    const LEN: usize = 4 << 20;
    let nulls = list(LEN, &[0xc0]);
    let empty_maps = list(LEN, &[0x80]);
    let short = list(LEN / 2, &[0x91, 1]);
    let texts = list(LEN / 2, &[0xa1, b'x']);
    let pairs = list(LEN / 4, &[0x81, 0xa1, b'x', 1]);
    let bytes: Bytes = to_vec(&hypha_wire::Binary::from(vec![7; LEN]))
        .expect("encodes")
        .into();
    let array = NdArray::from(vec![1u8; LEN]);
    let array: Bytes = to_vec(&array).expect("encodes").into();
    let before = memory("VmRSS:");
    let bound = before + 4 * LEN + (16 << 20);
    let check = |what: &str, error: String| {
        assert!(error.contains("bytes of memory"), "{what}: {error}");
        let peak = memory("VmHWM:");
        assert!(peak < bound, "{what}: {peak} of {bound}, {before} before");
    };
    fn get<T: for<'a> Deserialize<'a> + std::fmt::Debug>(value: &Bytes) -> String {
        refused(received(value).within(0).get::<T>(0).expect("is there"))
    }
    // Reset the peak, so that memory that was used earlier does not count.
    std::fs::write("/proc/self/clear_refs", "5").expect("Linux has it");
    check("nulls", get::<Value>(&nulls));
    check("options", get::<Vec<Option<u64>>>(&nulls));
    check("maps", get::<Value>(&empty_maps));
    check("structs", get::<Vec<Sparse>>(&empty_maps));
    check("boxes", get::<Vec<Box<Sparse>>>(&empty_maps));
    check("lists", get::<Value>(&short));
    check("vectors", get::<Vec<Vec<u64>>>(&short));
    check("texts", get::<Value>(&texts));
    check("strings", get::<Vec<String>>(&texts));
    check("pairs", get::<Value>(&pairs));
    check(
        "tables",
        get::<Vec<std::collections::HashMap<String, u64>>>(&pairs),
    );
    check("bytes", get::<Vec<u64>>(&bytes));
    check("array", get::<Vec<u64>>(&array));
    check("untagged", get::<Either>(&nulls));
}
