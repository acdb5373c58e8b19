//! Writes TypeScript declarations of the service object in the JavaScript client.
//!
//! Methods return promises. A stream becomes an asynchronous generator, and a callback becomes any
//! function. An array becomes the map that the client returns if no array library is loaded.

use crate::model::Model;
use crate::names::{Names, identifier, is_identifier, pascal};
use crate::raised::raised;
use crate::text::{comment_lines, literal};
use crate::types::{
    Body, Definition, Elements, Field, Keys, Member, MemberKind, Method, Signature, Type,
};

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
const TYPES: [&str; 10] = [
    "Array",
    "ArrayBuffer",
    "AsyncGenerator",
    "Date",
    "Generator",
    "Map",
    "Promise",
    "Record",
    "Set",
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
    text: String,
}

/// Returns the declaration file.
pub(crate) fn write(model: &Model) -> String {
    let mut taken = Names::new(&[&TYPES[..], &["NdArray", "RemoteFile"]].concat());
    let service = taken.fresh(&pascal(&model.header.short_id));
    let definitions = model.types.definitions.iter();
    let names = definitions
        .map(|definition| taken.fresh(&pascal(&definition.name)))
        .collect();
    let mut writer = Writer {
        model,
        names,
        text: format!("// {}\n", model.header.origin),
    };
    writer.text.push('\n');
    if model.uses_arrays() {
        writer.text.push_str(ND_ARRAY);
        writer.text.push('\n');
    }
    if model.uses(|ty| matches!(ty, Type::File)) {
        writer.text.push_str(REMOTE_FILE);
        writer.text.push('\n');
    }
    let used = model.types.used(&model.members, false);
    for (index, name) in writer.names.clone().into_iter().enumerate() {
        if !used.contains(&index) {
            continue;
        }
        // Skip a definition with a single string, which is written as a literal where it is used.
        if model.types.only_word(&Type::Named(index)).is_some() {
            continue;
        }
        let definition = &model.types.definitions[index];
        writer.definition(definition, &name);
        writer.text.push('\n');
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
    writer.members(&model.members, 1);
    writer.text.push_str("}\n");
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

    fn definition(&mut self, definition: &Definition, name: &str) {
        self.comment(0, &definition.description, &[]);
        let alias = match &definition.body {
            Body::Struct(body) => {
                let head = match body.flattened.is_empty() {
                    true => format!("export interface {name} {{"),
                    false => format!("export type {name} = {{"),
                };
                self.line(0, &head);
                for field in &body.fields {
                    self.field(field);
                }
                match &body.others {
                    // The types of members whose names are no numbers may differ from the type of
                    // this index signature.
                    Some(Type::Map(Keys::Integer(_), values))
                        if body.fields.iter().all(|field| !is_number(&field.name)) =>
                    {
                        let values = self.ty(values, Position::Result);
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
                    Type::Optional(inner) => {
                        format!("({} | {{}})", self.ty(inner, Position::Result))
                    }
                    ty => self.ty(ty, Position::Result),
                });
                let flattened: Vec<String> = flattened.collect();
                return self.line(0, &format!("}} & {};", flattened.join(" & ")));
            }
            Body::Words(words) => join(words.iter().map(|word| literal(&word.text))),
            Body::Choice(choice) => join(choice.variants.iter().map(|variant| match variant.ty {
                Type::Null => "null".to_owned(),
                ref ty => self.ty(ty, Position::Result),
            })),
            Body::Alias(ty) => self.ty(ty, Position::Result),
            Body::Interface(members) => {
                self.line(0, &format!("export interface {name} {{"));
                self.members(members, 1);
                return self.line(0, "}");
            }
        };
        self.line(0, &format!("export type {name} = {alias};"));
    }

    fn field(&mut self, field: &Field) {
        self.comment(1, &field.description, &[]);
        let mark = if field.optional { "?" } else { "" };
        let ty = self.ty(&field.ty, Position::Result);
        self.line(1, &format!("{}{mark}: {ty};", key(&field.name)));
    }

    fn members(&mut self, members: &[Member], depth: usize) {
        for member in members {
            let key = key(&member.name);
            match &member.kind {
                MemberKind::Method(method) => self.method(method, &key, depth),
                MemberKind::Group(members) => {
                    self.line(depth, &format!("{key}: {{"));
                    self.members(members, depth + 1);
                    self.line(depth, "};");
                }
                MemberKind::Value(ty) => {
                    let ty = self.ty(ty, Position::Result);
                    self.line(depth, &format!("{key}: {ty};"));
                }
            }
        }
    }

    fn method(&mut self, method: &Method, key: &str, depth: usize) {
        let mut taken = Names::new(&WORDS);
        let mut written = Vec::new();
        let mut texts = Vec::new();
        match &method.parameters {
            None => written.push("...args: any[]".to_owned()),
            Some(parameters) => {
                for (index, parameter) in parameters.iter().enumerate() {
                    let name = taken.fresh(&identifier(&parameter.name));
                    let ty = self.ty(&parameter.ty, Position::Argument);
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
        let returns = self.ty(&method.returns, Position::Result);
        let parameters = written.join(", ");
        self.line(depth, &format!("{key}({parameters}): Promise<{returns}>;"));
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
                Position::Argument => format!("RemoteFile | {BLOB}"),
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
            Type::Named(index) => self.names[*index].clone(),
            Type::NdArray(elements) => array(elements),
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
        let (sent, returned) = match place {
            Position::Argument => (Position::Result, Position::Argument),
            Position::Result => (Position::Argument, Position::Result),
        };
        let arguments = signature.arguments().iter().enumerate();
        let arguments: Vec<String> = arguments
            .map(|(index, ty)| format!("arg{index}: {}", self.ty(ty, sent)))
            .collect();
        let result = match (signature.result(), place) {
            // The service ignores the result.
            (Type::Null, Position::Argument) => "any".to_owned(),
            (result, Position::Argument) => {
                let result = self.ty(result, returned);
                format!("{result} | Promise<{result}>")
            }
            (result, Position::Result) => format!("Promise<{}>", self.ty(result, returned)),
        };
        format!("(({}) => {result})", arguments.join(", "))
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
