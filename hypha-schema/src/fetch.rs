//! Fetches the description of a running service.

use std::collections::HashSet;

use hypha_rpc::{Client, Error};
use hypha_wire::Value;
use serde_json::Value as Json;

use crate::description::Description;
use crate::tree;

impl Description {
    /// Fetches the description of a service: the service itself, like [`Client::get_service`], and
    /// the service's record from the workspace manager.
    ///
    /// Takes two or more round trips. If a function has no schema, the description says that the
    /// function accepts and returns any value.
    ///
    /// ```no_run
    /// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
    /// let client = hypha_rpc::connect("http://localhost:9527").await?;
    /// let desk = hypha_schema::Description::fetch(&client, "ws/client:desk").await?;
    /// std::fs::write("desk.d.ts", desk.typescript())?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// Fails if the service cannot be fetched, for example because no service has this id, or
    /// because the client has no permission. If only the record cannot be read, the description is
    /// made without the record.
    pub async fn fetch(client: &Client, id: &str) -> Result<Description, Error> {
        let service = client.get_service(id).await?;
        let manager = client.manager().await?;
        // The record also describes functions that have no schema in the fetched service, and omits
        // the context argument. Ignore errors, because a caller may have permission to use a
        // service but no permission to read its record.
        let record = manager
            .get_service_info(service.id().to_owned(), None)
            .await;
        let record = record.ok().and_then(|info| info.service_schema);
        let mut tree = record
            .map(|schema| tree::members(schema.to_json()))
            .unwrap_or_default();
        let mut guessed = HashSet::new();
        let mut methods: Vec<&str> = service.methods().collect();
        methods.sort_unstable();
        for method in methods {
            let schema = service
                .schema(method)
                .filter(|schema| *schema != Value::Null);
            if schema.is_none() {
                guessed.insert(method.to_owned());
            }
            let schema = schema.map_or(Json::Null, |schema| schema.to_json());
            tree::add_function(&mut tree, method, schema, service.doc(method));
        }
        let text = |value: Option<&Value>| value.and_then(Value::as_str).map(str::to_owned);
        let config = service.get("config");
        Ok(Description {
            id: id.to_owned(),
            description: text(service.get("description")).unwrap_or_default(),
            url: text(config.and_then(|config| config.get("url"))),
            tree,
            guessed,
        })
    }
}
