//! A call without `.await`. rustc warns that the program does not make the call.

use hypha_rpc::prelude::*;

#[deny(unused_must_use)]
fn forget(lab: LabProxy) {
    lab.size();
}

#[hypha_service]
trait Lab {
    async fn size(&self) -> u32;
    async fn count(&self) -> u32;
}

fn main() {
    let _call = |proxy: LabProxy| proxy.size();
}
