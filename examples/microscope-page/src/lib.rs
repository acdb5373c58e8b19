//! Shows the live images of the microscope example on the canvas of a page.
#![cfg(target_family = "wasm")]
#![allow(unreachable_pub, reason = "the contract belongs to a library")]

#[path = "../../microscope/contract.rs"]
mod microscope;

use std::error::Error;

use hypha_rpc::{Array, Client};
use wasm_bindgen::prelude::wasm_bindgen;
use wasm_bindgen::{Clamped, JsCast, JsValue};
use web_sys::{CanvasRenderingContext2d, HtmlCanvasElement, ImageData};

use microscope::MicroscopeProxy;

/// Brightness that the canvas shows as white.
const WHITE: u16 = 1000;
/// Number of images in one stream.
const IMAGES: u32 = 1000;

/// Connection to a microscope. The connection ends when this object is freed.
#[wasm_bindgen]
#[derive(Debug)]
pub struct Microscope {
    proxy: MicroscopeProxy,
    client: Client,
}

#[wasm_bindgen]
impl Microscope {
    /// Connects to the microscope with this full service id.
    ///
    /// # Errors
    ///
    /// Fails if the client cannot connect, or there is no such service.
    pub async fn connect(server: String, service: String) -> Result<Microscope, JsValue> {
        let client = hypha_rpc::connect(server).await.map_err(failure)?;
        let proxy = client.proxy(service).await.map_err(failure)?;
        Ok(Microscope { proxy, client })
    }

    /// Draws the live images, until the connection is closed.
    ///
    /// # Errors
    ///
    /// Fails if the microscope is gone, or if the canvas cannot be used.
    pub async fn show(&self, canvas: HtmlCanvasElement) -> Result<(), JsValue> {
        let screen = Screen::new(canvas)?;
        loop {
            let drawn = self.draw_stream(&screen).await;
            if self.client.state().is_closed() {
                return Ok(());
            }
            drawn?;
        }
    }

    async fn draw_stream(&self, screen: &Screen) -> Result<(), JsValue> {
        let mut live = self.proxy.live(Some(IMAGES)).await.map_err(failure)?;
        while let Some(image) = live.try_next().await.map_err(failure)? {
            screen.draw(&image)?;
        }
        Ok(())
    }

    /// Closes the connection.
    pub async fn close(&self) {
        self.client.disconnect().await;
    }
}

/// Returns an error for JavaScript, with all causes.
fn failure(error: impl Error + 'static) -> JsValue {
    js_sys::Error::new(&hypha_rpc::error::report(&error).to_string()).into()
}

/// A canvas for images.
struct Screen {
    canvas: HtmlCanvasElement,
    context: CanvasRenderingContext2d,
}

impl Screen {
    fn new(canvas: HtmlCanvasElement) -> Result<Self, JsValue> {
        let context = canvas.get_context("2d")?.ok_or("the canvas is in use")?;
        Ok(Screen {
            context: context.dyn_into()?,
            canvas,
        })
    }

    /// Draws an image in shades of gray, one pixel of the canvas for each pixel of the camera.
    fn draw(&self, image: &Array<u16, 2>) -> Result<(), JsValue> {
        let [height, width] = image.shape().map(|length| length as u32);
        let shade = |pixel: &u16| (u32::from(*pixel.min(&WHITE)) * 255 / u32::from(WHITE)) as u8;
        let pixels = image.as_slice().iter().map(shade);
        let colors: Vec<u8> = pixels.flat_map(|gray| [gray, gray, gray, 255]).collect();
        let data = ImageData::new_with_u8_clamped_array_and_sh(Clamped(&colors), width, height)?;
        // Setting the size clears the canvas.
        if (self.canvas.width(), self.canvas.height()) != (width, height) {
            self.canvas.set_width(width);
            self.canvas.set_height(height);
        }
        self.context.put_image_data(&data, 0.0, 0.0)
    }
}
