//! `hypha mcp`: serves a service as an MCP server on standard input and output.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context as _, Result};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use clap::Args;
use hypha_rpc::{Function, RemoteService, RemoteStream, Value};
use rmcp::model::{
    CallToolRequestParams, CallToolResponse, CallToolResult, ContentBlock, ErrorData,
    Implementation, JsonObject, ListToolsResult, PaginatedRequestParams, ServerCapabilities,
    ServerConfig, Tool,
};
use rmcp::service::{RequestContext, RoleServer};
use rmcp::{ServiceExt as _, transport};
use serde_json::{Value as Json, json};

use crate::connection::ConnectionOptions;
use crate::interrupt::{GRACE, unless_interrupted};
use crate::values::Parameters;
use crate::{duration, output, values};

/// Maximum number of stream items in a result. The limit exists because a language model reads
/// every item of a result.
const ITEMS: usize = 1000;
/// Maximum number of lines that callbacks add to a result.
const LINES: usize = 1000;

/// Serve a service to an assistant, as an MCP server on standard input and output
///
/// Each method with a schema becomes a tool. This program supplies the functions that a method
/// takes as parameters, and appends their arguments to the result.
#[derive(Args)]
#[command(after_long_help = "\
Examples:
  hypha mcp lab/microscope-1:camera
  hypha mcp calculator --context lab

An assistant runs it by an entry in its settings:
  {\"mcpServers\": {\"camera\": {\"command\": \"hypha\", \"args\": [\"mcp\", \"lab/microscope-1:camera\"]}}}")]
pub(crate) struct Options {
    #[command(flatten)]
    connection: ConnectionOptions,
    /// Service: `id`, `client:id` or `workspace/client:id`
    service: String,
    /// Timeout of a call. Default: none
    #[arg(long, value_name = "TIME", value_parser = duration::parse)]
    timeout: Option<Duration>,
}

pub(crate) async fn run(options: Options) -> Result<()> {
    let client = options.connection.connect().await?;
    let service = client.get_service(&*options.service).await;
    let service = service.with_context(|| format!("cannot find `{}`", options.service))?;
    let bridge = Bridge {
        tools: tools(&service),
        service,
        timeout: options.timeout,
    };
    let served = unless_interrupted(async {
        let running = bridge.serve(transport::stdio()).await?;
        running.waiting().await?;
        anyhow::Ok(())
    });
    let result = served.await;
    client.shutdown(GRACE).await;
    result
        .unwrap_or(Ok(()))
        .context("the assistant does not speak the protocol")
}

/// A service. Its methods are offered as tools.
struct Bridge {
    service: RemoteService,
    tools: BTreeMap<String, Callable>,
    timeout: Option<Duration>,
}

/// A tool and the method that it calls.
struct Callable {
    tool: Tool,
    method: String,
    /// Names of the parameters that take a function.
    functions: Vec<String>,
}

/// Returns the methods that have a schema as tools. The key is the name of the tool, in which
/// underscores replace the dots of the method name.
fn tools(service: &RemoteService) -> BTreeMap<String, Callable> {
    let mut tools = BTreeMap::new();
    for method in service.methods() {
        let Some(schema) = service.schema(method).map(|schema| schema.to_json()) else {
            output::note(&format!(
                "`{}` is omitted: it has no schema",
                output::line(method)
            ));
            continue;
        };
        let name = method.replace('.', "_");
        match callable(&name, method, schema) {
            Ok(callable) => {
                tools.insert(name, callable);
            }
            Err(reason) => output::note(&format!(
                "`{}` is omitted: {}",
                output::line(method),
                output::line(&reason)
            )),
        }
    }
    tools
}

/// Returns a method as a tool, or the reason if a caller cannot send its arguments as JSON.
fn callable(name: &str, method: &str, mut schema: Json) -> Result<Callable, String> {
    let parameters = Parameters::of(Some(&schema));
    let all: Vec<String> = parameters
        .names()
        .filter(|name| parameters.takes_function(name))
        .map(str::to_owned)
        .collect();
    let (functions, others): (Vec<String>, Vec<String>) = all
        .iter()
        .cloned()
        .partition(|name| parameters.takes_listener(name));
    if let Some(Json::Object(properties)) = schema.pointer_mut("/parameters/properties") {
        properties.retain(|name, _| !all.contains(name));
    }
    if let Some(Json::Array(required)) = schema.pointer_mut("/parameters/required") {
        if let Some(name) = others.iter().find(|name| required.contains(&json!(name))) {
            return Err(format!("`{name}` is a function that returns a result"));
        }
        required.retain(|name| !functions.iter().any(|function| name == function));
    }
    let mut input = hypha_schema::json_parameters(&schema)?;
    input.entry("type").or_insert_with(|| "object".into());
    input.entry("properties").or_insert_with(|| json!({}));
    let description = schema
        .get("description")
        .and_then(Json::as_str)
        .unwrap_or_default();
    Ok(Callable {
        tool: Tool::new(name.to_owned(), description.to_owned(), input),
        method: method.to_owned(),
        functions,
    })
}

impl Bridge {
    /// Calls a method and returns the result as content blocks.
    async fn call(
        &self,
        found: &Callable,
        arguments: &JsonObject,
    ) -> Result<Vec<ContentBlock>, hypha_rpc::Error> {
        let mut args = hypha_rpc::Args::new(0, arguments.len() + found.functions.len());
        for (name, value) in arguments {
            args.push_named(name, value);
        }
        let lines = Arc::new(Mutex::new(Vec::new()));
        for name in &found.functions {
            args.push_named(name, &Value::from(recorder(name, &lines)));
        }
        let mut call = self.service.call::<Value>(&found.method, args);
        if let Some(limit) = self.timeout {
            call = call.timeout(limit);
        }
        let result = call.await?;
        let mut content = Vec::new();
        if let Ok(mut stream) = result.decode_as::<RemoteStream<Value>>() {
            while let Some(item) = stream.try_next().await? {
                if content.len() == ITEMS {
                    content.push(ContentBlock::text(format!(
                        "the stream has more than {ITEMS} items"
                    )));
                    break;
                }
                content.push(block(&item));
            }
        } else {
            content.push(block(&result));
        }
        let lines = std::mem::take(&mut *lines.lock().unwrap_or_else(PoisonError::into_inner));
        content.extend(lines.into_iter().map(ContentBlock::text));
        Ok(content)
    }
}

/// Returns a function that adds a line with the arguments to `lines` whenever it is called.
fn recorder(name: &str, lines: &Arc<Mutex<Vec<String>>>) -> Function {
    let (name, lines) = (name.to_owned(), Arc::clone(lines));
    Function::new(move |call| {
        let args = call.raw_args();
        let given: Vec<String> = (0..args.positional())
            .filter_map(|index| args.get::<Value>(index)?.ok())
            .map(|value| values::one_line(&value))
            .collect();
        let mut lines = lines.lock().unwrap_or_else(PoisonError::into_inner);
        if lines.len() < LINES {
            lines.push(format!("{name}: {}", given.join(" ")));
        }
        drop(lines);
        async move { call.reply(&Value::Null) }
    })
}

/// Converts a value to a content block. An image becomes an image block. Any other value becomes a
/// text block, which contains the string, a summary of binary data, or JSON.
fn block(value: &Value) -> ContentBlock {
    match value {
        Value::String(text) => ContentBlock::text(text.clone()),
        Value::Bytes(bytes) => match media_type(bytes) {
            Some(kind) => ContentBlock::image(STANDARD.encode(bytes), kind),
            None => ContentBlock::text(values::text(value)),
        },
        other => ContentBlock::text(values::one_line(other)),
    }
}

fn media_type(bytes: &[u8]) -> Option<&'static str> {
    let kinds: [(&[u8], &str); 3] = [
        (b"\x89PNG\r\n\x1a\n", "image/png"),
        (b"\xff\xd8\xff", "image/jpeg"),
        (b"GIF8", "image/gif"),
    ];
    let found = kinds.iter().find(|(magic, _)| bytes.starts_with(magic));
    found.map(|(_, kind)| *kind)
}

impl rmcp::ServerHandler for Bridge {
    fn get_info(&self) -> ServerConfig {
        let text = |key: &str| {
            self.service
                .get(key)
                .and_then(Value::as_str)
                .map(str::to_owned)
        };
        let name = text("name").unwrap_or_else(|| self.service.id().to_owned());
        let capabilities = ServerCapabilities::builder().enable_tools().build();
        let mut config = ServerConfig::new(capabilities);
        config.server_info = Implementation::new(name, env!("CARGO_PKG_VERSION"));
        config.instructions = text("docs").or_else(|| text("description"));
        config
    }

    async fn list_tools(
        &self,
        _: Option<PaginatedRequestParams>,
        _: RequestContext<RoleServer>,
    ) -> Result<ListToolsResult, ErrorData> {
        let tools = self.tools.values().map(|found| found.tool.clone());
        Ok(ListToolsResult::with_all_items(tools.collect()))
    }

    async fn call_tool(
        &self,
        request: CallToolRequestParams,
        context: RequestContext<RoleServer>,
    ) -> Result<CallToolResponse, ErrorData> {
        let Some(found) = self.tools.get(&*request.name) else {
            let text = format!("`{}` has no tool `{}`", self.service.id(), request.name);
            return Err(ErrorData::invalid_params(text, None));
        };
        let arguments = request.arguments.unwrap_or_default();
        let result = tokio::select! {
            result = self.call(found, &arguments) => result,
            () = context.ct.cancelled() => {
                return Err(ErrorData::internal_error("the request was cancelled", None));
            }
        };
        // Return the error as a tool result instead of a protocol error. The language model then
        // reads the error and can correct the arguments.
        let result = match result {
            Ok(content) => CallToolResult::success(content),
            Err(error) => {
                let text = hypha_rpc::error::report(&error).to_string();
                CallToolResult::error(vec![ContentBlock::text(text)])
            }
        };
        Ok(result.into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn functions_are_no_arguments_of_a_tool() {
        let schema = json!({"description": "Train.", "parameters": {
            "type": "object",
            "properties": {
                "n": {"type": "integer"},
                "f": {"x-hypha-type": "function"},
                "data": {"type": "string", "format": "binary", "x-hypha-type": "bytes"},
                "text": {"type": "string", "format": "binary"},
            },
            "required": ["n", "f", "data"],
        }});
        let found = callable("a_b", "a.b", schema).unwrap();
        let input = json!({
            "type": "object",
            "properties": {
                "n": {"type": "integer"},
                "data": {
                    "type": "array",
                    "items": {"type": "integer", "minimum": 0, "maximum": 255},
                    "description": "Bytes, as a list of numbers.",
                },
                "text": {"type": "string", "format": "binary"},
            },
            "required": ["n", "data"],
        });
        assert_eq!(Json::Object((*found.tool.input_schema).clone()), input);
        assert_eq!(
            (found.method.as_str(), found.functions),
            ("a.b", vec!["f".to_owned()])
        );
        let stream = json!({"parameters": {
            "properties": {"items": {"x-hypha-type": "stream"}},
            "required": ["items"],
        }});
        let reason = callable("f", "f", stream).err();
        let wanted = "argument `items` needs a stream, which JSON cannot hold";
        assert_eq!(reason.as_deref(), Some(wanted));
    }
}
