//! Types of values, independent of any language. The module `read` builds them from schemas; the
//! writer of each language reads them.
//!
//! One list holds all definitions: first the types named by their author, then unnamed types that
//! need a name. A definition whose index is less than the number of `schemas` must keep its name;
//! others may be inlined or renamed.

use std::collections::HashSet;

use hypha_wire::{DType, keys};
use serde_json::{Map, Value as Json};

/// Type of a value.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Type {
    Any,
    Null,
    Bool,
    /// Minimum and maximum, if known.
    Integer(Option<f64>, Option<f64>),
    Number,
    Text,
    Bytes,
    Timestamp,
    Duration,
    /// One of these values, not all of which are strings.
    Literals(Vec<Json>),
    Optional(Box<Type>),
    List(Box<Type>),
    Set(Box<Type>),
    Tuple(Vec<Type>),
    Map(Box<Type>),
    OrderedMap(Box<Type>),
    /// The definition with this index.
    Named(usize),
    NdArray(Elements),
    Function,
    Stream(Box<Type>),
    File,
    /// An object with functions.
    Object,
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
}

/// Content of a definition.
#[derive(Clone, Debug)]
pub(crate) enum Body {
    Struct(Struct),
    /// One of these strings.
    Words(Vec<Word>),
    Choice(Choice),
    Alias(Type),
}

/// Object with known members.
#[derive(Clone, Debug, Default)]
pub(crate) struct Struct {
    pub(crate) fields: Vec<Field>,
    /// Definition that contributes all fields except the first ones.
    pub(crate) base: Option<usize>,
    /// Whether members other than these are rejected.
    pub(crate) closed: bool,
    /// Type of members other than these, if known.
    pub(crate) others: Option<Type>,
}

#[derive(Clone, Debug)]
pub(crate) struct Field {
    pub(crate) name: String,
    pub(crate) description: String,
    pub(crate) ty: Type,
    pub(crate) optional: bool,
    pub(crate) default: Option<Json>,
}

#[derive(Clone, Debug)]
pub(crate) struct Word {
    pub(crate) text: String,
    pub(crate) description: String,
}

/// Union of several types.
#[derive(Clone, Debug)]
pub(crate) struct Choice {
    /// Whether a value must match exactly one type (`oneOf`).
    pub(crate) exactly_one: bool,
    pub(crate) variants: Vec<Variant>,
}

#[derive(Clone, Debug)]
pub(crate) struct Variant {
    pub(crate) ty: Type,
    pub(crate) description: String,
}

/// All types of a service.
#[derive(Debug)]
pub(crate) struct Types {
    /// Definitions. Those named by their authors come first.
    pub(crate) definitions: Vec<Definition>,
    /// Schemas of the definitions named by their authors.
    pub(crate) schemas: Vec<Json>,
    /// Nesting depth of unnamed types around the type being read.
    pub(crate) depth: usize,
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
            Body::Struct(_) | Body::Words(_) => {}
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

    /// Returns the types that the definition consists of.
    pub(crate) fn parts(&self, index: usize) -> Vec<&Type> {
        match &self.definitions[index].body {
            Body::Struct(body) => {
                let fields = body.fields.iter().map(|field| &field.ty);
                fields.chain(&body.others).collect()
            }
            Body::Words(_) => Vec::new(),
            Body::Choice(choice) => choice.variants.iter().map(|variant| &variant.ty).collect(),
            Body::Alias(ty) => vec![ty],
        }
    }
}

/// Finds types whose values may contain a wanted type, see [`Types::finder`].
pub(crate) struct Finder {
    wanted: fn(&Type) -> bool,
    /// Result for each definition.
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
    /// Returns whether the value stays at its owner and is used by calling the owner.
    pub(crate) fn is_live(&self) -> bool {
        matches!(
            self,
            Type::Function | Type::Stream(_) | Type::File | Type::Object
        )
    }

    /// Returns whether a value cannot be represented in JSON.
    pub(crate) fn is_not_json(&self) -> bool {
        self.is_live() || matches!(self, Type::NdArray(_))
    }
}

/// Returns the type parameters of this type, such as the items of a list.
pub(crate) fn inner(ty: &Type) -> &[Type] {
    match ty {
        Type::Optional(inner)
        | Type::List(inner)
        | Type::Set(inner)
        | Type::Map(inner)
        | Type::OrderedMap(inner)
        | Type::Stream(inner) => std::slice::from_ref(&**inner),
        Type::Tuple(items) => items,
        _ => &[],
    }
}
