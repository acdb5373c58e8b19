//! Describes a service for callers in other languages.
//!
//! `cargo run -p hypha-rpc-examples --example describe -- --format typescript` prints TypeScript
//! declarations. The other formats are json, openapi, python and rust. The command `hypha schema`
//! does the same for any service on a server.

use clap::Parser;
use hypha_rpc::prelude::*;
use hypha_schema::{Description, Format};

/// A position of the stage, in micrometres.
#[derive(Serialize, Deserialize, JsonSchema)]
struct Place {
    x: f64,
    y: f64,
    /// Default: the current position.
    z: Option<f64>,
}

struct Microscope;

/// A microscope with a camera.
#[hypha_service(id = "microscope")]
impl Microscope {
    /// Move the stage and return the distance.
    #[hypha(name = "stage.go")]
    pub(crate) async fn go(&self, to: Place) -> f64 {
        to.x.hypot(to.y)
    }

    /// Take an image.
    pub(crate) async fn snap(
        &self,
        /// Exposure time, in seconds.
        #[hypha(default = 0.1)]
        exposure: f64,
    ) -> NdArray {
        vec![exposure].into()
    }
}

/// Print a description of the service in this example.
#[derive(Parser)]
struct Options {
    /// json, openapi, typescript, python or rust
    #[arg(long, default_value = "typescript")]
    format: Format,
}

fn main() {
    let options = Options::parse();
    print!("{}", Description::of(Microscope).write(options.format));
}
