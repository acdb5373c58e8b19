//! The attribute on items other than a trait or an `impl` block. The macro leaves them unchanged.

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
