//! State of the Rust file being written: its content, the names of its types, and the translation
//! of types to Rust.

use std::collections::{HashSet, VecDeque};

use super::tags;
use super::text::docs;
use crate::model::Model;
use crate::names::{Names, pascal};
use crate::types::{Body, Elements, Finder, Integer, Keys, Signature, Type};
use hypha_wire::DType;

/// Names that the file uses or imports, so no definition may have them.
const TYPES: [&str; 46] = [
    "Box",
    "Binary",
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

/// A Rust file that is being written.
pub(super) struct Writer<'a> {
    pub(super) model: &'a Model,
    /// Names of the definitions.
    pub(super) names: Vec<String>,
    /// Pairs of definitions. In each, the first contains the second in a `Box`.
    pub(super) boxes: HashSet<(usize, usize)>,
    /// Finds types that do not implement `Clone` and `PartialEq`.
    pub(super) owned: Finder,
    /// Errors that can be made of a cause: indices of definitions, with the type of the cause.
    pub(super) made_of: HashSet<(usize, String)>,
    /// Names of the functions that return default values.
    pub(super) functions: Names,
    /// Definitions in use. `waiting` contains those not written yet, in order of use.
    pub(super) used: HashSet<usize>,
    pub(super) waiting: VecDeque<usize>,
    /// Name of the function that reads a field in which null differs from a missing field, once a
    /// field needs it.
    present: Option<String>,
    /// Whether [`ty`](Self::ty) puts maps into `Keyed`. See [`described`](Self::described).
    is_described: bool,
    pub(super) text: String,
}

impl<'a> Writer<'a> {
    /// Returns a writer for an empty file, and the name of the trait.
    pub(super) fn new(model: &'a Model) -> (Writer<'a>, String) {
        let mut taken = Names::new(&TYPES);
        let service = taken.fresh(&pascal(&model.header.short_id));
        // The macro generates these types beside the trait, so no definition may have their names.
        for generated in ["Service", "Proxy"] {
            taken.fresh(&format!("{service}{generated}"));
        }
        let definitions = model.types.definitions.iter();
        let names = definitions
            .map(|definition| {
                let name = taken.fresh(&pascal(&definition.name));
                if let Body::Interface(_) = definition.body {
                    taken.fresh(&format!("{name}Service"));
                    taken.fresh(&format!("{name}Proxy"));
                }
                name
            })
            .collect();
        let writer = Writer {
            model,
            names,
            boxes: tags::boxes(&model.types),
            owned: model.types.finder(|ty| {
                matches!(
                    ty,
                    Type::Stream(_)
                        | Type::File
                        | Type::Failure
                        | Type::Object
                        | Type::Function(Some(_))
                )
            }),
            made_of: HashSet::new(),
            functions: Names::default(),
            used: HashSet::new(),
            waiting: VecDeque::new(),
            present: None,
            is_described: false,
            text: String::new(),
        };
        (writer, service)
    }

    /// Removes and returns the next definition that is in use but not written yet.
    pub(super) fn next_definition(&mut self) -> Option<usize> {
        self.waiting.pop_front()
    }

    /// Returns the name of the function that reads a field in which null differs from a missing
    /// field.
    pub(super) fn present_function(&mut self) -> &str {
        let functions = &mut self.functions;
        self.present
            .get_or_insert_with(|| functions.fresh("present"))
    }

    /// Returns the whole file.
    pub(super) fn finish(mut self) -> String {
        if let Some(name) = &self.present {
            self.text.push_str(&format!(
                "
/// Reads a field in which null differs from a missing field.
fn {name}<'de, T, D>(deserializer: D) -> Result<Option<T>, D::Error>
where
    T: Deserialize<'de>,
    D: serde::Deserializer<'de>,
{{
    T::deserialize(deserializer).map(Some)
}}
"
            ));
        }
        let origin = &self.model.header.origin;
        format!("// {origin}\n\nuse hypha_rpc::prelude::*;\n{}", self.text)
    }

    pub(super) fn line(&mut self, depth: usize, line: &str) {
        self.text.push_str(&"    ".repeat(depth));
        self.text.push_str(line);
        self.text.push('\n');
    }

    pub(super) fn docs(&mut self, depth: usize, text: &str) {
        for line in docs(text) {
            self.line(depth, format!("/// {line}").trim_end());
        }
    }

    /// Returns whether the definition `within` contains the definition `index` in a `Box`.
    pub(super) fn is_boxed(&self, within: Option<usize>, index: usize) -> bool {
        within.is_some_and(|within| self.boxes.contains(&(within, index)))
    }

    /// Returns a type in Rust syntax, as part of the definition `within`. Queues a named type for
    /// writing.
    pub(super) fn ty(&mut self, ty: &Type, within: Option<usize>) -> String {
        match ty {
            Type::Any => "Value".to_owned(),
            Type::Null => "()".to_owned(),
            Type::Bool => "bool".to_owned(),
            Type::Integer(integer) => integer.rust().to_owned(),
            Type::Number => "f64".to_owned(),
            Type::Single => "f32".to_owned(),
            Type::Text => "String".to_owned(),
            Type::Bytes => "Binary".to_owned(),
            Type::Timestamp => "hypha_rpc::Timestamp".to_owned(),
            Type::Duration => "std::time::Duration".to_owned(),
            Type::Literals(values) => self.ty(&literals(values), within),
            Type::Optional(inner) => format!("Option<{}>", self.ty(inner, within)),
            // A type that is already behind a pointer needs no box.
            Type::List(inner) => format!("Vec<{}>", self.ty(inner, None)),
            Type::Set(inner) => format!("hypha_rpc::Set<Vec<{}>>", self.ty(inner, None)),
            Type::Tuple(items) => {
                let items: Vec<String> = items.iter().map(|item| self.ty(item, within)).collect();
                match &items[..] {
                    [only] => format!("({only},)"),
                    items => format!("({})", items.join(", ")),
                }
            }
            Type::Character => "char".to_owned(),
            Type::Fixed(inner, length) => format!("[{}; {length}]", self.ty(inner, within)),
            Type::Unique(inner) if inner.is_ordered() => {
                format!("std::collections::BTreeSet<{}>", self.ty(inner, None))
            }
            Type::Unique(inner) => format!("Vec<{}>", self.ty(inner, None)),
            Type::Map(keys, inner) => {
                let name = match keys {
                    Keys::Text => "String",
                    Keys::Bool => "bool",
                    Keys::Integer(integer) => integer.rust(),
                };
                let values = self.ty(inner, None);
                let map = format!("std::collections::BTreeMap<{name}, {values}>");
                match self.is_described && is_stated(*keys) {
                    true => format!("hypha_rpc::schema::Keyed<{map}>"),
                    false => map,
                }
            }
            Type::OrderedMap(parts) => {
                let (key, value) = (self.ty(&parts[0], None), self.ty(&parts[1], None));
                format!("hypha_rpc::OrderedMap<{key}, {value}>")
            }
            Type::Named(index) => {
                if let Some([ok, error]) = tags::result_types(&self.model.types, *index) {
                    let types = [ok, error].map(|ty| self.ty(ty, Some(*index)));
                    let written = format!("Result<{}>", types.join(", "));
                    return match self.is_boxed(within, *index) {
                        true => format!("Box<{written}>"),
                        false => written,
                    };
                }
                if self.used.insert(*index) {
                    self.waiting.push_back(*index);
                }
                let name = &self.names[*index];
                if let Body::Interface(_) = self.model.types.definitions[*index].body {
                    return format!("Object<{name}Proxy>");
                }
                match self.is_boxed(within, *index) {
                    true => format!("Box<{name}>"),
                    false => name.clone(),
                }
            }
            Type::NdArray(elements) => array(elements),
            Type::Function(None) => "Function".to_owned(),
            Type::Function(Some(signature)) => self.callback(signature),
            Type::Stream(parts) => match parts.get(1) {
                None => format!("RemoteStream<{}>", self.ty(&parts[0], None)),
                Some(error) => {
                    let item = self.ty(&parts[0], None);
                    format!("RemoteStream<{item}, {}>", self.error(error))
                }
            },
            Type::File => "RemoteFile".to_owned(),
            Type::Failure => "hypha_rpc::Error".to_owned(),
            Type::Object => "Object".to_owned(),
        }
    }
}

impl Writer<'_> {
    /// Returns the type in `#[schemars(with = ..)]` of a field with the type `written`. Returns
    /// `None` if the field needs no such attribute. Maps need it, because schemars omits the types
    /// of their keys, and so does a field that may be missing, but not null.
    pub(super) fn described(
        &mut self,
        ty: &Type,
        written: &str,
        within: Option<usize>,
    ) -> Option<String> {
        self.is_described = true;
        let mut described = self.ty(ty, within);
        self.is_described = false;
        // In the schema of a field without null, the `Option` that it may be written as has no
        // effect. A field in which null differs from a missing field is an `Option` of an `Option`.
        let plain = self.ty(ty, within);
        if matches!(ty, Type::Optional(_)) && written == format!("Option<{plain}>") {
            described = format!("Option<{described}>");
        }
        (described != written).then_some(described)
    }

    /// Returns the type of a typed function.
    fn callback(&mut self, signature: &Signature) -> String {
        let arguments: Vec<String> = signature
            .arguments()
            .iter()
            .map(|ty| self.ty(ty, None))
            .collect();
        let arguments = match (&arguments[..], signature.arguments()) {
            // `Callback` reads a tuple as its list of arguments, so a single argument that is a
            // tuple, an array or `()` is put into a tuple.
            ([only], [Type::Tuple(_) | Type::Fixed(..) | Type::Null]) => format!("({only},)"),
            ([only], _) => only.clone(),
            (all, _) => format!("({})", all.join(", ")),
        };
        match (signature.result(), signature.error()) {
            (Type::Null, None) => format!("Callback<{arguments}>"),
            (result, None) => format!("Callback<{arguments}, {}>", self.ty(result, None)),
            (result, Some(error)) => {
                let (result, error) = (self.ty(result, None), self.error(error));
                format!("Callback<{arguments}, {result}, {error}>")
            }
        }
    }

    /// Returns the type of an error. A type without named errors becomes `String`.
    pub(super) fn error(&mut self, error: &Type) -> String {
        match self.model.types.is_error(error) {
            true => self.ty(error, None),
            false => "String".to_owned(),
        }
    }

    /// Returns the type of the items of a stream.
    pub(super) fn stream_item(&mut self, parts: &[Type]) -> String {
        let item = self.ty(&parts[0], None);
        match parts.get(1) {
            Some(error) => format!("Result<{item}, {}>", self.error(error)),
            None => item,
        }
    }
}

/// Returns the type of an array. It is `NdArray` if the element type or the number of dimensions is
/// unknown.
fn array(elements: &Elements) -> String {
    let element = match elements.dtype {
        Some(DType::Bool) => "bool",
        Some(DType::Int8) => "i8",
        Some(DType::Int16) => "i16",
        Some(DType::Int32) => "i32",
        Some(DType::Int64) => "i64",
        Some(DType::UInt8) => "u8",
        Some(DType::UInt16) => "u16",
        Some(DType::UInt32) => "u32",
        Some(DType::UInt64) => "u64",
        Some(DType::Float32) => "f32",
        Some(DType::Float64) => "f64",
        // These types need features of the library, which the service enabled and callers must
        // enable.
        Some(DType::Float16) => "half::f16",
        Some(DType::Complex64) => "num_complex::Complex<f32>",
        Some(DType::Complex128) => "num_complex::Complex<f64>",
        _ => return "NdArray".to_owned(),
    };
    match elements.dimensions {
        Some(dimensions) => format!("hypha_rpc::Array<{element}, {dimensions}>"),
        None => "NdArray".to_owned(),
    }
}

/// Returns the type that includes all of these values.
pub(super) fn literals(values: &[serde_json::Value]) -> Type {
    match values {
        values if values.iter().all(|value| value.is_boolean()) => Type::Bool,
        values if values.iter().all(|value| value.is_i64()) => Type::Integer(Integer::I64),
        values if values.iter().all(|value| value.is_number()) => Type::Number,
        _ => Type::Any,
    }
}

/// Returns whether the schema of a map must state the type of its keys.
fn is_stated(keys: Keys) -> bool {
    match keys {
        Keys::Text => false,
        Keys::Bool => true,
        Keys::Integer(integer) => !matches!(integer, Integer::I64 | Integer::U64),
    }
}
