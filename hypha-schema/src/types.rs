//! Types of values, independent of any language. The module `read` builds them from schemas; the
//! writer of each language reads them.
//!
//! One list holds all definitions: first the types named by their author, then unnamed types that
//! need a name. A definition whose index is less than the number of `schemas` must keep its name;
//! all other definitions may be inlined or renamed.

use std::collections::HashSet;

use hypha_wire::{DType, keys};
use serde_json::{Map, Value as Json};

use crate::room::Room;

/// Keywords of a schema, with their values. A keyword of an inner schema, such as that of the items
/// of a list, follows the path of this schema: `items/minimum`.
pub(crate) type Limits = Map<String, Json>;

/// Type of a value.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Type {
    Any,
    Null,
    Bool,
    Integer(Integer),
    Number,
    /// A number with the precision of an `f32`.
    Single,
    Text,
    Bytes,
    Timestamp,
    Duration,
    /// One of these values, not all of which are strings.
    Literals(Vec<Json>),
    /// A single character.
    Character,
    Optional(Box<Type>),
    List(Box<Type>),
    /// A list of this length.
    Fixed(Box<Type>, usize),
    /// A list without duplicates.
    Unique(Box<Type>),
    Set(Box<Type>),
    Tuple(Vec<Type>),
    Map(Keys, Box<Type>),
    /// The types of its keys and values.
    OrderedMap(Vec<Type>),
    /// The definition with this index.
    Named(usize),
    NdArray(Elements),
    /// A function, with its signature if that is known.
    Function(Option<Signature>),
    /// A stream: the type of its items, then the type of the error that can end the stream, if
    /// there is one.
    Stream(Vec<Type>),
    File,
    /// The failure of a call, `hypha_rpc::Error`.
    Failure,
    /// An object with unknown functions.
    Object,
}

/// Keys of a map.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Keys {
    Text,
    Bool,
    Integer(Integer),
}

/// Integer type of Rust.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Integer {
    I8,
    I16,
    I32,
    I64,
    I128,
    Isize,
    U8,
    U16,
    U32,
    U64,
    U128,
    Usize,
}

impl Integer {
    const ALL: [Integer; 12] = [
        Integer::I8,
        Integer::I16,
        Integer::I32,
        Integer::I64,
        Integer::I128,
        Integer::Isize,
        Integer::U8,
        Integer::U16,
        Integer::U32,
        Integer::U64,
        Integer::U128,
        Integer::Usize,
    ];

    /// Returns the type that a schema names, or the type with the bounds of the schema.
    pub(crate) fn of(schema: &Map<String, Json>) -> Integer {
        let dtype = schema.get(keys::SCHEMA_DTYPE).and_then(Json::as_str);
        let named = dtype.and_then(|dtype| Self::ALL.into_iter().find(|ty| ty.dtype() == dtype));
        if let Some(named) = named {
            return named;
        }
        let bound = |key: &str| schema.get(key).and_then(Json::as_f64);
        let (least, most) = (bound("minimum"), bound("maximum"));
        // Compared as `f64`, because the bounds of 64-bit types are not in schemas: a program that
        // reads every JSON number as an `f64` cannot represent them.
        #[allow(clippy::cast_precision_loss)]
        let number = |bound: Option<i128>| bound.map(|bound| bound as f64);
        let small = Self::ALL.into_iter().find(|ty| {
            let (from, to) = ty.stated();
            to.is_some() && ty.is_usual() && (number(from), number(to)) == (least, most)
        });
        small.unwrap_or(match least.is_some_and(|least| least >= 0.0) {
            true => Integer::U64,
            false => Integer::I64,
        })
    }

    /// Returns the name of the type in Rust.
    pub(crate) fn rust(self) -> &'static str {
        match self {
            Integer::I8 => "i8",
            Integer::I16 => "i16",
            Integer::I32 => "i32",
            Integer::I64 => "i64",
            Integer::I128 => "i128",
            Integer::Isize => "isize",
            Integer::U8 => "u8",
            Integer::U16 => "u16",
            Integer::U32 => "u32",
            Integer::U64 => "u64",
            Integer::U128 => "u128",
            Integer::Usize => "usize",
        }
    }

    /// Returns the name of the type in schemas.
    fn dtype(self) -> &'static str {
        match self {
            Integer::I8 => "int8",
            Integer::I16 => "int16",
            Integer::I32 => "int32",
            Integer::I64 => "int64",
            Integer::I128 => "int128",
            Integer::Isize => "intp",
            Integer::U8 => "uint8",
            Integer::U16 => "uint16",
            Integer::U32 => "uint32",
            Integer::U64 => "uint64",
            Integer::U128 => "uint128",
            Integer::Usize => "uintp",
        }
    }

    /// Returns whether a schema with the bounds of this type means this type, if it names no type.
    fn is_usual(self) -> bool {
        !matches!(
            self,
            Integer::I128 | Integer::U128 | Integer::Isize | Integer::Usize
        )
    }

    /// Returns the minimum and maximum in the schema of this type.
    pub(crate) fn stated(self) -> (Option<i128>, Option<i128>) {
        match self {
            Integer::I64 | Integer::Isize => (None, None),
            Integer::U64 | Integer::Usize => (Some(0), None),
            other => {
                let (least, most) = other.range();
                (Some(least), Some(most))
            }
        }
    }

    /// Returns the least and the largest value that can be sent.
    pub(crate) fn range(self) -> (i128, i128) {
        match self {
            Integer::I8 => (i8::MIN.into(), i8::MAX.into()),
            Integer::I16 => (i16::MIN.into(), i16::MAX.into()),
            Integer::I32 => (i32::MIN.into(), i32::MAX.into()),
            Integer::I64 | Integer::Isize => (i64::MIN.into(), i64::MAX.into()),
            Integer::I128 => (i64::MIN.into(), u64::MAX.into()),
            Integer::U8 => (0, u8::MAX.into()),
            Integer::U16 => (0, u16::MAX.into()),
            Integer::U32 => (0, u32::MAX.into()),
            Integer::U64 | Integer::U128 | Integer::Usize => (0, u64::MAX.into()),
        }
    }
}

/// Arguments, result and errors of a function.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Signature {
    /// Types of the arguments, then of the result, then of the error if the function can fail.
    types: Vec<Type>,
    arguments: usize,
}

impl Signature {
    pub(crate) fn new(mut arguments: Vec<Type>, result: Type, error: Option<Type>) -> Signature {
        let count = arguments.len();
        arguments.push(result);
        arguments.extend(error);
        Signature {
            types: arguments,
            arguments: count,
        }
    }

    pub(crate) fn arguments(&self) -> &[Type] {
        &self.types[..self.arguments]
    }

    pub(crate) fn result(&self) -> &Type {
        &self.types[self.arguments]
    }

    pub(crate) fn error(&self) -> Option<&Type> {
        self.types.get(self.arguments + 1)
    }
}

/// Properties of a variant of an error type.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct ErrorFacts {
    /// Name on the wire.
    pub(crate) name: String,
    /// Classes of exceptions in other languages that become this variant.
    pub(crate) classes: Vec<String>,
    /// Whether all errors that match no other variant become this variant.
    pub(crate) other: bool,
    /// Message, with the names of fields in braces.
    pub(crate) message: Option<String>,
    /// Field that contains the cause: the name of a member, or the index of an item.
    pub(crate) source: Option<String>,
    /// Whether the error is made of its cause.
    pub(crate) from: bool,
    /// Whether the error passes on the message and the causes of its only field.
    pub(crate) transparent: bool,
}

impl ErrorFacts {
    /// Reads the facts from the schema of a variant.
    pub(crate) fn of(schema: &Json) -> Option<ErrorFacts> {
        let facts = schema.get(keys::SCHEMA_VARIANT)?;
        let text = |key: &str| facts.get(key).and_then(Json::as_str).map(str::to_owned);
        let classes = facts.get("classes").and_then(Json::as_array);
        let classes = classes.into_iter().flatten().filter_map(Json::as_str);
        let is = |key: &str| facts.get(key) == Some(&Json::Bool(true));
        Some(ErrorFacts {
            name: text("name")?,
            classes: classes.map(str::to_owned).collect(),
            other: is("other"),
            message: text("message"),
            source: text("source"),
            from: is("from"),
            transparent: is("transparent"),
        })
    }
}

/// Properties of an array, if they are known.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Elements {
    /// Type of the elements.
    pub(crate) dtype: Option<DType>,
    /// Number of dimensions.
    pub(crate) dimensions: Option<usize>,
}

impl Elements {
    /// Returns whether services accept nested lists of numbers in place of the array.
    pub(crate) fn is_list(&self) -> bool {
        !matches!(self.dtype, Some(DType::Complex64 | DType::Complex128))
    }

    /// Reads the element type and number of dimensions from a schema.
    pub(crate) fn of(schema: &Map<String, Json>) -> Elements {
        let dtype = schema.get(keys::SCHEMA_DTYPE).and_then(Json::as_str);
        let dtype = dtype.map(|name| DType::parse(name).0);
        let dimensions = schema.get(keys::SCHEMA_DIMENSIONS).and_then(Json::as_u64);
        Elements {
            dtype: dtype.filter(|dtype| dtype.item_size().is_some()),
            // Ignore more than numpy's maximum number of dimensions.
            dimensions: dimensions
                .filter(|dimensions| *dimensions <= 64)
                .and_then(|dimensions| usize::try_from(dimensions).ok()),
        }
    }
}

/// Type with a name.
#[derive(Clone, Debug)]
pub(crate) struct Definition {
    /// Name given by the author, or derived from the names around the type. Not unique.
    pub(crate) name: String,
    pub(crate) description: String,
    pub(crate) body: Body,
    /// Properties of the error, if this definition is a struct that is an error.
    pub(crate) error: Option<ErrorFacts>,
}

/// Content of a definition.
#[derive(Clone, Debug)]
pub(crate) enum Body {
    Struct(Struct),
    /// One of these strings.
    Words(Vec<Word>),
    Choice(Choice),
    Alias(Type),
    /// An object with these methods.
    Interface(Vec<Member>),
}

/// Object with known members.
#[derive(Clone, Debug, Default)]
pub(crate) struct Struct {
    pub(crate) fields: Vec<Field>,
    /// Definition whose fields this struct also has. In `fields`, they follow the struct's own
    /// fields.
    pub(crate) base: Option<usize>,
    /// Types whose members this struct also has, each with alternatives: enums, or an `Optional`
    /// if a value may have none of their members.
    pub(crate) flattened: Vec<Type>,
    /// Whether members other than these are rejected.
    pub(crate) closed: bool,
    /// Map of the members other than these, if their type is known.
    pub(crate) others: Option<Type>,
    /// Keywords that restrict the values of `others`.
    pub(crate) limits_of_others: Limits,
}

#[derive(Clone, Debug)]
pub(crate) struct Field {
    pub(crate) name: String,
    pub(crate) description: String,
    pub(crate) ty: Type,
    pub(crate) optional: bool,
    /// Whether the schema permits null. If not, only the default is null, or `ty` does not include
    /// null.
    pub(crate) nullable: bool,
    pub(crate) default: Option<Json>,
    /// Keywords of the schema that restrict the values.
    pub(crate) limits: Limits,
}

#[derive(Clone, Debug)]
pub(crate) struct Word {
    pub(crate) text: String,
    pub(crate) description: String,
    pub(crate) error: Option<ErrorFacts>,
}

/// Union of several types.
#[derive(Clone, Debug)]
pub(crate) struct Choice {
    /// Whether a value must match exactly one type (`oneOf`).
    pub(crate) exactly_one: bool,
    /// Whether the members of the variants are beside those of a struct.
    pub(crate) is_flattened: bool,
    pub(crate) variants: Vec<Variant>,
}

#[derive(Clone, Debug)]
pub(crate) struct Variant {
    pub(crate) ty: Type,
    /// Keywords of the schema that restrict the values.
    pub(crate) limits: Limits,
    pub(crate) description: String,
    pub(crate) error: Option<ErrorFacts>,
}

/// A member of a service or of a group.
#[derive(Clone, Debug)]
pub(crate) struct Member {
    /// Key in the service, or in the group that contains the member.
    pub(crate) name: String,
    pub(crate) kind: MemberKind,
}

/// Kind of a member.
#[derive(Clone, Debug)]
pub(crate) enum MemberKind {
    Method(Box<Method>),
    /// A map with its own members.
    Group(Vec<Member>),
    /// Data.
    Value(Type),
}

/// A method of the service.
#[derive(Clone, Debug)]
pub(crate) struct Method {
    /// Names from the service down to the method, joined with dots, such as `stage.move`.
    pub(crate) path: String,
    pub(crate) description: String,
    /// Parameters in order. `None` if they are unknown.
    pub(crate) parameters: Option<Vec<Parameter>>,
    pub(crate) returns: Type,
    /// Schema of the result.
    pub(crate) returns_schema: Json,
    /// Type of the errors, if the method can fail with errors of its own, beside the errors of any
    /// call.
    pub(crate) error: Option<Type>,
    /// Schema of the errors.
    pub(crate) error_schema: Option<Json>,
}

/// A parameter of a method.
#[derive(Clone, Debug)]
pub(crate) struct Parameter {
    pub(crate) name: String,
    pub(crate) description: String,
    pub(crate) ty: Type,
    /// Whether callers may omit the argument.
    pub(crate) optional: bool,
    pub(crate) default: Option<Json>,
    /// Keywords of the schema that restrict the values.
    pub(crate) limits: Limits,
    pub(crate) schema: Json,
}

/// Returns all methods among members, including those of groups.
pub(crate) fn methods(members: &[Member]) -> Vec<&Method> {
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
    visit(members, &mut found);
    found
}

/// All types of a service.
#[derive(Debug)]
pub(crate) struct Types {
    /// Definitions. The definitions named by their authors come first.
    pub(crate) definitions: Vec<Definition>,
    /// Schemas of the definitions named by their authors.
    pub(crate) schemas: Vec<Json>,
    /// Nesting depth of unnamed types around the type being read.
    pub(crate) depth: usize,
    /// Bytes of schemas that may still be extended by the members around them.
    pub(crate) copies: Room,
}

impl Types {
    /// Replaces each definition that consists only of itself with the type of any value, because no
    /// language accepts an alias of itself. Returns the indices of these definitions.
    pub(crate) fn finish(&mut self) -> Vec<usize> {
        let mut endless = Vec::new();
        for index in 0..self.definitions.len() {
            let mut seen = HashSet::new();
            let mut waiting = self.direct(index);
            while let Some(next) = waiting.pop() {
                if next == index {
                    self.definitions[index].body = Body::Alias(Type::Any);
                    endless.push(index);
                    break;
                }
                if seen.insert(next) {
                    waiting.extend(self.direct(next));
                }
            }
        }
        endless
    }

    /// Returns the definitions that may be the whole value of this definition, and not only a part:
    /// the target of an alias, or the variants of a choice.
    fn direct(&self, index: usize) -> Vec<usize> {
        fn visit(ty: &Type, found: &mut Vec<usize>) {
            match ty {
                Type::Named(index) => found.push(*index),
                Type::Optional(inner) => visit(inner, found),
                _ => {}
            }
        }
        let mut found = Vec::new();
        match &self.definitions[index].body {
            Body::Alias(ty) => visit(ty, &mut found),
            Body::Choice(choice) => {
                for variant in &choice.variants {
                    visit(&variant.ty, &mut found);
                }
            }
            Body::Struct(_) | Body::Words(_) | Body::Interface(_) => {}
        }
        found
    }

    /// Returns a [`Finder`] for types whose values may contain a type that `wanted` accepts.
    pub(crate) fn finder(&self, wanted: fn(&Type) -> bool) -> Finder {
        // Propagate the result from the definitions that contain such a type to the definitions
        // that refer to them.
        let mut users: Vec<Vec<usize>> = vec![Vec::new(); self.definitions.len()];
        let mut found = vec![false; self.definitions.len()];
        let mut waiting = Vec::new();
        for (index, found) in found.iter_mut().enumerate() {
            let mut types = self.parts(index);
            while let Some(ty) = types.pop() {
                if let Type::Named(used) = ty {
                    users[*used].push(index);
                }
                if wanted(ty) && !std::mem::replace(found, true) {
                    waiting.push(index);
                }
                types.extend(inner(ty));
            }
        }
        while let Some(index) = waiting.pop() {
            for user in &users[index] {
                if !std::mem::replace(&mut found[*user], true) {
                    waiting.push(*user);
                }
            }
        }
        Finder { wanted, found }
    }

    /// Returns the body of the type's definition, if its author has not named the type.
    pub(crate) fn unnamed(&self, ty: &Type) -> Option<&Body> {
        match ty {
            Type::Named(index) if *index >= self.schemas.len() => {
                Some(&self.definitions[*index].body)
            }
            _ => None,
        }
    }

    /// Returns whether the type in Rust is an `Option`, or a named type that stands for one.
    pub(crate) fn is_option(&self, ty: &Type) -> bool {
        let mut ty = ty;
        // Definitions may refer to each other in a circle.
        for _ in 0..=self.definitions.len() {
            ty = match ty {
                Type::Optional(_) => return true,
                Type::Named(index) => match &self.definitions[*index].body {
                    Body::Alias(inner) => inner,
                    _ => return false,
                },
                _ => return false,
            };
        }
        false
    }

    /// Returns the string, if the type is unnamed and has a single string as its only value.
    pub(crate) fn only_word(&self, ty: &Type) -> Option<&str> {
        match self.unnamed(ty)? {
            Body::Words(words) => match &words[..] {
                [word] => Some(&word.text),
                _ => None,
            },
            _ => None,
        }
    }

    /// Returns the only value of the field `tag`, which is a string. Empty if there is none.
    pub(crate) fn word_of(&self, body: &Struct, tag: &str) -> &str {
        let field = body.fields.iter().find(|field| field.name == tag);
        let word = field.and_then(|field| self.only_word(&field.ty));
        word.unwrap_or_default()
    }

    /// Returns the types that the definition consists of.
    pub(crate) fn parts(&self, index: usize) -> Vec<&Type> {
        match &self.definitions[index].body {
            Body::Struct(body) => {
                let fields = body.fields.iter().map(|field| &field.ty);
                fields.chain(&body.others).chain(&body.flattened).collect()
            }
            Body::Words(_) => Vec::new(),
            Body::Choice(choice) => choice.variants.iter().map(|variant| &variant.ty).collect(),
            Body::Alias(ty) => vec![ty],
            Body::Interface(members) => {
                // The parts of an object are `Type::Object`, and the types in its methods.
                let mut parts = members_types(members);
                parts.push(&Type::Object);
                parts
            }
        }
    }

    /// Returns whether the type is an error whose variants all have names.
    pub(crate) fn is_error(&self, ty: &Type) -> bool {
        let Type::Named(index) = ty else {
            return false;
        };
        let definition = &self.definitions[*index];
        match &definition.body {
            Body::Struct(_) | Body::Alias(_) => definition.error.is_some(),
            Body::Words(words) => words.iter().all(|word| word.error.is_some()),
            Body::Choice(choice) => choice
                .variants
                .iter()
                .all(|variant| variant.error.is_some()),
            Body::Interface(_) => false,
        }
    }

    /// Returns the properties and descriptions of the variants of an error.
    pub(crate) fn error_variants(&self, ty: &Type) -> Vec<(&ErrorFacts, &str)> {
        let Type::Named(index) = ty else {
            return Vec::new();
        };
        let definition = &self.definitions[*index];
        match &definition.body {
            Body::Words(words) => {
                let words = words.iter();
                words
                    .filter_map(|word| Some((word.error.as_ref()?, &*word.description)))
                    .collect()
            }
            Body::Choice(choice) => {
                let variants = choice.variants.iter();
                variants
                    .filter_map(|variant| Some((variant.error.as_ref()?, &*variant.description)))
                    .collect()
            }
            _ => {
                let facts = definition.error.iter();
                facts
                    .map(|facts| (facts, &*definition.description))
                    .collect()
            }
        }
    }
}

/// Finds types whose values may contain a wanted type, see [`Types::finder`].
pub(crate) struct Finder {
    wanted: fn(&Type) -> bool,
    /// For each definition, whether its values may contain a wanted type.
    found: Vec<bool>,
}

impl Finder {
    /// Returns whether a value of the type may contain a wanted type.
    pub(crate) fn is_in(&self, ty: &Type) -> bool {
        (self.wanted)(ty)
            || match ty {
                Type::Named(index) => self.found.get(*index) == Some(&true),
                ty => inner(ty).iter().any(|ty| self.is_in(ty)),
            }
    }
}

impl Type {
    /// Returns whether Rust can order values of this type.
    pub(crate) fn is_ordered(&self) -> bool {
        matches!(
            self,
            Type::Bool | Type::Integer(_) | Type::Text | Type::Character
        )
    }
}

/// Returns the types of members, including those of groups.
pub(crate) fn members_types(members: &[Member]) -> Vec<&Type> {
    let mut types = Vec::new();
    for member in members {
        match &member.kind {
            MemberKind::Method(method) => {
                let parameters = method.parameters.iter().flatten();
                types.extend(parameters.map(|parameter| &parameter.ty));
                types.push(&method.returns);
                types.extend(&method.error);
            }
            MemberKind::Group(members) => types.extend(members_types(members)),
            MemberKind::Value(ty) => types.push(ty),
        }
    }
    types
}

/// Returns the type parameters of this type, such as the items of a list.
pub(crate) fn inner(ty: &Type) -> &[Type] {
    match ty {
        Type::Optional(inner)
        | Type::List(inner)
        | Type::Fixed(inner, _)
        | Type::Unique(inner)
        | Type::Set(inner)
        | Type::Map(_, inner) => std::slice::from_ref(&**inner),
        Type::Tuple(items) | Type::Stream(items) | Type::OrderedMap(items) => items,
        Type::Function(Some(signature)) => &signature.types,
        _ => &[],
    }
}
