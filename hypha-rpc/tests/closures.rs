//! Tests services that are built from closures with `method!`.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use hypha_rpc::prelude::*;
use hypha_rpc::testing;

/// A part of an image.
#[derive(Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
struct Region {
    width: u16,
}

#[derive(Debug, PartialEq, thiserror::Error, Serialize, Deserialize, RemoteError)]
enum LabError {
    #[error("division by zero")]
    DivisionByZero,
}

fn lab() -> Service {
    let (count, last) = (Arc::new(AtomicU32::new(0)), AtomicU32::new(0));
    Service::new("lab")
        .method(method!("add", |a: f64, b: f64| async move { a + b }))
        .method(method!(
            /// Divides one number
            /// by another.
            "divide",
            |a: f64,
             /// The divisor.
             b: Option<f64>| async move {
                match b.unwrap_or(1.0) {
                    0.0 => Err(LabError::DivisionByZero),
                    b => Ok(a / b),
                }
            }
        ))
        .method(method!("who", |ctx: Context| async move {
            ctx.from().to_owned()
        }))
        .method(method!("greet", |ctx: Context, name: String| async move {
            format!("{name} from {}", ctx.method())
        }))
        .method(method!("count", move || {
            let count = Arc::clone(&count);
            async move { count.fetch_add(1, Ordering::Relaxed) }
        }))
        .method(method!("nothing", || async {}))
        .method(method!("next", async |n: u32| n + 1))
        .method(method!("remember", async move |ctx: Context, n: u32| {
            let _ = ctx;
            last.swap(n, Ordering::Relaxed)
        }))
        .method(method!("numbers", async |to: u32| {
            RemoteStream::<u32>::new(futures_util::stream::iter(0..to))
        }))
        .method(method!("raw", |r#type: String| async move { r#type }))
        .method(method!(
            "crop",
            |region: Region| async move { region.width }
        ))
        .method(method!("bytes", |data: bytes::Bytes| async move { data }))
        .method(method!("eight", |a: u8,
                                  b: u8,
                                  c: u8,
                                  d: u8,
                                  e: u8,
                                  f: u8,
                                  g: u8,
                                  h: u8|
         -> std::future::Ready<u32> {
            std::future::ready([a, b, c, d, e, f, g, h].map(u32::from).iter().sum())
        }))
        .method(method!("anyhow", |path: String| async move {
            let file = std::fs::read_to_string(path)?;
            Ok::<_, anyhow::Error>(file)
        }))
}

#[tokio::test]
async fn closures_are_called_by_position_and_by_name() -> anyhow::Result<()> {
    let lab = testing::in_process(lab()).await?;
    assert_eq!(lab.call::<f64>("add", args!(1, 2.5)).await?, 3.5);
    assert_eq!(lab.call::<f64>("add", args!(b = 1, a = 2)).await?, 3.0);
    assert_eq!(lab.call::<f64>("divide", args!(3)).await?, 3.0);
    let error = lab.call::<f64>("divide", args!(1, b = 0)).await;
    let error = error.expect_err("by zero").to_string();
    assert!(error.contains("division by zero"), "{error}");
    assert!(!lab.call::<String>("who", args!()).await?.is_empty());
    let greeting: String = lab.call("greet", args!(name = "me")).await?;
    assert!(greeting.starts_with("me from services."), "{greeting}");
    assert_eq!(lab.call::<u32>("count", args!()).await?, 0);
    assert_eq!(lab.call::<u32>("count", args!()).await?, 1);
    lab.call::<()>("nothing", args!()).await?;
    let raw: String = lab.call("raw", args!(r#type = "x")).await?;
    assert_eq!(raw, "x");
    let region = Region { width: 3 };
    assert_eq!(lab.call::<u16>("crop", args!(region)).await?, 3);
    let data = Binary(bytes::Bytes::from_static(b"abc"));
    assert_eq!(lab.call::<Binary>("bytes", args!(data)).await?, data);
    let eight: u32 = lab.call("eight", args!(1, 2, 3, 4, 5, 6, 7, 8)).await?;
    assert_eq!(eight, 36);
    let error = lab.call::<String>("anyhow", args!("/nowhere/at/all")).await;
    assert!(error.is_err());
    Ok(())
}

#[tokio::test]
async fn invalid_arguments_are_named() -> anyhow::Result<()> {
    let lab = testing::in_process(lab()).await?;
    for (args, text) in [
        (args!(1), "missing argument `b`"),
        (args!(1, 2, 3), "takes 2 arguments (a, b), got 3"),
        (args!(1, c = 2), "unknown argument `c`"),
        (args!(1, "x"), "argument `b`: expected float, got string"),
    ] {
        let error = lab
            .call::<f64>("add", args)
            .await
            .expect_err("does not fit");
        assert!(error.to_string().contains(text), "{error}");
    }
    Ok(())
}

#[test]
fn schemas_follow_the_types() {
    let all = lab().schema().to_json();
    let schema_of = |name: &str| all[name]["function"].clone();
    let schema = schema_of("divide");
    assert_eq!(schema["name"], "divide");
    assert_eq!(schema["description"], "Divides one number\nby another.");
    let parameters = &schema["parameters"];
    assert_eq!(parameters["required"], serde_json::json!(["a"]));
    assert_eq!(parameters["properties"]["a"]["type"], "number");
    assert_eq!(parameters["properties"]["b"]["description"], "The divisor.");
    assert_eq!(schema["returns"]["type"], "number");
    let schema = schema_of("greet");
    assert!(schema["parameters"]["properties"].get("ctx").is_none());
    assert_eq!(schema["returns"]["type"], "string");
    let schema = schema_of("raw");
    assert!(
        schema["parameters"]["properties"]["type"].is_object(),
        "{schema}"
    );
}

#[tokio::test]
async fn a_closure_may_be_async() -> anyhow::Result<()> {
    use futures_util::TryStreamExt as _;

    let lab = testing::in_process(lab()).await?;
    assert_eq!(lab.call::<u32>("next", args!(n = 1)).await?, 2);
    for (n, before) in [(3, 0), (5, 3)] {
        assert_eq!(lab.call::<u32>("remember", args!(n)).await?, before);
    }
    let numbers: RemoteStream<u32> = lab.call("numbers", args!(3)).await?;
    assert_eq!(numbers.try_collect::<Vec<_>>().await?, [0, 1, 2]);
    Ok(())
}
