//! An array with an invalid element type as a result.

use hypha_rpc::{Array, prelude::*};

#[hypha_service]
trait Camera {
    async fn labels(&self) -> Array<String, 2>;
    async fn count(&self) -> u32;
}

fn main() {
    let _call = |proxy: CameraProxy| proxy.count();
}
