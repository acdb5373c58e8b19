//! Serves a microscope. The service offers images, a live stream, acquisitions with progress,
//! files, and a stage that one user may move.
//!
//! `HYPHA_SERVER_URL=.. cargo run -p hypha-rpc-examples --example microscope -- [OPERATOR]`, where
//! `OPERATOR` is the id of that user.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures_util::{StreamExt, stream};
use hypha_rpc::Array;
use hypha_rpc::client::ConnectOptions;
use hypha_rpc::prelude::*;
use hypha_rpc_examples::microscope::{
    Microscope, MicroscopeService, Position, Progress, Region, SENSOR, ScopeError, Stage,
    StageProxy, StageService,
};
use tokio::io::AsyncReadExt;
use tokio::sync::Notify;

/// Time between two images.
const INTERVAL: Duration = Duration::from_millis(20);
/// Largest background image, in bytes.
const BACKGROUND_MAX: u64 = 1 << 20;

/// The stage. All clones share one position.
#[derive(Clone)]
struct Motors {
    operator: Option<String>,
    position: Arc<Mutex<Position>>,
}

impl Stage for Motors {
    async fn position(&self) -> Position {
        *self.position.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn move_to(&self, ctx: &Context, to: Position) -> Result<Position, ScopeError> {
        // If the operator created the token of this user, the parent of this user is the operator.
        let user = ctx.user();
        let user = user.parent.as_ref().unwrap_or(&user.id);
        if self.operator.as_ref() != Some(user) {
            return Err(ScopeError::NotYours { user: user.clone() });
        }
        within("x", to.x, 0.0, 100.0)?;
        within("y", to.y, 0.0, 100.0)?;
        *self.position.lock().unwrap_or_else(PoisonError::into_inner) = to;
        Ok(to)
    }
}

struct Scope {
    motors: Motors,
    background: Mutex<Vec<u16>>,
    /// An acquisition holds this lock.
    camera: tokio::sync::Mutex<()>,
    cancelled: Notify,
}

impl Scope {
    /// Simulates the camera: the brightness of the pixels is proportional to the exposure time.
    fn image(&self, exposure: f64, region: Option<Region>) -> Array<u16, 2> {
        let (width, height) = region.map_or((6, 4), |region| (region.width, region.height));
        let (width, height) = (usize::from(width), usize::from(height));
        let background = self.background.lock();
        let background = background.unwrap_or_else(PoisonError::into_inner);
        let pixel = |place| {
            let dark = background.get(place).copied().unwrap_or_default();
            ((exposure * 1000.0) as u16).saturating_sub(dark)
        };
        let pixels = (0..width * height).map(pixel).collect();
        Array::from_vec([height, width], pixels).expect("as many pixels as the shape has")
    }

    /// Takes images, and sets `done` to the number of images taken so far.
    async fn images(
        &self,
        total: u32,
        done: &mut u32,
        on_progress: Option<Callback<Progress>>,
    ) -> Result<Vec<u8>, ScopeError> {
        let mut content = Vec::new();
        while *done < total {
            tokio::time::sleep(INTERVAL).await;
            let image = self.image(0.1, None);
            content.extend(
                image
                    .as_slice()
                    .iter()
                    .flat_map(|pixel| pixel.to_le_bytes()),
            );
            *done += 1;
            if let Some(report) = &on_progress {
                let called = report.call(Progress { done: *done, total }).await;
                called.map_err(|error| ScopeError::Failed(format!("on_progress: {error}")))?;
            }
        }
        Ok(content)
    }
}

impl Microscope for Scope {
    async fn snap(
        &self,
        exposure: f64,
        region: Option<Region>,
    ) -> Result<Array<u16, 2>, ScopeError> {
        within("exposure", exposure, 0.0, 10.0)?;
        if let Some(Region { width, height }) = region {
            within("width", width.into(), 1.0, SENSOR.into())?;
            within("height", height.into(), 1.0, SENSOR.into())?;
        }
        Ok(self.image(exposure, region))
    }

    async fn live(
        &self,
        ctx: &Context,
        images: Option<u32>,
    ) -> impl Stream<Item = Array<u16, 2>> + Send {
        let counts = stream::iter(1..=images.unwrap_or(u32::MAX));
        let images = counts.then(move |count| async move {
            tokio::time::sleep(INTERVAL).await;
            self.image(f64::from(count) / 1000.0, None)
        });
        // The stream is dropped when the caller drops it or disconnects. Here, it also ends when
        // this program ends.
        images.take_until(ctx.cancellation().clone().cancelled_owned())
    }

    async fn acquire(
        &self,
        ctx: &Context,
        images: u32,
        on_progress: Option<Callback<Progress>>,
    ) -> Result<RemoteFile, ScopeError> {
        let _camera = self.camera.try_lock().map_err(|_| ScopeError::Busy)?;
        within("number of images", images.into(), 1.0, 1000.0)?;
        let mut done = 0;
        let content = tokio::select! {
            content = self.images(images, &mut done, on_progress) => Some(content?),
            () = self.cancelled.notified() => None,
            // The token is cancelled when the caller disconnects, when the caller cancels the call,
            // or when this program ends.
            () = ctx.cancellation().cancelled() => None,
        };
        let Some(content) = content else {
            return Err(ScopeError::Cancelled { images: done });
        };
        Ok(RemoteFile::from_bytes(content)
            .named("stack.raw")
            .on_progress(|progress| tracing::info!("the caller has {progress}")))
    }

    async fn cancel(&self) -> bool {
        self.cancelled.notify_waiters();
        self.camera.try_lock().is_err()
    }

    async fn set_background(&self, image: RemoteFile) -> Result<u64, ScopeError> {
        let mut content = Vec::new();
        // Read at most one byte more than the limit, even if the caller sends a larger file.
        let read = image
            .take(BACKGROUND_MAX + 1)
            .read_to_end(&mut content)
            .await;
        read.map_err(|error| ScopeError::Failed(error.to_string()))?;
        let size = content.len() as u64;
        within("size", size as f64, 0.0, BACKGROUND_MAX as f64)?;
        let pixels = content.chunks_exact(2);
        *self
            .background
            .lock()
            .unwrap_or_else(PoisonError::into_inner) = pixels
            .map(|pixel| u16::from_le_bytes([pixel[0], pixel[1]]))
            .collect();
        Ok(size)
    }

    async fn stage(&self) -> Object<StageProxy> {
        Object::new(StageService::new(self.motors.clone()))
    }
}

fn within(quantity: &str, value: f64, from: f64, to: f64) -> Result<(), ScopeError> {
    if (from..=to).contains(&value) {
        return Ok(());
    }
    let quantity = quantity.to_owned();
    Err(ScopeError::OutOfRange { quantity, from, to })
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    tracing_subscriber::fmt()
        .with_writer(std::io::stderr)
        .init();
    let scope = Scope {
        motors: Motors {
            operator: std::env::args().nth(1),
            position: Arc::new(Mutex::new(Position { x: 0.0, y: 0.0 })),
        },
        background: Mutex::default(),
        camera: tokio::sync::Mutex::default(),
        cancelled: Notify::new(),
    };
    let connect = ConnectOptions::from_env()?;
    let hypha = connect.retry_on_initial_connect(true).await?;
    let service = hypha.register_service(MicroscopeService::new(scope));
    let info = service.visibility(Visibility::Public).await?;
    println!("{}", info.id);
    hypha.run_until_ctrl_c().await?;
    Ok(())
}
