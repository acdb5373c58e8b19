//! `impl` blocks that cannot be services. The macro leaves them unchanged.

use hypha_rpc::hypha_service;

struct Desk;

trait Counting {
    async fn count(&self) -> u32;
}

#[hypha_service]
impl Counting for Desk {
    async fn count(&self) -> u32 {
        2
    }
}

#[hypha_service]
impl Desk {
    async fn private(&self) -> u32 {
        3
    }
}

struct State {
    last: std::cell::Cell<u32>,
}

#[hypha_service]
impl State {
    /// The last number.
    pub async fn last(&self) -> u32 {
        self.last.get()
    }
}

struct Shop;

#[hypha_service]
impl Shop {
    pub async fn buy(&mut self, what: &str) -> u32 {
        what.len() as u32
    }

    pub fn sell(&self) -> u32 {
        1
    }
}

fn main() {
    let _future = Counting::count(&Desk);
    let _future = Desk.private();
    let _number = Shop.sell();
}
