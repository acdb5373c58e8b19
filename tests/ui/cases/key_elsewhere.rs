//! Keys in places where these keys are not valid.

use hypha_rpc::prelude::*;

#[hypha_service(blocking)]
trait Lab {
    #[hypha(default = 1, rename_all = "camelCase")]
    async fn size(&self, #[hypha(blocking)] plate: u32) -> u32;
    async fn count(&self) -> u32;
}

fn main() {
    let _call = |proxy: LabProxy| proxy.size(1);
}
