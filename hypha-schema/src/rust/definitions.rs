//! Writes definitions of structs and enums.
//!
//! The schema that `schemars` derives from a written type should equal the schema that the type was
//! read from. Therefore the form of the schema determines the serde attributes, and a test compares
//! both schemas.

use super::attributes::extend;
use super::errors::{Cause, Content};
use super::member_names::{field_names, flattened_names, variants};
use super::tags::{Representation, Tagging};
use super::text::{ident, literal};
use super::writer::Writer;
use crate::limits::{limits, limits_of_item};
use crate::names::{Names, pascal, snake};
use crate::types::{Body, Choice, Field, Limits, Struct, Type, Variant, Word};
use hypha_wire::keys::SCHEMA_ABSENT;

/// An enum that is being written.
struct Enum<'a> {
    choice: &'a Choice,
    representation: &'a Representation,
    /// Index of the definition.
    index: usize,
    /// Position in the file of the functions that return defaults.
    before: usize,
    /// Names of the variants that are already written.
    taken: Names,
}

impl Writer<'_> {
    pub(super) fn definition(&mut self, index: usize) {
        let definition = self.model.types.definitions[index].clone();
        let name = self.names[index].clone();
        if let Body::Interface(members) = &definition.body {
            return self.interface(&name, "", &definition.description, members);
        }
        self.text.push('\n');
        // Functions that return defaults come before the definition, but are known only after the
        // definition is written.
        let before = self.text.len();
        self.docs(0, &definition.description);
        // Streams, files, failures and objects can be neither cloned nor compared.
        let derives = match self.owned.is_in(&Type::Named(index)) {
            true => "Debug, Serialize, Deserialize, JsonSchema",
            false => "Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema",
        };
        let is_error = self.model.types.is_error(&Type::Named(index));
        self.line(0, &format!("#[derive({derives})]"));
        if is_error {
            self.line(0, "#[derive(thiserror::Error, RemoteError)]");
        }
        match &definition.body {
            Body::Interface(_) => {}
            Body::Struct(body) => {
                // serde does not support the attribute beside flattened types.
                if body.closed && body.flattened.is_empty() {
                    self.line(0, "#[serde(deny_unknown_fields)]");
                }
                // schemars ignores this attribute on a flattened field.
                if let Some(attribute) = extend(&body.limits_of_others) {
                    self.line(0, &attribute);
                }
                let facts = definition.error.as_ref().filter(|_| is_error);
                let cause = facts.and_then(|facts| {
                    self.error_attributes(0, facts, index, &name, Content::Fields(body))
                });
                self.line(0, &format!("pub struct {name} {{"));
                self.fields(body, index, 1, "pub ", before, cause);
                self.line(0, "}");
            }
            Body::Words(words) => {
                self.line(0, &format!("pub enum {name} {{"));
                let mut taken = variants();
                for word in words {
                    self.word(word, index, &mut taken);
                }
                self.line(0, "}");
            }
            Body::Choice(choice) => self.choice(choice, index, &name, before),
            Body::Alias(Type::Null) => {
                if let Some(facts) = definition.error.as_ref().filter(|_| is_error) {
                    self.error_attributes(0, facts, index, &name, Content::None);
                }
                self.line(0, &format!("pub struct {name};"));
            }
            Body::Alias(ty) => {
                let facts = definition.error.as_ref().filter(|_| is_error);
                let cause = facts.and_then(|facts| {
                    self.error_attributes(0, facts, index, &name, Content::Value(ty))
                });
                let limits = match self.model.types.schemas.get(index) {
                    Some(schema) => limits(schema, ty),
                    None => Limits::new(),
                };
                let content = self.contents(ty, &limits, index, "pub ", cause);
                self.line(0, &format!("pub struct {name}({content});"));
            }
        }
    }

    /// Writes the fields of a struct. Functions that return defaults are inserted at `before`.
    fn fields(
        &mut self,
        body: &Struct,
        within: usize,
        depth: usize,
        vis: &str,
        before: usize,
        cause: Option<Cause>,
    ) {
        let mut taken = self.scope(within, body);
        let names = field_names(body, &mut taken);
        for (place, (field, name)) in body.fields.iter().zip(names).enumerate() {
            self.docs(depth, &field.description);
            if let Some(attribute) = Cause::attribute(cause, place) {
                self.line(depth, attribute);
            }
            self.field(field, &name, within, depth, vis, before);
        }
        let (variants, name) = flattened_names(body, &mut taken);
        for (ty, name) in body.flattened.iter().zip(variants) {
            let ty = self.ty(ty, Some(within));
            self.line(depth, "#[serde(flatten)]");
            self.line(depth, &format!("{vis}{name}: {ty},"));
        }
        if let Some(others) = &body.others {
            let others = self.ty(others, None);
            self.line(depth, "/// Everything else.");
            self.line(depth, "#[serde(flatten)]");
            self.line(depth, &format!("{vis}{name}: {others},"));
        }
    }

    fn field(
        &mut self,
        field: &Field,
        name: &str,
        within: usize,
        depth: usize,
        vis: &str,
        before: usize,
    ) {
        let mut keys = Vec::new();
        if name != field.name {
            keys.push(format!("rename = {}", literal(&field.name)));
        }
        let (mut ty, default) =
            self.with_default(&field.ty, field.optional, &field.default, Some(within));
        match default.as_deref() {
            None => {}
            // The schema distinguishes null from a missing field.
            Some("None") if is_three_state(field) => {
                if let Type::Optional(_) = field.ty {
                    ty = format!("Option<{ty}>");
                }
                let function = self.present_function().to_owned();
                keys.push(format!(
                    "default, skip_serializing_if = \"Option::is_none\", deserialize_with = {}",
                    literal(&function)
                ));
            }
            // Omit the field instead of sending null, because the service may reject null.
            Some("None") if !field.nullable => {
                keys.push("default, skip_serializing_if = \"Option::is_none\"".to_owned());
            }
            // serde treats a missing `Option` like null.
            Some("None") => {}
            Some(default) => {
                let function = snake(&format!("default_{}_{}", self.names[within], field.name));
                let function = self.functions.fresh(&function);
                let text = format!("fn {function}() -> {ty} {{\n    {default}\n}}\n\n");
                self.text.insert_str(before, &text);
                keys.push(format!("default = {}", literal(&function)));
            }
        }
        if !keys.is_empty() {
            self.line(depth, &format!("#[serde({})]", keys.join(", ")));
        }
        let mut limits = field.limits.clone();
        if is_three_state(field) && matches!(field.ty, Type::Optional(_)) {
            limits.insert(SCHEMA_ABSENT.to_owned(), true.into());
        }
        if let Some(attribute) = self.attribute(&field.ty, &ty, &limits, Some(within)) {
            self.line(depth, &attribute);
        }
        self.line(depth, &format!("{vis}{}: {ty},", ident(name)));
    }

    /// Returns the fields without names of a struct or variant, with their attributes. The items of
    /// a tuple are separate fields.
    fn contents(
        &mut self,
        ty: &Type,
        limits: &Limits,
        within: usize,
        vis: &str,
        cause: Option<Cause>,
    ) -> String {
        let fields: Vec<(&Type, Limits)> = match ty {
            Type::Tuple(items) if items.len() > 1 => {
                let items = items.iter().enumerate();
                items
                    .map(|(place, item)| (item, limits_of_item(limits, place)))
                    .collect()
            }
            ty => vec![(ty, limits.clone())],
        };
        let mut written = Vec::new();
        for (place, (ty, limits)) in fields.into_iter().enumerate() {
            let content = self.ty(ty, Some(within));
            let attribute = self.attribute(ty, &content, &limits, Some(within));
            let attributes = Cause::attribute(cause, place).map(str::to_owned);
            let attributes = attributes.into_iter().chain(attribute);
            let attributes: String = attributes.map(|it| format!("{it} ")).collect();
            written.push(format!("{attributes}{vis}{content}"));
        }
        written.join(", ")
    }

    fn word(&mut self, word: &Word, index: usize, taken: &mut Names) {
        self.docs(1, &word.description);
        let variant = taken.fresh(&pascal(&word.text));
        self.variant_error(&word.error, index, &variant, Content::None);
        self.rename(&variant, &word.text);
        self.line(1, &format!("{variant},"));
    }

    fn rename(&mut self, variant: &str, name: &str) {
        if variant != name {
            self.line(1, &format!("#[serde(rename = {})]", literal(name)));
        }
    }

    /// Writes an enum, in the serde representation that fits the schema.
    fn choice(&mut self, choice: &Choice, index: usize, name: &str, before: usize) {
        let representation = Representation::of(&self.model.types, choice);
        let mut keys = match &representation.tagging {
            Tagging::External => Vec::new(),
            Tagging::Internal { tag } => vec![format!("tag = {}", literal(tag))],
            Tagging::Adjacent { tag, content } => vec![
                format!("tag = {}", literal(tag)),
                format!("content = {}", literal(content)),
            ],
            Tagging::Untagged => vec!["untagged".to_owned()],
        };
        if representation.is_closed {
            keys.push("deny_unknown_fields".to_owned());
        }
        if !keys.is_empty() {
            self.line(0, &format!("#[serde({})]", keys.join(", ")));
        }
        self.line(0, &format!("pub enum {name} {{"));
        let mut written = Enum {
            choice,
            representation: &representation,
            index,
            before,
            taken: variants(),
        };
        for variant in &choice.variants {
            match &representation.tagging {
                Tagging::External => self.external(&mut written, variant),
                Tagging::Internal { tag } => self.internal(&mut written, tag, variant),
                Tagging::Adjacent { tag, .. } => {
                    let Some(Body::Struct(body)) = self.model.types.unnamed(&variant.ty).cloned()
                    else {
                        continue;
                    };
                    let word = self.model.types.word_of(&body, tag).to_owned();
                    let content = body.fields.iter().find(|field| field.name != *tag);
                    let content = content.map(|field| (&field.ty, &field.limits));
                    self.tagged(&mut written, variant, &word, content);
                }
                Tagging::Untagged => {}
            }
        }
        if representation.tagging == Tagging::Untagged {
            for (name, variant) in self.untagged_variants(choice, index) {
                self.untagged(&written, &name, &variant);
            }
        }
        self.line(0, "}");
    }

    /// Writes a variant of an untagged enum.
    fn untagged(&mut self, written: &Enum<'_>, name: &str, variant: &Variant) {
        let index = written.index;
        self.docs(1, &variant.description);
        let body = written
            .representation
            .untagged(&self.model.types, &variant.ty);
        if let Some(body) = body.cloned() {
            let cause = self.variant_error(&variant.error, index, name, Content::Fields(&body));
            self.line(1, &format!("{name} {{"));
            self.fields(&body, index, 2, "", written.before, cause);
            return self.line(1, "},");
        }
        if variant.ty == Type::Null {
            self.variant_error(&variant.error, index, name, Content::None);
            return self.line(1, &format!("{name},"));
        }
        let cause = self.variant_error(&variant.error, index, name, Content::Value(&variant.ty));
        let content = self.contents(&variant.ty, &variant.limits, index, "", cause);
        self.line(1, &format!("{name}({content}),"));
    }

    /// Returns whether `body` has no fields besides those of the definition `base`.
    pub(super) fn is_all_of(&self, body: &Struct, base: usize) -> bool {
        match &self.model.types.definitions[base].body {
            Body::Struct(base) => {
                body.fields.len() == base.fields.len()
                    && body.flattened.len() == base.flattened.len()
                    && body.others == base.others
            }
            _ => false,
        }
    }

    /// Writes a variant, or several unit variants, of an externally tagged enum.
    fn external(&mut self, written: &mut Enum<'_>, variant: &Variant) {
        match self.model.types.unnamed(&variant.ty).cloned() {
            Some(Body::Words(words)) => {
                for word in &words {
                    let description = match words.len() {
                        1 => &variant.description,
                        _ => &word.description,
                    };
                    let word = Word {
                        description: description.clone(),
                        error: variant.error.clone().or(word.error.clone()),
                        text: word.text.clone(),
                    };
                    self.word(&word, written.index, &mut written.taken);
                }
            }
            Some(Body::Struct(body)) => {
                for field in &body.fields {
                    let content = Some((&field.ty, &field.limits));
                    self.tagged(written, variant, &field.name, content);
                }
            }
            _ => {}
        }
    }

    /// Writes a variant of an enum whose tag is the field `tag`, beside the fields of the variant.
    fn internal(&mut self, written: &mut Enum<'_>, tag: &str, variant: &Variant) {
        let index = written.index;
        let Some(Body::Struct(mut body)) = self.model.types.unnamed(&variant.ty).cloned() else {
            return;
        };
        let word = self.model.types.word_of(&body, tag).to_owned();
        body.fields.retain(|field| field.name != tag);
        self.docs(1, &variant.description);
        let error = &variant.error;
        let variant = written.taken.fresh(&pascal(&word));
        self.rename(&variant, &word);
        let base = body.base.filter(|base| self.is_all_of(&body, *base));
        if let Some(base) = base {
            let base = Type::Named(base);
            let cause = self.variant_error(error, index, &variant, Content::Value(&base));
            let content = self.contents(&base, &Limits::new(), index, "", cause);
            self.line(1, &format!("{variant}({content}),"));
        } else if let Some(only) = only_part(&body) {
            let cause = self.variant_error(error, index, &variant, Content::Value(only));
            if let Some(attribute) = extend(&body.limits_of_others) {
                self.line(1, &attribute);
            }
            let attribute = Cause::attribute(cause, 0).map(|it| format!("{it} "));
            let attribute = attribute.unwrap_or_default();
            let ty = self.ty(only, Some(index));
            self.line(1, &format!("{variant}({attribute}{ty}),"));
        } else {
            let cause = self.variant_error(error, index, &variant, Content::Fields(&body));
            if let Some(attribute) = extend(&body.limits_of_others) {
                self.line(1, &attribute);
            }
            self.struct_variant(&variant, &body, index, written.before, cause);
        }
    }

    /// Writes the variant `word` of an externally or adjacently tagged enum, with the type of its
    /// content and the limits of that type.
    fn tagged(
        &mut self,
        written: &mut Enum<'_>,
        variant: &Variant,
        word: &str,
        content: Option<(&Type, &Limits)>,
    ) {
        let index = written.index;
        self.docs(1, &variant.description);
        let name = written.taken.fresh(&pascal(word));
        self.rename(&name, word);
        let content = content.filter(|(ty, _)| !written.representation.is_unit(written.choice, ty));
        let Some((ty, limits)) = content else {
            self.variant_error(&variant.error, index, &name, Content::None);
            return self.line(1, &format!("{name},"));
        };
        match written
            .representation
            .members(&self.model.types, ty)
            .cloned()
        {
            Some(body) => {
                let cause =
                    self.variant_error(&variant.error, index, &name, Content::Fields(&body));
                self.struct_variant(&name, &body, index, written.before, cause);
            }
            None => {
                let cause = self.variant_error(&variant.error, index, &name, Content::Value(ty));
                let content = self.contents(ty, limits, index, "", cause);
                self.line(1, &format!("{name}({content}),"));
            }
        }
    }

    fn struct_variant(
        &mut self,
        name: &str,
        body: &Struct,
        index: usize,
        before: usize,
        cause: Option<Cause>,
    ) {
        if body.fields.is_empty() && body.others.is_none() && body.flattened.is_empty() {
            return self.line(1, &format!("{name},"));
        }
        self.line(1, &format!("{name} {{"));
        self.fields(body, index, 2, "", before, cause);
        self.line(1, "},");
    }
}

/// Returns the type of a struct that has only the members of one flattened type, or only the
/// members of a map.
pub(super) fn only_part(body: &Struct) -> Option<&Type> {
    match (&body.fields[..], &body.flattened[..], &body.others) {
        ([], [only], None) | ([], [], Some(only)) => Some(only),
        _ => None,
    }
}

/// Returns whether a missing field differs from null: null is allowed, and not the default.
pub(super) fn is_three_state(field: &Field) -> bool {
    field.optional && field.default.is_none() && field.nullable
}
