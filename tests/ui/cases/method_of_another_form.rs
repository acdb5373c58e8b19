//! Methods that are not a name and a closure with types.

use hypha_rpc::prelude::*;

fn main() {
    let count = 1u32;
    let _methods = [
        method!("block", {
            let count = count;
            move |by: u32| async move { count + by }
        }),
        method!("untyped", |by| async move { by }),
        method!("function", add),
    ];
}

async fn add(a: f64, b: f64) -> f64 {
    a + b
}
