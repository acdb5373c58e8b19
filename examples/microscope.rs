//! Provides a microscope. The guide shows Python and JavaScript programs that call it.
//!
//! `HYPHA_SERVER_URL=.. cargo run -p hypha-rpc-examples --example microscope`

use futures_util::stream;
use hypha_rpc::prelude::*;

/// A part of the image.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
struct Region {
    width: u16,
    height: u16,
}

#[derive(Debug, thiserror::Error, Serialize, Deserialize, RemoteError)]
enum ScopeError {
    #[error("the image would be too bright")]
    #[remote_error(class = "ValueError")]
    TooBright,
}

struct Microscope;

/// A microscope with a camera.
#[hypha_service(id = "microscope", visibility = "public")]
impl Microscope {
    /// Take an image.
    pub async fn snap(
        &self,
        /// Exposure time, in seconds.
        #[hypha(default = 0.1)]
        exposure: f64,
        region: Option<Region>,
    ) -> Result<NdArray, ScopeError> {
        if exposure > 10.0 {
            return Err(ScopeError::TooBright);
        }
        Ok(image(exposure, region))
    }

    /// Take images in turn.
    pub async fn live(&self, frames: u16) -> impl Stream<Item = NdArray> {
        stream::iter((0..frames).map(|frame| image(f64::from(frame), None)))
    }

    /// Focus, report each step, and return the final height.
    pub async fn focus(&self, steps: u32, on_step: Callback<(u32, f64)>) -> Result<f64, Error> {
        for step in 1..=steps {
            on_step.call((step, 1.0 / f64::from(step))).await?;
        }
        Ok(1.0 / f64::from(steps.max(1)))
    }

    /// Return the id of the caller.
    pub async fn who(&self, ctx: &Context) -> String {
        ctx.from().to_owned()
    }
}

fn image(brightness: f64, region: Option<Region>) -> NdArray {
    let (width, height) = region.map_or((6, 4), |region| (region.width, region.height));
    let (width, height) = (usize::from(width), usize::from(height));
    NdArray::from_vec([height, width], vec![brightness; width * height])
        .expect("as many elements as the shape has")
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    tracing_subscriber::fmt()
        .with_writer(std::io::stderr)
        .init();
    let connect = hypha_rpc::client::ConnectOptions::from_env()?;
    let hypha = connect.retry_on_initial_connect(true).await?;
    let info = hypha.register_service(Microscope).await?;
    println!("{}", info.id);
    hypha.run_until_ctrl_c().await?;
    Ok(())
}
