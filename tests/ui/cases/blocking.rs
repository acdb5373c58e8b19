//! A method that is both `async` and blocking, and invalid lists of methods.

use hypha_rpc::hypha_service;

#[hypha_service(flags = "fast", visibility = "public", authorized_workspaces = ["ws-lab"])]
trait Lab {
    #[hypha(blocking)]
    async fn count(&self) -> u32;

    #[hypha(blockng)]
    fn measure(&self) -> u32;
}

fn main() {
    let _call = |proxy: LabProxy| (proxy.count(), proxy.measure());
}
