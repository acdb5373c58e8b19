//! Writes TypeScript declarations of the service object in the JavaScript client.
//!
//! Methods return promises. A stream becomes an asynchronous generator, and a callback becomes any
//! function. An array becomes the map that the client returns if no array library is loaded.
//!
//! Services accept more forms of some values than they send, such as bytes in place of a file. A
//! definition that contains such a value, and that callers both send and receive, is written twice.

use crate::model::Model;
use crate::names::{Names, identifier, is_identifier, pascal};
use crate::raised::raised;
use crate::text::{comment_lines, literal};
use crate::types::{
    Body, Definition, Elements, Field, Keys, Member, MemberKind, Method, Parameter, Signature, Type,
};
use crate::used::Directions;
use hypha_wire::DType;

/// Words that strict mode reserves. No parameter may be named like one of them.
const WORDS: [&str; 50] = [
    "arguments",
    "await",
    "break",
    "case",
    "catch",
    "class",
    "const",
    "continue",
    "debugger",
    "default",
    "delete",
    "do",
    "else",
    "enum",
    "eval",
    "export",
    "extends",
    "false",
    "finally",
    "for",
    "function",
    "if",
    "implements",
    "import",
    "in",
    "instanceof",
    "interface",
    "let",
    "new",
    "null",
    "package",
    "private",
    "protected",
    "public",
    "return",
    "static",
    "super",
    "switch",
    "this",
    "throw",
    "true",
    "try",
    "typeof",
    "undefined",
    "var",
    "void",
    "while",
    "with",
    "yield",
    "async",
];

/// Global types that declarations use, so no definition may have their names.
const TYPES: [&str; 17] = [
    "Array",
    "ArrayBuffer",
    "AsyncGenerator",
    "Date",
    "Float32Array",
    "Float64Array",
    "Generator",
    "Int16Array",
    "Int32Array",
    "Int8Array",
    "Map",
    "Promise",
    "Record",
    "Set",
    "Uint16Array",
    "Uint32Array",
    "Uint8Array",
];

/// Declaration of the array type, written only for services that use arrays.
const ND_ARRAY: &str = "\
/** An array of numbers, as the client returns it if neither `nj` nor `tf` is loaded. */
export interface NdArray {
  _rtype: \"ndarray\";
  /** Elements in row-major order, little-endian. */
  _rvalue: Uint8Array;
  _rshape: number[];
  /** Type of the elements in the notation of numpy, for example `float32`. */
  _rdtype: string;
}
";

/// Names and declarations of the forms of an array that callers may send.
const SENT_ARRAYS: [(&str, &str); 2] = [
    (
        "TypedArray",
        "\
/** Numbers that services accept in place of an array with one dimension. */
export type TypedArray =
  | Int8Array | Int16Array | Int32Array | Uint8Array | Uint16Array | Uint32Array
  | Float32Array | Float64Array;
",
    ),
    (
        "NestedNumbers",
        "\
/** Nested lists of numbers, which services accept in place of an array. */
export type NestedNumbers = number | boolean | NestedNumbers[];
",
    ),
];

/// Names of the declarations.
const DECLARED: [&str; 4] = ["NdArray", "NestedNumbers", "RemoteFile", "TypedArray"];

/// Declaration of the type of files, written only for services that use files.
const REMOTE_FILE: &str = "\
/** A file of another program, which these functions read and write there. */
export interface RemoteFile {
  name?: any;
  size?: any;
  type?: any;
  /** Returns at most this many bytes, or the rest of the file. */
  read(length?: number): Promise<any>;
  /** Moves to a position from the start. */
  seek(position: number): Promise<any>;
  [key: string]: any;
}
";

/// Structure of a `Blob` or `File`, which a program without the DOM library does not know by name.
const BLOB: &str = "{ readonly size: number; arrayBuffer(): Promise<ArrayBuffer> }";

/// Members that the client adds to every service object.
const ENTRIES: [(&str, &str); 6] = [
    ("id", "string"),
    ("name", "string"),
    ("type", "string"),
    ("description?", "string | null"),
    ("docs?", "any"),
    ("config", "any"),
];

/// Position of a type, because some types differ by position: a stream may be sent as either kind
/// of generator, but is received as an asynchronous generator.
#[derive(Clone, Copy, PartialEq)]
enum Position {
    Argument,
    Result,
}

struct Writer<'a> {
    model: &'a Model,
    /// Names of the definitions.
    names: Vec<String>,
    /// Names of the definitions of sent values. They differ from `names` only for definitions that
    /// are written twice.
    sent: Vec<String>,
    text: String,
}

/// Returns the declaration file.
pub(crate) fn write(model: &Model) -> String {
    let mut taken = Names::new(&[&TYPES[..], &DECLARED].concat());
    let service = taken.fresh(&pascal(&model.header.short_id));
    let definitions = model.types.definitions.iter();
    let names: Vec<String> = definitions
        .map(|definition| taken.fresh(&pascal(&definition.name)))
        .collect();
    let Directions { sent, received } = model.types.directions(&model.members, false, true);
    let differs = model.types.finder(|ty| {
        matches!(
            ty,
            Type::File
                | Type::Function(Some(_))
                | Type::NdArray(_)
                | Type::Object
                | Type::Stream(_)
        )
    });
    let is_twice = |index: usize| {
        let is_both = sent.contains(&index) && received.contains(&index);
        is_both && differs.is_in(&Type::Named(index))
    };
    let names_of_sent = taken.of_sent(&names, is_twice);
    let mut writer = Writer {
        model,
        sent: names_of_sent,
        names,
        text: format!("// {}\n", model.header.origin),
    };
    writer.text.push('\n');
    if model.uses_arrays() {
        writer.text.push_str(ND_ARRAY);
        writer.text.push('\n');
    }
    let head = writer.text.len();
    if model.uses(|ty| matches!(ty, Type::File)) {
        writer.text.push_str(REMOTE_FILE);
        writer.text.push('\n');
    }
    for index in 0..writer.names.len() {
        let is_received = received.contains(&index);
        if !is_received && !sent.contains(&index) {
            continue;
        }
        // Skip a definition with a single string, which is written as a literal where it is used.
        if model.types.only_word(&Type::Named(index)).is_some() {
            continue;
        }
        let definition = &model.types.definitions[index];
        let place = match is_received {
            true => Position::Result,
            false => Position::Argument,
        };
        writer.definition(definition, &writer.names[index].clone(), place);
        writer.text.push('\n');
        if is_twice(index) {
            let name = writer.sent[index].clone();
            writer.definition(definition, &name, Position::Argument);
            writer.text.push('\n');
        }
    }
    writer.comment(0, &model.header.description, &[]);
    writer
        .text
        .push_str(&format!("export interface {service} {{\n"));
    for (name, ty) in ENTRIES {
        if model
            .members
            .iter()
            .all(|member| member.name != name.trim_end_matches('?'))
        {
            writer.text.push_str(&format!("  {name}: {ty};\n"));
        }
    }
    writer.members(&model.members, 1, Position::Result);
    writer.text.push_str("}\n");
    for (name, declaration) in SENT_ARRAYS {
        // This may also match inside a comment. The declaration is then unused, but harmless.
        if writer.text[head..].contains(name) {
            writer.text.insert_str(head, &format!("{declaration}\n"));
        }
    }
    writer.text
}

impl Writer<'_> {
    fn line(&mut self, depth: usize, line: &str) {
        self.text.push_str(&"  ".repeat(depth));
        self.text.push_str(line);
        self.text.push('\n');
    }

    fn comment(&mut self, depth: usize, text: &str, parameters: &[(String, &str)]) {
        let mut lines = comment_lines(text);
        for (name, text) in parameters {
            let text = comment_lines(text).join(" ");
            if !text.is_empty() {
                lines.push(format!("@param {name} - {text}"));
            }
        }
        // Escape `*/`, the only sequence that ends a comment.
        for line in &mut lines {
            *line = line.replace("*/", "*\\/");
        }
        match &lines[..] {
            [] => {}
            [line] => {
                let line = format!("/** {line} */");
                self.line(depth, &line);
            }
            _ => {
                self.line(depth, "/**");
                for line in lines {
                    let line = format!(" * {line}");
                    self.line(depth, line.trim_end());
                }
                self.line(depth, " */");
            }
        }
    }

    fn definition(&mut self, definition: &Definition, name: &str, place: Position) {
        self.comment(0, &definition.description, &[]);
        let alias = match &definition.body {
            Body::Struct(body) => {
                let head = match body.flattened.is_empty() {
                    true => format!("export interface {name} {{"),
                    false => format!("export type {name} = {{"),
                };
                self.line(0, &head);
                for field in &body.fields {
                    self.field(field, place);
                }
                match &body.others {
                    // The types of members whose names are no numbers may differ from the type of
                    // this index signature.
                    Some(Type::Map(Keys::Integer(_), values))
                        if body.fields.iter().all(|field| !is_number(&field.name)) =>
                    {
                        let values = self.ty(values, place);
                        self.line(1, &format!("[key: number]: {values};"));
                    }
                    // Use `any`, because an index signature must also allow the types of the named
                    // members.
                    Some(_) => self.line(1, "[key: string]: any;"),
                    None => {}
                }
                if body.flattened.is_empty() {
                    return self.line(0, "}");
                }
                let flattened = body.flattened.iter().map(|ty| match ty {
                    Type::Optional(inner) => format!("({} | {{}})", self.ty(inner, place)),
                    ty => self.ty(ty, place),
                });
                let flattened: Vec<String> = flattened.collect();
                return self.line(0, &format!("}} & {};", flattened.join(" & ")));
            }
            Body::Words(words) => join(words.iter().map(|word| literal(&word.text))),
            Body::Choice(choice) => join(choice.variants.iter().map(|variant| match variant.ty {
                Type::Null => "null".to_owned(),
                ref ty => self.ty(ty, place),
            })),
            Body::Alias(ty) => self.ty(ty, place),
            Body::Interface(members) => {
                self.line(0, &format!("export interface {name} {{"));
                self.members(members, 1, place);
                return self.line(0, "}");
            }
        };
        self.line(0, &format!("export type {name} = {alias};"));
    }

    fn field(&mut self, field: &Field, place: Position) {
        self.comment(1, &field.description, &[]);
        let mark = if field.optional { "?" } else { "" };
        let ty = self.ty(&field.ty, place);
        self.line(1, &format!("{}{mark}: {ty};", key(&field.name)));
    }

    /// Writes the members of the service, or of an object at `place`.
    fn members(&mut self, members: &[Member], depth: usize, place: Position) {
        for member in members {
            let key = key(&member.name);
            match &member.kind {
                MemberKind::Method(method) => self.method(method, &key, depth, place),
                MemberKind::Group(members) => {
                    self.line(depth, &format!("{key}: {{"));
                    self.members(members, depth + 1, place);
                    self.line(depth, "};");
                }
                MemberKind::Value(ty) => {
                    let ty = self.ty(ty, place);
                    self.line(depth, &format!("{key}: {ty};"));
                }
            }
        }
    }

    fn method(&mut self, method: &Method, key: &str, depth: usize, place: Position) {
        let (sent, returned) = place.of_call();
        let mut taken = Names::new(&WORDS);
        let mut written = Vec::new();
        let mut texts = Vec::new();
        match &method.parameters {
            None => written.push("...args: any[]".to_owned()),
            Some(parameters) => {
                for (index, parameter) in parameters.iter().enumerate() {
                    let name = taken.fresh(&identifier(&parameter.name));
                    let ty = self.ty(&parameter.ty, sent);
                    // TypeScript permits no required argument after an optional argument.
                    let last = parameters[index..]
                        .iter()
                        .all(|parameter| parameter.optional);
                    let mark = if last { "?" } else { "" };
                    written.push(format!("{name}{mark}: {ty}"));
                    texts.push((name, parameter.description.as_str()));
                }
            }
        }
        let mut text = method.description.clone();
        for raised in raised(&self.model.types, &method.error) {
            let class = raised.class.unwrap_or("Error");
            text.push_str(&format!("\n@throws {{{class}}} {}", raised.text));
        }
        self.comment(depth, &text, &texts);
        let returns = self.returned(&method.returns, place, returned);
        let parameters = written.join(", ");
        self.line(depth, &format!("{key}({parameters}): {returns};"));
        if let (Position::Result, Some(parameters)) = (place, &method.parameters) {
            if let Some(named) = self.named(parameters) {
                self.line(depth, &format!("{key}(named: {named}): {returns};"));
            }
        }
    }

    /// Returns the type of the object with all arguments by name, if there are any.
    fn named(&self, parameters: &[Parameter]) -> Option<String> {
        const MARK: &str = "_rkwargs";
        if parameters.is_empty() || parameters.iter().any(|parameter| parameter.name == MARK) {
            return None;
        }
        let members = parameters.iter().map(|parameter| {
            let mark = if parameter.optional { "?" } else { "" };
            let ty = self.ty(&parameter.ty, Position::Argument);
            format!("{}{mark}: {ty}", key(&parameter.name))
        });
        let members = members.chain([format!("{MARK}: true")]);
        Some(format!("{{ {} }}", members.collect::<Vec<_>>().join("; ")))
    }

    fn ty(&self, ty: &Type, place: Position) -> String {
        let of = |inner: &Type| self.ty(inner, place);
        let list = |inner: &Type| format!("Array<{}>", of(inner));
        if let Some(word) = self.model.types.only_word(ty) {
            return literal(word);
        }
        match ty {
            Type::Any | Type::Object => "any".to_owned(),
            Type::Failure => "Record<string, any>".to_owned(),
            Type::File => match place {
                Position::Argument => format!("RemoteFile | Uint8Array | {BLOB}"),
                Position::Result => "RemoteFile".to_owned(),
            },
            // A function without a result returns null or undefined, depending on the language of
            // its owner.
            Type::Null if place == Position::Result => "null | undefined".to_owned(),
            Type::Null => "null".to_owned(),
            Type::Bool => "boolean".to_owned(),
            Type::Integer(_) | Type::Number | Type::Single | Type::Duration => "number".to_owned(),
            Type::Text | Type::Character => "string".to_owned(),
            Type::Bytes => "Uint8Array".to_owned(),
            Type::Timestamp => "Date".to_owned(),
            Type::Literals(values) => join(values.iter().map(ToString::to_string)),
            Type::Optional(inner) => format!("{} | null", of(inner)),
            Type::List(inner) | Type::Unique(inner) => list(inner),
            Type::Fixed(inner, length) => {
                format!("[{}]", vec![of(inner); *length].join(", "))
            }
            Type::Set(inner) => format!("Set<{}>", of(inner)),
            Type::Tuple(items) => {
                let items: Vec<_> = items.iter().map(of).collect();
                format!("[{}]", items.join(", "))
            }
            Type::Map(Keys::Text | Keys::Bool, inner) => format!("Record<string, {}>", of(inner)),
            // JavaScript accepts a number as a key, and converts it to a string.
            Type::Map(_, inner) => format!("Record<number, {}>", of(inner)),
            Type::OrderedMap(parts) => format!("Map<{}, {}>", of(&parts[0]), of(&parts[1])),
            Type::Named(index) => match place {
                Position::Argument => self.sent[*index].clone(),
                Position::Result => self.names[*index].clone(),
            },
            Type::NdArray(elements) => match place {
                Position::Argument => sent_array(elements),
                Position::Result => array(elements),
            },
            Type::Function(None) => "((...args: any[]) => any)".to_owned(),
            Type::Function(Some(signature)) => self.function(signature, place),
            Type::Stream(parts) => match place {
                Position::Argument => {
                    let inner = of(&parts[0]);
                    format!("AsyncGenerator<{inner}> | Generator<{inner}>")
                }
                Position::Result => format!("AsyncGenerator<{}, void, void>", of(&parts[0])),
            },
        }
    }
}

impl Writer<'_> {
    /// Returns the type of a function at `place`. The service calls a function in an argument, so
    /// the arguments of that function have the types of received values. The caller calls a
    /// function in a result, so its arguments have the types of sent values.
    fn function(&self, signature: &Signature, place: Position) -> String {
        let (sent, returned) = place.of_call();
        let arguments = signature.arguments().iter().enumerate();
        let arguments: Vec<String> = arguments
            .map(|(index, ty)| format!("arg{index}: {}", self.ty(ty, sent)))
            .collect();
        let result = self.returned(signature.result(), place, returned);
        format!("(({}) => {result})", arguments.join(", "))
    }

    /// Returns the type of a call of a function at `place`, whose result has the position
    /// `returned`.
    fn returned(&self, result: &Type, place: Position, returned: Position) -> String {
        match (result, place) {
            // The service ignores the result.
            (Type::Null, Position::Argument) => "any".to_owned(),
            (result, Position::Argument) => {
                let result = self.ty(result, returned);
                format!("{result} | Promise<{result}>")
            }
            (result, Position::Result) => format!("Promise<{}>", self.ty(result, returned)),
        }
    }
}

impl Position {
    /// Returns the positions of the arguments and of the result of a function at this position.
    fn of_call(self) -> (Position, Position) {
        match self {
            Position::Argument => (Position::Result, Position::Argument),
            Position::Result => (Position::Argument, Position::Result),
        }
    }
}

/// Returns the type of an array that a caller sends. Services accept lists of numbers and, for an
/// array with one dimension, a typed array.
fn sent_array(elements: &Elements) -> String {
    let array = array(elements);
    if !elements.is_list() {
        return array;
    }
    let number = match elements.dtype {
        Some(DType::Bool) => "boolean",
        _ => "number",
    };
    match elements.dimensions {
        None => format!("{array} | TypedArray | NestedNumbers"),
        Some(0) => format!("{array} | {number}"),
        Some(1) => format!("{array} | TypedArray | {number}[]"),
        Some(more) => format!("{array} | {number}{}", "[]".repeat(more)),
    }
}

/// Returns the type of an array, with its element type if that is known.
fn array(elements: &Elements) -> String {
    let mut members = Vec::new();
    if let Some(dtype) = &elements.dtype {
        members.push(format!("_rdtype: \"{dtype}\""));
    }
    if let Some(dimensions) = elements.dimensions {
        let lengths = vec!["number"; dimensions];
        members.push(format!("_rshape: [{}]", lengths.join(", ")));
    }
    match &members[..] {
        [] => "NdArray".to_owned(),
        members => format!("(NdArray & {{ {} }})", members.join("; ")),
    }
}

/// Returns whether TypeScript may treat a name as a number.
fn is_number(name: &str) -> bool {
    name.parse::<f64>().is_ok()
}

fn join(parts: impl Iterator<Item = String>) -> String {
    parts.collect::<Vec<_>>().join(" | ")
}

/// Returns the name of a member, in quotes if necessary.
fn key(name: &str) -> String {
    // A method with one of these names would declare a constructor.
    if is_identifier(name) && name != "new" && name != "constructor" {
        return name.to_owned();
    }
    literal(name)
}
