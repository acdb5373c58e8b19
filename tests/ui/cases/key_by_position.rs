//! Values without their keys. Also keys and values with separators of other languages between them.

use hypha_rpc::prelude::*;

#[hypha_service("lab")]
trait Lab {
    #[hypha("n")]
    async fn size(&self) -> u32;
    async fn count(&self, #[hypha(default: 1)] from: u32) -> u32;
}

struct Desk;

#[hypha_service(id("desk"))]
impl Desk {
    pub async fn count(&self) -> u32 {
        2
    }
}

fn main() {
    let _call = |lab: LabProxy, desk: DeskProxy| (lab.size(), lab.count(1), desk.count());
}
