//! Writes the trait of a contract.
//!
//! The author of the service provides names and descriptions. Each name becomes an identifier, with
//! the original as its name on the wire. A method whose name is not possible in a contract becomes
//! a comment.

use super::attributes::extend;
use super::text::{NEVER_RAW, ident, literal};
use super::writer::Writer;
use crate::limits::limits;
use crate::names::{Names, rust_snake};
use crate::text::comment_lines;
use crate::types::{Member, Method, Parameter, Type, methods};
use hypha_wire::keys::RESERVED;

/// Number of arguments in the trait for a method whose parameters are unknown. The proxy does not
/// send trailing `None`s.
const UNKNOWN: usize = 4;

/// Maximum length of a description, in characters. Servers reject more than 1024.
const LONGEST_DESCRIPTION: usize = 1000;

impl Writer<'_> {
    /// Writes the whole trait.
    pub(super) fn contract(&mut self, service: &str) {
        let model = self.model;
        let header = &model.header;
        let id = header.short_id.as_str();
        let id = match is_wire_name(id) && !id.contains('.') {
            true => format!("(id = {})", literal(id)),
            false => String::new(),
        };
        self.interface(service, &id, &header.description, &model.members);
    }

    /// Writes a trait. `id` contains the options of the trait's attribute.
    pub(super) fn interface(
        &mut self,
        service: &str,
        id: &str,
        description: &str,
        members: &[Member],
    ) {
        self.text.push('\n');
        let text: String = description.chars().take(LONGEST_DESCRIPTION).collect();
        self.docs(0, &text);
        self.line(0, &format!("#[hypha_service{id}]"));
        // Disable the lints on names and argument counts, because they come from the service's
        // author, not from the user.
        self.line(
            0,
            "#[allow(clippy::too_many_arguments, clippy::wrong_self_convention)]",
        );
        self.line(0, &format!("pub trait {service} {{"));
        let methods = methods(members);
        let paths: Vec<&str> = methods.iter().map(|method| &*method.path).collect();
        let names = Names::new(&NEVER_RAW).each(&paths, rust_snake);
        let mut first = true;
        for (method, name) in methods.into_iter().zip(names) {
            if !std::mem::take(&mut first) {
                self.text.push('\n');
            }
            self.method(method, &name);
        }
        self.line(0, "}");
    }

    fn method(&mut self, method: &Method, name: &str) {
        let path = &method.path;
        let entry = path.split('.').next().unwrap_or_default();
        if !is_wire_name(path) || RESERVED.contains(&entry) {
            let path = comment_lines(path).join(" ");
            return self.line(
                1,
                &format!("// `{path}` is not a valid name in a contract."),
            );
        }
        self.docs(1, &method.description);
        if name != path {
            self.line(1, &format!("#[hypha(name = {})]", literal(path)));
        }
        let returns = match &method.returns {
            Type::Null if method.error.is_none() => String::new(),
            other => {
                let ok = match other {
                    Type::Stream(parts) => {
                        let item = self.stream_item(parts);
                        format!("impl Stream<Item = {item}> + Send")
                    }
                    other => self.ty(other, None),
                };
                match &method.error {
                    Some(error) => format!(" -> Result<{ok}, {}>", self.error(error)),
                    None => format!(" -> {ok}"),
                }
            }
        };
        if let Some(attribute) = extend(&limits(&method.returns_schema, &method.returns)) {
            self.line(1, &attribute);
        }
        let name = ident(name);
        match method.parameters.as_deref() {
            Some([]) => self.line(1, &format!("async fn {name}(&self){returns};")),
            parameters => {
                self.line(1, &format!("async fn {name}("));
                self.line(2, "&self,");
                match parameters {
                    Some(parameters) => self.parameters(parameters),
                    None => {
                        self.line(2, "// The arguments are unknown.");
                        for index in 1..=UNKNOWN {
                            self.line(2, &format!("arg{index}: Option<Value>,"));
                        }
                    }
                }
                self.line(1, &format!("){returns};"));
            }
        }
    }

    fn parameters(&mut self, parameters: &[Parameter]) {
        let wires = parameters.iter().map(|parameter| parameter.name.as_str());
        let mut wires = Names::new(&wires.filter(|name| is_wire_name(name)).collect::<Vec<_>>());
        let given: Vec<&str> = parameters
            .iter()
            .map(|parameter| &*parameter.name)
            .collect();
        let names = Names::new(&NEVER_RAW).each(&given, rust_snake);
        for (parameter, name) in parameters.iter().zip(names) {
            self.docs(2, &parameter.description);
            // An argument may have another name than in the service, because a proxy sends
            // arguments by position.
            let wire = match is_wire_name(&parameter.name) {
                true => parameter.name.clone(),
                false => wires.fresh(&name),
            };
            let mut keys = Vec::new();
            if wire != name {
                keys.push(format!("name = {}", literal(&wire)));
            }
            let (ty, default) =
                self.with_default(&parameter.ty, parameter.optional, &parameter.default, None);
            // `None` is the default of an `Option`.
            if let Some(default) = default.filter(|default| default != "None") {
                keys.push(format!("default = {default}"));
            }
            // Callers could omit the argument otherwise.
            if !parameter.optional && self.model.types.is_option(&parameter.ty) {
                keys.push("required".to_owned());
            }
            if !keys.is_empty() {
                self.line(2, &format!("#[hypha({})]", keys.join(", ")));
            }
            if let Some(attribute) = extend(&parameter.limits) {
                self.line(2, &attribute);
            }
            self.line(2, &format!("{}: {ty},", ident(&name)));
        }
    }
}

/// Returns whether the macro accepts a name. Characters that separate the parts of addresses are
/// not allowed.
fn is_wire_name(name: &str) -> bool {
    let is_fit = |c: char| !":@/*".contains(c) && !c.is_whitespace() && !c.is_control();
    name.chars().all(is_fit) && !name.split('.').any(str::is_empty)
}
