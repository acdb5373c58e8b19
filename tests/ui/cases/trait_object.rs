//! Trait objects as values, and functions and streams, also behind a pointer.

use hypha_rpc::prelude::*;

trait Shape {
    fn area(&self) -> f64;
}

#[hypha_service]
trait Lab {
    async fn measure(&self, shape: dyn Shape) -> f64;
    async fn find(&self) -> Result<dyn Shape, String>;
    async fn watch(&self, shapes: dyn Stream<Item = u32>);
    async fn each(&self, change: fn(f64) -> f64);
    async fn all(&self) -> std::pin::Pin<Box<dyn Stream<Item = u32> + Send>>;
    async fn next(&self) -> Box<dyn FnOnce() + Send>;
    async fn count(&self) -> u32;
}

struct Desk;

#[hypha_service]
impl Desk {
    pub async fn measure(&self, shape: dyn Shape) -> f64 {
        shape.area()
    }
    pub async fn call(&self, function: &dyn Fn(f64)) {
        function(1.0);
    }
    pub async fn count(&self) -> u32 {
        2
    }
}

fn main() {
    let _call = |lab: LabProxy, desk: DeskProxy| (lab.count(), lab.each(|x| x), desk.count());
}
