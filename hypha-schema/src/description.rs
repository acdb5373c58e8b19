//! [`Description`], the public type of this crate.

use std::collections::HashSet;
use std::fmt;

use hypha_rpc::service::IntoService;
use hypha_wire::Value;
use serde_json::{Map, Value as Json};

use crate::format::Format;
use crate::model::{Header, Model, Trust};
use crate::room::Room;
use crate::{functions, openapi, python, rust, tree, typescript};

/// Description of a service, which can be written in any [`Format`].
///
/// Each method such as [`typescript`](Self::typescript) generates its output from scratch; keep the
/// output if you need it again.
#[derive(Clone, Debug)]
pub struct Description {
    /// Id given to [`Description::fetch`], or the id of the contract.
    pub(crate) id: String,
    pub(crate) description: String,
    /// Base URL of the functions over HTTP, if known.
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
    /// Needs no server. The description has no URL, so the OpenAPI document contains a URL
    /// template.
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
    /// nested under the names of the members that contain them. A value that is not an object
    /// counts as a service without members.
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

    /// Returns the functions in the form that language models accept: a list of
    /// `{type: "function", function: {name, description, parameters}}`.
    ///
    /// Names consist of at most 60 ASCII letters, digits, `_` and `-`. Other characters become `_`,
    /// such as the dots of nested functions. Values have the form that services accept as JSON: an
    /// array is nested lists of numbers, and bytes or a file are a list of numbers. A function that
    /// cannot be called with JSON, for example because it needs a callback, is omitted;
    /// [`omitted`](Self::omitted) lists the omitted functions.
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

    /// Returns an OpenAPI 3.1 document with the paths under which a server offers the functions
    /// over HTTP.
    ///
    /// Each function is a `POST` whose body is one JSON object with the arguments by name. For a
    /// compiled-in contract, the URL of the server is a variable of the document. A function that
    /// needs a callback, stream or object is omitted; [`omitted`](Self::omitted) lists the
    /// omitted functions.
    #[must_use]
    pub fn openapi(&self) -> Json {
        // Without a limit, the document is always complete.
        openapi::write(&self.model(), Room::default()).unwrap_or_default()
    }

    /// Returns the document of [`openapi`](Self::openapi) if it is small enough.
    ///
    /// `max_bytes` limits the size of the paths and schemas as JSON text, and also the work: the
    /// document of a small schema is large if its definitions contain each other, or if it has many
    /// methods. Use this method for schemas from others.
    ///
    /// # Errors
    ///
    /// Fails if paths and schemas exceed `max_bytes`.
    ///
    /// ```
    /// # use hypha_rpc::prelude::*;
    /// # struct Desk;
    /// # #[hypha_service(id = "desk")]
    /// # impl Desk {
    /// #     pub async fn divide(&self, a: f64, b: f64) {}
    /// # }
    /// let desk = hypha_schema::Description::of(Desk);
    /// assert_eq!(desk.openapi_within(10_000)?, desk.openapi());
    /// assert!(desk.openapi_within(100).is_err());
    /// # Ok::<(), hypha_schema::TooLarge>(())
    /// ```
    pub fn openapi_within(&self, max_bytes: usize) -> Result<Json, TooLarge> {
        let model = self.model_within(Room::new(max_bytes));
        let document = match model.table.room.is_exhausted() {
            true => None,
            false => openapi::write(&model, Room::new(max_bytes)),
        };
        document.ok_or(TooLarge { max_bytes })
    }

    /// Returns a TypeScript declaration file for the service object of the JavaScript client.
    ///
    /// The interface is named like the service id, in Pascal case. Parameters or results that
    /// declarations cannot express precisely have the type `any`.
    #[must_use]
    pub fn typescript(&self) -> String {
        typescript::write(&self.model())
    }

    /// Returns a Python stub file for the service object of the asynchronous Python client, as a
    /// `Protocol`.
    ///
    /// The class is named like the service id, in Pascal case. The stub imports numpy only if the
    /// service uses arrays.
    #[must_use]
    pub fn python(&self) -> String {
        python::write(&self.model())
    }

    /// Returns a Rust contract, from which [`hypha_service`](hypha_rpc::hypha_service) generates a
    /// proxy for the service.
    ///
    /// For a Rust service, the contract has the same schemas as the original contract. For other
    /// services, it has the functions that can be called, with `Value` for unknown types. The file
    /// needs `hypha-rpc`, `serde` and `schemars`. Typed errors also need `thiserror`, arrays of
    /// `f16` need `half`, and arrays of complex numbers need `num-complex`.
    #[must_use]
    pub fn rust(&self) -> String {
        rust::write(&self.model())
    }

    /// Returns the description in one of the formats, as a string that ends with a newline.
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

    /// Returns the path of each method that [`write`](Self::write) omits in this format, and the
    /// reason, such as ``argument `on_loss` needs a function, which JSON cannot hold``.
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
            // These formats contain a comment for each method that they cannot express.
            Format::TypeScript | Format::Python | Format::Rust => Vec::new(),
        }
    }

    /// Returns the types of the service, the input of all formats.
    fn model(&self) -> Model {
        self.model_within(Room::default())
    }

    /// Returns the types of the service that fit into `room`.
    fn model_within(&self, room: Room) -> Model {
        let header = Header::new(&self.id, &self.description, self.url.as_deref());
        Model::new(
            header,
            &self.tree,
            &|path| match self.guessed.contains(path) {
                true => Trust::Guessed,
                false => Trust::Written,
            },
            room,
        )
    }
}

/// The error of a description that exceeds its limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct TooLarge {
    /// The limit, in bytes.
    pub max_bytes: usize,
}

impl fmt::Display for TooLarge {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the description exceeds {} bytes", self.max_bytes)
    }
}

impl std::error::Error for TooLarge {}
