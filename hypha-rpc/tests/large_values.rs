//! Tests that a client rejects a value that would need far more memory than its encoding. The
//! client must reject the value before it allocates that memory.
//!
//! This test is a separate program, because it measures the memory of the whole program.
#![cfg(target_os = "linux")]

use hypha_rpc::client::{Identity, Settings};
use hypha_rpc::service::{Method, Visibility};
use hypha_rpc::transport::memory::pair;
use hypha_rpc::{Client, Service, Value, args};

/// Returns a field of `/proc/self/status`, such as `VmHWM:`, in bytes.
fn memory(field: &str) -> usize {
    let status = std::fs::read_to_string("/proc/self/status").expect("Linux has it");
    let line = status.lines().find_map(|line| line.strip_prefix(field));
    let number = line.and_then(|line| line.split_whitespace().next());
    number
        .and_then(|number| number.parse::<usize>().ok())
        .expect("a number")
        << 10
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_list_of_nulls_is_refused_before_it_is_large() {
    // Set `LARGE_VALUE_MB=100` to measure with a large value.
    let size = std::env::var("LARGE_VALUE_MB").ok();
    let size = size.map_or(8, |size| size.parse().expect("a number")) << 20;
    let (a, b) = pair(64);
    let mut settings = Settings::in_process();
    if size < 64 << 20 {
        // Removes the limit on the memory of decoded values. The length of the message still limits
        // that memory.
        settings.max_decoded_bytes = 0;
    }
    let a = Client::from_link(Box::new(a), Identity::new("ws", "a"), settings.clone());
    let b = Client::from_link(Box::new(b), Identity::new("ws", "b"), settings);
    let echo = Method::new("echo", |call| async move {
        let value: Value = call.args(&["value"])?.required(0)?;
        call.reply(&value)
    });
    let service = Service::new("svc").visibility(Visibility::Public);
    b.register_service(service.method(echo))
        .await
        .expect("registers");
    let svc = a.get_remote_service("ws/b:svc").await.expect("fetches");
    let before = memory("VmHWM:");
    let refused = svc.call::<Value>("echo", args!(vec![(); size])).await;
    let refused = refused.expect_err("refused").to_string();
    assert!(
        refused.contains("bytes of memory when it is decoded"),
        "{refused}"
    );
    let grown = memory("VmHWM:") - before;
    println!("{} MB for {} MB", grown >> 20, size >> 20);
    // The sender runs in the same program, and also keeps the message. The sender's buffer may be
    // twice as large as the message, because the buffer doubles its capacity when it is full.
    assert!(grown < 6 * size + (16 << 20), "{grown} for {size}");
}
