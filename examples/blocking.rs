//! Provides a service and calls the service, without async code. The service uses plain methods,
//! closures, iterators and files.
//!
//! Run `cargo run -p hypha-rpc-examples --example blocking`, which needs no other program. With `--
//! --server-url URL`, the example uses a running server. With `--serve`, it keeps the service
//! available until Ctrl-C.

use std::io::{BufRead, BufReader};
use std::thread;
use std::time::Duration;

use clap::Parser;
use hypha_rpc::blocking;
use hypha_rpc::prelude::*;

/// Measures light.
#[hypha_service(id = "spectrometer", visibility = "public")]
pub trait Spectrometer {
    /// Measure the intensity at a wavelength, in nanometres.
    fn measure(&self, wavelength: f64) -> Result<f64, String>;

    /// Measure a range of wavelengths, and report each value.
    fn scan(&self, from: u32, to: u32, on_value: Callback<(u32, f64)>) -> anyhow::Result<u32>;

    /// Measure repeatedly.
    fn live(&self, wavelength: f64, count: u32) -> RemoteStream<f64>;

    /// Return the log of the instrument.
    fn log(&self) -> RemoteFile;
}

struct Instrument;

/// Simulates the delay of the driver of an instrument.
fn intensity(wavelength: f64) -> f64 {
    thread::sleep(Duration::from_millis(5));
    (-((wavelength - 550.0) / 60.0).powi(2)).exp()
}

impl Spectrometer for Instrument {
    fn measure(&self, wavelength: f64) -> Result<f64, String> {
        if !(380.0..=780.0).contains(&wavelength) {
            return Err(format!("{wavelength} nm is not visible"));
        }
        Ok(intensity(wavelength))
    }

    fn scan(&self, from: u32, to: u32, on_value: Callback<(u32, f64)>) -> anyhow::Result<u32> {
        let wavelengths = (from..to).step_by(10);
        for wavelength in wavelengths.clone() {
            let value = intensity(wavelength.into());
            on_value.call((wavelength, value)).wait()?;
        }
        Ok(wavelengths.count() as u32)
    }

    fn live(&self, wavelength: f64, count: u32) -> RemoteStream<f64> {
        RemoteStream::from_blocking_iter((0..count).map(move |_| intensity(wavelength)))
    }

    fn log(&self) -> RemoteFile {
        RemoteFile::from_bytes("switched on\ncalibrated\n").named("spectrometer.log")
    }
}

#[derive(Parser)]
struct Options {
    /// URL of a Hypha server. Default: a server in this process.
    #[arg(long)]
    server_url: Option<String>,
    /// Keep the service available until Ctrl-C.
    #[arg(long)]
    serve: bool,
}

fn main() -> anyhow::Result<()> {
    tracing_subscriber::fmt()
        .with_writer(std::io::stderr)
        .init();
    let options = Options::parse();
    // The embedded server is asynchronous, so it needs a runtime.
    let runtime = tokio::runtime::Runtime::new()?;
    let embedded = match &options.server_url {
        Some(_) => None,
        None => {
            let builder = hypha_server::Server::builder().bind("127.0.0.1:0");
            Some(runtime.block_on(builder.start())?)
        }
    };
    let url = match (&options.server_url, &embedded) {
        (Some(url), _) => url.clone(),
        (None, Some(server)) => server.url().to_owned(),
        (None, None) => unreachable!("a server or a URL is set"),
    };

    let host = blocking::connect(&url)?;
    let service = SpectrometerService::new(Instrument);
    let service = host.register_service(service).wait()?;
    println!("{}", service.id);

    let caller = blocking::connect(&url)?;
    let spectrometer: SpectrometerProxy = caller.proxy(&service.id).wait()?;
    println!("at 550 nm: {}", spectrometer.measure(550.0).wait()?);
    if let Err(error) = spectrometer.measure(1000.0).wait() {
        println!("refused: {error}");
    }

    let mut brightest = (0, 0.0);
    let print = Callback::blocking(move |(wavelength, value)| {
        if value > brightest.1 {
            brightest = (wavelength, value);
        }
        println!(
            "{wavelength} nm: {value:.3}, brightest at {} nm",
            brightest.0
        );
    });
    let steps = spectrometer.scan(520, 580, print).wait()?;
    println!("{steps} wavelengths");

    for value in spectrometer.live(500.0, 3).wait()? {
        println!("live: {:.3}", value?);
    }
    for line in BufReader::new(spectrometer.log().wait()?).lines() {
        println!("log: {}", line?);
    }

    if options.serve {
        println!("serving until Ctrl-C");
        host.run_until_ctrl_c()?;
    }
    caller.disconnect()?;
    host.disconnect()?;
    if let Some(server) = embedded {
        runtime.block_on(server.shutdown());
    }
    Ok(())
}
