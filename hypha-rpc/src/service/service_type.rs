//! Generates the schema of a whole service, which defines a service type, and checks that another
//! service has the same members (`docs/protocol/04-services.md#s5`, `#s14`).

use super::info::{last_part, value_schema};
use super::{GENERIC, Member, Service, Visibility};
use hypha_wire::keys::RESERVED;
use hypha_wire::{Map, Value};

impl Service {
    /// Returns the schema of the whole service. This schema can be the `definition` of a service
    /// type: this service is then the example of the type.
    ///
    /// Clients in other languages compare the whole schema. For such a client, a service of the
    /// type must have a `name`, a `description`, `docs` and each key of `config` if and only if
    /// this example has the same key. Rust clients compare only the members.
    ///
    /// # Examples
    ///
    /// ```
    /// use hypha_rpc::prelude::*;
    /// use hypha_rpc::{service::IntoService, workspace::ServiceTypeInfo};
    ///
    /// #[hypha_service]
    /// trait Shutter {
    ///     /// Open it.
    ///     async fn open(&self) -> bool;
    /// }
    ///
    /// async fn define(
    ///     client: Client,
    ///     example: ShutterService<impl Shutter>,
    /// ) -> Result<(), Error> {
    ///     let info = ServiceTypeInfo {
    ///         id: "shutter".into(),
    ///         name: "Shutter".into(),
    ///         definition: example.into_service().schema(),
    ///         ..ServiceTypeInfo::default()
    ///     };
    ///     let defined = client.manager().await?.register_service_type(info).await;
    ///     defined.map_err(Error::untyped)?;
    ///     Ok(())
    /// }
    /// ```
    #[must_use]
    pub fn schema(&self) -> Value {
        let text = || value_schema(&Value::String(String::new()));
        let mut schema = Map::from_iter([("id".to_owned(), text())]);
        let texts = [
            ("name", self.name.is_some()),
            ("description", self.description.is_some()),
            ("type", self.service_type != GENERIC),
            ("docs", self.docs.is_some()),
        ];
        for (key, given) in texts {
            if given {
                schema.insert(key.to_owned(), text());
            }
        }
        let mut config = self.own_config();
        if self.visibility == Visibility::default() {
            config.shift_remove("visibility");
        }
        if !self.require_context {
            config.shift_remove("require_context");
        }
        if !config.is_empty() {
            schema.insert("config".to_owned(), value_schema(&Value::Map(config)));
        }
        schema.extend(self.service_schema());
        Value::Map(schema)
    }

    /// Checks that the service has the members of `definition`. Then copies the names, descriptions
    /// and parameters of the methods from the definition. If a member does not fit, the error names
    /// this member.
    pub(crate) fn conform(&mut self, definition: &Value) -> Result<(), String> {
        let Value::Map(definition) = definition else {
            return Err(format!(
                "the definition must be a map, and is: {}",
                definition.kind()
            ));
        };
        // Skip these keys. Every service has them, and their values may be of any type.
        let mut defined = definition.clone();
        defined.retain(|key, _| !RESERVED.contains(&key.as_str()));
        let mut found = Vec::new();
        compare_maps(&self.service_schema(), &defined, "root", "", &mut found)?;
        for (path, function) in found {
            if let Some(Member::Method(method)) = self.members.get_mut(&path) {
                let mut schema = method.described(last_part(&path));
                for key in ["name", "description", "parameters"] {
                    if let Some(value) = function.get(key).filter(|value| !value.is_null()) {
                        schema.insert(key.to_owned(), value.clone());
                    }
                }
                if let Some(text) = schema.get("description").and_then(Value::as_str) {
                    method.doc = Some(text.to_owned());
                }
                method.schema = Some(Value::Map(schema));
            }
        }
        Ok(())
    }
}

/// Functions of a definition. The string is the path of the member that contains the function.
type Found<'a> = Vec<(String, &'a Map)>;

/// Compares the members of two maps, and collects the functions of the definition. `shown` is the
/// path that error messages show. `path` is the prefix of the paths of the members. The error
/// messages are the same as in the Python client.
fn compare_maps<'a>(
    own: &Map,
    defined: &'a Map,
    shown: &str,
    path: &str,
    found: &mut Found<'a>,
) -> Result<(), String> {
    if let Some(key) = defined.keys().find(|key| !own.contains_key(*key)) {
        return Err(format!("Missing key '{key}' in service at path '{shown}'"));
    }
    for (key, own) in own {
        let Some(defined) = defined.get(key) else {
            if key == "type" {
                continue;
            }
            return Err(format!(
                "Unexpected key '{key}' in service at path '{shown}'"
            ));
        };
        compare(
            own,
            defined,
            &format!("{shown}.{key}"),
            &format!("{path}{key}"),
            found,
        )?;
    }
    Ok(())
}

fn compare<'a>(
    own: &Value,
    defined: &'a Value,
    shown: &str,
    path: &str,
    found: &mut Found<'a>,
) -> Result<(), String> {
    match (kind(own), kind(defined)) {
        (Kind::Function, Kind::Function) => {
            if let Some(Value::Map(function)) = defined.get("function") {
                found.push((path.to_owned(), function));
            }
            Ok(())
        }
        (Kind::Map(own), Kind::Map(defined)) => {
            compare_maps(own, defined, shown, &format!("{path}."), found)
        }
        (Kind::List(own), Kind::List(defined)) => {
            if own.len() != defined.len() {
                return Err(format!("Length mismatch at path '{shown}'"));
            }
            for (index, (own, defined)) in own.iter().zip(defined).enumerate() {
                compare(
                    own,
                    defined,
                    &format!("{shown}[{index}]"),
                    &format!("{path}.{index}"),
                    found,
                )?;
            }
            Ok(())
        }
        // Two services of the same type may have plain values of different types, for example a
        // number and null.
        (Kind::Plain, Kind::Plain) => Ok(()),
        (own, defined) => Err(format!(
            "Expected {} at path '{shown}', found {}",
            defined.name(),
            own.name()
        )),
    }
}

/// Kind of the member that a schema describes.
enum Kind<'a> {
    Function,
    Map(&'a Map),
    List(&'a [Value]),
    Plain,
}

fn kind(schema: &Value) -> Kind<'_> {
    match schema {
        Value::List(items) => Kind::List(items),
        // If a member is called `type`, the key `type` contains the schema of the member instead of
        // a string.
        Value::Map(map) => match map.get("type").and_then(Value::as_str) {
            Some("function") => Kind::Function,
            Some(_) => Kind::Plain,
            // An empty map describes a value without a known schema, such as bytes, or a member
            // that is itself an empty map.
            None if map.is_empty() => Kind::Plain,
            None => Kind::Map(map),
        },
        _ => Kind::Plain,
    }
}

impl Kind<'_> {
    fn name(&self) -> &'static str {
        match self {
            Kind::Function => "a function",
            Kind::Map(_) => "a map",
            Kind::List(_) => "a list",
            Kind::Plain => "a value",
        }
    }
}
