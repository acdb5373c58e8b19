//! Checks of ordinary calls: arguments, results, errors, large messages and heartbeats.

use std::time::Duration;

use anyhow::{Context as _, bail, ensure};
use futures_util::future::try_join_all;
use hypha_rpc::args;
use hypha_rpc::error::RejectKind;
use hypha_rpc::prelude::*;
use hypha_rpc::transport::Transport;
use serde_json::json;

use super::{Checks, MEGABYTE, Outcome, pattern, same, short};
use crate::conformance::{Caller, Person};

fn person(name: &str, age: Option<i64>, tags: Option<&[&str]>) -> Person {
    let tags = tags.map(|tags| tags.iter().map(|tag| (*tag).to_owned()).collect());
    Person {
        name: name.to_owned(),
        age,
        tags,
    }
}

/// Returns plain values of every kind, with their names.
fn plain_values() -> Vec<(String, Value)> {
    let mut values = vec![
        ("null".to_owned(), Value::Null),
        ("true".to_owned(), Value::from(true)),
        ("false".to_owned(), Value::from(false)),
    ];
    let edges = [7u32, 8, 15, 16, 31, 32, 53].map(|bits| 1i64 << bits);
    for edge in [0, 32].into_iter().chain(edges) {
        for integer in [edge - 1, edge, -edge, -edge - 1] {
            if integer.abs() < 1 << 53 {
                values.push((format!("integer {integer}"), Value::from(integer)));
            }
        }
    }
    for float in [
        0.5,
        -0.25,
        0.1,
        1e300,
        -1e-300,
        5e-324,
        f64::INFINITY,
        f64::NEG_INFINITY,
    ] {
        values.push((format!("float {float}"), Value::from(float)));
    }
    for text in [
        "",
        "ascii",
        "Žluťoučký kůň",
        "漢字かな",
        "😀👩‍🔬",
        "a\0b",
        "\"\\\n\t\u{2028}",
    ] {
        values.push((format!("string {text:?}"), Value::from(text)));
    }
    for size in [0, 1, 15, 16, 31, 32, 255, 256, 65_535, 65_536] {
        values.push((format!("string of {size}"), Value::from("x".repeat(size))));
        values.push((
            format!("bytes of {size}"),
            Value::Bytes(pattern(size).into()),
        ));
        let list = std::iter::repeat_n(Value::from(1i64), size).collect();
        values.push((format!("list of {size}"), Value::List(list)));
        let map = (0..size)
            .map(|i| (format!("key {i}"), Value::from(i as i64)))
            .collect();
        values.push((format!("map of {size}"), Value::Map(map)));
    }
    let nested = json!({
        "a": [1, -2.5, null, true, {"b": [[], [[{}]], {"c": {}}]}],
        "": {"d e": {"f.g": ["_x", {"Camel": false}]}},
    });
    values.push(("nested".to_owned(), Value::from(nested)));
    values
}

impl Checks {
    pub(super) async fn run_plain(&mut self) {
        self.check("echo_plain_values", Self::echo_plain_values)
            .await;
        self.check("echo_nan", async |c| {
            let got: f64 = c.untyped("echo", args!(f64::NAN)).await?;
            ensure!(got.is_nan(), "got {got}");
            Ok(())
        })
        .await;
        if self.options.has_integers() {
            self.check("echo_big_integers", async |c| {
                for integer in [i64::MAX, i64::MIN, (1 << 53) + 1] {
                    same(c.untyped::<i64>("echo", args!(integer)).await?, integer)?;
                }
                same(c.untyped::<u64>("echo", args!(u64::MAX)).await?, u64::MAX)
            })
            .await;
            self.check("echo_whole_floats_stay_floats", async |c| {
                for float in [0.0, -0.0, 3.0, 1e18] {
                    match c.service.echo(Value::Float(float)).await? {
                        Value::Float(got) => same(got.to_bits(), f64::to_bits(float))?,
                        other => bail!("{float} came back as {other:?}"),
                    }
                }
                Ok(())
            })
            .await;
        }
        self.check("echo_by_name", async |c| {
            same(
                c.untyped::<String>("echo", args!(value = "named")).await?,
                "named".into(),
            )
        })
        .await;
        self.check("echo_map_is_not_keywords", async |c| {
            let map = Value::from(json!({"value": 1}));
            same(c.service.echo(map.clone()).await?, map)
        })
        .await;
        self.check("echo_large_bytes", Self::echo_large_bytes).await;
        self.check("echo_large_structure", async |c| {
            let rows: Vec<_> = (0..20_000)
                .map(
                    |i| json!({"index": i, "name": format!("row {i}"), "half": f64::from(i) + 0.5}),
                )
                .collect();
            let rows = Value::from(serde_json::Value::from(rows));
            ensure!(
                c.service.echo(rows.clone()).await? == rows,
                "the rows came back changed"
            );
            Ok(())
        })
        .await;
        self.check("add", async |c| {
            same(c.service.add(2.5, 3.25).await?, 5.75)?;
            same(c.untyped("add", args!(-1, 2)).await?, 1.0)?;
            same(c.untyped("add", args!(a = 2.5, b = 3.25)).await?, 5.75)
        })
        .await;
        self.check("add_default", async |c| {
            same(c.untyped("add", args!(2.5)).await?, 3.5)?;
            same(c.untyped("add", args!(a = 2.5)).await?, 3.5)
        })
        .await;
        self.check("divide", async |c| {
            same(c.service.divide(1.0, 4.0).await?, 0.25)
        })
        .await;
        self.check("divide_by_zero_fails", async |c| {
            match c.service.divide(1.0, 0.0).await {
                Err(Error::Remote(_)) => Ok(()),
                other => bail!("{}", short(&other)),
            }
        })
        .await;
        self.check("describe", async |c| {
            for person in [
                person("Ada", None, None),
                person("Žofie 漢字", Some(36), None),
                person("Ada", None, Some(&[])),
                person("Ada", Some(36), Some(&["countess", "mathematics"])),
            ] {
                let sentence = c.service.describe(person.clone()).await?;
                ensure!(
                    sentence.contains(&person.name),
                    "{sentence:?} about {person:?}"
                );
            }
            Ok(())
        })
        .await;
        self.check("whoami", async |c| {
            let user = c.client.user();
            // Over HTTP, the Python server does not report the user.
            let told = c.options.connection.transport == Transport::WebSocket;
            let id = c.service.whoami().await?.user_id;
            let wanted = Caller {
                user_id: if told { user.id } else { id },
                workspace: c.client.workspace(),
                from: c.client.identity().address(),
                is_anonymous: user.is_anonymous,
            };
            same(c.service.whoami().await?, wanted)
        })
        .await;
        self.check("sleep", async |c| {
            same(c.service.sleep(0.0).await?, 0.0)?;
            same(c.service.sleep(0.2).await?, 0.2)
        })
        .await;
        self.check("sleep_longer_than_the_silence_limit", async |c| {
            // The idle timeout is 2 s, so the call only succeeds if heartbeats arrive.
            let started = web_time::Instant::now();
            let slept = c
                .service
                .sleep(5.0)
                .idle_timeout(Duration::from_secs(2))
                .await?;
            ensure!(
                started.elapsed() > Duration::from_secs(4),
                "it did not sleep"
            );
            same(slept, 5.0)
        })
        .await;
        self.check("total_timeout", async |c| {
            match c
                .service
                .sleep(10.0)
                .timeout(Duration::from_millis(300))
                .await
            {
                Err(Error::Timeout(_)) => Ok(()),
                other => bail!("{}", short(&other)),
            }
        })
        .await;
        self.check("make_bytes", async |c| {
            for size in [0, 1, 70_000, 5 << 20] {
                same(c.service.make_bytes(size).await?.len(), size as usize)?;
            }
            Ok(())
        })
        .await;
        self.check("length", async |c| {
            for size in [0, 1, 70_000, 5 * MEGABYTE] {
                same(c.service.length(&pattern(size)).await?, size)?;
            }
            Ok(())
        })
        .await;
        self.check("many_calls_at_once", Self::many_calls_at_once)
            .await;
        self.check("calls_do_not_wait_for_each_other", async |c| {
            let slow = c.service.sleep(20.0).into_future();
            tokio::select! {
                _ = slow => bail!("the long call has ended"),
                quick = c.service.add(1.0, 2.0) => same(quick?, 3.0),
            }
        })
        .await;
        self.check("unknown_method_fails", async |c| {
            match c.untyped::<Value>("no_such_method", args!()).await {
                Err(Error::Rejected(r)) if r.kind == RejectKind::UnknownMethod => Ok(()),
                other => bail!("{}", short(&other)),
            }
        })
        .await;
        self.check("unknown_service_fails", async |c| {
            let peer = c.options.service.split(':').next().unwrap_or_default();
            match c
                .client
                .get_service(format!("{peer}:no-such-service"))
                .await
            {
                Err(Error::Rejected(r)) if r.kind == RejectKind::UnknownService => Ok(()),
                other => bail!("{}", short(&other)),
            }
        })
        .await;
        if self.options.knows_parameters() {
            self.check("wrong_arguments_fail", Self::wrong_arguments_fail)
                .await;
        }
        self.check("panic_is_an_error", async |c| {
            match c.service.panic_now().await {
                Err(Error::Remote(_)) => Ok(()),
                other => bail!("{}", short(&other)),
            }
        })
        .await;
        self.check("answers_after_the_panic", async |c| {
            same(c.service.add(1.0, 2.0).await?, 3.0)
        })
        .await;
    }

    async fn echo_plain_values(&self) -> Outcome {
        for (name, value) in plain_values() {
            let got = self
                .service
                .echo(value.clone())
                .await
                .with_context(|| name.clone())?;
            ensure!(got == value, "{name}: got {}", short(&got));
        }
        Ok(())
    }

    async fn echo_large_bytes(&self) -> Outcome {
        for size in [
            262_143,
            262_144,
            263_168,
            263_300,
            524_289,
            MEGABYTE,
            5 * MEGABYTE,
        ] {
            let data = Binary::from(pattern(size));
            let got: Binary = self.untyped("echo", args!(data)).await?;
            ensure!(
                got == data,
                "{size} bytes came back as {} other bytes",
                got.len()
            );
        }
        Ok(())
    }

    pub(super) async fn many_calls_at_once(&self) -> Outcome {
        let calls = (0..self.options.burst).map(|i| self.service.add(f64::from(i), 0.5));
        let sums = try_join_all(calls.map(IntoFuture::into_future)).await?;
        for (i, sum) in sums.into_iter().enumerate() {
            same(sum, i as f64 + 0.5)?;
        }
        Ok(())
    }

    async fn wrong_arguments_fail(&self) -> Outcome {
        for (method, args, word) in [
            ("divide", args!(1.0), "b"),
            ("divide", args!(b = 1.0), "a"),
            ("add", args!("one", 2.0), "a"),
            ("add", args!(1.0, 2.0, 3.0), "argument"),
            ("add", args!(1.0, c = 2.0), "c"),
            ("describe", args!(json!({"age": 36})), "name"),
            (
                "describe",
                args!(json!({"name": "Ada", "tags": [1]})),
                "tags",
            ),
            ("length", args!("text"), "data"),
        ] {
            match self.untyped::<Value>(method, args).await {
                Err(e @ (Error::Rejected(_) | Error::Remote(_))) => {
                    ensure!(
                        e.to_string().contains(word),
                        "{method}: `{e}` does not say `{word}`"
                    );
                }
                other => bail!("{method}: {}", short(&other)),
            }
        }
        Ok(())
    }
}
