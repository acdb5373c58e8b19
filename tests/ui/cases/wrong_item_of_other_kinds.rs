//! The attribute on a module, an enum and an alias.

use hypha_rpc::hypha_service;

#[hypha_service]
mod lab {
    pub fn count() -> u32 {
        2
    }
}

#[hypha_service]
enum Desk {
    Empty,
}

#[hypha_service]
type Number = u32;

fn main() {
    let _number: Number = lab::count();
    let _desk = Desk::Empty;
}
