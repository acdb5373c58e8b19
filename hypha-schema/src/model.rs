//! A service as types, independent of any language.
//!
//! [`Description`](crate::Description) builds a model for each output. All formats read it.

use hypha_wire::keys::SCHEMA_ERROR;
use serde_json::{Map, Value as Json};

use crate::names::pascal;
use crate::own_text::own_text;
use crate::possible::Possible;
use crate::properties::{Property, properties};
use crate::room::Room;
use crate::table::{Table, moved, table_index};
use crate::text::comment_lines;
use crate::types::{Member, MemberKind, Method, Parameter, Type, Types, methods};

/// Properties of the service as a whole.
#[derive(Debug)]
pub(crate) struct Header {
    /// Id without workspace, client and app.
    pub(crate) short_id: String,
    pub(crate) description: String,
    /// Base URL of the functions over HTTP, if known.
    pub(crate) url: Option<String>,
    /// First line of a generated file, without comment marks.
    pub(crate) origin: String,
}

impl Header {
    /// Returns the properties of the service with this short or full id.
    pub(crate) fn new(id: &str, description: &str, url: Option<&str>) -> Header {
        let short_id = id.rsplit([':', '/']).next().unwrap_or_default();
        let short_id = short_id.split('@').next().unwrap_or_default();
        Header {
            short_id: short_id.to_owned(),
            description: description.to_owned(),
            url: url.map(str::to_owned),
            origin: format!(
                "The service `{}`, described by hypha-schema {}.",
                comment_lines(id).join(" "),
                env!("CARGO_PKG_VERSION")
            ),
        }
    }
}

/// A service, with the types and definitions that its members use.
#[derive(Debug)]
pub(crate) struct Model {
    pub(crate) header: Header,
    pub(crate) members: Vec<Member>,
    pub(crate) types: Types,
    /// Schemas of the definitions that have a name from their author. Each has the same index in
    /// `types`, where the unnamed definitions follow.
    pub(crate) table: Table,
}

/// Reliability of the schema of a function.
#[derive(Clone, Copy, PartialEq)]
pub(crate) enum Trust {
    /// Written by the author of the function.
    Written,
    /// Guessed by the Python client from the source, where an argument without a type counts as a
    /// string.
    Guessed,
}

impl Model {
    /// Builds the model of a `service_schema`. `trust` returns the reliability of the schema of the
    /// method at a path. `room` limits the size of paths and schemas. Methods and schemas that do
    /// not fit are omitted, and the room of the table is then exhausted.
    pub(crate) fn new(
        header: Header,
        tree: &Map<String, Json>,
        trust: &dyn Fn(&str) -> Trust,
        room: Room,
    ) -> Model {
        let mut table = Table::new(room);
        let mut raw = raw_members(tree, "", trust, &mut table);
        // The order matters: collect all schemas, then merge equal definitions, then convert to
        // types. A type contains the index of its definition in the merged table.
        let places = table.unify();
        each_schema(&mut raw, &mut |schema| *schema = moved(schema, &places));
        let mut types = Types::new(&table);
        let members = typed_members(raw, "", &mut types);
        // A schema that refers only to itself would make validators loop forever.
        for index in types.finish() {
            if let Some(definition) = table.definitions.get_mut(index) {
                definition.schema = Json::Object(Map::new());
            }
        }
        Model {
            header,
            members,
            types,
            table,
        }
    }

    /// Returns all methods, including those of groups.
    pub(crate) fn methods(&self) -> Vec<&Method> {
        methods(&self.members)
    }

    /// Returns the definitions, reduced to the values that a format can hold. `is_unfit` returns
    /// whether a schema itself describes a value that the format cannot hold.
    pub(crate) fn possible(&self, is_unfit: fn(&Map<String, Json>) -> bool) -> Possible<'static> {
        let definitions = self.table.definitions.iter();
        let schemas: Vec<&Json> = definitions.map(|definition| &definition.schema).collect();
        Possible::new(&schemas, &table_index, is_unfit)
    }

    /// Returns whether the service uses a numeric array anywhere.
    pub(crate) fn uses_arrays(&self) -> bool {
        self.uses(|ty| matches!(ty, Type::NdArray(_)))
    }

    /// Returns whether the service uses a type for which `wanted` returns true.
    pub(crate) fn uses(&self, wanted: fn(&Type) -> bool) -> bool {
        let found = self.types.finder(wanted);
        let in_method = |method: &Method| {
            let mut parameters = method.parameters.iter().flatten();
            found.is_in(&method.returns) || parameters.any(|parameter| found.is_in(&parameter.ty))
        };
        let used = self.types.directions(&self.members, false, false);
        let mut used = used.sent.union(&used.received);
        self.methods().into_iter().any(in_method)
            || used.any(|index| found.is_in(&Type::Named(*index)))
    }
}

/// A member whose schemas are still JSON. They become types when the table of definitions is
/// complete.
enum Raw {
    Method(Box<Method>),
    Group(Vec<(String, Raw)>),
    Value(Json),
}

/// Applies `change` to all schemas of methods.
fn each_schema(members: &mut [(String, Raw)], change: &mut impl FnMut(&mut Json)) {
    for (_, member) in members {
        match member {
            Raw::Method(method) => {
                change(&mut method.returns_schema);
                method.error_schema.iter_mut().for_each(&mut *change);
                let parameters = method.parameters.iter_mut().flatten();
                parameters.for_each(|parameter| change(&mut parameter.schema));
            }
            Raw::Group(members) => each_schema(members, change),
            Raw::Value(_) => {}
        }
    }
}

/// Reads the members of a service or group at `path`, which is empty or ends with a dot.
fn raw_members(
    tree: &Map<String, Json>,
    path: &str,
    trust: &dyn Fn(&str) -> Trust,
    table: &mut Table,
) -> Vec<(String, Raw)> {
    let members = tree.iter().map_while(|(name, schema)| {
        // Each method repeats the names of the groups around it.
        if !table.room.take(path.len() + name.len()) {
            return None;
        }
        let path = format!("{path}{name}");
        let member = match schema {
            Json::Object(map) => match map.get("type") {
                Some(Json::String(kind)) if kind == "function" => {
                    let function = map.get("function").unwrap_or(&Json::Null);
                    let trust = trust(&path);
                    Raw::Method(Box::new(raw_method(path, function, trust, table)))
                }
                Some(Json::String(_)) => Raw::Value(schema.clone()),
                // A group may contain a member named `type`; then the value of this key is not a
                // string.
                _ if map.is_empty() => Raw::Value(schema.clone()),
                _ => Raw::Group(raw_members(map, &format!("{path}."), trust, table)),
            },
            // Functions in a list have no names, so callers cannot call them.
            _ => Raw::Value(Json::Object(Map::new())),
        };
        Some((name.clone(), member))
    });
    members.collect()
}

/// Reads a method. Its parameters are unknown if the schema was guessed for `*args` or `**kwargs`.
fn raw_method(path: String, function: &Json, trust: Trust, table: &mut Table) -> Method {
    let parameters = &function["parameters"];
    let collected = match parameters.as_object() {
        Some(object) => match object.get("properties") {
            // The Python client describes `*args` and `**kwargs` as two strings with these names.
            Some(Json::Object(names)) if trust == Trust::Guessed && has_rest(names) => None,
            Some(Json::Object(_)) => Some(properties(object)),
            _ => None,
        },
        None => None,
    };
    let mut places = table.root();
    let parameter = |property: Property<'_>| {
        let mut schema = table.collect(property.schema, parameters, &mut places);
        // The Python client guesses `string` for an argument without a type, so the type is
        // unknown.
        if trust == Trust::Guessed && schema["type"] == "string" {
            schema = Json::Object(Map::new());
        }
        Parameter::new(&property, schema)
    };
    let parameters = collected.map(|properties| properties.into_iter().map(parameter).collect());
    let returns = &function["returns"];
    let mut collect = |schema: &Json| {
        let mut places = table.root();
        table.collect(schema, schema, &mut places)
    };
    Method {
        path,
        description: own_text(function),
        parameters,
        returns: Type::Any,
        returns_schema: match returns {
            Json::Null => Json::Object(Map::new()),
            returns => collect(returns),
        },
        error: None,
        error_schema: function.get(SCHEMA_ERROR).map(collect),
    }
}

/// Returns whether a Python function may accept arbitrary arguments.
fn has_rest(properties: &Map<String, Json>) -> bool {
    ["args", "kwargs"]
        .iter()
        .any(|name| properties.contains_key(*name))
}

/// Converts schemas to types. Names of unnamed types start with `hint`.
fn typed_members(raw: Vec<(String, Raw)>, hint: &str, types: &mut Types) -> Vec<Member> {
    let members = raw.into_iter().map(|(name, raw)| {
        let hint = format!("{hint}{}", pascal(&name));
        let kind = match raw {
            Raw::Method(mut method) => {
                method.read_types(&hint, types);
                MemberKind::Method(method)
            }
            Raw::Group(members) => MemberKind::Group(typed_members(members, &hint, types)),
            Raw::Value(schema) => MemberKind::Value(types.read(&schema, &hint)),
        };
        Member { name, kind }
    });
    members.collect()
}
