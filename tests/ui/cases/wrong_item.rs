//! The attribute on items that are neither a trait nor an `impl` block; they stay as they are.

use hypha_rpc::hypha_service;

#[hypha_service]
struct Desk;

#[hypha_service]
fn count() -> u32 {
    2
}

fn main() {
    let _number: u32 = count();
    let _desk = Desk;
}
