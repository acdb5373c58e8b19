//! A trait as the type of an argument. rustc reports it twice, with different advice: in the
//! signature and where the argument is read. A macro cannot know that a name belongs to a trait.

use hypha_rpc::prelude::*;

trait Shape {}

#[hypha_service]
trait Lab {
    async fn measure(&self, shape: Shape) -> f64;
    async fn count(&self) -> u32;
}

fn main() {
    let _call = |proxy: LabProxy| proxy.count();
}
