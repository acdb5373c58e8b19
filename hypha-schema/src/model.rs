//! A service as types, independent of its language: the input of every format.

use serde_json::{Map, Value as Json};

use crate::names::pascal;
use crate::own_text::own_text;
use crate::properties::{Property, properties};
use crate::table::{Table, moved};
use crate::text::comment_lines;
use crate::types::{Type, Types};

/// The facts about a service as a whole.
#[derive(Debug)]
pub(crate) struct Header {
    /// The id without workspace, client and application.
    pub(crate) short_id: String,
    pub(crate) description: String,
    /// The base URL of the functions over HTTP, if it is known.
    pub(crate) url: Option<String>,
    /// The first line of a written file, without comment marks.
    pub(crate) origin: String,
}

impl Header {
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

/// A service.
#[derive(Debug)]
pub(crate) struct Model {
    pub(crate) header: Header,
    pub(crate) members: Vec<Member>,
    pub(crate) types: Types,
    /// The schemas of the definitions, with the same indices as the first ones of `types`.
    pub(crate) table: Table,
}

#[derive(Debug)]
pub(crate) struct Member {
    /// The key in the service, or in the member around it.
    pub(crate) name: String,
    pub(crate) kind: MemberKind,
}

#[derive(Debug)]
pub(crate) enum MemberKind {
    Method(Method),
    /// Nested members.
    Group(Vec<Member>),
    Value(Type),
}

#[derive(Debug)]
pub(crate) struct Method {
    /// The names from the service down to the method: `stage.move`.
    pub(crate) path: String,
    pub(crate) description: String,
    /// `None` if they are unknown.
    pub(crate) parameters: Option<Vec<Parameter>>,
    pub(crate) returns: Type,
    /// The schema of the result.
    pub(crate) returns_schema: Json,
}

#[derive(Debug)]
pub(crate) struct Parameter {
    pub(crate) name: String,
    pub(crate) description: String,
    pub(crate) ty: Type,
    /// Whether callers may leave it out.
    pub(crate) optional: bool,
    pub(crate) default: Option<Json>,
    pub(crate) schema: Json,
}

/// The reliability of the schema of a function.
#[derive(Clone, Copy, PartialEq)]
pub(crate) enum Trust {
    /// The author of the function wrote it.
    Written,
    /// The Python client guessed it from the source, where an argument without a type is a string.
    Guessed,
}

impl Model {
    /// Reads the `service_schema` of a service; `trust` rates the schema of the method at a path.
    pub(crate) fn new(
        header: Header,
        tree: &Map<String, Json>,
        trust: &dyn Fn(&str) -> Trust,
    ) -> Model {
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
            header,
            members,
            types,
            table,
        }
    }

    /// Returns all methods, including those of groups.
    pub(crate) fn methods(&self) -> Vec<&Method> {
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

    /// Returns whether an array of numbers occurs anywhere in the service.
    pub(crate) fn uses_arrays(&self) -> bool {
        let arrays = self.types.finder(|ty| *ty == Type::NdArray);
        let in_method = |method: &Method| {
            let mut parameters = method.parameters.iter().flatten();
            arrays.is_in(&method.returns) || parameters.any(|parameter| arrays.is_in(&parameter.ty))
        };
        self.methods().into_iter().any(in_method)
            || (0..self.types.definitions.len()).any(|index| arrays.is_in(&Type::Named(index)))
    }
}

/// A member before its schemas become types, for which the table has to be complete.
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
                // A member may be called `type` as well; its value is not a string then.
                _ if map.is_empty() => Raw::Value(schema.clone()),
                _ => Raw::Group(raw_members(map, &format!("{path}."), trust, table)),
            },
            // Functions in lists have no names to call them by.
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
            // The Python client describes `*args` and `**kwargs` as two strings of these names.
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

fn has_rest(properties: &Map<String, Json>) -> bool {
    ["args", "kwargs"]
        .iter()
        .any(|name| properties.contains_key(*name))
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
