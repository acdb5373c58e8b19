//! Implementation of the conformance service.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicI64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context as _, bail};
use clap::Parser;
use futures_util::{StreamExt, stream};
use hypha_rpc::crypto::KeyPair;
use hypha_rpc::prelude::*;
use hypha_rpc::runtime::sleep;
use tokio::io::AsyncReadExt;

use crate::conformance::{
    ArrayInfo, Caller, Conformance, ConformanceService, Counter, CounterProxy, CounterService,
    DivisionError, ItemsProxy, Person,
};
use crate::connection::ConnectionOptions;

/// Provides the service `conformance`, prints `READY <full service id>`, and runs until it is
/// terminated. With `--encrypted`, prints `KEY <public key>` before.
#[derive(Clone, Debug, Parser)]
pub struct HostOptions {
    #[command(flatten)]
    connection: ConnectionOptions,
    /// Encrypt the results for callers that encrypt their arguments.
    #[arg(long)]
    encrypted: bool,
}

impl HostOptions {
    /// Connects and registers the service. Returns the connection, which ends with its last handle.
    ///
    /// # Errors
    ///
    /// Fails if the client cannot connect, or the service is refused.
    pub async fn serve(&self) -> anyhow::Result<Client> {
        let keys = self.encrypted.then(KeyPair::generate).transpose()?;
        let client = self.connection.connect(keys).await?;
        // The service is public, so that callers in other workspaces can call it by its full id.
        let info = client
            .register_service(ConformanceService::new(Host::default()))
            .visibility(Visibility::Public)
            .await?;
        if let Some(key) = client.public_key() {
            crate::say(&format!("KEY {key}"));
        }
        crate::say(&format!("READY {}", info.id));
        Ok(client)
    }
}

/// State of a conformance service.
#[derive(Debug, Default)]
pub struct Host {
    stored: Mutex<Option<Object<ItemsProxy>>>,
    open_streams: Arc<AtomicUsize>,
}

impl Host {
    fn stored(&self) -> anyhow::Result<Object<ItemsProxy>> {
        let stored = self.stored.lock().unwrap_or_else(PoisonError::into_inner);
        stored.clone().context("nothing is stored")
    }
}

/// Increments a count when created and decrements it when dropped.
struct Open(Arc<AtomicUsize>);

impl Open {
    fn new(count: &Arc<AtomicUsize>) -> Self {
        count.fetch_add(1, Ordering::Relaxed);
        Open(Arc::clone(count))
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

#[derive(Default)]
struct Count(AtomicI64);

impl Counter for Count {
    async fn increment(&self, by: i64) -> i64 {
        self.0.fetch_add(by, Ordering::Relaxed) + by
    }

    async fn value(&self) -> i64 {
        self.0.load(Ordering::Relaxed)
    }
}

impl Conformance for Host {
    async fn echo(&self, value: Value) -> Value {
        value
    }

    async fn add(&self, a: f64, b: f64) -> f64 {
        a + b
    }

    async fn divide(&self, a: f64, b: f64) -> anyhow::Result<f64> {
        if b == 0.0 {
            bail!("division by zero");
        }
        Ok(a / b)
    }

    async fn describe(&self, person: Person) -> String {
        let age = match person.age {
            Some(age) => format!("is {age} years old"),
            None => "is of unknown age".to_owned(),
        };
        let tags = person.tags.unwrap_or_default();
        let tags = if tags.is_empty() {
            String::new()
        } else {
            format!(" ({})", tags.join(", "))
        };
        format!("{} {age}{tags}.", person.name)
    }

    async fn whoami(&self, ctx: &Context) -> Caller {
        Caller {
            user_id: ctx.user().id.clone(),
            workspace: ctx.workspace().to_owned(),
            from: ctx.from().to_owned(),
            is_anonymous: ctx.user().is_anonymous,
        }
    }

    async fn sleep(&self, seconds: f64) -> anyhow::Result<f64> {
        let time = Duration::try_from_secs_f64(seconds).context("seconds")?;
        sleep(time).await;
        Ok(seconds)
    }

    async fn make_bytes(&self, n: u32) -> Binary {
        (0..n).map(|i| i as u8).collect::<Vec<u8>>().into()
    }

    async fn length(&self, data: &[u8]) -> usize {
        data.len()
    }

    async fn panic_now(&self) {
        panic!("panic_now was called");
    }

    async fn scale(&self, image: NdArray, factor: f64) -> anyhow::Result<NdArray> {
        Ok(image.map_f64(|element| element * factor)?)
    }

    async fn array_info(&self, array: NdArray) -> anyhow::Result<ArrayInfo> {
        Ok(ArrayInfo {
            dtype: array.dtype().to_string(),
            shape: array.shape().to_vec(),
            sum: array.iter_f64()?.sum(),
        })
    }

    async fn checked_divide(&self, a: f64, b: f64) -> Result<f64, DivisionError> {
        if b == 0.0 {
            return Err(DivisionError::DivisionByZero);
        }
        let quotient = a / b;
        if quotient.is_infinite() && a.is_finite() {
            return Err(DivisionError::TooLarge(format!("{a} / {b} is too large")));
        }
        Ok(quotient)
    }

    async fn call_back(
        &self,
        callback: Callback<u32, Value>,
        times: u32,
    ) -> Result<Vec<Value>, Error> {
        let mut results = Vec::new();
        for index in 0..times {
            results.push(callback.call(index).await?);
        }
        Ok(results)
    }

    async fn call_nested(
        &self,
        functions: BTreeMap<String, Vec<Callback<String, Value>>>,
    ) -> Result<BTreeMap<String, Vec<Value>>, Error> {
        let mut answers = BTreeMap::new();
        for (key, functions) in functions {
            let mut list = Vec::new();
            for function in functions {
                list.push(function.call(key.clone()).await?);
            }
            answers.insert(key, list);
        }
        Ok(answers)
    }

    async fn progress(&self, callback: Callback<u32, Value>, steps: u32) -> Result<u32, Error> {
        for step in 0..steps {
            callback.call(step).send().await?;
        }
        Ok(steps)
    }

    async fn count(&self, n: u32, delay: f64) -> anyhow::Result<impl Stream<Item = u32> + Send> {
        let delay = Duration::try_from_secs_f64(delay).context("delay")?;
        let open = Open::new(&self.open_streams);
        Ok(stream::unfold((0, open), move |(i, open)| async move {
            if i == n {
                return None;
            }
            if !delay.is_zero() {
                sleep(delay).await;
            }
            Some((i, (i + 1, open)))
        }))
    }

    async fn open_streams(&self) -> usize {
        self.open_streams.load(Ordering::Relaxed)
    }

    async fn fail_after(&self, n: u32) -> impl Stream<Item = anyhow::Result<u32>> + Send {
        let failure = stream::once(async move { bail!("failed after {n} items") });
        stream::iter(0..n).map(Ok).chain(failure)
    }

    async fn sum(&self, numbers: RemoteStream<f64>, limit: Option<usize>) -> Result<f64, Error> {
        let mut numbers = numbers.take(limit.unwrap_or(usize::MAX));
        let mut sum = 0.0;
        while let Some(number) = numbers.next().await {
            sum += number?;
        }
        Ok(sum)
    }

    async fn blocks(&self, n: u32, size: u32) -> impl Stream<Item = Binary> + Send {
        stream::iter(0..n).map(move |i| vec![i as u8; size as usize].into())
    }

    async fn lengths(&self, mut blocks: RemoteStream<Binary>) -> Result<Vec<usize>, Error> {
        let mut lengths = Vec::new();
        while let Some(block) = blocks.try_next().await? {
            lengths.push(block.len());
        }
        Ok(lengths)
    }

    async fn make_counter(&self) -> Object<CounterProxy> {
        Object::new(CounterService::new(Count::default()))
    }

    async fn store(&self, interface: Object<ItemsProxy>) {
        *self.stored.lock().unwrap_or_else(PoisonError::into_inner) = Some(interface);
    }

    async fn use_stored(&self, key: Value) -> anyhow::Result<Value> {
        Ok(self.stored()?.proxy().get_item(key).await?)
    }

    async fn dispose_stored(&self) -> anyhow::Result<()> {
        Ok(self.stored()?.dispose().await?)
    }

    async fn read_all(&self, mut file: RemoteFile) -> anyhow::Result<Binary> {
        let mut content = Vec::new();
        file.read_to_end(&mut content).await?;
        Ok(content.into())
    }
}
