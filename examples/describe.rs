//! How do I tell callers in other languages what my service offers?
//!
//! `cargo run --example describe -- --format typescript` writes it down; the other formats are json, openapi, python
//! and rust. For services on a server, in any language, there is the command `hypha-schema`.

use clap::Parser;
use hypha_rpc::prelude::*;
use hypha_rpc::schema::export::{Description, Format};

/// A place on the stage, in micrometres.
#[derive(Serialize, Deserialize, JsonSchema)]
struct Place {
    x: f64,
    y: f64,
    /// Where it is now, if it is left out.
    z: Option<f64>,
}

struct Microscope;

/// A microscope with a camera.
#[hypha_service(id = "microscope")]
impl Microscope {
    /// Move the stage; how far it went.
    #[hypha(name = "stage.go")]
    pub(crate) async fn go(&self, to: Place) -> f64 {
        to.x.hypot(to.y)
    }

    /// Take an image.
    pub(crate) async fn snap(
        &self,
        /// In seconds.
        #[hypha(default = 0.1)]
        exposure: f64,
    ) -> NdArray {
        vec![exposure].into()
    }
}

/// Write down what the service of this example offers.
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
