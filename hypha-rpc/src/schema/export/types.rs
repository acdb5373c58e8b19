//! Types: what the exporters write down. They are read from schemas in `read.rs`.

use std::collections::HashSet;

use serde_json::Value as Json;

/// The type of a value.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Type {
    Any,
    Null,
    Bool,
    /// Between these two, as far as they are known.
    Integer(Option<f64>, Option<f64>),
    Number,
    Text,
    Bytes,
    Timestamp,
    /// One of these, which are not all texts.
    Literals(Vec<Json>),
    Optional(Box<Type>),
    List(Box<Type>),
    Set(Box<Type>),
    Tuple(Vec<Type>),
    Map(Box<Type>),
    OrderedMap(Box<Type>),
    /// A definition.
    Named(usize),
    NdArray,
    Function,
    Stream(Box<Type>),
    File,
    /// With functions.
    Object,
}

/// A type with a name.
#[derive(Clone, Debug)]
pub(super) struct Definition {
    /// As its author called it, or made of the names around it: not yet unique.
    pub(super) name: String,
    pub(super) description: String,
    pub(super) body: Body,
}

#[derive(Clone, Debug)]
pub(super) enum Body {
    Struct(Struct),
    /// One of these texts.
    Words(Vec<Word>),
    Choice(Choice),
    Alias(Type),
}

#[derive(Clone, Debug, Default)]
pub(super) struct Struct {
    pub(super) fields: Vec<Field>,
    /// The definition that has all fields but those before its own.
    pub(super) base: Option<usize>,
    /// Nothing else may stand there.
    pub(super) closed: bool,
    /// What else may stand there, if that was said.
    pub(super) others: Option<Type>,
}

#[derive(Clone, Debug)]
pub(super) struct Field {
    pub(super) name: String,
    pub(super) description: String,
    pub(super) ty: Type,
    pub(super) optional: bool,
    pub(super) default: Option<Json>,
}

#[derive(Clone, Debug)]
pub(super) struct Word {
    pub(super) text: String,
    pub(super) description: String,
}

/// One of several types.
#[derive(Clone, Debug)]
pub(super) struct Choice {
    /// It was said that only one fits.
    pub(super) exactly_one: bool,
    pub(super) variants: Vec<Variant>,
}

#[derive(Clone, Debug)]
pub(super) struct Variant {
    pub(super) ty: Type,
    pub(super) description: String,
}

#[derive(Debug)]
pub(super) struct Types {
    /// Those that their authors named stand first.
    pub(super) definitions: Vec<Definition>,
    /// The schemas of these.
    pub(super) schemas: Vec<Json>,
    /// How many types that have no name stand around what is read now.
    pub(super) depth: usize,
}

impl Types {
    /// No type may be nothing but itself; the definitions that were.
    pub(super) fn finish(&mut self) -> Vec<usize> {
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

    /// The definitions that a value of this one may be, without anything around it.
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

    /// Finds the types whose values may have something `wanted` in them.
    pub(super) fn finder(&self, wanted: fn(&Type) -> bool) -> Finder {
        // From the definitions that have it themselves to those that refer to them.
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

    /// The definition of a type, if its author gave it no name.
    pub(super) fn unnamed(&self, ty: &Type) -> Option<&Body> {
        match ty {
            Type::Named(index) if *index >= self.schemas.len() => {
                Some(&self.definitions[*index].body)
            }
            _ => None,
        }
    }

    /// The text that is the only value of a type without a name.
    pub(super) fn only_word(&self, ty: &Type) -> Option<&str> {
        match self.unnamed(ty)? {
            Body::Words(words) => match &words[..] {
                [word] => Some(&word.text),
                _ => None,
            },
            _ => None,
        }
    }

    /// The types in a definition.
    pub(super) fn parts(&self, index: usize) -> Vec<&Type> {
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

/// See [`Types::finder`].
pub(super) struct Finder {
    wanted: fn(&Type) -> bool,
    /// By definition.
    found: Vec<bool>,
}

impl Finder {
    /// Whether something wanted may be in a value of the type.
    pub(super) fn is_in(&self, ty: &Type) -> bool {
        (self.wanted)(ty)
            || match ty {
                Type::Named(index) => self.found.get(*index) == Some(&true),
                ty => inner(ty).iter().any(|ty| self.is_in(ty)),
            }
    }
}

impl Type {
    /// It lives at its owner, who is asked for more of it.
    pub(super) fn is_live(&self) -> bool {
        matches!(
            self,
            Type::Function | Type::Stream(_) | Type::File | Type::Object
        )
    }

    /// It cannot be written in JSON.
    pub(super) fn is_not_json(&self) -> bool {
        self.is_live() || matches!(self, Type::NdArray)
    }
}

/// The types that a type without a name is made of.
pub(super) fn inner(ty: &Type) -> &[Type] {
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
