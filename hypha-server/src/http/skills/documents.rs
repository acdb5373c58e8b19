//! Writes the documents for agents from the records of services.

use std::collections::HashSet;

use hypha_rpc::{Map, Value};
use serde_json::{Value as Json, json};

use super::zip;
use crate::shown::shown;

/// Name of the skill. Agents identify the skill by this name.
const NAME: &str = "hypha";
const VERSION: &str = env!("CARGO_PKG_VERSION");
/// Documents that every workspace has.
const FILES: [&str; 4] = [
    "SKILL.md",
    "REFERENCE.md",
    "EXAMPLES.md",
    "WORKSPACE_CONTEXT.md",
];
/// Services of the server itself that have a reference document. Each entry contains the id, the
/// title, and the id that clients use.
const BUILT_IN: [(&str, &str, &str); 2] = [
    ("workspace-manager", "Workspace Manager", "~"),
    ("queue", "Queue", "public/queue"),
];
/// Services without a reference document, because programs do not call them directly.
const INTERNAL: [&str; 3] = ["agent-skills", "built-in", "hypha-login"];
/// Maximum length of the description of a service in a list, in characters.
const LINE: usize = 200;

/// A document for an agent.
pub(super) enum Document {
    Markdown(String),
    Json(Json),
    Zip(Vec<u8>),
    /// The requested document does not exist. The text is the reason.
    Missing(String),
}

/// The data from which the documents are written.
pub(super) struct Facts {
    /// URL of the server.
    pub(super) url: String,
    /// `None` for the documents that need no workspace.
    pub(super) workspace: Option<String>,
    pub(super) manager: Map,
    /// Services of the workspace.
    pub(super) services: Vec<Map>,
    /// Services of the workspace `public`, unless `workspace` is `public`.
    pub(super) public: Vec<Map>,
}

/// A service that a reference document describes.
struct Described<'a> {
    /// Name of the reference document of the service.
    slug: &'a str,
    title: &'a str,
    /// Id for clients.
    id: String,
    record: &'a Map,
}

impl Facts {
    /// Returns the document at a path.
    pub(super) fn document(&self, path: &str) -> Document {
        let found = match path {
            "" | "index" | "index.html" => return Document::Json(self.index()),
            "create-zip-file" | "download.zip" | "skills.zip" if self.workspace.is_some() => {
                return Document::Zip(zip::archive(&self.files()));
            }
            _ => self.markdown(path),
        };
        match found {
            Some(text) => Document::Markdown(text),
            None => Document::Missing(self.missing(path)),
        }
    }

    fn missing(&self, path: &str) -> String {
        if let Some(name) = path.strip_prefix("REFERENCE/") {
            let name = name.strip_suffix(".md").unwrap_or(name);
            let known = self.described();
            let known: Vec<_> = known.iter().map(|service| service.slug).collect();
            let known = known.join(", ");
            return format!(
                "Service not found or not enabled: {}. Available services: {known}",
                shown(name)
            );
        }
        if let Some(name) = path.strip_prefix("GUIDE/") {
            return format!("Guide not found: {}", shown(name));
        }
        if let Some(place) = path.strip_prefix("SOURCE") {
            let mut names = place.trim_matches('/').split('/');
            let (service, method) = (names.next().unwrap_or_default(), names.next());
            let what = match method {
                Some(method) => format!("Method not found: {service}.{}", shown(method)),
                None => format!("Unknown service: {service}"),
            };
            return format!(
                "{what}: this server is a binary, without its sources. See REFERENCE/{service}.md \
                 or REFERENCE/workspace-manager.md"
            );
        }
        format!("File not found: {}", shown(path))
    }

    fn markdown(&self, path: &str) -> Option<String> {
        let template = match path {
            "SKILL.md" if self.workspace.is_none() => include_str!("global.md"),
            "SKILL.md" => include_str!("skill.md"),
            "REFERENCE.md" => include_str!("reference.md"),
            "EXAMPLES.md" => include_str!("examples.md"),
            "WORKSPACE_CONTEXT.md" if self.workspace.is_some() => include_str!("context.md"),
            _ => {
                let slug = path.strip_prefix("REFERENCE/")?.strip_suffix(".md")?;
                let found = self.described();
                let found = found.into_iter().find(|service| service.slug == slug)?;
                return Some(self.reference(&found));
            }
        };
        let services = match path {
            "REFERENCE.md" => self.overview(),
            _ => self.list(&self.services),
        };
        let workspace = self.workspace.as_deref().unwrap_or("public");
        let socket = self.url.replacen("http", "ws", 1) + "/ws";
        let text = template
            .replace("{{url}}", &self.url)
            .replace("{{socket}}", &socket)
            .replace("{{workspace}}", workspace)
            .replace("{{version}}", VERSION)
            .replace("{{count}}", &self.services.len().to_string())
            .replace("{{builtin}}", &self.built_in_rows())
            // These placeholders are replaced last, because the inserted lists contain text from
            // other users. Such a text may look like a placeholder.
            .replace("{{services}}", &services)
            .replace("{{public}}", &self.list_public());
        Some(text)
    }

    /// Returns the services with a reference document. The services of the server come first.
    fn described(&self) -> Vec<Described<'_>> {
        let mut found = Vec::new();
        let all = || {
            let own = self.workspace.as_deref().unwrap_or("public");
            let own = self.services.iter().map(move |record| (own, record));
            own.chain(self.public.iter().map(|record| ("public", record)))
        };
        for (slug, title, id) in BUILT_IN {
            let is_it = |(workspace, record): &(&str, &Map)| {
                *workspace == "public" && slug_of(record) == slug
            };
            let record = match id {
                "~" => Some(&self.manager),
                _ => all().find(is_it).map(|(_, record)| record),
            };
            let id = id.to_owned();
            found.extend(record.map(|record| Described {
                slug,
                title,
                id,
                record,
            }));
        }
        let mut known: HashSet<&str> = found.iter().map(|service| service.slug).collect();
        for (workspace, record) in all() {
            let slug = slug_of(record);
            if known.contains(slug) || INTERNAL.contains(&slug) || !has_schema(record) {
                continue;
            }
            known.insert(slug);
            found.push(Described {
                slug,
                title: text(record, "name").unwrap_or(slug),
                id: format!("{workspace}/{}", text(record, "id").unwrap_or(slug)),
                record,
            });
        }
        found
    }

    fn index(&self) -> Json {
        let described = self.described();
        let references = described
            .iter()
            .map(|service| format!("REFERENCE/{}.md", service.slug));
        let references: Vec<String> = references.collect();
        let known = |slug: &str| BUILT_IN.iter().any(|(known, ..)| *known == slug);
        let (own, others): (Vec<&str>, Vec<&str>) = described
            .iter()
            .map(|service| service.slug)
            .partition(|slug| known(slug));
        let files = FILES.iter().map(|file| (*file).to_owned());
        let files = files.chain(references.iter().cloned());
        let Some(_) = &self.workspace else {
            return json!({
                "name": NAME,
                "version": VERSION,
                "description": "Hypha platform guide for AI agents - global entry point",
                "type": "global",
                "files": files.filter(|file| file != FILES[3]).collect::<Vec<_>>(),
                "reference_files": references,
                "workspace_skills_pattern": format!("{}/{{workspace}}/agent-skills/", self.url),
                "enabled_services": own,
            });
        };
        json!({
            "name": NAME,
            "version": VERSION,
            "description": "Hypha workspace management skill for AI agents",
            "files": files.collect::<Vec<_>>(),
            "reference_files": references,
            "download": {
                "zip": "create-zip-file",
                "description": "Download all skills documentation as a zip file",
            },
            "source_endpoints": [],
            "enabled_services": own,
            "dynamic_services": others,
        })
    }

    /// Returns all documents with their paths.
    fn files(&self) -> Vec<(String, String)> {
        let files = FILES
            .iter()
            .filter_map(|path| Some(((*path).to_owned(), self.markdown(path)?)));
        let references = self.described();
        let references = references.iter().map(|service| {
            let path = format!("REFERENCE/{}.md", service.slug);
            (path, self.reference(service))
        });
        files.chain(references).collect()
    }

    fn built_in_rows(&self) -> String {
        let rows = self.described();
        let rows = rows.iter().filter_map(|service| {
            let slug = service.slug;
            let (_, title, id) = BUILT_IN.iter().find(|(known, ..)| *known == slug)?;
            let link = format!("[REFERENCE/{slug}.md](REFERENCE/{slug}.md)");
            Some(format!("| {title} | `{id}` | {link} |"))
        });
        rows.collect::<Vec<_>>().join("\n")
    }

    /// Lists the services of the workspace `public`, unless `workspace` is `public`.
    fn list_public(&self) -> String {
        match self.workspace.as_deref() {
            None | Some("public") => "The services of this workspace.".to_owned(),
            Some(_) => self.list(&self.public),
        }
    }

    /// Lists services.
    fn list(&self, records: &[Map]) -> String {
        let described = self.described();
        let described: HashSet<&str> = described.iter().map(|service| service.slug).collect();
        let lines = records.iter().map(|record| {
            let slug = slug_of(record);
            let id = quoted(text(record, "id").unwrap_or(slug));
            let link = if described.contains(slug) {
                format!(", [reference](REFERENCE/{slug}.md)")
            } else {
                String::new()
            };
            let description = match text(record, "description") {
                Some(text) if !text.is_empty() => format!(": {}", line(text)),
                _ => String::new(),
            };
            format!("- {id}{link}{description}")
        });
        match lines.collect::<Vec<_>>() {
            lines if lines.is_empty() => "There are no services that you may see.".to_owned(),
            lines => lines.join("\n"),
        }
    }

    /// Describes each service that has a reference, in a few lines per service.
    fn overview(&self) -> String {
        let described = self.described();
        let sections = described.iter().map(|service| {
            let names = functions(service.record);
            let names: Vec<_> = names.iter().take(8).map(|(name, _)| quoted(name)).collect();
            format!(
                "## {}\n\n{}\n\n- Id: {}\n- Key methods: {}\n- Reference: [REFERENCE/{slug}.md]\
                 (REFERENCE/{slug}.md)\n",
                line(service.title),
                line(text(service.record, "description").unwrap_or_default()),
                quoted(&service.id),
                names.join(", "),
                slug = service.slug,
            )
        });
        sections.collect::<Vec<_>>().join("\n")
    }

    /// Writes the reference document of a service.
    fn reference(&self, service: &Described<'_>) -> String {
        let functions = functions(service.record);
        let workspace = self.workspace.as_deref().unwrap_or("public");
        let (place, local) = match service.id.split_once('/') {
            Some(parts) => parts,
            None => (workspace, service.id.as_str()),
        };
        let names = functions
            .iter()
            .map(|(name, _)| format!("- [{}](#{name})", quoted(name)));
        let mut out = format!(
            "# {} API Reference\n\n{}\n\n## Quick Access\n\n```python\nservice = await \
             server.get_service(\"{}\")\n```\n\n```bash\ncurl -X POST \
             \"{}/{place}/services/{local}/METHOD\" \\\n  -H \"Authorization: Bearer TOKEN\" -H \
             \"Content-Type: application/json\" \\\n  -d '{{\"argument\": 1}}'\n```\n\n## \
             Methods\n\n{}\n",
            line(service.title),
            text(service.record, "description").unwrap_or_default(),
            service.id,
            self.url,
            names.collect::<Vec<_>>().join("\n"),
        );
        for (name, schema) in &functions {
            out.push_str(&function(name, schema));
        }
        out.push_str("\nBack to [REFERENCE.md](REFERENCE.md)\n");
        out
    }
}

/// Describes a method and its parameters.
fn function(name: &str, schema: &Value) -> String {
    let mut out = format!("\n### {name}\n\n");
    if let Some(text) = schema.get("description").and_then(Value::as_str) {
        out.push_str(text.trim());
        out.push_str("\n\n");
    }
    let parameters = schema.get("parameters");
    let required = parameters.and_then(|it| it.get("required"));
    let required = required.and_then(Value::as_list).unwrap_or_default();
    let Some(Value::Map(properties)) = parameters.and_then(|it| it.get("properties")) else {
        return out;
    };
    let properties = properties.iter().filter(|(name, _)| *name != "context");
    let lines = properties.map(|(name, schema)| {
        let kind = schema.get("type").and_then(Value::as_str).unwrap_or("any");
        let is_required = required.iter().any(|it| it.as_str() == Some(name));
        let mark = if is_required { " *(required)*" } else { "" };
        let described = schema.get("description").and_then(Value::as_str);
        let mut text = described.unwrap_or_default().to_owned();
        if let Some(Value::List(values)) = schema.get("enum") {
            let values = values
                .iter()
                .map(|value| quoted(&value.to_json().to_string()));
            text += &format!(" Options: {}", values.collect::<Vec<_>>().join(", "));
        }
        if let Some(default) = schema.get("default").filter(|value| **value != Value::Null) {
            text += &format!(" Default: {}", quoted(&default.to_json().to_string()));
        }
        format!("- {} ({kind}){mark}: {text}", quoted(name))
    });
    let lines: Vec<_> = lines.collect();
    if !lines.is_empty() {
        out += &format!("**Parameters:**\n\n{}\n", lines.join("\n"));
    }
    out
}

fn text<'a>(record: &'a Map, key: &str) -> Option<&'a str> {
    record.get(key).and_then(Value::as_str)
}

/// Returns the name of a service without workspace, client and app.
fn slug_of(record: &Map) -> &str {
    let id = text(record, "id").unwrap_or_default();
    let id = id.rsplit('/').next().unwrap_or(id);
    let name = id.split_once(':').map_or(id, |(_, name)| name);
    name.split_once('@').map_or(name, |(name, _)| name)
}

/// Returns the methods of a service with their schemas, sorted by name.
fn functions(record: &Map) -> Vec<(&str, &Value)> {
    let Some(Value::Map(schemas)) = record.get("service_schema") else {
        return Vec::new();
    };
    let functions = schemas.iter().filter_map(|(name, schema)| {
        let schema = schema.get("function").unwrap_or(schema);
        Some((name.as_str(), schema)).filter(|_| matches!(schema, Value::Map(_)))
    });
    let mut functions: Vec<_> = functions.collect();
    functions.sort_by_key(|(name, _)| *name);
    functions
}

/// Returns whether a method of a service has a description or parameters. Python adds an empty
/// schema to each function.
fn has_schema(record: &Map) -> bool {
    functions(record).iter().any(|(_, schema)| {
        let described = schema.get("description").and_then(Value::as_str);
        let described = described.is_some_and(|text| !text.trim().is_empty());
        let properties = schema.get("parameters").and_then(|it| it.get("properties"));
        described || matches!(properties, Some(Value::Map(map)) if !map.is_empty())
    })
}

/// Returns the beginning of a text from another user as one line of Markdown.
fn line(text: &str) -> String {
    let words = text.lines().next().unwrap_or_default();
    let plain = words.chars().filter(|c| !c.is_control()).take(LINE);
    plain.collect::<String>().trim().to_owned()
}

/// Returns a name from another user as Markdown code.
fn quoted(name: &str) -> String {
    format!("`{}`", name.replace(['`', '\n'], " "))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(id: &str, schema: Json) -> Map {
        let record = json!({"id": id, "name": "A name", "description": "first\nsecond",
            "service_schema": schema});
        match Value::from(record) {
            Value::Map(record) => record,
            _ => unreachable!("an object is a map"),
        }
    }

    fn facts(workspace: Option<&str>) -> Facts {
        let a = json!({"type": "integer", "description": "a number", "default": 3});
        let parameters = json!({"properties": {"a": a, "b": {"enum": ["x"]}, "context": {}},
            "required": ["b"]});
        let add = json!({"name": "add", "description": "Adds.", "parameters": parameters});
        let add = json!({"add": {"type": "function", "function": add}});
        Facts {
            url: "http://here".into(),
            workspace: workspace.map(str::to_owned),
            manager: record("ws/1:default", add.clone()),
            services: vec![
                record("c:calc@app", add.clone()),
                record("c:built-in", add),
                record("c:bare", json!({"f": {"type": "function", "function": {}}})),
            ],
            public: vec![record("s:queue", json!({}))],
        }
    }

    fn markdown(facts: &Facts, path: &str) -> String {
        match facts.document(path) {
            Document::Markdown(text) => text,
            _ => panic!("{path} is no Markdown"),
        }
    }

    #[test]
    fn services_with_a_schema_have_a_reference() {
        let index = match facts(Some("lab")).document("") {
            Document::Json(index) => index,
            _ => panic!("no index"),
        };
        assert_eq!(
            index["enabled_services"],
            json!(["workspace-manager", "queue"])
        );
        assert_eq!(index["dynamic_services"], json!(["calc"]));
        let text = markdown(&facts(Some("lab")), "REFERENCE/calc.md");
        for part in [
            "# A name API Reference",
            "get_service(\"lab/c:calc@app\")",
            "http://here/lab/services/c:calc@app/METHOD",
            "### add\n\nAdds.\n\n**Parameters:**",
            "- `a` (integer): a number Default: `3`",
            "- `b` (any) *(required)*:  Options: `\"x\"`",
        ] {
            assert!(text.contains(part), "{part}: {text}");
        }
        assert!(!text.contains("`context`"), "{text}");
    }

    #[test]
    fn no_name_is_left_to_replace() {
        for workspace in [None, Some("lab")] {
            let facts = facts(workspace);
            for (path, text) in facts.files() {
                assert!(!text.contains("{{"), "{path}: {text}");
            }
            let skill = markdown(&facts, "SKILL.md");
            assert!(
                skill.starts_with("---\nname: hypha\ndescription: >-\n  "),
                "{skill}"
            );
        }
        let context = markdown(&facts(Some("lab")), "WORKSPACE_CONTEXT.md");
        assert!(context.contains("- `c:calc@app`, [reference](REFERENCE/calc.md): first\n"));
        assert!(context.contains("`ws://here/ws`"), "{context}");
    }

    #[test]
    fn what_is_missing_is_named() {
        let missing = |path: &str| match facts(None).document(path) {
            Document::Missing(text) => text,
            _ => panic!("there is {path}"),
        };
        assert_eq!(missing("x.md"), "File not found: x.md");
        assert_eq!(missing("GUIDE/x.md"), "Guide not found: x.md");
        assert!(missing("REFERENCE/x.md").ends_with("workspace-manager, queue, calc"));
        assert!(missing("create-zip-file").starts_with("File not found"));
    }
}
