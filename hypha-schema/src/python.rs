//! Writes Python stubs of the service object in the asynchronous Python client.
//!
//! A service becomes a `Protocol` with asynchronous methods. A map becomes a `TypedDict`, a stream
//! becomes an asynchronous generator, and an array becomes a numpy array. If the name of a member
//! is not a Python identifier, the stub declares a `__getitem__` overload for the member.
//!
//! Callers may send more forms of some values than they receive, such as bytes in place of a file.
//! A definition that contains such a value, and that callers both send and receive, is written
//! twice.

use std::collections::HashSet;

use crate::model::Model;
use crate::names::{Names, identifier, is_identifier, pascal, snake};
use crate::raised::{Raised, raised};
use crate::text::{comment_lines, literal};
use crate::types::{Body, Definition, Member, MemberKind, Method, Signature, Struct, Type};
use crate::used::Directions;

/// Keywords of Python. No name may be one of them.
const WORDS: [&str; 35] = [
    "False", "None", "True", "and", "as", "assert", "async", "await", "break", "class", "continue",
    "def", "del", "elif", "else", "except", "finally", "for", "from", "global", "if", "import",
    "in", "is", "lambda", "nonlocal", "not", "or", "pass", "raise", "return", "try", "while",
    "with", "yield",
];

/// Names that stubs import, by module.
const MODULES: [(&str, &[&str]); 7] = [
    (
        "builtins",
        &[
            "bool", "bytes", "dict", "float", "int", "list", "set", "str", "tuple",
        ],
    ),
    ("collections", &["OrderedDict"]),
    (
        "collections.abc",
        &[
            "AsyncGenerator",
            "Awaitable",
            "Callable",
            "Generator",
            "Mapping",
            "Sequence",
        ],
    ),
    ("datetime", &["datetime"]),
    (
        "typing",
        &[
            "Any",
            "IO",
            "Literal",
            "NotRequired",
            "Optional",
            "Protocol",
            "TypeAlias",
            "TypedDict",
            "Union",
            "overload",
        ],
    ),
    ("numpy", &DTYPES),
    ("numpy.typing", &["NDArray"]),
];

/// Names of numpy's element types.
const DTYPES: [&str; 14] = [
    "bool_",
    "complex128",
    "complex64",
    "float16",
    "float32",
    "float64",
    "int16",
    "int32",
    "int64",
    "int8",
    "uint16",
    "uint32",
    "uint64",
    "uint8",
];

/// Members that the client adds to every service.
const ENTRIES: [(&str, &str); 4] = [
    ("id", "str"),
    ("name", "str"),
    ("type", "str"),
    ("config", "Any"),
];

/// Position of a type, because some types differ by position: a stream may be sent as a generator
/// or an asynchronous generator, but is received as an asynchronous generator.
#[derive(Clone, Copy, PartialEq)]
enum Position {
    Argument,
    Result,
    /// In a definition that callers receive, and may also send.
    Member,
}

struct Writer<'a> {
    model: &'a Model,
    /// Names of the definitions.
    names: Vec<String>,
    /// Names of the definitions of sent values. They differ from `names` only for definitions that
    /// are written twice.
    sent: Vec<String>,
    /// The same names as in `names` and `sent`, for lookups.
    types: HashSet<String>,
    /// Names of all members of the service. Inside a class, a member hides a module-level name.
    members: HashSet<String>,
    /// Name of the class of files.
    file: String,
    /// Name of the class of times.
    timestamp: String,
    /// Module-level names that are in use.
    taken: Names,
    text: String,
}

/// Returns the stub file.
pub(crate) fn write(model: &Model) -> String {
    let mut members = HashSet::new();
    member_names(&model.members, &mut members);
    for definition in &model.types.definitions {
        if let Body::Interface(inner) = &definition.body {
            member_names(inner, &mut members);
        }
    }
    let mut reserved: Vec<&str> = MODULES
        .iter()
        .flat_map(|(_, names)| *names)
        .copied()
        .collect();
    reserved.extend(WORDS);
    // Reserve the names of members: inside a class, a member would hide a type with the same name
    // in later annotations.
    reserved.extend(members.iter().map(String::as_str));
    let mut taken = Names::new(&reserved);
    let service = taken.fresh(&pascal(&model.header.short_id));
    let definitions = model.types.definitions.iter();
    let names: Vec<String> = definitions
        .map(|definition| taken.fresh(&pascal(&definition.name)))
        .collect();
    let Directions { sent, received } = model.types.directions(&model.members, true, false);
    let differs = model.types.finder(|ty| {
        matches!(
            ty,
            Type::File | Type::Function(Some(_)) | Type::Object | Type::Stream(_)
        )
    });
    let is_twice = |index: usize| {
        // An object of the caller is a map, or an object that it received.
        let is_object = matches!(model.types.definitions[index].body, Body::Interface(_));
        let is_both = sent.contains(&index) && received.contains(&index);
        is_both && !is_object && differs.is_in(&Type::Named(index))
    };
    let names_of_sent = taken.of_sent(&names, is_twice);
    let mut writer = Writer {
        model,
        types: names.iter().chain(&names_of_sent).cloned().collect(),
        names,
        sent: names_of_sent,
        members,
        file: taken.fresh("RemoteFile"),
        timestamp: taken.fresh("Timestamp"),
        taken,
        text: String::new(),
    };
    if model.uses(|ty| matches!(ty, Type::File)) {
        writer.file_class();
    }
    if model.uses(|ty| matches!(ty, Type::Timestamp)) {
        writer.timestamp_class();
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
            true => Position::Member,
            false => Position::Argument,
        };
        writer.definition(definition, &writer.names[index].clone(), place);
        if is_twice(index) {
            let name = writer.sent[index].clone();
            writer.definition(definition, &name, Position::Argument);
        }
    }
    let entries = ENTRIES
        .iter()
        .filter(|(name, _)| model.members.iter().all(|member| member.name != *name));
    let entries: Vec<_> = entries
        .map(|(name, ty)| format!("{name}: {}", writer.known(ty)))
        .collect();
    writer.class(
        &service,
        &model.header.description,
        &model.members,
        &entries,
    );
    format!(
        "# {}\n{}{}",
        model.header.origin,
        writer.imports(),
        writer.text
    )
}

/// Adds the names of members, including nested ones, to `found`.
fn member_names(members: &[Member], found: &mut HashSet<String>) {
    for member in members {
        found.insert(member.name.clone());
        if let MemberKind::Group(members) = &member.kind {
            member_names(members, found);
        }
    }
}

/// Member that callers access as `service["name"]`, because its name is not an identifier.
struct Keyed {
    key: String,
    ty: String,
}

impl Writer<'_> {
    /// Returns the local name of the import `name`, which is different from the names of all
    /// members of the service.
    fn known(&self, name: &str) -> String {
        match self.members.contains(name) {
            true => format!("_{name}"),
            false => name.to_owned(),
        }
    }

    /// Returns the imports of the names that the stub uses. A stub without arrays does not need
    /// numpy.
    fn imports(&self) -> String {
        let mut imports = String::new();
        for (module, names) in MODULES {
            let used = names.iter().map(|name| (*name, self.known(name)));
            let used = used.filter(|(name, known)| {
                // This may also match inside a string literal or docstring. The import is then
                // unused, but harmless.
                let is_used = match module {
                    // Match with brackets, because a type name can be the end of another type name.
                    "numpy" => self.text.contains(&format!("[{known}]")),
                    _ => self.text.contains(known.as_str()),
                };
                is_used && (module != "builtins" || name != known)
            });
            let used: Vec<String> = used
                .map(|(name, known)| match name == known {
                    true => known,
                    false => format!("{name} as {known}"),
                })
                .collect();
            if !used.is_empty() {
                imports.push_str(&format!("from {module} import {}\n", used.join(", ")));
            }
        }
        imports
    }

    fn line(&mut self, depth: usize, line: &str) {
        self.text.push_str(&"    ".repeat(depth));
        self.text.push_str(line);
        self.text.push('\n');
    }

    /// Writes a docstring, if `text` is not empty. Returns whether it wrote a docstring.
    fn doc(&mut self, depth: usize, text: &str) -> bool {
        let lines: Vec<String> = comment_lines(text)
            .iter()
            .map(|line| escaped(line))
            .collect();
        match &lines[..] {
            [] => return false,
            [line] => {
                let line = format!("\"\"\"{line}\"\"\"");
                self.line(depth, &line);
            }
            [first, rest @ ..] => {
                self.line(depth, &format!("\"\"\"{first}"));
                for line in rest {
                    match line.is_empty() {
                        true => self.line(0, ""),
                        false => self.line(depth, line),
                    }
                }
                self.line(depth, "\"\"\"");
            }
        }
        true
    }

    fn definition(&mut self, definition: &Definition, name: &str, place: Position) {
        self.text.push('\n');
        let alias = match &definition.body {
            Body::Struct(body) if body.flattened.is_empty() => {
                return self.dictionary(body, &definition.description, name, place);
            }
            // A `TypedDict` has no alternatives.
            Body::Struct(body) => match self.model.types.expanded(body) {
                Some(alternatives) => {
                    let mut names = Vec::new();
                    for (suffix, body) in alternatives {
                        let name = self.taken.fresh(&format!("{name}{suffix}"));
                        self.dictionary(&body, "", &name, place);
                        self.text.push('\n');
                        names.push(name);
                    }
                    format!("{}[{}]", self.known("Union"), names.join(", "))
                }
                None => {
                    let (dict, any) = (self.known("dict"), self.known("Any"));
                    format!("{dict}[{}, {any}]", self.known("str"))
                }
            },
            Body::Words(words) => {
                let words: Vec<_> = words.iter().map(|word| literal(&word.text)).collect();
                format!("{}[{}]", self.known("Literal"), words.join(", "))
            }
            Body::Choice(choice) => {
                let variants = choice.variants.iter();
                let variants: Vec<_> = variants
                    .map(|variant| self.ty(&variant.ty, place))
                    .collect();
                format!("{}[{}]", self.known("Union"), variants.join(", "))
            }
            Body::Alias(ty) => self.ty(ty, place),
            Body::Interface(members) => {
                return self.class(name, &definition.description, members, &[]);
            }
        };
        self.line(0, &format!("{name}: {} = {alias}", self.known("TypeAlias")));
        self.doc(0, &definition.description);
    }

    fn dictionary(&mut self, body: &Struct, description: &str, name: &str, place: Position) {
        let fields: Vec<(String, String)> = body
            .fields
            .iter()
            .map(|field| {
                let ty = self.ty(&field.ty, place);
                match field.optional {
                    true => (
                        field.name.clone(),
                        format!("{}[{ty}]", self.known("NotRequired")),
                    ),
                    false => (field.name.clone(), ty),
                }
            })
            .collect();
        // Inside a class, a field hides a module-level type with the same name.
        let hides = |name: &String| {
            self.types.contains(name)
                || MODULES
                    .iter()
                    .any(|(_, names)| names.contains(&name.as_str()))
        };
        if fields.iter().any(|(name, _)| !is_name(name) || hides(name)) {
            let fields: Vec<_> = fields
                .iter()
                .map(|(name, ty)| format!("{}: {ty}", literal(name)))
                .collect();
            let fields = fields.join(", ");
            let dictionary = self.known("TypedDict");
            return self.line(
                0,
                &format!("{name} = {dictionary}({}, {{{fields}}})", literal(name)),
            );
        }
        self.line(0, &format!("class {name}({}):", self.known("TypedDict")));
        let documented = self.doc(1, description);
        if !documented && fields.is_empty() {
            self.line(1, "...");
        }
        for ((name, ty), field) in fields.iter().zip(&body.fields) {
            self.line(1, &format!("{name}: {ty}"));
            self.doc(1, &field.description);
        }
    }

    /// Writes the class of a service or group, after the classes of its nested groups.
    fn class(&mut self, name: &str, description: &str, members: &[Member], entries: &[String]) {
        // Write the classes of nested groups first, because this class uses them.
        let groups: Vec<Option<String>> = members
            .iter()
            .map(|member| match &member.kind {
                MemberKind::Group(members) => {
                    let group = self.taken.fresh(&format!("{name}{}", pascal(&member.name)));
                    self.class(&group, "", members, &[]);
                    Some(group)
                }
                _ => None,
            })
            .collect();
        self.text.push('\n');
        self.line(0, &format!("class {name}({}):", self.known("Protocol")));
        let mut empty = !self.doc(1, description) && entries.is_empty();
        for entry in entries {
            self.line(1, entry);
        }
        let mut keyed = Vec::new();
        for (member, group) in members.iter().zip(groups) {
            let ty = match (&member.kind, group) {
                (MemberKind::Method(method), _) if is_name(&member.name) => {
                    empty = false;
                    self.method(method, &member.name);
                    continue;
                }
                (MemberKind::Method(method), _) => {
                    let returns = self.ty(&method.returns, Position::Result);
                    let (callable, awaitable) = (self.known("Callable"), self.known("Awaitable"));
                    format!("{callable}[..., {awaitable}[{returns}]]")
                }
                (MemberKind::Value(ty), _) => self.ty(ty, Position::Result),
                (MemberKind::Group(_), group) => group.unwrap_or_else(|| self.known("Any")),
            };
            empty = false;
            match is_name(&member.name) {
                true => self.line(1, &format!("{}: {ty}", member.name)),
                false => keyed.push(Keyed {
                    key: literal(&member.name),
                    ty,
                }),
            }
        }
        for Keyed { key, ty } in &keyed {
            // mypy rejects a single overload.
            if keyed.len() > 1 {
                let overload = self.known("overload");
                self.line(1, &format!("@{overload}"));
            }
            let key = format!("{}[{key}]", self.known("Literal"));
            self.line(
                1,
                &format!("def __getitem__(self, name: {key}, /) -> {ty}: ..."),
            );
        }
        if empty {
            self.line(1, "...");
        }
    }

    /// Writes the class of files.
    fn file_class(&mut self) {
        let (protocol, any) = (self.known("Protocol"), self.known("Any"));
        let (int, name) = (self.known("int"), self.file.clone());
        self.text.push('\n');
        self.line(0, &format!("class {name}({protocol}):"));
        let text = "A file of another program, which these functions read and write there.";
        self.doc(1, text);
        self.line(1, &format!("name: {any}"));
        self.line(1, &format!("size: {any}"));
        self.line(
            1,
            &format!("async def read(self, size: {int} = ...) -> {any}: ..."),
        );
        self.line(
            1,
            &format!("async def seek(self, offset: {int}) -> {any}: ..."),
        );
        self.line(
            1,
            &format!(
                "def __getattr__(self, name: {}) -> {any}: ...",
                self.known("str")
            ),
        );
    }

    /// Writes the class of times. It has the members of the class of the client's msgpack library,
    /// which has no types.
    fn timestamp_class(&mut self) {
        let (protocol, name) = (self.known("Protocol"), self.timestamp.clone());
        let (int, float) = (self.known("int"), self.known("float"));
        self.text.push('\n');
        self.line(0, &format!("class {name}({protocol}):"));
        self.doc(1, "A point in time, as the client receives it.");
        self.line(1, &format!("seconds: {int}"));
        self.line(1, &format!("nanoseconds: {int}"));
        self.line(1, &format!("def to_unix(self) -> {float}: ..."));
        self.line(1, &format!("def to_unix_nano(self) -> {int}: ..."));
        let datetime = self.known("datetime");
        self.line(1, &format!("def to_datetime(self) -> {datetime}: ..."));
    }

    fn method(&mut self, method: &Method, name: &str) {
        let mut written = vec!["self".to_owned()];
        let mut taken = Names::new(&[&WORDS[..], &["self"]].concat());
        let mut texts = Vec::new();
        match &method.parameters {
            None => {
                let any = self.known("Any");
                written.push(format!("*args: {any}, **kwargs: {any}"));
            }
            Some(parameters) => {
                let mut positional = 0;
                for (index, parameter) in parameters.iter().enumerate() {
                    // Rename the argument, because Python mangles names with two leading `_` inside
                    // a class.
                    let wanted = match parameter.name.starts_with("__") {
                        true => snake(&parameter.name),
                        false => identifier(&parameter.name),
                    };
                    let name = taken.fresh(&wanted);
                    if name != parameter.name {
                        // A renamed argument must be positional, and so must all arguments before
                        // it.
                        positional = written.len() + 1;
                    }
                    let ty = self.ty(&parameter.ty, Position::Argument);
                    // Python permits no required argument after an optional argument.
                    let last = parameters[index..]
                        .iter()
                        .all(|parameter| parameter.optional);
                    let default = if last { " = ..." } else { "" };
                    written.push(format!("{name}: {ty}{default}"));
                    if !parameter.description.is_empty() {
                        texts.push(format!("{name}: {}", parameter.description));
                    }
                }
                if positional > 0 {
                    written.insert(positional, "/".to_owned());
                }
            }
        }
        let returns = self.ty(&method.returns, Position::Result);
        let head = format!("async def {name}({}) -> {returns}:", written.join(", "));
        let mut text = method.description.trim().to_owned();
        if !texts.is_empty() {
            text.push_str("\n\nArgs:");
            for line in texts {
                text.push_str("\n    ");
                text.push_str(&comment_lines(&line).join(" "));
            }
        }
        let raised = raised(&self.model.types, &method.error);
        if !raised.is_empty() {
            text.push_str("\n\nRaises:");
            for Raised { class, text: name } in raised {
                let class = class.unwrap_or("Exception");
                text.push_str("\n    ");
                text.push_str(&comment_lines(&format!("{class}: {name}")).join(" "));
            }
        }
        if comment_lines(&text).is_empty() {
            return self.line(1, &format!("{head} ..."));
        }
        self.line(1, &head);
        self.doc(2, &text);
        self.line(2, "...");
    }

    /// Returns a type in Python syntax.
    fn ty(&self, ty: &Type, place: Position) -> String {
        let of = |inner: &Type| self.ty(inner, place);
        let known = |name| self.known(name);
        let is_sent = place == Position::Argument;
        // Formats `name[..]`.
        let made = |name, of: &[String]| format!("{}[{}]", self.known(name), of.join(", "));
        if let Some(word) = self.model.types.only_word(ty) {
            return made("Literal", &[literal(word)]);
        }
        match ty {
            Type::Any | Type::Object => known("Any"),
            Type::Failure => made("dict", &[known("str"), known("Any")]),
            Type::File => match place {
                Position::Argument => {
                    let io = made("IO", &[known("Any")]);
                    made("Union", &[io, known("bytes"), self.file.clone()])
                }
                Position::Result | Position::Member => self.file.clone(),
            },
            Type::Null => "None".to_owned(),
            Type::Bool => known("bool"),
            Type::Integer(_) => known("int"),
            Type::Number | Type::Single | Type::Duration => known("float"),
            Type::Text | Type::Character => known("str"),
            Type::Bytes => known("bytes"),
            // The client receives the timestamp type of its msgpack library, but cannot send it. It
            // sends a number of seconds.
            Type::Timestamp => match place {
                Position::Argument => known("float"),
                Position::Result => self.timestamp.clone(),
                Position::Member => made("Union", &[known("float"), self.timestamp.clone()]),
            },
            Type::Literals(values) => {
                let written: Option<Vec<_>> = values.iter().map(literal_value).collect();
                written.map_or_else(|| known("Any"), |values| made("Literal", &values))
            }
            Type::Optional(inner) => made("Optional", &[of(inner)]),
            Type::List(inner) | Type::Fixed(inner, _) | Type::Unique(inner) => {
                // A list of integers is no list of numbers, but a sequence of numbers.
                made(if is_sent { "Sequence" } else { "list" }, &[of(inner)])
            }
            Type::Set(inner) => made("set", &[of(inner)]),
            // Tuples arrive as lists.
            Type::Tuple(_) if place == Position::Result => made("list", &[known("Any")]),
            Type::Tuple(_) if place == Position::Member => made("Sequence", &[known("Any")]),
            Type::Tuple(items) => {
                let tuple = match &items[..] {
                    [] => made("tuple", &["()".to_owned()]),
                    items => made("tuple", &items.iter().map(of).collect::<Vec<_>>()),
                };
                made("Union", &[tuple, made("list", &[known("Any")])])
            }
            // The keys are sent as strings.
            Type::Map(_, inner) => {
                let name = if is_sent { "Mapping" } else { "dict" };
                made(name, &[known("str"), of(inner)])
            }
            Type::OrderedMap(parts) => made("OrderedDict", &[of(&parts[0]), of(&parts[1])]),
            Type::Named(index) => {
                let name = self.names[*index].clone();
                let sent = self.sent[*index].clone();
                match self.model.types.definitions[*index].body {
                    // A dictionary with the types of received values has other types of members, so
                    // mypy does not accept it as a sent one.
                    _ if is_sent && sent != name => made("Union", &[name, sent]),
                    // As an argument, a program passes a map of functions, or an object that it
                    // received.
                    Body::Interface(_) if place == Position::Argument => {
                        let functions = made("dict", &[known("str"), known("Any")]);
                        made("Union", &[name, functions])
                    }
                    _ => name,
                }
            }
            Type::NdArray(elements) => {
                let element = elements.dtype.as_ref().map(ToString::to_string);
                let element = match element.as_deref() {
                    None => "Any",
                    Some("bool") => "bool_",
                    Some(name) => DTYPES
                        .iter()
                        .find(|dtype| **dtype == name)
                        .unwrap_or(&"Any"),
                };
                made("NDArray", &[known(element)])
            }
            Type::Function(None) => made("Callable", &["...".to_owned(), known("Any")]),
            Type::Function(Some(signature)) => self.function(signature, place),
            Type::Stream(parts) => {
                let inner = of(&parts[0]);
                match place {
                    Position::Argument => {
                        let generators = [
                            made("AsyncGenerator", &[inner.clone(), known("Any")]),
                            made("Generator", &[inner, known("Any"), known("Any")]),
                        ];
                        made("Union", &generators)
                    }
                    Position::Result | Position::Member => {
                        made("AsyncGenerator", &[inner, "None".to_owned()])
                    }
                }
            }
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
            Position::Result | Position::Member => (Position::Argument, Position::Result),
        };
        let arguments = signature.arguments().iter();
        let arguments: Vec<String> = arguments.map(|ty| self.ty(ty, sent)).collect();
        let arguments = format!("[{}]", arguments.join(", "));
        let (callable, awaitable) = (self.known("Callable"), self.known("Awaitable"));
        let result = match (signature.result(), place) {
            // The service ignores the result.
            (Type::Null, Position::Argument) => self.known("Any"),
            (result, Position::Argument) => {
                let result = self.ty(result, returned);
                format!("{}[{result}, {awaitable}[{result}]]", self.known("Union"))
            }
            (result, _) => format!("{awaitable}[{}]", self.ty(result, returned)),
        };
        format!("{callable}[{arguments}, {result}]")
    }
}

/// Returns a line for a docstring. Escapes backslashes, and quotes that would end the docstring.
fn escaped(line: &str) -> String {
    let mut escaped = String::new();
    let mut chars = line.chars().peekable();
    let mut last = ' ';
    while let Some(c) = chars.next() {
        if c == '\\' || (c == '"' && (last == '"' || chars.peek().is_none())) {
            escaped.push('\\');
        }
        escaped.push(c);
        last = c;
    }
    escaped
}

/// Returns a value in `Literal` syntax; `None` for values that `Literal` does not accept, such as
/// fractions.
fn literal_value(value: &serde_json::Value) -> Option<String> {
    use serde_json::Value as Json;
    match value {
        Json::String(text) => Some(literal(text)),
        Json::Bool(value) => Some(if *value { "True" } else { "False" }.to_owned()),
        // mypy rejects larger integers.
        Json::Number(number) if number.is_i64() => Some(number.to_string()),
        Json::Null => Some("None".to_owned()),
        _ => None,
    }
}

/// Returns whether a class member can have this name. Python mangles names with two leading `_`, or
/// gives them a special meaning.
fn is_name(name: &str) -> bool {
    is_identifier(name) && !name.starts_with("__") && !WORDS.contains(&name)
}
