//! Methods from closures that are not async, or whose result cannot be sent.

use hypha_rpc::prelude::*;

struct Numbers;

fn main() {
    let _plain = method!("plain", |n: u8| n + 1);
    let _numbers = method!("numbers", || async { Numbers });
}
