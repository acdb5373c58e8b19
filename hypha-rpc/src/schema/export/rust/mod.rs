//! A Rust contract: a trait for `#[hypha_service]`, and the types that it needs.

mod defaults;
mod definitions;
mod tags;
mod text;

use std::collections::{HashSet, VecDeque};

use super::Description;
use super::model::{Method, Model, Parameter};
use super::names::{Names, comment_lines, pascal, snake};
use super::types::{Finder, Type};
use text::{NEVER_RAW, docs, ident, literal};

/// What has a meaning in the file besides what is defined there.
const TYPES: [&str; 46] = [
    "Box",
    "Bytes",
    "Call",
    "Callback",
    "Client",
    "Clone",
    "Context",
    "Copy",
    "Debug",
    "Default",
    "Deserialize",
    "Drop",
    "Eq",
    "Err",
    "Error",
    "Fn",
    "From",
    "Function",
    "Hash",
    "Into",
    "Iterator",
    "JsonSchema",
    "NdArray",
    "None",
    "Object",
    "Ok",
    "Option",
    "Ord",
    "PartialEq",
    "Proxy",
    "RemoteError",
    "RemoteFile",
    "RemoteService",
    "RemoteStream",
    "Result",
    "Self",
    "Send",
    "Serialize",
    "Sized",
    "Some",
    "Stream",
    "String",
    "Sync",
    "Value",
    "Vec",
    "Visibility",
];

/// Entries of every service, which are no methods.
const ENTRIES: [&str; 8] = [
    "id",
    "name",
    "description",
    "type",
    "docs",
    "config",
    "app_id",
    "service_schema",
];

/// How many arguments a method has of which nothing is known: those that are not given are not sent.
const UNKNOWN: usize = 4;

/// How long the description of a service may be.
const LONGEST_DESCRIPTION: usize = 1000;

struct Writer<'a> {
    model: &'a Model,
    /// Of the definitions.
    names: Vec<String>,
    /// Definitions that stand in a box, inside of others.
    boxes: HashSet<(usize, usize)>,
    /// What cannot be copied.
    owned: Finder,
    /// Names of functions for defaults.
    functions: Names,
    /// Definitions that are used, in the order of their use, and those of them that are still to be written.
    used: HashSet<usize>,
    waiting: VecDeque<usize>,
    text: String,
}

pub(super) fn write(description: &Description, model: &Model) -> String {
    let mut taken = Names::new(&TYPES);
    let service = taken.fresh(&pascal(description.short_id()));
    for generated in ["Service", "Proxy"] {
        taken.fresh(&format!("{service}{generated}"));
    }
    let definitions = model.types.definitions.iter();
    let names = definitions
        .map(|definition| taken.fresh(&pascal(&definition.name)))
        .collect();
    let mut writer = Writer {
        model,
        names,
        boxes: tags::boxes(&model.types),
        owned: model
            .types
            .finder(|ty| matches!(ty, Type::Stream(_) | Type::File | Type::Object)),
        functions: Names::default(),
        used: HashSet::new(),
        waiting: VecDeque::new(),
        text: String::new(),
    };
    writer.contract(description, &service);
    while let Some(index) = writer.waiting.pop_front() {
        writer.definition(index);
    }
    let imports = "use hypha_rpc::prelude::*;\n";
    format!("// {}\n\n{imports}{}", description.origin(), writer.text)
}

impl Writer<'_> {
    fn line(&mut self, depth: usize, line: &str) {
        self.text.push_str(&"    ".repeat(depth));
        self.text.push_str(line);
        self.text.push('\n');
    }

    fn docs(&mut self, depth: usize, text: &str) {
        for line in docs(text) {
            self.line(depth, format!("/// {line}").trim_end());
        }
    }

    fn contract(&mut self, description: &Description, service: &str) {
        let id = description.short_id();
        let id = match is_wire_name(id) && !id.contains('.') {
            true => format!("(id = {})", literal(id)),
            false => String::new(),
        };
        self.text.push('\n');
        let text: String = description
            .description
            .chars()
            .take(LONGEST_DESCRIPTION)
            .collect();
        self.docs(0, &text);
        self.line(0, &format!("#[hypha_service{id}]"));
        // What others called their functions and how many arguments they have is not ours to judge.
        self.line(
            0,
            "#[allow(clippy::too_many_arguments, clippy::wrong_self_convention)]",
        );
        self.line(0, &format!("pub trait {service} {{"));
        let methods = self.model.methods();
        let paths: Vec<&str> = methods.iter().map(|method| &*method.path).collect();
        let names = Names::new(&NEVER_RAW).each(&paths, snake);
        let mut first = true;
        for (method, name) in methods.into_iter().zip(names) {
            if !std::mem::take(&mut first) {
                self.text.push('\n');
            }
            self.method(method, &name);
        }
        self.line(0, "}");
    }

    fn method(&mut self, method: &Method, name: &str) {
        let path = &method.path;
        let entry = path.split('.').next().unwrap_or_default();
        if !is_wire_name(path) || ENTRIES.contains(&entry) {
            let path = comment_lines(path).join(" ");
            return self.line(
                1,
                &format!("// `{path}` is no name that a contract can have."),
            );
        }
        self.docs(1, &method.description);
        if name != path {
            self.line(1, &format!("#[hypha(name = {})]", literal(path)));
        }
        let returns = match &method.returns {
            Type::Null => String::new(),
            Type::Stream(item) => {
                format!(" -> impl Stream<Item = {}> + Send", self.ty(item, None))
            }
            other => format!(" -> {}", self.ty(other, None)),
        };
        let name = ident(name);
        match method.parameters.as_deref() {
            Some([]) => self.line(1, &format!("async fn {name}(&self){returns};")),
            parameters => {
                self.line(1, &format!("async fn {name}("));
                self.line(2, "&self,");
                match parameters {
                    Some(parameters) => self.parameters(parameters),
                    None => {
                        self.line(2, "// Nothing is known of its arguments.");
                        for index in 1..=UNKNOWN {
                            self.line(2, &format!("arg{index}: Option<Value>,"));
                        }
                    }
                }
                self.line(1, &format!("){returns};"));
            }
        }
    }

    fn parameters(&mut self, parameters: &[Parameter]) {
        let wires = parameters.iter().map(|parameter| parameter.name.as_str());
        let mut wires = Names::new(&wires.filter(|name| is_wire_name(name)).collect::<Vec<_>>());
        let given: Vec<&str> = parameters
            .iter()
            .map(|parameter| &*parameter.name)
            .collect();
        let names = Names::new(&NEVER_RAW).each(&given, snake);
        for (parameter, name) in parameters.iter().zip(names) {
            self.docs(2, &parameter.description);
            // Arguments are given in their order, so one whose name cannot be kept can be given too.
            let wire = match is_wire_name(&parameter.name) {
                true => parameter.name.clone(),
                false => wires.fresh(&name),
            };
            let mut keys = Vec::new();
            if wire != name {
                keys.push(format!("name = {}", literal(&wire)));
            }
            let (ty, default) =
                self.with_default(&parameter.ty, parameter.optional, &parameter.default, None);
            // An `Option` is `None` when it is left out anyway.
            if let Some(default) = default.filter(|default| default != "None") {
                keys.push(format!("default = {default}"));
            }
            if !keys.is_empty() {
                self.line(2, &format!("#[hypha({})]", keys.join(", ")));
            }
            self.line(2, &format!("{}: {ty},", ident(&name)));
        }
    }

    /// The type of something that may be left out, and its default. Where no default is known, or none that can
    /// be written, the type is an `Option`.
    fn with_default(
        &mut self,
        ty: &Type,
        optional: bool,
        default: &Option<serde_json::Value>,
        within: Option<usize>,
    ) -> (String, Option<String>) {
        let written = self.ty(ty, within);
        if !optional {
            return (written, None);
        }
        let default = default
            .as_ref()
            .and_then(|json| self.default(ty, json, within));
        match (&default, ty) {
            (Some(_), _) => (written, default),
            (None, Type::Optional(_)) => (written, Some("None".to_owned())),
            (None, _) => (format!("Option<{written}>"), Some("None".to_owned())),
        }
    }

    fn is_boxed(&self, within: Option<usize>, index: usize) -> bool {
        within.is_some_and(|within| self.boxes.contains(&(within, index)))
    }

    /// A type as it is written in the definition `within`.
    fn ty(&mut self, ty: &Type, within: Option<usize>) -> String {
        match ty {
            Type::Any => "Value".to_owned(),
            Type::Null => "()".to_owned(),
            Type::Bool => "bool".to_owned(),
            Type::Integer(least, most) => integer(*least, *most).to_owned(),
            Type::Number => "f64".to_owned(),
            Type::Text => "String".to_owned(),
            Type::Bytes => "Bytes".to_owned(),
            Type::Timestamp => "hypha_rpc::Timestamp".to_owned(),
            Type::Literals(values) => self.ty(&literals(values), within),
            Type::Optional(inner) => format!("Option<{}>", self.ty(inner, within)),
            // Boxes are not needed in what lies elsewhere.
            Type::List(inner) => format!("Vec<{}>", self.ty(inner, None)),
            Type::Set(inner) => format!("hypha_rpc::Set<Vec<{}>>", self.ty(inner, None)),
            Type::Tuple(items) => {
                let items: Vec<String> = items.iter().map(|item| self.ty(item, within)).collect();
                match &items[..] {
                    [only] => format!("({only},)"),
                    items => format!("({})", items.join(", ")),
                }
            }
            Type::Map(inner) => {
                format!(
                    "std::collections::BTreeMap<String, {}>",
                    self.ty(inner, None)
                )
            }
            Type::OrderedMap(inner) => {
                format!("hypha_rpc::OrderedMap<Value, {}>", self.ty(inner, None))
            }
            Type::Named(index) => {
                if self.used.insert(*index) {
                    self.waiting.push_back(*index);
                }
                let name = &self.names[*index];
                match self.is_boxed(within, *index) {
                    true => format!("Box<{name}>"),
                    false => name.clone(),
                }
            }
            Type::NdArray => "NdArray".to_owned(),
            Type::Function => "Function".to_owned(),
            Type::Stream(inner) => format!("RemoteStream<{}>", self.ty(inner, None)),
            Type::File => "RemoteFile".to_owned(),
            Type::Object => "Object".to_owned(),
        }
    }
}

/// The type that has all of these values.
fn literals(values: &[serde_json::Value]) -> Type {
    match values {
        values if values.iter().all(|value| value.is_boolean()) => Type::Bool,
        values if values.iter().all(|value| value.is_i64()) => Type::Integer(None, None),
        values if values.iter().all(|value| value.is_number()) => Type::Number,
        _ => Type::Any,
    }
}

/// The smallest type that has these limits; those of the larger ones are in no schema.
fn integer(least: Option<f64>, most: Option<f64>) -> &'static str {
    let all: [(&str, f64, f64); 6] = [
        ("u8", 0.0, u8::MAX.into()),
        ("u16", 0.0, u16::MAX.into()),
        ("u32", 0.0, u32::MAX.into()),
        ("i8", i8::MIN.into(), i8::MAX.into()),
        ("i16", i16::MIN.into(), i16::MAX.into()),
        ("i32", i32::MIN.into(), i32::MAX.into()),
    ];
    let fits = |(_, from, to): &&(&str, f64, f64)| (least, most) == (Some(*from), Some(*to));
    match all.iter().find(fits) {
        Some((name, ..)) => name,
        None if least.is_some_and(|least| least >= 0.0) => "u64",
        None => "i64",
    }
}

/// What the macro takes for a name: addresses are taken apart at some characters, others cannot be written.
fn is_wire_name(name: &str) -> bool {
    let is_fit = |c: char| !":@/*".contains(c) && !c.is_whitespace() && !c.is_control();
    name.chars().all(is_fit) && !name.split('.').any(str::is_empty)
}
