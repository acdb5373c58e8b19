//! Generates the descriptions of a service: the encoded map that `get_service` returns
//! (`docs/protocol/04-services.md#s9`), the record for the workspace manager (`#s4`), and the
//! schema tree (`#s5`). All three are generated from the same typed fields, so they cannot
//! contradict each other.

use super::{ContextRule, Member, Method, Service, ServiceConfig, ServiceInfo};
use crate::engine::Identity;
use hypha_wire::keys::SERVICES;
use hypha_wire::{Map, MethodRef, PromiseKind, Value};

impl Service {
    /// Returns the record for the workspace manager.
    pub(crate) fn info(&self, identity: &Identity, app_id: &str) -> ServiceInfo {
        ServiceInfo {
            id: format!("{}/{}:{}", identity.workspace, identity.client_id, self.id),
            app_id: Some(app_id.to_owned()),
            service_schema: Some(Value::Map(self.service_schema())),
            config: ServiceConfig {
                workspace: Some(identity.workspace.clone()),
                extra: self.extra_config(),
                ..self.config_fields()
            },
            ..self.description_fields()
        }
    }

    /// Returns the service as a value. Plain members become values, and methods become functions
    /// that peers can call.
    pub(crate) fn encode(&self, identity: &Identity) -> Value {
        let ServiceInfo {
            id,
            name,
            description,
            docs,
            kind,
            ..
        } = self.description_fields();
        let text = |text: Option<String>| text.map_or(Value::Null, Value::String);
        let mut config = self.own_config();
        config.insert("workspace".into(), Value::from(identity.workspace.as_str()));
        let mut map = Map::from_iter([
            ("id".to_owned(), Value::String(id)),
            ("name".to_owned(), text(name)),
            ("description".to_owned(), text(description)),
            ("docs".to_owned(), text(docs)),
            ("type".to_owned(), text(kind)),
            ("config".to_owned(), Value::Map(config)),
        ]);
        self.insert_members(&mut map, |path, member| match member {
            Member::Value(value) => value.clone(),
            Member::Method(method) => {
                self.method_reference(path, method, identity, &identity.address())
            }
        });
        Value::Map(map)
    }

    /// Returns the fields of the service record that are the same for every client.
    fn description_fields(&self) -> ServiceInfo {
        ServiceInfo {
            id: self.id.clone(),
            name: Some(self.name.clone().unwrap_or_else(|| self.id.clone())),
            description: self.description.clone(),
            kind: Some(self.service_type.clone()),
            docs: self.docs.clone(),
            ..ServiceInfo::default()
        }
    }

    /// Returns the typed part of the config, without the workspace.
    fn config_fields(&self) -> ServiceConfig {
        ServiceConfig {
            visibility: self.visibility,
            require_context: ContextRule::All(self.require_context),
            authorized_workspaces: (!self.authorized_workspaces.is_empty())
                .then(|| self.authorized_workspaces.clone()),
            singleton: self.singleton.then_some(true),
            flags: self.flags.clone(),
            ..ServiceConfig::default()
        }
    }

    /// Returns only the members of the service. The functions have the address `target`.
    pub(crate) fn members_map(&self, identity: &Identity, target: &str) -> Map {
        let mut map = Map::new();
        self.insert_members(&mut map, |path, member| match member {
            Member::Value(value) => value.clone(),
            Member::Method(method) => self.method_reference(path, method, identity, target),
        });
        map
    }

    fn method_reference(
        &self,
        path: &str,
        method: &Method,
        identity: &Identity,
        target: &str,
    ) -> Value {
        let function = MethodRef {
            server: identity.public_base_url.clone(),
            target: target.to_owned(),
            method: format!("{SERVICES}{}.{path}", self.id),
            promise: PromiseKind::Star,
            name: Some(last_part(path).to_owned()),
            is_async: Some(true),
            doc: method.doc.clone(),
            schema: method.schema.clone(),
            enc_pub: None,
            release: false,
            cancel: true,
        };
        // Encoding plain data cannot fail.
        Value::encode_from(&function).unwrap_or_default()
    }

    /// Returns the config without the workspace. The result contains only keys that have a value.
    pub(super) fn own_config(&self) -> Map {
        // Encoding plain data cannot fail.
        let fields = Value::encode_from(&self.config_fields()).unwrap_or_default();
        let given = |value: &Value| match value {
            Value::Null => false,
            Value::List(items) => !items.is_empty(),
            _ => true,
        };
        let mut config = self.extra_config();
        if let Value::Map(fields) = fields {
            config.extend(fields.into_iter().filter(|(_, value)| given(value)));
        }
        config
    }

    /// Returns the keys of the config for which [`ServiceConfig`] has no field.
    fn extra_config(&self) -> Map {
        let mut config = self.config.clone();
        let blocking =
            |member: &Member| matches!(member, Member::Method(method) if method.blocking);
        if self.members.values().any(blocking) {
            config.insert("run_in_executor".into(), Value::Bool(true));
        }
        if !self.trusted_keys.is_empty() {
            config.insert("trusted_keys".into(), texts(&self.trusted_keys));
        }
        config
    }

    /// Returns the schemas of the members by name, in the form that the workspace manager stores in
    /// the service record (`service_schema`).
    ///
    /// The schema of a function is `{type: "function", function: {name, description, parameters,
    /// returns}}`. A dot in the path of a member creates a nested map.
    #[must_use]
    pub fn service_schema(&self) -> Map {
        let mut map = Map::new();
        self.insert_members(&mut map, |path, member| match member {
            Member::Value(value) => value_schema(value),
            Member::Method(method) => {
                let function = method.described(last_part(path));
                Value::Map(Map::from_iter([
                    ("type".to_owned(), Value::from("function")),
                    ("function".to_owned(), Value::Map(function)),
                ]))
            }
        });
        map
    }

    /// Inserts every member into nested maps, according to the dots in its path.
    pub(crate) fn insert_members(&self, map: &mut Map, encode: impl Fn(&str, &Member) -> Value) {
        for (path, member) in &self.members {
            let mut place = &mut *map;
            let mut parts = path.split('.').peekable();
            while let Some(part) = parts.next() {
                if parts.peek().is_none() {
                    place.insert(part.to_owned(), encode(path, member));
                    break;
                }
                let nested = place
                    .entry(part.to_owned())
                    .or_insert_with(|| Value::Map(Map::new()));
                if !matches!(nested, Value::Map(_)) {
                    *nested = Value::Map(Map::new());
                }
                match nested {
                    Value::Map(nested) => place = nested,
                    _ => break,
                }
            }
        }
    }
}

impl Method {
    /// Returns the function schema of a method. If the method has no schema, returns a schema with
    /// the name and the documentation of the method.
    pub(super) fn described(&self, name: &str) -> Map {
        let mut function = match &self.schema {
            Some(Value::Map(schema)) => schema.clone(),
            _ => Map::from_iter([
                ("name".to_owned(), Value::Null),
                ("description".to_owned(), Value::from(self.doc.clone())),
            ]),
        };
        function.insert("name".into(), Value::from(name));
        function
    }
}

fn texts(texts: &[String]) -> Value {
    Value::List(
        texts
            .iter()
            .map(|text| Value::from(text.as_str()))
            .collect(),
    )
}

/// Returns the part of a path after the last dot.
pub(super) fn last_part(path: &str) -> &str {
    path.rsplit('.').next().unwrap_or(path)
}

/// Returns the schema of a plain member. The Python client generates the same form: the schema of a
/// map or list contains the schemas of its elements, and a value without a JSON type has an empty
/// schema.
pub(super) fn value_schema(value: &Value) -> Value {
    let of = |name: &str| Value::Map(Map::from_iter([("type".to_owned(), Value::from(name))]));
    match value {
        Value::Null => of("null"),
        Value::Bool(_) => of("boolean"),
        Value::Int(_) | Value::UInt(_) | Value::Float(_) => of("number"),
        Value::String(_) => of("string"),
        Value::List(items) => Value::List(items.iter().map(value_schema).collect()),
        Value::Map(map) => Value::Map(
            map.iter()
                .map(|(key, value)| (key.clone(), value_schema(value)))
                .collect(),
        ),
        Value::Bytes(_) | Value::Ext(..) | Value::Handle(_) => Value::Map(Map::new()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::service::IncomingCall;

    #[test]
    fn dotted_members_nest() {
        let method = |name: &str| {
            Method::new(name, |call: IncomingCall| async move { call.reply(&()) }).doc("d")
        };
        let service = Service::new("s")
            .value("a.b", 1i64)
            .method(method("a.f"))
            .method(method("g"))
            .authorized_workspaces(["w2"]);
        let identity = Identity::new("ws", "me");
        let map = service.encode(&identity);
        let f = map.get("a").and_then(|a| a.get("f")).unwrap();
        assert_eq!(
            f.get("_rmethod").and_then(Value::as_str),
            Some("services.s.a.f")
        );
        assert_eq!(f.get("_rname").and_then(Value::as_str), Some("f"));
        assert_eq!(
            map.get("a")
                .and_then(|a| a.get("b"))
                .and_then(Value::as_i64),
            Some(1)
        );
        let info = service.info(&identity, "*");
        assert_eq!(info.id, "ws/me:s");
        let schema = info.service_schema.unwrap();
        assert_eq!(
            schema
                .get("g")
                .and_then(|g| g.get("type"))
                .and_then(Value::as_str),
            Some("function")
        );
        assert_eq!(
            info.config.authorized_workspaces.as_deref(),
            Some(&["w2".to_owned()][..])
        );
    }
}
