//! Names of fields and variants.

use super::tags::{Representation, Tagging};
use super::text::NEVER_RAW;
use super::writer::Writer;
use crate::names::{Names, pascal, rust_snake};
use crate::types::{Body, Choice, Struct, Type, Variant};

impl Writer<'_> {
    /// Returns the variants of an untagged enum in the order in which serde tries them, with their
    /// names.
    ///
    /// serde reads a list as a named struct if the types of the items fit. Therefore a variant that
    /// reads only lists comes before such structs.
    pub(super) fn untagged_variants(
        &self,
        choice: &Choice,
        index: usize,
    ) -> Vec<(String, Variant)> {
        let types = &self.model.types;
        let representation = Representation::of(types, choice);
        let reads_list = |ty: &Type| match representation.untagged(types, ty) {
            Some(_) => ReadsList::Never,
            None => self.reads_list(ty),
        };
        let mut ordered: Vec<&Variant> = Vec::new();
        for variant in &choice.variants {
            let mut place = ordered.len();
            if reads_list(&variant.ty) == ReadsList::Only {
                let earlier = ordered.iter().enumerate().rev();
                let earlier = earlier.map(|(at, variant)| (at, reads_list(&variant.ty)));
                for (at, reads) in earlier {
                    match reads {
                        ReadsList::Never => {}
                        ReadsList::AsStruct => place = at,
                        ReadsList::Only | ReadsList::Also => break,
                    }
                }
            }
            ordered.insert(place, variant);
        }
        let mut taken = variants();
        let enum_name = &self.model.types.definitions[index].name;
        let variants = ordered.into_iter().map(|variant| {
            let wanted = match (&variant.ty, representation.untagged(types, &variant.ty)) {
                (Type::Named(content), Some(_)) => {
                    let name = &types.definitions[*content].name;
                    match name.strip_prefix(enum_name.as_str()).unwrap_or(name) {
                        number if number.bytes().all(|c| c.is_ascii_digit()) => {
                            format!("Variant{number}")
                        }
                        name => pascal(name),
                    }
                }
                _ => self.variant_name(&variant.ty),
            };
            (taken.fresh(&wanted), variant.clone())
        });
        variants.collect()
    }

    /// Returns whether serde reads a list as this type, as a variant of an untagged enum.
    fn reads_list(&self, ty: &Type) -> ReadsList {
        let mut ty = ty;
        let types = &self.model.types;
        // Definitions may refer to each other in a circle.
        for _ in 0..=types.definitions.len() {
            let index = match ty {
                Type::List(_) | Type::Fixed(..) | Type::Unique(_) | Type::Tuple(_) => {
                    return ReadsList::Only;
                }
                Type::Null
                | Type::Bool
                | Type::Integer(_)
                | Type::Number
                | Type::Single
                | Type::Text
                | Type::Character
                | Type::Literals(_)
                | Type::Duration
                | Type::Map(..) => return ReadsList::Never,
                Type::Named(index) => *index,
                _ => return ReadsList::Also,
            };
            return match &types.definitions[index].body {
                Body::Alias(inner) => {
                    ty = inner;
                    continue;
                }
                Body::Struct(_) => ReadsList::AsStruct,
                Body::Words(_) => ReadsList::Never,
                Body::Choice(choice) => match Representation::of(types, choice).tagging {
                    Tagging::External => ReadsList::Never,
                    Tagging::Internal { .. } | Tagging::Adjacent { .. } => ReadsList::AsStruct,
                    Tagging::Untagged => ReadsList::Also,
                },
                Body::Interface(_) => ReadsList::Also,
            };
        }
        ReadsList::Also
    }

    /// Returns the name of a variant that holds a value of this type.
    pub(super) fn variant_name(&self, ty: &Type) -> String {
        let name = match ty {
            Type::Any => "Any",
            Type::Null => "Nothing",
            Type::Bool => "Bool",
            Type::Integer(_) => "Integer",
            Type::Number | Type::Single => "Number",
            Type::Text => "Text",
            Type::Bytes => "Binary",
            Type::Timestamp => "Timestamp",
            Type::Duration => "Duration",
            Type::Literals(_) => "Literal",
            Type::Optional(inner) => return self.variant_name(inner),
            Type::Character => "Character",
            Type::List(_) | Type::Fixed(..) => "List",
            Type::Set(_) | Type::Unique(_) => "Set",
            Type::Tuple(_) => "Tuple",
            Type::Map(..) => "Map",
            Type::OrderedMap(_) => "OrderedMap",
            Type::Named(index) => &self.names[*index],
            Type::NdArray(_) => "Array",
            Type::Function(_) => "Function",
            Type::Stream(_) => "Stream",
            Type::File => "File",
            Type::Failure => "Failure",
            Type::Object => "Object",
        };
        name.to_owned()
    }
}

/// Whether serde reads a list as a type.
#[derive(Clone, Copy, PartialEq)]
enum ReadsList {
    Never,
    /// A list of the values of its fields.
    AsStruct,
    /// A list, and nothing else.
    Only,
    /// A list, and other values.
    Also,
}

/// Returns the names of the fields of a struct.
pub(super) fn field_names(body: &Struct, taken: &mut Names) -> Vec<String> {
    let names: Vec<&str> = body.fields.iter().map(|field| &*field.name).collect();
    taken.each(&names, rust_snake)
}

/// Returns the names of the fields of a struct that hold its flattened types, and then the name of
/// the field that holds the other members. `taken` contains the names of the other fields.
pub(super) fn flattened_names(body: &Struct, taken: &mut Names) -> (Vec<String>, String) {
    let names = body.flattened.iter().map(|_| taken.fresh("variant"));
    let names = names.collect();
    (names, taken.fresh("others"))
}

/// Returns a new scope for the variants of an enum.
pub(super) fn variants() -> Names {
    Names::new(&NEVER_RAW)
}
