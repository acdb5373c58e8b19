//! Checks functions, streams and objects that are passed as arguments and results.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{bail, ensure};
use futures_util::{StreamExt, stream};
use hypha_rpc::args;
use hypha_rpc::prelude::*;
use hypha_rpc::runtime::{sleep, timeout};
use hypha_rpc::service::{Method, Service};
use tokio::sync::Notify;

use super::{AT_ONCE, Checks, MEGABYTE, Outcome, eventually, fails_at_once, same};
use crate::conformance::{Items, ItemsProxy, ItemsService};

/// Messages of the errors that a call of a function returns after the session of the function has
/// ended, or after the owner of the function has disconnected.
const GONE: &[&str] = &[
    "Session not found",
    "Parent session was closed",
    "Method expired or not found",
    "is not connected",
    "Client disconnected",
];

/// Object that contains an item for each key. The item is a list of the number of the object and
/// the key.
struct Numbered(u32);

impl Items for Numbered {
    async fn get_item(&self, key: Value) -> anyhow::Result<Value> {
        ensure!(key != Value::from("none"), "there is no such item");
        Ok(Value::List(vec![self.0.into(), key]))
    }
}

fn items(number: u32) -> ItemsService<Numbered> {
    ItemsService::new(Numbered(number))
}

/// Decrements a counter when this value is dropped.
struct Alive(Arc<AtomicUsize>);

impl Drop for Alive {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Returns an endless stream of ones, and a counter. The counter becomes zero when the stream is
/// dropped.
fn endless() -> (RemoteStream<f64>, Arc<AtomicUsize>) {
    let alive = Arc::new(AtomicUsize::new(1));
    let ones = stream::unfold(Alive(Arc::clone(&alive)), async |alive| {
        sleep(Duration::from_millis(1)).await;
        Some((1.0, alive))
    });
    (RemoteStream::new(ones), alive)
}

async fn has_ended(alive: &AtomicUsize) -> Outcome {
    eventually("our stream has not been closed", async || {
        Ok(alive.load(Ordering::Relaxed) == 0)
    })
    .await
}

impl Checks {
    pub(super) async fn run_live(&mut self) {
        self.check("call_back", Self::call_back).await;
        self.check("callbacks_that_fail", Self::callbacks_that_fail)
            .await;
        self.check("large_answers_of_callbacks", async |c| {
            let large = Callback::new(|i| async move {
                Value::Bytes(vec![i as u8; MEGABYTE + i as usize].into())
            });
            let answers = c.service.call_back(large, 3).await?;
            let lengths = answers.iter().map(|a| a.as_bytes().map_or(0, |b| b.len()));
            same(
                lengths.collect::<Vec<_>>(),
                vec![MEGABYTE, MEGABYTE + 1, MEGABYTE + 2],
            )
        })
        .await;
        if self.has("call_nested") {
            self.check("callbacks_in_maps_and_lists", Self::nested)
                .await;
        }
        self.check("a_callback_calls_the_service", async |c| {
            let service = c.service.clone();
            let add = Callback::try_new(move |i: u32| {
                let sum = service.add(f64::from(i), 0.5).into_future();
                async move { sum.await.map(Value::from) }
            });
            let answers = c.service.call_back(add, 2).await?;
            same(answers, vec![Value::from(0.5), Value::from(1.5)])
        })
        .await;
        self.check("progress", Self::progress).await;
        self.check("callbacks_end_with_their_call", Self::ended_callbacks)
            .await;
        self.check("a_caller_leaves_its_callback", async |c| {
            let (called, gate) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
            let wait = Callback::new({
                let (called, gate) = (Arc::clone(&called), Arc::clone(&gate));
                move |_| {
                    let (called, gate) = (Arc::clone(&called), Arc::clone(&gate));
                    async move {
                        called.notify_one();
                        gate.notified().await;
                        Value::Null
                    }
                }
            });
            tokio::select! {
                answer = c.service.call_back(wait, 2).into_future() => {
                    bail!("the call has ended: {answer:?}")
                }
                () = called.notified() => {}
            }
            same(c.client.stats().sessions, 0)?;
            same(c.client.stats().objects, 0)?;
            same(c.client.stats().running, 1)?;
            gate.notify_one();
            Ok(())
        })
        .await;
        self.check("make_counter", Self::make_counter).await;
        self.check("nobody_else_uses_what_was_handed_out", Self::strangers)
            .await;
        self.check("count", async |c| {
            for n in [0, 1, 5, 2000] {
                let counted = c.service.count(n, 0.0).await?;
                let counted: Vec<_> = counted.collect().await;
                let counted: Vec<u32> = counted.into_iter().collect::<Result<_, _>>()?;
                same(counted, Vec::from_iter(0..n))?;
            }
            if c.has("open_streams") {
                same(c.service.open_streams().await?, 0)?;
            }
            Ok(())
        })
        .await;
        if self.has("open_streams") {
            self.check("streams_that_are_dropped", Self::dropped_streams)
                .await;
        }
        self.check("fail_after", async |c| {
            for n in [0, 2] {
                let mut stream = c.service.fail_after(n).await?;
                for i in 0..n {
                    same(stream.try_next().await?, Some(i))?;
                }
                let wanted = format!("failed after {n} items");
                let wanted = if c.knows_texts() { &wanted } else { "" };
                fails_at_once(stream.try_next(), &[wanted]).await?;
                same(stream.try_next().await?, None)?;
            }
            Ok(())
        })
        .await;
        if self.has("blocks") {
            self.check("blocks", Self::blocks).await;
        }
        self.check("sum", Self::sum).await;
        if self.has("lengths") {
            self.check("lengths", Self::lengths).await;
        }
        self.check("use_stored", Self::use_stored).await;
        if self.has("dispose_stored") {
            self.check("dispose_stored", Self::dispose_stored).await;
        }
        self.check("an_interface_ends_with_its_owner", Self::owner_leaves)
            .await;
    }

    async fn blocks(&self) -> Outcome {
        let mut blocks = self.service.blocks(3, MEGABYTE as u32).await?;
        for i in 0..3u8 {
            let block = blocks.try_next().await?.unwrap_or_default();
            ensure!(block.len() == MEGABYTE && block.iter().all(|b| *b == i));
        }
        ensure!(blocks.try_next().await?.is_none());
        Ok(())
    }

    async fn lengths(&self) -> Outcome {
        let blocks = (0..3).map(|i| Binary::from(vec![0; MEGABYTE + i]));
        let lengths = self
            .service
            .lengths(RemoteStream::from_iter(blocks))
            .await?;
        same(lengths, vec![MEGABYTE, MEGABYTE + 1, MEGABYTE + 2])
    }

    async fn call_back(&self) -> Outcome {
        let double = Callback::new(|i| async move { Value::from(2 * i) });
        let answers = self.service.call_back(double.clone(), 3).await?;
        same(answers, vec![0.into(), 2.into(), 4.into()])?;
        same(self.service.call_back(double, 0).await?, vec![])?;
        let slow = Callback::new(|i| async move {
            sleep(Duration::from_millis(20)).await;
            Value::from(serde_json::json!({ "n": [i, null] }))
        });
        let answers = self.service.call_back(slow.named("slow"), 2).await?;
        let wanted = [0, 1].map(|i| Value::from(serde_json::json!({ "n": [i, null] })));
        same(answers, wanted.to_vec())
    }

    async fn callbacks_that_fail(&self) -> Outcome {
        let fail = Callback::try_new(|i| async move {
            match i {
                0 => Ok(Value::Null),
                _ => Err("no more of it".to_owned()),
            }
        });
        fails_at_once(self.service.call_back(fail, 2), &["no more of it"]).await?;
        let panic = Callback::new(|i| async move {
            assert!(i > 0, "zero is too small");
            Value::Null
        });
        // Skip this check in WebAssembly, where a panic ends the program.
        if cfg!(panic = "unwind") {
            fails_at_once(self.service.call_back(panic, 1), &["zero is too small"]).await?;
        }
        let picky = Callback::<String, Value>::new(|text| async move { text.into() });
        let picky = Callback::from_function(picky.function().clone());
        fails_at_once(self.service.call_back(picky, 1), &["argument 1"]).await?;
        let unsent =
            Callback::<u32, BTreeMap<(u8, u8), u8>>::new(async |_| BTreeMap::from([((1, 2), 3)]));
        let unsent = Callback::from_function(unsent.function().clone());
        fails_at_once(self.service.call_back(unsent, 1), &["key"]).await?;
        same(self.service.add(1.0, 2.0).await?, 3.0)
    }

    async fn nested(&self) -> Outcome {
        let say = |what: &'static str| {
            Callback::new(move |key: String| async move { Value::from(format!("{what} {key}")) })
        };
        let functions = BTreeMap::from([
            ("a".to_owned(), vec![say("first"), say("second")]),
            ("b".to_owned(), vec![]),
            ("c".to_owned(), vec![say("third")]),
        ]);
        let said = self.service.call_nested(functions).await?;
        let wanted = [
            ("a", vec!["first a", "second a"]),
            ("b", vec![]),
            ("c", vec!["third c"]),
        ];
        let wanted = wanted.map(|(key, list)| {
            let list = list.into_iter().map(Value::from).collect();
            (key.to_owned(), list)
        });
        same(said, BTreeMap::from(wanted))
    }

    async fn progress(&self) -> Outcome {
        let seen = Arc::new(Mutex::new(Vec::new()));
        let record = Callback::new({
            let seen = Arc::clone(&seen);
            move |step| {
                let mut seen = seen.lock().unwrap_or_else(PoisonError::into_inner);
                seen.push(step);
                async { Value::from("nobody reads this") }
            }
        });
        // Ignore the result, because the protocol does not specify it.
        let _: Value = self.untyped("progress", args!(record, 200)).await?;
        // The service has sent all calls of the callback before it responds. Some of these calls
        // may start after the response.
        eventually("some steps did not arrive", async || {
            Ok(seen.lock().unwrap_or_else(PoisonError::into_inner).len() == 200)
        })
        .await?;
        let seen = seen.lock().unwrap_or_else(PoisonError::into_inner);
        same(&*seen, &Vec::from_iter(0..200))
    }

    /// Checks that a function in an argument expires when the call ends. Later calls of the
    /// function must fail immediately.
    async fn ended_callbacks(&self) -> Outcome {
        let double: Callback<i64, i64> = Callback::new(|i| async move { 2 * i });
        let back: Function = self.untyped("echo", args!(double)).await?;
        fails_at_once(back.call::<i64>(args!(1)), GONE).await?;
        self.service.store(Object::new(items(0))).await?;
        fails_at_once(self.service.use_stored(Value::Null), GONE).await?;
        Ok(())
    }

    async fn make_counter(&self) -> Outcome {
        let counter = self.service.make_counter().await?.proxy();
        let other = self.service.make_counter().await?.proxy();
        same(counter.increment(2).await?, 2)?;
        self.many_calls_at_once().await?;
        sleep(Duration::from_millis(300)).await;
        same(counter.increment(3).await?, 5)?;
        same(other.value().await?, 0)?;
        same(counter.value().await?, 5)?;
        let counter: RemoteService = self.untyped("make_counter", args!()).await?;
        same(counter.call::<i64>("increment", args!()).await?, 1)?;
        same(counter.call::<i64>("increment", args!(by = 4)).await?, 5)
    }

    /// Checks that a client cannot call a function that was sent to another client.
    async fn strangers(&self) -> Outcome {
        let other = self.options.another().await?;
        let desk = Service::new("stranger")
            .visibility(Visibility::Public)
            .method(Method::new("try", |call| async move {
                let function: Function = call.args(&["function"])?.required(0)?;
                let outcome = function.call::<Value>(args!(1)).await;
                call.reply(&outcome.err().map(|e| e.to_string()))
            }));
        let id = other.register_service(desk).await?.id;
        let stranger = self.client.get_service(&id).await?;
        let refused = async |function: Option<Function>| -> Outcome {
            let call = stranger.call("try", args!(function)).into_future();
            let error: Option<String> = timeout(AT_ONCE, call).await??;
            let error = error.unwrap_or_else(|| "it was allowed".into());
            ensure!(
                error.contains("Permission denied") || error.contains("Access denied"),
                "{error}"
            );
            Ok(())
        };
        let counter: RemoteService = self.untyped("make_counter", args!()).await?;
        refused(counter.function("increment")).await?;
        if self.options.host_language.as_deref() != Some("rust") {
            // Services in other languages return a new interface, which they own.
            other.disconnect().await;
            return Ok(());
        }
        // The Rust service returns the interface of this client unchanged.
        let interface = Object::interface(items(1));
        let known: RemoteService = self.untyped("echo", args!(interface)).await?;
        refused(known.function("getItem")).await?;
        interface.withdraw();
        other.disconnect().await;
        Ok(())
    }

    async fn dropped_streams(&self) -> Outcome {
        let none_is_left = async || {
            eventually("the host's stream has not been closed", async || {
                Ok(self.service.open_streams().await? == 0)
            })
            .await
        };
        drop(self.service.count(10, 0.0).await?);
        none_is_left().await?;
        let mut counted = self.service.count(1_000_000, 0.0).await?;
        for i in 0..3 {
            same(counted.try_next().await?, Some(i))?;
        }
        same(self.service.open_streams().await?, 1)?;
        drop(counted);
        none_is_left().await?;
        // Drop the stream while it waits for an item.
        let mut counted = self.service.count(1_000_000, 0.3).await?;
        same(counted.try_next().await?, Some(0))?;
        let waited = timeout(Duration::from_millis(50), counted.next()).await;
        ensure!(waited.is_err(), "the next item came too early");
        drop(counted);
        none_is_left().await
    }

    async fn sum(&self) -> Outcome {
        let sum = async |numbers: Vec<f64>| {
            let numbers = RemoteStream::from_iter(numbers);
            self.service.sum(numbers, None).await
        };
        same(sum(vec![]).await?, 0.0)?;
        same(sum(vec![1.5, 2.25]).await?, 3.75)?;
        same(sum(vec![0.5; 2000]).await?, 1000.0)?;
        let slow = stream::iter([1.0, 2.0]).then(async |number| {
            sleep(Duration::from_millis(30)).await;
            number
        });
        let slow = self.service.sum(RemoteStream::new(slow), None).await?;
        same(slow, 3.0)?;

        let numbers = stream::iter([Ok(1.0), Err("no more numbers".to_owned())]);
        let failing = self.service.sum(RemoteStream::try_new(numbers), None);
        fails_at_once(failing, &["no more numbers"]).await?;

        if self.knows_texts() {
            let (ones, alive) = endless();
            same(self.service.sum(ones, Some(3)).await?, 3.0)?;
            has_ended(&alive).await?;
        }

        // The caller cancels the call while the service reads the stream.
        let (ones, alive) = endless();
        let call = self.service.sum(ones, None).into_future();
        let waited = timeout(Duration::from_millis(100), call).await;
        ensure!(waited.is_err(), "the sum of a stream without end");
        has_ended(&alive).await
    }

    async fn use_stored(&self) -> Outcome {
        let interface = Object::interface(items(7));
        self.service.store(interface.clone()).await?;
        self.many_calls_at_once().await?;
        for key in [Value::from("key"), Value::from(5)] {
            let wanted = Value::List(vec![7.into(), key.clone()]);
            same(self.service.use_stored(key).await?, wanted)?;
        }
        let missing = self.service.use_stored(Value::from("none"));
        fails_at_once(missing, &["there is no such item"]).await?;
        same(self.client.stats().objects, 1)?;
        interface.withdraw();
        same(self.client.stats().objects, 0)?;
        fails_at_once(self.service.use_stored(Value::Null), GONE).await?;
        Ok(())
    }

    async fn dispose_stored(&self) -> Outcome {
        let interface = Object::interface(items(8));
        self.service.store(interface).await?;
        same(self.client.stats().objects, 1)?;
        self.service.dispose_stored().await?;
        same(self.client.stats().objects, 0)?;
        fails_at_once(self.service.use_stored(Value::Null), GONE).await?;
        Ok(())
    }

    async fn owner_leaves(&self) -> Outcome {
        let owner = self.options.another().await?;
        let service = owner
            .proxy::<crate::conformance::ConformanceProxy>(&self.options.service)
            .await?;
        let interface: Object<ItemsProxy> = Object::interface(items(9));
        service.store(interface).await?;
        let wanted = Value::List(vec![9.into(), Value::Null]);
        same(self.service.use_stored(Value::Null).await?, wanted)?;
        owner.disconnect().await;
        fails_at_once(self.service.use_stored(Value::Null), GONE).await?;
        Ok(())
    }
}
