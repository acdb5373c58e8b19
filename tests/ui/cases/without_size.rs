//! `str` and `[T]`, which have no size.

use hypha_rpc::prelude::*;

#[hypha_service]
trait Lab {
    async fn load(&self, plate: str) -> u32;
    async fn load_all(&self, wells: Vec<[f64]>) -> u32;
    async fn title(&self) -> str;
    async fn find(&self) -> Result<[u8], String>;
    async fn lines(&self) -> impl Stream<Item = str>;
    async fn count(&self) -> u32;
}

struct Desk;

#[hypha_service]
impl Desk {
    pub async fn wells(&self) -> [f64] {
        vec![1.0]
    }
    pub async fn count(&self) -> u32 {
        2
    }
}

fn main() {
    let _call = |lab: LabProxy, desk: DeskProxy| (lab.count(), lab.title(), desk.count());
}
