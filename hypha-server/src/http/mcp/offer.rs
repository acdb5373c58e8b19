//! Finds the tools, resources and prompts that a service offers.

use std::collections::HashSet;
use std::sync::Arc;

use hypha_rpc::{Map, RemoteService, Value};
use indexmap::IndexMap;
use rmcp::model::{Prompt, PromptArgument, Resource, Tool};
use serde_json::{Value as Json, json};

/// Keys that describe the service. Their values do not become resources.
const METADATA: [&str; 8] = [
    "docs",
    "id",
    "name",
    "description",
    "type",
    "config",
    "app_id",
    "service_schema",
];
/// URI prefix of a resource that is a string in a service.
const SCHEME: &str = "resource://";

/// The tools, resources and prompts of a service.
pub(super) struct Offer {
    /// The full id, `workspace/client:service`.
    pub(super) id: String,
    pub(super) name: String,
    pub(super) kind: Option<String>,
    pub(super) description: Option<String>,
    /// Protocol functions that the service implements itself, such as `list_tools`.
    pub(super) native: HashSet<&'static str>,
    /// Tools by the name that clients use.
    pub(super) tools: IndexMap<String, Callable>,
    /// Whether each item of a list result becomes its own content block.
    pub(super) splits_lists: bool,
    pub(super) resources: Vec<Readable>,
    /// Prompts, by their keys in the service.
    pub(super) prompts: IndexMap<String, Prompted>,
    /// Names of the functions that are not offered, with the reasons.
    pub(super) excluded: Vec<(String, String)>,
}

/// A tool and the method that it calls.
pub(super) struct Callable {
    pub(super) tool: Tool,
    pub(super) method: String,
}

/// A resource and the source of its content.
pub(super) struct Readable {
    pub(super) resource: Resource,
    pub(super) source: Source,
}

/// Source of the content of a resource.
pub(super) enum Source {
    Text(String),
    /// A method that returns the content.
    Method(String),
}

/// A prompt and the method that returns its messages.
pub(super) struct Prompted {
    pub(super) prompt: Prompt,
    pub(super) method: String,
}

/// Names of the functions with which a service implements MCP itself.
const NATIVE: [&str; 7] = [
    "list_tools",
    "call_tool",
    "list_prompts",
    "get_prompt",
    "list_resources",
    "list_resource_templates",
    "read_resource",
];

impl Offer {
    /// Reads the offer of a service. Uses the first of these that exists: protocol functions; the
    /// maps `tools`, `resources` and `prompts`; all functions as tools and all strings as
    /// resources.
    ///
    /// # Errors
    ///
    /// Fails if a service of type `mcp` has neither protocol functions nor these maps, or if a
    /// listed function is missing or has no schema.
    pub(super) fn of(service: &RemoteService) -> Result<Offer, String> {
        let text = |key: &str| service.get(key).and_then(Value::as_str).map(str::to_owned);
        let id = service.id().to_owned();
        let methods: HashSet<&str> = service.methods().collect();
        let mut offer = Offer {
            name: text("name").unwrap_or_else(|| id.clone()),
            id,
            kind: text("type"),
            description: text("description"),
            native: NATIVE
                .into_iter()
                .filter(|name| methods.contains(name))
                .collect(),
            tools: IndexMap::new(),
            splits_lists: true,
            resources: Vec::new(),
            prompts: IndexMap::new(),
            excluded: Vec::new(),
        };
        let listed = |key: &str| match service.get(key) {
            Some(Value::Map(map)) if !map.is_empty() && !methods.contains(key) => Some(map),
            _ => None,
        };
        let (tools, resources) = (listed("tools"), listed("resources"));
        let prompts = listed("prompts");
        if !offer.native.is_empty() {
            return Ok(offer);
        }
        if tools.is_some() || resources.is_some() || prompts.is_some() {
            offer.splits_lists = false;
            offer.add_listed_tools(service, tools)?;
            offer.add_listed_resources(service, resources)?;
            offer.add_listed_prompts(service, prompts)?;
            return Ok(offer);
        }
        if offer.kind.as_deref() == Some("mcp") {
            return Err(format!(
                "Service '{}' has type='mcp' but does not follow valid MCP structure. Services \
                 with type='mcp' must either have MCP protocol functions ({}), or have 'tools', \
                 'resources' or 'prompts' dictionaries. Without type='mcp' its functions are tools",
                offer.id,
                NATIVE.join(", ")
            ));
        }
        offer.add_functions(service, service.members(), "", "", &methods);
        offer.add_texts(service.members(), "", "", &methods);
        if let Some(docs) = text("docs") {
            offer.add_text("docs", &docs);
        }
        Ok(offer)
    }

    /// Returns the prompt with this key, or else the prompt with this name.
    pub(super) fn prompt(&self, name: &str) -> Option<&Prompted> {
        let by_name = || {
            self.prompts
                .values()
                .find(|found| found.prompt.name == name)
        };
        self.prompts.get(name).or_else(by_name)
    }

    /// Returns the capabilities and the summary for the information page.
    pub(super) fn describe(&self) -> (Json, Json) {
        let tools = self.tools.values().map(|found| &found.tool);
        let resources = self.resources.iter().map(|found| &found.resource);
        let prompts = self.prompts.values().map(|found| &found.prompt);
        let capabilities = json!({
            "tools": tools.collect::<Vec<_>>(),
            "resources": resources.collect::<Vec<_>>(),
            "prompts": prompts.collect::<Vec<_>>(),
        });
        let mut summary = json!({
            "service_id": self.id,
            "service_type": self.kind,
            "tools_count": self.tools.len(),
            "resources_count": self.resources.len(),
            "prompts_count": self.prompts.len(),
        });
        if !self.excluded.is_empty() {
            let excluded = self.excluded.iter();
            let without = excluded.clone().filter(|(_, reason)| reason == NO_SCHEMA);
            let without = without.count();
            let others = self.excluded.len() - without;
            let warnings = [
                (without, "without a schema"),
                (others, "that JSON cannot call"),
            ];
            let warnings = warnings.into_iter().filter(|(count, _)| *count > 0);
            let warnings =
                warnings.map(|(count, kind)| json!(format!("Excluded {count} functions {kind}")));
            summary["warnings"] = warnings.collect();
            let excluded = excluded.map(|(name, reason)| json!({"name": name, "reason": reason}));
            summary["excluded_functions"] = excluded.collect();
        }
        (capabilities, summary)
    }

    fn add_listed_tools(
        &mut self,
        service: &RemoteService,
        listed: Option<&Map>,
    ) -> Result<(), String> {
        for key in listed.into_iter().flat_map(Map::keys) {
            let method = format!("tools.{key}");
            match tool(service, &method, key) {
                Ok(tool) => {
                    self.tools.insert(key.clone(), Callable { tool, method });
                }
                Err(NoTool::NoSchema) => return Err(self.no_function("Tool", key, &method)),
                Err(NoTool::NotJson(reason)) => self.excluded.push((key.clone(), reason)),
            }
        }
        Ok(())
    }

    fn add_listed_resources(
        &mut self,
        service: &RemoteService,
        listed: Option<&Map>,
    ) -> Result<(), String> {
        for (key, config) in listed.into_iter().flatten() {
            let method = format!("resources.{key}.read");
            if service.schema(&method).is_none() {
                return Err(self.no_function("Resource", key, &method));
            }
            let text = |name: &str| config.get(name).and_then(Value::as_str);
            let uri = text("uri").unwrap_or(key);
            let resource = Resource::new(uri, text("name").unwrap_or(key))
                .with_description(text("description").unwrap_or_default())
                .with_mime_type(text("mime_type").unwrap_or("text/plain"));
            self.resources.push(Readable {
                resource,
                source: Source::Method(method),
            });
        }
        Ok(())
    }

    fn add_listed_prompts(
        &mut self,
        service: &RemoteService,
        listed: Option<&Map>,
    ) -> Result<(), String> {
        for (key, config) in listed.into_iter().flatten() {
            let method = format!("prompts.{key}.read");
            let schema = service.schema(&method).as_ref().map(Value::to_json);
            let schema = schema.ok_or_else(|| self.no_function("Prompt", key, &method))?;
            let text = |name: &str| config.get(name).and_then(Value::as_str);
            let description = Some(text("description").unwrap_or_default());
            let arguments = arguments(&schema["parameters"]);
            let prompt = Prompt::new(text("name").unwrap_or(key), description, Some(arguments));
            self.prompts
                .insert(key.clone(), Prompted { prompt, method });
        }
        Ok(())
    }

    fn no_function(&self, what: &str, key: &str, method: &str) -> String {
        format!(
            "{what} '{key}' of service '{}': `{method}` must be a function with a schema, in \
             Python with @schema_function",
            self.id
        )
    }

    /// Adds all functions in a map and in its nested maps as tools. Joins the keys of nested
    /// functions with underscores.
    fn add_functions(
        &mut self,
        service: &RemoteService,
        members: &Map,
        path: &str,
        name: &str,
        methods: &HashSet<&str>,
    ) {
        for (key, member) in members {
            let is_data = path.is_empty() && matches!(key.as_str(), "config" | "service_schema");
            if !key.starts_with('_') && !is_data {
                let (path, name) = (joined(path, ".", key), joined(name, "_", key));
                self.add_function(service, member, path, name, methods);
            }
        }
    }

    fn add_function(
        &mut self,
        service: &RemoteService,
        member: &Value,
        path: String,
        name: String,
        methods: &HashSet<&str>,
    ) {
        if methods.contains(path.as_str()) {
            match tool(service, &path, &name) {
                Ok(tool) => {
                    self.tools.insert(name, Callable { tool, method: path });
                }
                Err(NoTool::NoSchema) => {
                    self.excluded.push((name, NO_SCHEMA.to_owned()));
                }
                Err(NoTool::NotJson(reason)) => self.excluded.push((name, reason)),
            }
            return;
        }
        match member {
            Value::Map(map) => self.add_functions(service, map, &path, &name, methods),
            Value::List(items) => {
                for (index, item) in items.iter().enumerate() {
                    let (path, name) = (format!("{path}.{index}"), format!("{name}_{index}"));
                    self.add_function(service, item, path, name, methods);
                }
            }
            _ => {}
        }
    }

    /// Adds all strings in a map and in its nested maps as resources.
    fn add_texts(&mut self, members: &Map, path: &str, place: &str, methods: &HashSet<&str>) {
        for (key, member) in members {
            if !key.starts_with('_') && !METADATA.contains(&key.as_str()) {
                let (path, place) = (joined(path, ".", key), joined(place, "/", key));
                self.add_member(member, &path, &place, methods);
            }
        }
    }

    fn add_member(&mut self, member: &Value, path: &str, place: &str, methods: &HashSet<&str>) {
        match member {
            _ if methods.contains(path) => {}
            Value::String(text) => self.add_text(place, text),
            Value::Map(map) => self.add_texts(map, path, place, methods),
            Value::List(items) => {
                for (index, item) in items.iter().enumerate() {
                    let (path, place) = (format!("{path}.{index}"), format!("{place}/{index}"));
                    self.add_member(item, &path, &place, methods);
                }
            }
            _ => {}
        }
    }

    fn add_text(&mut self, place: &str, text: &str) {
        let service = &self.name;
        let (name, description) = if place == "docs" {
            (
                format!("Documentation for {service}"),
                format!("Service documentation content for '{service}'"),
            )
        } else {
            let words: Vec<_> = place.split('/').map(titled).collect();
            let description = format!("String resource at path '{place}' in service '{service}'");
            (words.join(" "), description)
        };
        let resource = Resource::new(format!("{SCHEME}{place}"), name)
            .with_description(description)
            .with_mime_type("text/plain");
        self.resources.push(Readable {
            resource,
            source: Source::Text(text.to_owned()),
        });
    }
}

/// The reason of [`NoTool::NoSchema`], as the gateway reports it.
const NO_SCHEMA: &str = "the function has no schema";

/// Reason why a method is not a tool.
enum NoTool {
    /// The method does not exist or has no schema.
    NoSchema,
    /// A required argument cannot be sent as JSON.
    NotJson(String),
}

/// Returns a method as a tool called `name`. The schema of the tool describes the arguments in the
/// form that services accept as JSON.
fn tool(service: &RemoteService, method: &str, name: &str) -> Result<Tool, NoTool> {
    let schema = service.schema(method).ok_or(NoTool::NoSchema)?.to_json();
    let parameters = hypha_schema::json_parameters(&schema).map_err(NoTool::NotJson)?;
    let Json::Object(mut schema) = schema else {
        return Err(NoTool::NoSchema);
    };
    let description = match schema.remove("description") {
        Some(Json::String(text)) => text,
        _ => service
            .doc(method)
            .unwrap_or_else(|| format!("Function {name}")),
    };
    let parameters = if parameters.is_empty() {
        let none = json!({"type": "object", "properties": {}, "required": []});
        none.as_object().cloned().unwrap_or_default()
    } else {
        parameters
    };
    Ok(Tool::new(
        name.to_owned(),
        description,
        Arc::new(parameters),
    ))
}

/// Converts the parameters of a function to prompt arguments.
fn arguments(parameters: &Json) -> Vec<PromptArgument> {
    let required = parameters["required"].as_array();
    let is_required = |name: &str| {
        let mut required = required.into_iter().flatten();
        required.any(|other| other.as_str() == Some(name))
    };
    let properties = parameters["properties"].as_object();
    let properties = properties.into_iter().flatten();
    let arguments = properties.map(|(name, schema)| {
        let description = schema["description"].as_str().unwrap_or_default();
        PromptArgument::new(name.as_str())
            .with_description(description)
            .with_required(is_required(name))
    });
    arguments.collect()
}

fn joined(before: &str, between: &str, key: &str) -> String {
    match before {
        "" => key.to_owned(),
        before => format!("{before}{between}{key}"),
    }
}

/// Returns a text in title case, as Python's `str.title` does.
fn titled(text: &str) -> String {
    let mut within = false;
    let letter = |c: char| {
        let c = if c == '_' { ' ' } else { c };
        let cased: String = match (c.is_alphabetic(), within) {
            (true, true) => c.to_lowercase().collect(),
            (true, false) => c.to_uppercase().collect(),
            (false, _) => c.to_string(),
        };
        within = c.is_alphabetic();
        cased
    };
    text.chars().map(letter).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_titled_as_in_python() {
        for (text, title) in [
            ("about", "About"),
            ("how_to_USE", "How To Use"),
            ("a1b c", "A1B C"),
            ("0", "0"),
        ] {
            assert_eq!(titled(text), title);
        }
    }

    #[test]
    fn parameters_are_arguments_of_a_prompt() {
        let parameters = json!({
            "type": "object",
            "properties": {"topic": {"description": "the topic"}, "tone": {"default": "dry"}},
            "required": ["topic"],
        });
        let found = serde_json::to_value(arguments(&parameters)).unwrap();
        let expected = json!([
            {"name": "topic", "description": "the topic", "required": true},
            {"name": "tone", "description": "", "required": false},
        ]);
        assert_eq!(found, expected);
        assert!(arguments(&Json::Null).is_empty());
    }
}
