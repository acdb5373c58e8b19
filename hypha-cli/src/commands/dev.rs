//! `hypha dev`: a server with its console and a sample service, for a first look.

use std::time::Duration;

use anyhow::{Context as _, Result};
use clap::Args;
use hypha_rpc::prelude::*;
use hypha_rpc::workspace::TokenConfig;
use hypha_server::Server;
use rand::RngExt as _;
use serde::{Deserialize, Serialize};

use crate::interrupt::{GRACE, interrupted};
use crate::output;

/// Workspace of the sample service. Every user can read it.
const WORKSPACE: &str = "public";
/// Time between two items of the sample stream.
const TICK: Duration = Duration::from_millis(200);
/// Maximum number of items or steps in the sample methods.
const ITEMS: u32 = 1000;

/// Run a server with its console and a sample service, for a first look
///
/// All data is kept in memory and lost when the command ends. The server accepts connections from
/// this machine only, unless --host is set.
#[derive(Args)]
#[command(after_long_help = "\
Examples:
  hypha dev
  hypha dev --port 0")]
pub(crate) struct Options {
    /// Address to listen on
    #[arg(long, default_value = "127.0.0.1")]
    host: String,
    /// Port to listen on; 0 selects a free port
    #[arg(long, default_value_t = 9527)]
    port: u16,
    /// Root token, which permits everything; at least 32 characters. Default: a random token, which
    /// the command prints
    #[arg(
        long,
        value_name = "TOKEN",
        env = "HYPHA_ROOT_TOKEN",
        hide_env_values = true
    )]
    root_token: Option<String>,
}

struct Sample;

/// A position of the stage.
#[derive(Clone, Copy, Debug, Deserialize, Serialize, JsonSchema)]
struct Position {
    /// Millimetres to the right.
    x: f64,
    /// Millimetres upwards.
    y: f64,
}

/// Speed of a movement.
#[derive(Clone, Copy, Debug, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
enum Speed {
    Slow,
    Fast,
}

/// Sample methods: a sum, a greeting, streams, a progress report, a form, arrays and an error.
#[hypha_service(id = "sample", visibility = "public")]
impl Sample {
    /// Add two numbers.
    pub(crate) async fn add(
        &self,
        /// The first number.
        a: f64,
        /// The second number.
        #[hypha(default = 1.0)]
        b: f64,
    ) -> f64 {
        a + b
    }

    /// Greet a person.
    pub(crate) async fn greet(
        &self,
        /// Name of the person.
        name: String,
    ) -> String {
        format!("Hello {name}!")
    }

    /// Count upwards, five numbers per second.
    pub(crate) async fn count(
        &self,
        /// Number at which the stream ends, at most 1000.
        #[hypha(default = 5)]
        to: u32,
    ) -> impl Stream<Item = u32> + Send + use<> {
        futures_util::stream::unfold(1, move |number| async move {
            if number > to.min(ITEMS) {
                return None;
            }
            tokio::time::sleep(TICK).await;
            Some((number, number + 1))
        })
    }

    /// Measure a noisy oscillation, ten values per second.
    pub(crate) async fn measure(
        &self,
        /// Number of values, at most 1000.
        #[hypha(default = 50)]
        count: u32,
    ) -> impl Stream<Item = f64> + Send + use<> {
        futures_util::stream::unfold(0, move |step| async move {
            if step >= count.min(ITEMS) {
                return None;
            }
            tokio::time::sleep(TICK / 2).await;
            let noise: f64 = rand::rng().random_range(-0.1..0.1);
            Some(((f64::from(step) / 5.0).sin() + noise, step + 1))
        })
    }

    /// Move an imaginary stage, and return its new position.
    pub(crate) async fn move_to(
        &self,
        /// Position to move to.
        target: Position,
        /// Speed of the movement.
        speed: Option<Speed>,
    ) -> Position {
        let steps = match speed {
            Some(Speed::Fast) => 1,
            _ => 3,
        };
        tokio::time::sleep(TICK * steps).await;
        target
    }

    /// Divide one number by another. Division by zero is an error.
    pub(crate) async fn divide(
        &self,
        /// The dividend.
        a: f64,
        /// The divisor.
        b: f64,
    ) -> anyhow::Result<f64> {
        anyhow::ensure!(b != 0.0, "division by zero");
        Ok(a / b)
    }

    /// Work in steps and report the progress.
    pub(crate) async fn work(
        &self,
        /// Receives the number of completed steps and the total number of steps.
        on_progress: Callback<(u32, u32)>,
        /// Number of steps, at most 1000.
        #[hypha(default = 10)]
        steps: u32,
    ) -> anyhow::Result<String> {
        let steps = steps.min(ITEMS);
        for step in 1..=steps {
            tokio::time::sleep(TICK / 2).await;
            on_progress.call((step, steps)).await?;
        }
        Ok("done".to_owned())
    }

    /// Smooth an array: each number becomes the mean of its surroundings.
    pub(crate) async fn smooth(
        &self,
        /// Rows of numbers, at most 1000000 in all.
        image: NdArray,
    ) -> anyhow::Result<NdArray> {
        let &[height, width] = image.shape() else {
            let count = image.shape().len();
            anyhow::bail!("the array has {count} dimensions, and needs 2");
        };
        let most = (ITEMS * ITEMS) as usize;
        let len = image.len();
        anyhow::ensure!(len <= most, "the array has {len} numbers, more than {most}");
        let numbers: Vec<f64> = image.iter_f64()?.collect();
        let mean = |y: usize, x: usize| {
            let rows = y.saturating_sub(1)..(y + 2).min(height);
            let near = rows.flat_map(|y| {
                let columns = x.saturating_sub(1)..(x + 2).min(width);
                columns.map(move |x| (y, x))
            });
            let (sum, count) = near.fold((0.0, 0.0), |(sum, count), (y, x)| {
                (sum + numbers[y * width + x], count + 1.0)
            });
            sum / count
        };
        let places = (0..height).flat_map(|y| (0..width).map(move |x| (y, x)));
        let smooth: Vec<f64> = places.map(|(y, x)| mean(y, x)).collect();
        Ok(NdArray::from_vec([height, width], smooth)?)
    }

    /// Return an image of waves, with brightness from 0 to 255.
    pub(crate) async fn image(
        &self,
        /// Number of rows and columns, at most 1000.
        #[hypha(default = 128)]
        size: u32,
    ) -> anyhow::Result<NdArray> {
        let size = size.min(ITEMS);
        let wave = |at: u32| (f64::from(at) / 10.0).sin();
        let rows = (0..size).flat_map(|y| (0..size).map(move |x| (x, y)));
        let pixels = rows.map(|(x, y)| (127.5 * (1.0 + wave(x) * wave(y))) as u8);
        let size = size as usize;
        Ok(NdArray::from_vec(
            [size, size],
            pixels.collect::<Vec<u8>>(),
        )?)
    }
}

pub(crate) async fn run(options: Options) -> Result<()> {
    let Options {
        host,
        port,
        root_token,
    } = options;
    // A root token is needed, because only administrators can register services in `public`.
    let given = root_token.filter(|token| !token.is_empty());
    let random: Option<String> = given.is_none().then(|| {
        let bytes: [u8; 32] = rand::rng().random();
        bytes.iter().map(|byte| format!("{byte:02x}")).collect()
    });
    let root_token: String = given.or_else(|| random.clone()).unwrap_or_default();
    let address = if host.contains(':') {
        format!("[{host}]:{port}")
    } else {
        format!("{host}:{port}")
    };
    let server = Server::builder()
        .bind(address)
        .root_token(root_token.as_str())
        .console(true)
        .start()
        .await;
    let server = server.with_context(|| format!("the server cannot start on {host}:{port}"))?;
    let root = hypha_rpc::connect(server.url())
        .token(root_token)
        .silent(true)
        .await?;
    let config = TokenConfig {
        workspace: Some(WORKSPACE.to_owned()),
        ..TokenConfig::default()
    };
    let token = root.manager().await?.generate_token(Some(config)).await?;
    root.disconnect().await;
    let options = hypha_rpc::connect(server.url())
        .token(token)
        .workspace(WORKSPACE);
    let client = options.client_id("dev").await?;
    client.register_service(Sample).await?;
    output::say(&text(server.url(), random.as_deref()))?;
    interrupted().await;
    client.shutdown(GRACE).await;
    server.shutdown().await;
    Ok(())
}

/// Returns the text that suggests the next commands. `token` is the random root token; a token that
/// the user has set is not shown.
fn text(url: &str, token: Option<&str>) -> String {
    let is_default = url == crate::connection::DEFAULT_URL
        || url == crate::connection::DEFAULT_URL.replace("localhost", "127.0.0.1");
    let export = if is_default {
        String::new()
    } else {
        format!("  export HYPHA_SERVER_URL={url}\n")
    };
    let sign_in = match token {
        Some(token) => format!(
            "{url}/console/, with the root token of this run:
  {token}"
        ),
        None => format!("{url}/console/, with your root token."),
    };
    format!(
        "The server runs at {url}. Press Ctrl-C to stop it.

Open the console in a browser:
  {url}/console/ws/public/service/dev:sample

Sign in as administrator at {sign_in}

Try in another terminal:
{export}  hypha services public
  hypha describe public/sample
  hypha call public/sample.add 1 b=2
  hypha call public/sample.count to=3
  hypha call public/sample.work steps=5
  hypha call public/sample.image --output image.npy
  hypha call public/sample.smooth @image.npy

As tools of an assistant (MCP), at this URL or with the command `hypha mcp public/sample`:
  {url}/public/mcp/dev:sample/mcp

In Python (pip install hypha-rpc):
  from hypha_rpc.sync import connect_to_server
  server = connect_to_server({{\"server_url\": \"{url}\"}})
  print(server.get_service(\"public/sample\").add(1, 2))"
    )
}
