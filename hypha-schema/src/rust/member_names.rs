//! Names of fields and variants.

use super::text::NEVER_RAW;
use super::writer::Writer;
use crate::names::{Names, snake};
use crate::types::{Struct, Type};

impl Writer<'_> {
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

/// Returns the names of the fields of a struct.
pub(super) fn field_names(body: &Struct, taken: &mut Names) -> Vec<String> {
    let names: Vec<&str> = body.fields.iter().map(|field| &*field.name).collect();
    taken.each(&names, snake)
}

/// Returns a new scope for the variants of an enum.
pub(super) fn variants() -> Names {
    Names::new(&NEVER_RAW)
}
