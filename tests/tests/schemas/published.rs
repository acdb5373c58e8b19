//! Tests published schemas. They must equal the schemas of the Python client, and a validator must
//! accept valid arguments and reject invalid arguments.

use anyhow::{Context as _, Result, ensure};
use hypha_rpc::Client;
use hypha_rpc::service::IntoService;
use hypha_rpc_tests::conformance::Language;
use hypha_rpc_tests::servers::{Kind, Server};
use serde_json::{Value as Json, json};

use crate::contract::{Desk, MeasureService};
use crate::peers::{finished, folder, host};
use hypha_rpc_tests::cases::run;

/// Returns the record that the server stores for a service.
async fn stored_record(client: &Client, id: &str) -> Result<Json> {
    let manager = client.manager().await?;
    let info = manager.get_service_info(id.to_owned(), None).await;
    let info = info.map_err(hypha_rpc::Error::untyped::<std::convert::Infallible>)?;
    Ok(info.service_schema.context("no schema")?.to_json())
}

/// Removes what Python does not write: the schema of the result, and the marks of bytes.
fn without_own_keys(mut function: Json) -> Result<Json> {
    fn unmark(schema: &mut Json) {
        match schema {
            Json::Object(members) => {
                members.retain(|key, value| key != "x-hypha-type" || value != "bytes");
                members.values_mut().for_each(unmark);
            }
            Json::Array(items) => items.iter_mut().for_each(unmark),
            _ => {}
        }
    }
    let members = function.as_object_mut().context("no function")?;
    members.shift_remove("returns");
    unmark(&mut function);
    Ok(function)
}

/// Compares a Rust service with a Python service that has the same argument types.
async fn schemas_equal_those_of_python(server: &Server) -> Result<()> {
    let (_python, ids) = host(Language::Python, server).await?;
    let client = hypha_rpc::connect(&server.url).await?;
    let info = client.register_service(MeasureService::new(Desk)).await?;
    let ours = stored_record(&client, &info.id).await?;
    let theirs = stored_record(&client, &ids[0]).await?;
    let service = client.get_service(&ids[0]).await?;
    let own = client.get_service(&info.id).await?;
    let functions = theirs.as_object().context("no members")?;
    ensure!(functions.len() == 4, "{theirs}");
    for (name, theirs) in functions {
        let theirs = theirs["function"].clone();
        let ours = without_own_keys(ours[name]["function"].clone())?;
        ensure!(ours == theirs, "{name}\nRust:   {ours}\nPython: {theirs}");
        // Also compare the attributes of the functions themselves.
        let theirs = service.schema(name).context("no schema")?.to_json();
        let ours = own.schema(name).context("no schema")?.to_json();
        let ours = without_own_keys(ours)?;
        ensure!(ours == theirs, "{name}\nRust:   {ours}\nPython: {theirs}");
    }
    Ok(())
}

#[test]
fn schemas_are_those_of_the_python_client() {
    run(
        Kind::Python,
        &[Language::Python],
        schemas_equal_those_of_python,
    );
}

#[test]
fn schemas_are_those_of_the_python_client_on_our_server() {
    run(
        Kind::Ours,
        &[Language::Python],
        schemas_equal_those_of_python,
    );
}

/// Returns valid and invalid arguments of a method.
fn samples(method: &str) -> (Vec<Json>, Vec<Json>) {
    let node = json!({"value": 1, "children": [{"value": 2, "children": []}], "next": null});
    let (good, bad) = match method {
        "sample" => (
            json!([
                {"count": 0},
                {"count": 255, "mode": "slow", "place": null},
                {"count": 1, "place": {"x": 0.5, "label": null, "tags": ["a"]}},
            ]),
            json!([
                {},
                {"count": 256},
                {"count": -1},
                {"count": 1.5},
                {"count": 1, "mode": "quick"},
                {"count": 1, "place": {"tags": []}},
                {"count": 1, "place": {"x": 0.5, "tags": [1]}},
            ]),
        ),
        "total" => (
            json!([{"tree": node}, {"tree": {"value": u32::MAX, "children": [], "next": node}}]),
            json!([
                {"tree": null},
                {"tree": {"value": 4_294_967_296_u64, "children": []}},
                {"tree": {"value": 1, "children": [{"value": 1}]}},
                {"tree": {"value": 1, "children": [], "next": 1}},
            ]),
        ),
        "rename" => (
            json!([
                {"names": {"a": "b"}, "pairs": [[1, "a"]], "others": {"a": [1]}},
                {"names": {}, "pairs": [], "share": 1, "dry": true},
            ]),
            json!([
                {"names": {"a": 1}, "pairs": []},
                {"names": {}, "pairs": [[1]]},
                {"names": {}, "pairs": [[1, "a", 2]]},
                {"names": {}, "pairs": [[2_147_483_648_i64, "a"]]},
                {"names": {}, "pairs": [], "others": []},
                {"names": {}, "pairs": [], "dry": 1},
            ]),
        ),
        "reshape" => (
            json!([
                {"shape": "Dot", "number": 1},
                {"shape": {"Circle": 1.0}, "number": "one", "type": -128},
                {"shape": {"Box": {"width": 1, "height": null}}, "number": 1, "type": null},
            ]),
            json!([
                {"shape": "dot", "number": 1},
                {"shape": {"Circle": 1.0, "Line": [1.0, 2.0]}, "number": 1},
                {"shape": {"Box": {}}, "number": 1},
                {"shape": "Dot", "number": null},
                {"shape": "Dot", "number": 1, "type": -129},
            ]),
        ),
        "settings" => (
            json!([{}, {"level": 2, "note": null}]),
            json!([{"level": 256}, {"note": 1}]),
        ),
        _ => (json!([]), json!([])),
    };
    let list = |json: Json| json.as_array().cloned().unwrap_or_default();
    (list(good), list(bad))
}

/// Collects every schema of a service, together with the name of the function that has the schema.
fn schemas(tree: &Json, found: &mut Vec<(String, Json)>) {
    for (name, member) in tree.as_object().into_iter().flatten() {
        match member["type"].as_str() {
            Some("function") => {
                for part in ["parameters", "returns"] {
                    if let Some(schema) = member["function"].get(part) {
                        let name = if part == "parameters" {
                            name.clone()
                        } else {
                            part.into()
                        };
                        found.push((name, schema.clone()));
                    }
                }
            }
            _ => schemas(member, found),
        }
    }
}

#[test]
fn validators_accept_only_valid_arguments() {
    run(Kind::Ours, &[Language::Python], async |_: &Server| {
        let mut found = Vec::new();
        schemas(
            &MeasureService::new(Desk).into_service().schema().to_json(),
            &mut found,
        );
        let count = found.len();
        ensure!(count == 20, "{count} schemas");
        let mut cases = Vec::new();
        for (name, schema) in found {
            let (good, bad) = samples(&name);
            cases.push(json!({"name": name, "schema": schema, "good": good, "bad": bad}));
        }
        let path = folder("validator")?.join("cases.json");
        std::fs::write(&path, Json::from(cases).to_string())?;
        let path = path.to_str().context("a path that is no text")?;
        let options = ["--server-url", "none", "--validate", path];
        let said: Json = serde_json::from_str(&finished(Language::Python, &options, "{").await?)?;
        ensure!(said == json!({"schemas": count, "problems": []}), "{said}");
        Ok(())
    });
}
