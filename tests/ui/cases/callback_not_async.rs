//! A callback from a closure that is not async.

use hypha_rpc::prelude::*;

#[hypha_service]
trait Lab {
    async fn train(&self, on_text: Callback<(String,)>);
}

fn main() {
    let _call = |proxy: LabProxy| proxy.train(Callback::new(|(text,)| println!("{text}")));
    let _fallible = Callback::<u32>::try_new(|number| {
        println!("{number}");
        Ok::<(), String>(())
    });
}
