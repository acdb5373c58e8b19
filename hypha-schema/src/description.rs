//! [`Description`], the public type of this crate.

use std::collections::HashSet;

use hypha_rpc::service::IntoService;
use hypha_wire::Value;
use serde_json::{Map, Value as Json};

use crate::format::Format;
use crate::model::{Header, Model, Trust};
use crate::{functions, openapi, python, rust, tree, typescript};

/// The description of a service, which can be written in any [`Format`].
///
/// Each method such as [`typescript`](Self::typescript) builds its output from scratch; keep the
/// text if you need it again.
#[derive(Clone, Debug)]
pub struct Description {
    /// Id given to [`Description::fetch`], or that of the contract.
    pub(crate) id: String,
    pub(crate) description: String,
    /// Base URL of the functions over HTTP, if it is known.
    pub(crate) url: Option<String>,
    /// The `service_schema`: members by name, functions as `{type: "function", function}`.
    pub(crate) tree: Map<String, Json>,
    /// Paths of functions whose schemas were guessed by the Python client.
    pub(crate) guessed: HashSet<String>,
}

impl Description {
    /// Describes a service of this program: a `FooService`, the type of an `impl` block, or a
    /// [`Service`](hypha_rpc::Service).
    ///
    /// Needs no server. The description has no URL, so the OpenAPI document contains a template for
    /// one.
    pub fn of(service: impl IntoService) -> Description {
        let service = service.into_service();
        let schema = Value::Map(service.service_schema()).to_json();
        Description {
            description: service.description_text().unwrap_or_default().to_owned(),
            ..Description::from_schema(service.id(), schema)
        }
    }

    /// Describes a service from the `service_schema` of its record at the workspace manager.
    ///
    /// Functions are `{type: "function", function: {name, description, parameters, returns}}`,
    /// nested under the names of the members around them. Anything but an object describes a
    /// service without members.
    ///
    /// ```
    /// let divide = serde_json::json!({
    ///     "type": "function",
    ///     "function": {
    ///         "name": "divide",
    ///         "parameters": {
    ///             "type": "object",
    ///             "properties": {"a": {"type": "number"}},
    ///             "required": ["a"],
    ///         },
    ///     },
    /// });
    /// let schema = serde_json::json!({ "divide": divide });
    /// let desk = hypha_schema::Description::from_schema("desk", schema);
    /// assert!(desk.typescript().contains("divide(a: number): Promise<any>;"));
    /// ```
    pub fn from_schema(id: impl Into<String>, service_schema: Json) -> Description {
        Description {
            id: id.into(),
            description: String::new(),
            url: None,
            tree: tree::members(service_schema),
            guessed: HashSet::new(),
        }
    }

    /// Returns the functions as language models take them: a list of
    /// `{type: "function", function: {name, description, parameters}}`.
    ///
    /// Names consist of ASCII letters, digits, `_` and `-`, at most 60 characters; other characters
    /// become `_`, such as the dots of nested functions. A function that cannot be called with
    /// JSON, because it needs a callback for instance, is left out; [`omitted`](Self::omitted)
    /// lists these.
    ///
    /// ```
    /// # use hypha_rpc::prelude::*;
    /// # struct Desk;
    /// # #[hypha_service(id = "desk")]
    /// # impl Desk {
    /// #     #[hypha(name = "stage.move")]
    /// #     pub async fn move_stage(&self, x: f64) {}
    /// # }
    /// let functions = hypha_schema::Description::of(Desk).functions();
    /// assert_eq!(functions[0]["function"]["name"], "stage_move");
    /// assert_eq!(functions[0]["function"]["parameters"]["required"][0], "x");
    /// ```
    #[must_use]
    pub fn functions(&self) -> Json {
        functions::write(&self.model())
    }

    /// Returns an OpenAPI 3.1 document of the paths under which a server offers the functions over
    /// HTTP.
    ///
    /// Each function is a `POST` whose body is one JSON object with the arguments by name. The URL
    /// of the server is a variable in the document of a compiled-in contract. A function that needs
    /// a callback, stream, file or object is left out; [`omitted`](Self::omitted) lists these.
    #[must_use]
    pub fn openapi(&self) -> Json {
        openapi::write(&self.model())
    }

    /// Returns a TypeScript declaration file for the service object of the JavaScript client.
    ///
    /// The interface has the name of the service id in Pascal case. Methods that the declarations
    /// can express only loosely have parameters or results of type `any`.
    #[must_use]
    pub fn typescript(&self) -> String {
        typescript::write(&self.model())
    }

    /// Returns a Python stub file for the service object of the asynchronous Python client, as a
    /// `Protocol`.
    ///
    /// The class has the name of the service id in Pascal case. The stub imports numpy only if the
    /// service uses arrays.
    #[must_use]
    pub fn python(&self) -> String {
        python::write(&self.model())
    }

    /// Returns a Rust contract, from which [`hypha_service`](hypha_rpc::hypha_service) makes a
    /// proxy for the service.
    ///
    /// The contract of a Rust service has the same schemas as the original. That of another service
    /// has the functions that can be called, with the types that are known; unknown types are
    /// `Value`. The file needs `hypha-rpc`, `serde` and `schemars`.
    #[must_use]
    pub fn rust(&self) -> String {
        rust::write(&self.model())
    }

    /// Returns the description in one of the formats, as text that ends with a newline.
    #[must_use]
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

    /// Returns the methods that [`write`](Self::write) leaves out of this format, each with the
    /// reason: the path of the method, and a text such as ``argument `on_loss` needs a function,
    /// which JSON cannot hold``.
    ///
    /// Always empty for TypeScript, Python and Rust.
    ///
    /// ```
    /// # use hypha_rpc::prelude::*;
    /// # struct Desk;
    /// # #[hypha_service(id = "desk")]
    /// # impl Desk {
    /// #     pub async fn train(&self, on_loss: Callback<f64>) {}
    /// # }
    /// use hypha_schema::{Description, Format};
    ///
    /// let omitted = Description::of(Desk).omitted(Format::Json);
    /// assert_eq!(omitted[0].0, "train");
    /// assert!(omitted[0].1.contains("`on_loss` needs a function"));
    /// ```
    #[must_use]
    pub fn omitted(&self, format: Format) -> Vec<(String, String)> {
        match format {
            Format::Json => functions::omitted(&self.model()),
            Format::OpenApi => openapi::omitted(&self.model()),
            // These formats mention a method that they cannot express in a comment.
            Format::TypeScript | Format::Python | Format::Rust => Vec::new(),
        }
    }

    /// Returns the types of the service, the input of all formats.
    fn model(&self) -> Model {
        let header = Header::new(&self.id, &self.description, self.url.as_deref());
        Model::new(
            header,
            &self.tree,
            &|path| match self.guessed.contains(path) {
                true => Trust::Guessed,
                false => Trust::Written,
            },
        )
    }
}
