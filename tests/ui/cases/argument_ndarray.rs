//! An array of the crate `ndarray` without the feature `ndarray`, and an array with an invalid
//! element type.

use hypha_rpc::{Array, prelude::*};

#[hypha_service]
trait Camera {
    async fn brighten(&self, image: ndarray::Array2<u16>);
    async fn label(&self, names: Array<String, 1>);
    async fn count(&self) -> u32;
}

fn main() {
    let _call = |proxy: CameraProxy| proxy.count();
}
