//! What a service says of itself, in the languages of those who call it.
//!
//! A [`Description`] is made of a contract that is compiled in, or of any service on a server, whatever language
//! it is written in. It can be written as the list of functions that language models take, as OpenAPI, as
//! declarations for TypeScript and Python, and as a Rust contract.
//!
//! ```
//! use hypha_rpc::prelude::*;
//! use hypha_rpc::schema::export::Description;
//!
//! struct Desk;
//!
//! #[hypha_service(id = "desk")]
//! impl Desk {
//!     /// Divide one number by another.
//!     pub async fn divide(&self, a: f64, #[hypha(default = 1.0)] b: f64) -> f64 {
//!         a / b
//!     }
//! }
//!
//! let desk = Description::of(Desk);
//! assert!(desk.typescript().contains("divide(a: number, b?: number): Promise<number>;"));
//! assert!(desk.python().contains("async def divide(self, a: float, b: float = ...) -> float:"));
//! assert_eq!(desk.functions()[0]["function"]["name"], "divide");
//! assert!(desk.openapi()["paths"]["/divide"]["post"].is_object());
//! ```
//!
//! Names and texts come from whoever wrote the service. None of them gets out of its place: what is no name in a
//! language is written as it can be called there, or left out with a remark, and texts stay comments.
//!
//! The command `hypha-schema` (feature `cli`) does the same for services on a server:
//!
//! ```text
//! hypha-schema --server-url https://hypha.example.org --service ws/client:desk --format rust
//! ```

mod collect;
mod functions;
mod keywords;
mod model;
mod names;
mod openapi;
mod python;
mod read;
mod rust;
mod types;
mod typescript;

use std::collections::HashSet;
use std::fmt;
use std::str::FromStr;

use serde_json::{Map, Value as Json};

use crate::client::Client;
use crate::error::Error;
use crate::service::IntoService;
use hypha_wire::Value;
use model::{Model, Trust};

/// What a service says of itself.
#[derive(Clone, Debug)]
pub struct Description {
    /// As it was asked for, or the id of the contract.
    id: String,
    description: String,
    /// Where its functions are called over HTTP, if it is known.
    url: Option<String>,
    /// The `service_schema`: members by name, functions as `{type: "function", function}`.
    tree: Map<String, Json>,
    /// The paths of functions whose schemas their authors did not write.
    guessed: HashSet<String>,
}

impl Description {
    /// Describes a service of this program: a `FooService`, or a [`Service`](crate::Service).
    pub fn of(service: impl IntoService) -> Description {
        let service = service.into_service();
        let tree = Value::Map(service.schema_tree()).to_json();
        Description {
            id: service.id().to_owned(),
            description: service.description.clone().unwrap_or_default(),
            url: None,
            tree: members(tree),
            guessed: HashSet::new(),
        }
    }

    /// Asks for a service, as [`Client::get_service`] does, and for what the workspace manager knows of it.
    ///
    /// A service without schemas is described as far as it is known: its functions take and return anything.
    ///
    /// # Errors
    ///
    /// If the service cannot be fetched: there is none of that id, for instance, or no permission.
    pub async fn fetch(client: &Client, id: &str) -> Result<Description, Error> {
        let service = client.get_service(id).await?;
        let manager = client.manager().await?;
        // Its record also describes functions that have no schema of their own, and leaves out the context.
        // A service can be used by those who may not read its record.
        let record = manager
            .get_service_info(service.id().to_owned(), None)
            .await;
        let record = record.ok().and_then(|info| info.service_schema);
        let mut tree = record
            .map(|schema| members(schema.to_json()))
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
            add_function(&mut tree, method, schema, service.doc(method));
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

    /// The functions as the interfaces of language models take them: a list of
    /// `{type: "function", function: {name, description, parameters}}`.
    ///
    /// Names have only letters, digits, `_` and `-`, as those interfaces want it; the dots in the names of nested
    /// functions become `_`. Functions that cannot be called with JSON are left out: they want a callback, say.
    pub fn functions(&self) -> Json {
        functions::write(&self.model())
    }

    /// An OpenAPI 3.1 document of the paths under which a server offers the functions over HTTP.
    ///
    /// The server of a compiled-in contract is a variable.
    pub fn openapi(&self) -> Json {
        openapi::write(self, &self.model())
    }

    /// A TypeScript declaration file: the service as the JavaScript client hands it out.
    pub fn typescript(&self) -> String {
        typescript::write(self, &self.model())
    }

    /// A Python stub file: the service as the asynchronous Python client hands it out, as a `Protocol`.
    pub fn python(&self) -> String {
        python::write(self, &self.model())
    }

    /// A Rust contract, from which [`hypha_service`](crate::hypha_service) makes a proxy to call the service with.
    ///
    /// What Rust programs said of their types is in it again, so that the same schemas come out; of what others
    /// say it is what can be called. The file needs `hypha-rpc`, `serde` and `schemars`.
    pub fn rust(&self) -> String {
        rust::write(self, &self.model())
    }

    /// In one of the formats, as a text that ends with a line.
    pub fn write(&self, format: Format) -> String {
        let json = |json: Json| format!("{json:#}\n");
        match format {
            Format::Json => json(self.functions()),
            Format::OpenApi => json(self.openapi()),
            Format::TypeScript => self.typescript(),
            Format::Python => self.python(),
            Format::Rust => self.rust(),
        }
    }

    fn model(&self) -> Model {
        Model::new(&self.tree, &|path| match self.guessed.contains(path) {
            true => Trust::Guessed,
            false => Trust::Written,
        })
    }

    /// The id without the place where the service is.
    fn short_id(&self) -> &str {
        let id = self.id.rsplit([':', '/']).next().unwrap_or_default();
        id.split('@').next().unwrap_or_default()
    }

    /// The first line of what is written: where it comes from.
    fn origin(&self) -> String {
        let id = names::comment_lines(&self.id).join(" ");
        format!(
            "The service `{id}`, as hypha-rpc {} found it.",
            env!("CARGO_PKG_VERSION")
        )
    }
}

/// A form in which a service is described.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Format {
    /// [`Description::functions`]
    Json,
    /// [`Description::openapi`]
    OpenApi,
    /// [`Description::typescript`]
    TypeScript,
    /// [`Description::python`]
    Python,
    /// [`Description::rust`]
    Rust,
}

impl Format {
    /// All of them.
    pub const ALL: [Format; 5] = [
        Format::Json,
        Format::OpenApi,
        Format::TypeScript,
        Format::Python,
        Format::Rust,
    ];

    /// Its name, in lower case.
    pub fn as_str(self) -> &'static str {
        match self {
            Format::Json => "json",
            Format::OpenApi => "openapi",
            Format::TypeScript => "typescript",
            Format::Python => "python",
            Format::Rust => "rust",
        }
    }
}

impl fmt::Display for Format {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Format {
    type Err = String;

    fn from_str(name: &str) -> Result<Format, String> {
        let found = Format::ALL
            .into_iter()
            .find(|format| format.as_str() == name);
        found.ok_or_else(|| {
            let names = Format::ALL.map(Format::as_str);
            format!(
                "there is no format `{name}`; it is one of {}",
                names.join(", ")
            )
        })
    }
}

/// The members of a `service_schema`; of anything else, none.
fn members(tree: Json) -> Map<String, Json> {
    match tree {
        Json::Object(tree) => tree,
        _ => Map::new(),
    }
}

/// Adds what a function says of itself, where the record does not have it.
fn add_function(tree: &mut Map<String, Json>, path: &str, schema: Json, doc: Option<String>) {
    let (mut place, mut rest) = (tree, path);
    loop {
        // A dot in a path stands between the names of members, or in the name of one.
        let known = place.contains_key(rest);
        let Some((part, after)) = rest.split_once('.').filter(|_| !known) else {
            let entry = place
                .entry(rest)
                .or_insert_with(|| Json::Object(Map::new()));
            // Something else of that name in the record: it is older than the service.
            if entry["type"] != "function" {
                *entry = serde_json::json!({ "type": "function" });
            }
            if !entry["function"].is_object() {
                entry["function"] = match schema {
                    Json::Object(_) => schema,
                    _ => serde_json::json!({ "name": rest }),
                };
            }
            let function = &mut entry["function"];
            if let (Some(doc), None | Some("")) = (doc, function["description"].as_str()) {
                function["description"] = doc.into();
            }
            return;
        };
        rest = after;
        let group = place
            .entry(part)
            .or_insert_with(|| Json::Object(Map::new()));
        match group {
            Json::Object(group) => place = group,
            // In a list: no language calls it by a name.
            _ => return,
        }
    }
}

#[cfg(test)]
mod tests;
