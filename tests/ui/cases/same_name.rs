//! Two methods and two arguments with the same wire name. Also a name that every service has.

use hypha_rpc::hypha_service;

#[hypha_service(rename_all = "camelCase")]
trait Lab {
    async fn count_all(&self) -> u32;
    #[hypha(name = "countAll")]
    async fn sum(&self, first: u32, #[hypha(name = "first")] second: u32) -> u32;
    async fn config(&self) -> String;
}

fn main() {
    let _call = |proxy: LabProxy| (proxy.count_all(), proxy.sum(1, 2));
}
