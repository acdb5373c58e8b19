//! A wire name that makes one method a member of another method. A method has no members.

use hypha_rpc::hypha_service;

#[hypha_service]
trait Lab {
    async fn stage(&self) -> u32;
    #[hypha(name = "stage.move")]
    async fn move_stage(&self);
    #[hypha(name = "light.color.set")]
    async fn set_color(&self);
    #[hypha(name = "light.color")]
    async fn color(&self) -> u32;
    #[hypha(name = "stages.move")]
    async fn move_all(&self);
}

fn main() {
    let _call = |proxy: LabProxy| (proxy.stage(), proxy.move_stage(), proxy.color());
}
