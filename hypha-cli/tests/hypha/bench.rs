//! Tests `hypha bench`.

use serde_json::Value as Json;

use crate::support::Host;

#[tokio::test]
async fn a_measurement_has_quantiles_and_a_rate() -> anyhow::Result<()> {
    let host = Host::start().await?;
    let divide = host.target("divide");
    let bench = [
        "bench",
        &divide,
        "1",
        "b=2",
        "--duration",
        "100ms",
        "--concurrency",
        "4",
    ];
    let json: Json =
        serde_json::from_str(&host.stdout(&[&bench[..], &["--json"]].concat()).await?)?;
    assert!(json["calls"].as_u64() > Some(0), "{json}");
    assert_eq!(
        (&json["failed"], &json["concurrency"]),
        (&0.into(), &4.into())
    );
    let at = |name: &str| json["latency_ms"][name].as_f64().unwrap_or_default();
    assert!(
        0.0 < at("min") && at("p50") <= at("p99") && at("p99") <= at("max"),
        "{json}"
    );
    let ranges = json["histogram"].as_array().into_iter().flatten();
    let counts = ranges.filter_map(|range| range["calls"].as_u64());
    assert_eq!(Some(counts.sum::<u64>()), json["calls"].as_u64(), "{json}");
    let text = host.stdout(&bench).await?;
    assert!(text.contains(" ms  ##"), "{text}");
    assert!(text.contains("calls/s") && text.contains("p99.9"), "{text}");
    let said = host
        .failure(&["bench", &divide, "1", "0", "--duration", "1s"], 6)
        .await?;
    assert!(said.contains("the first call has failed"), "{said}");
    let length = host.target("length");
    let said = host
        .failure(&["bench", &length, "@file:/dev/null"], 2)
        .await?;
    assert!(said.contains("serve one call only"), "{said}");
    host.stop().await;
    Ok(())
}
