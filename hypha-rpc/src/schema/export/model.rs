//! A service as types, whatever language it is written in: what the exporters write down.

use indexmap::IndexMap;
use schemars::{JsonSchema, SchemaGenerator};
use serde_json::{Map, Value as Json};

use super::collect::{Table, moved};
use super::names::pascal;
use super::types::{Type, Types};
use crate::schema::KIND;
use crate::{Function, NdArray, Object, RemoteFile, RemoteService, RemoteStream, Timestamp, Value};

/// A service.
#[derive(Debug)]
pub(super) struct Model {
    pub(super) members: Vec<Member>,
    pub(super) types: Types,
    /// The definitions as schemas, at the same places as the first ones of `types`.
    pub(super) table: Table,
}

#[derive(Debug)]
pub(super) struct Member {
    /// The key in the service, or in the member around it.
    pub(super) name: String,
    pub(super) kind: MemberKind,
}

#[derive(Debug)]
pub(super) enum MemberKind {
    Method(Method),
    /// Members below this one.
    Group(Vec<Member>),
    Value(Type),
}

#[derive(Debug)]
pub(super) struct Method {
    /// With the members around it: `stage.move`.
    pub(super) path: String,
    pub(super) description: String,
    /// `None` if nothing is known of them.
    pub(super) parameters: Option<Vec<Parameter>>,
    pub(super) returns: Type,
    /// The schema of what is returned.
    pub(super) returns_schema: Json,
}

#[derive(Debug)]
pub(super) struct Parameter {
    pub(super) name: String,
    pub(super) description: String,
    pub(super) ty: Type,
    /// It may be left out.
    pub(super) optional: bool,
    pub(super) default: Option<Json>,
    pub(super) schema: Json,
}

/// How far the schema of a function is believed.
#[derive(Clone, Copy, PartialEq)]
pub(super) enum Trust {
    /// Its author wrote it.
    Written,
    /// Python guessed it from the source: whatever has no type there is a string.
    Guessed,
}

impl Model {
    /// Reads the `service_schema` of a service; `trust` says how far that of the method at a path is believed.
    pub(super) fn new(tree: &Map<String, Json>, trust: &dyn Fn(&str) -> Trust) -> Model {
        let mut table = Table::default();
        let mut raw = raw_members(tree, "", trust, &mut table);
        let places = table.unify();
        each_schema(&mut raw, &mut |schema| *schema = moved(schema, &places));
        let mut types = Types::new(&table);
        let members = typed_members(raw, "", &mut types);
        for index in types.finish() {
            if let Some(definition) = table.definitions.get_mut(index) {
                definition.schema = Json::Object(Map::new());
            }
        }
        Model {
            members,
            types,
            table,
        }
    }

    /// All methods, those of groups too.
    pub(super) fn methods(&self) -> Vec<&Method> {
        fn visit<'a>(members: &'a [Member], found: &mut Vec<&'a Method>) {
            for member in members {
                match &member.kind {
                    MemberKind::Method(method) => found.push(method),
                    MemberKind::Group(members) => visit(members, found),
                    MemberKind::Value(_) => {}
                }
            }
        }
        let mut found = Vec::new();
        visit(&self.members, &mut found);
        found
    }

    /// Whether there is an array of numbers anywhere.
    pub(super) fn uses_arrays(&self) -> bool {
        let arrays = self.types.finder(|ty| *ty == Type::NdArray);
        let in_method = |method: &Method| {
            let mut parameters = method.parameters.iter().flatten();
            arrays.is_in(&method.returns) || parameters.any(|parameter| arrays.is_in(&parameter.ty))
        };
        self.methods().into_iter().any(in_method)
            || (0..self.types.definitions.len()).any(|index| arrays.is_in(&Type::Named(index)))
    }
}

/// A member before types are made of its schemas: the table has to be complete first.
enum Raw {
    Method(Method),
    Group(Vec<(String, Raw)>),
    Value(Json),
}

fn each_schema(members: &mut [(String, Raw)], change: &mut impl FnMut(&mut Json)) {
    for (_, member) in members {
        match member {
            Raw::Method(method) => {
                change(&mut method.returns_schema);
                let parameters = method.parameters.iter_mut().flatten();
                parameters.for_each(|parameter| change(&mut parameter.schema));
            }
            Raw::Group(members) => each_schema(members, change),
            Raw::Value(_) => {}
        }
    }
}

fn raw_members(
    tree: &Map<String, Json>,
    path: &str,
    trust: &dyn Fn(&str) -> Trust,
    table: &mut Table,
) -> Vec<(String, Raw)> {
    let members = tree.iter().map(|(name, schema)| {
        let path = format!("{path}{name}");
        let member = match schema {
            Json::Object(map) => match map.get("type") {
                Some(Json::String(kind)) if kind == "function" => {
                    let function = map.get("function").unwrap_or(&Json::Null);
                    let trust = trust(&path);
                    Raw::Method(raw_method(path, function, trust, table))
                }
                Some(Json::String(_)) => Raw::Value(schema.clone()),
                // A member may be called `type` as well: then there is no word there.
                _ if map.is_empty() => Raw::Value(schema.clone()),
                _ => Raw::Group(raw_members(map, &format!("{path}."), trust, table)),
            },
            // Lists, which have no methods worth a type.
            _ => Raw::Value(Json::Object(Map::new())),
        };
        (name.clone(), member)
    });
    members.collect()
}

fn raw_method(path: String, function: &Json, trust: Trust, table: &mut Table) -> Method {
    let parameters = &function["parameters"];
    let collected = match parameters.as_object() {
        Some(object) => match object.get("properties") {
            // Python says of `*args` and `**kwargs` that they are texts of these names.
            Some(Json::Object(names)) if trust == Trust::Guessed && has_rest(names) => None,
            Some(Json::Object(_)) => Some(properties(object)),
            _ => None,
        },
        None => None,
    };
    let parameter = |property: Property<'_>| {
        let mut schema = table.collect(property.schema, parameters);
        if trust == Trust::Guessed && schema["type"] == "string" {
            schema = Json::Object(Map::new());
        }
        Parameter {
            name: property.name.to_owned(),
            description: own_text(&schema),
            ty: Type::Any,
            optional: !property.required,
            default: schema.get("default").cloned(),
            schema,
        }
    };
    let parameters = collected.map(|properties| properties.into_iter().map(parameter).collect());
    let returns = &function["returns"];
    Method {
        path,
        description: own_text(function),
        parameters,
        returns: Type::Any,
        returns_schema: match returns {
            Json::Null => Json::Object(Map::new()),
            returns => table.collect(returns, returns),
        },
    }
}

/// A member of an object.
pub(super) struct Property<'a> {
    pub(super) name: &'a str,
    pub(super) schema: &'a Json,
    pub(super) required: bool,
}

/// The members of an object, with those of which is only known that they are required. Python takes every key
/// `title` out of its schemas, and with it the member of that name; the order of arguments matters.
pub(super) fn properties(object: &Map<String, Json>) -> Vec<Property<'_>> {
    const ANY: &Json = &Json::Bool(true);
    let names = object.get("required").and_then(Json::as_array);
    let names = names
        .into_iter()
        .flatten()
        .filter_map(Json::as_str)
        .enumerate();
    let places: IndexMap<&str, usize> = names.map(|(place, name)| (name, place)).collect();
    let given = object.get("properties").and_then(Json::as_object);
    let is_given = |name: &str| given.is_some_and(|given| given.contains_key(name));
    let lost = places.iter().filter(|(name, _)| !is_given(name));
    let mut lost = lost.map(|(name, place)| (*name, *place)).peekable();
    let mut properties = Vec::new();
    for (name, schema) in given.into_iter().flatten() {
        let place = places.get(name.as_str()).copied();
        // What is required stands before what is not.
        while let Some((name, _)) =
            lost.next_if(|(_, lost)| place.is_none_or(|place| *lost < place))
        {
            properties.push(Property {
                name,
                schema: ANY,
                required: true,
            });
        }
        properties.push(Property {
            name,
            schema,
            required: place.is_some(),
        });
    }
    properties.extend(lost.map(|(name, _)| Property {
        name,
        schema: ANY,
        required: true,
    }));
    properties
}

fn has_rest(properties: &Map<String, Json>) -> bool {
    ["args", "kwargs"]
        .iter()
        .any(|name| properties.contains_key(*name))
}

/// What its author said of something, not what is said of every array or function.
pub(super) fn own_text(schema: &Json) -> String {
    let text = schema["description"].as_str().unwrap_or("");
    let mut generator = SchemaGenerator::default();
    let common = match schema[KIND].as_str() {
        Some("ndarray") => NdArray::json_schema(&mut generator),
        Some("function") => Function::json_schema(&mut generator),
        Some("stream") => RemoteStream::<Value>::json_schema(&mut generator),
        Some("object") => Object::<RemoteService>::json_schema(&mut generator),
        Some("file") => RemoteFile::json_schema(&mut generator),
        Some("timestamp") => Timestamp::json_schema(&mut generator),
        _ => return text.to_owned(),
    };
    match common.get("description").and_then(Json::as_str) == Some(text) {
        true => String::new(),
        false => text.to_owned(),
    }
}

fn typed_members(raw: Vec<(String, Raw)>, hint: &str, types: &mut Types) -> Vec<Member> {
    let members = raw.into_iter().map(|(name, raw)| {
        let hint = format!("{hint}{}", pascal(&name));
        let kind = match raw {
            Raw::Method(mut method) => {
                for parameter in method.parameters.iter_mut().flatten() {
                    let hint = format!("{hint}{}", pascal(&parameter.name));
                    parameter.ty = types.read_place(&parameter.schema, &hint);
                }
                method.returns = types.read(&method.returns_schema, &format!("{hint}Result"));
                MemberKind::Method(method)
            }
            Raw::Group(members) => MemberKind::Group(typed_members(members, &hint, types)),
            Raw::Value(schema) => MemberKind::Value(types.read(&schema, &hint)),
        };
        Member { name, kind }
    });
    members.collect()
}
