//! Converts MCP requests to calls of a service.

use std::collections::HashMap;

use axum::body::Bytes;
use axum::http::request::Parts;
use hypha_rpc::{Args, RemoteService, RemoteStream};
use hypha_wire::RawValue;
use parking_lot::Mutex;
use rmcp::model::{
    CallToolRequestParams, CallToolResponse, CallToolResult, ContentBlock, CustomRequest,
    CustomResult, ErrorCode, ErrorData, GetPromptRequestParams, GetPromptResponse, GetPromptResult,
    Implementation, JsonObject, ListPromptsResult, ListResourceTemplatesResult,
    ListResourcesResult, ListToolsResult, PaginatedRequestParams, ProgressNotificationParam,
    PromptMessage, PromptsCapability, ReadResourceRequestParams, ReadResourceResponse,
    ReadResourceResult, RequestId, ResourceContents, ResourcesCapability, Role, ServerCapabilities,
    ServerConfig, Tool, ToolsCapability,
};
use rmcp::service::{RequestContext, RoleServer};
use serde::de::DeserializeOwned;
use serde_json::Value as Json;

use super::message::Arguments;
use super::offer::{Offer, Source};
use super::validation;
use crate::http::request_client::{self, Visitor};
use crate::http::{Front, content};
use crate::memory::Charge;

/// Maximum size of an item that is shown in a progress notification, in bytes.
const PROGRESS_BYTES: usize = 4096;

/// Presents a service as an MCP server to one client.
pub(super) struct Gateway {
    pub(super) front: Front,
    pub(super) service: RemoteService,
    pub(super) offer: Offer,
    pub(super) visitor: Visitor,
    /// Whether the client reads notifications that precede a response.
    pub(super) notifies: bool,
    /// Charge for the memory of the offer.
    pub(super) _offer: Charge,
    /// Charges for the memory of the requests and responses. Released when the response is sent.
    pub(super) charges: Mutex<HashMap<RequestId, Vec<Charge>>>,
}

/// Reason why a request has no result.
enum Failure {
    /// The service or its function failed.
    Service(String),
    /// The server failed, or the client disconnected.
    Server(ErrorData),
}

impl Failure {
    fn into_error(self) -> ErrorData {
        match self {
            Failure::Service(text) => ErrorData::internal_error(text, None),
            Failure::Server(error) => error,
        }
    }
}

impl Gateway {
    /// Calls a method. Cancels the call if the client disconnects or the server evicts the account
    /// of the request.
    async fn call(
        &self,
        method: &str,
        args: Args,
        context: &RequestContext<RoleServer>,
    ) -> Result<RawValue, Failure> {
        let call = self.service.call::<RawValue>(method, args);
        let result = self.unless_ended(context, call).await?;
        let result = result.map_err(|error| Failure::Service(request_client::text_of(&error)))?;
        let size = result.as_bytes().len();
        self.hold(&context.id, content::room_of_result(size))?;
        Ok(content::model(result))
    }

    async fn unless_ended<T>(
        &self,
        context: &RequestContext<RoleServer>,
        work: impl Future<Output = T>,
    ) -> Result<T, Failure> {
        let failed = |text| Failure::Server(ErrorData::internal_error(text, None));
        tokio::select! {
            done = work => Ok(done),
            () = context.ct.cancelled() => Err(failed("the request was cancelled")),
            () = self.visitor.account.gives_way() => {
                self.front.state.counters.http_refused_memory.add();
                Err(failed("the server is out of memory; try again later"))
            }
        }
    }

    /// Charges memory to a request until its response is sent.
    fn hold(&self, id: &RequestId, bytes: usize) -> Result<(), Failure> {
        let charge = self.visitor.account.try_charge(bytes);
        let charge = charge.map_err(|error| {
            self.front.state.counters.http_refused_memory.add();
            Failure::Service(error.to_string())
        })?;
        self.charges
            .lock()
            .entry(id.clone())
            .or_default()
            .push(charge);
        Ok(())
    }

    /// Converts a result. Uses a blocking thread if the result is large. Releases the functions in
    /// the result, because MCP clients cannot call them.
    async fn convert<T: Send + 'static>(
        &self,
        result: RawValue,
        convert: impl FnOnce(&RawValue) -> Result<T, String> + Send + 'static,
    ) -> Result<T, Failure> {
        let size = result.as_bytes().len();
        let work = move || {
            let converted = convert(&result);
            drop(result.handles());
            converted
        };
        let converted = self.front.visits.run(size, work).await;
        let stopped = "the server is shutting down";
        let converted =
            converted.map_err(|_| Failure::Server(ErrorData::internal_error(stopped, None)))?;
        converted.map_err(Failure::Service)
    }

    /// Converts a result to a JSON tree. Charges the tree to the request.
    async fn json(
        &self,
        result: RawValue,
        context: &RequestContext<RoleServer>,
    ) -> Result<Json, Failure> {
        let text = self.convert(result, content::json_text).await?;
        self.hold(&context.id, content::room(&text))?;
        let parsed = serde_json::from_slice(&text).map(content::plain);
        parsed.map_err(|error| Failure::Service(error.to_string()))
    }

    /// Calls a tool and returns its content.
    async fn run_tool(
        &self,
        request: CallToolRequestParams,
        context: &RequestContext<RoleServer>,
    ) -> Result<CallToolResult, Failure> {
        let arguments = arguments(context)?;
        let (method, args, splits) = if self.offer.native.contains("call_tool") {
            let mut args = Args::new(0, 2);
            args.push_named("name", &*request.name);
            args.push_named("arguments", &arguments);
            ("call_tool", args, true)
        } else {
            let Some(found) = self.offer.tools.get(&*request.name) else {
                return Err(Failure::Service(self.no_tool(&request.name)));
            };
            self.check(&found.tool, &arguments).await?;
            let args = Args::from_value(arguments, &[]);
            let args = args.map_err(|error| Failure::Service(error.to_string()))?;
            (&*found.method, args, self.offer.splits_lists)
        };
        let result = self.call(method, args, context).await?;
        if result.is_stream()
            && let Ok(items) = result.decode::<RemoteStream<RawValue>>()
        {
            return self.run_stream(items, context).await;
        }
        // A service that implements MCP itself may return a complete tool result.
        if method == "call_tool"
            && result
                .member("content")
                .is_some_and(|it| it.items().is_some())
        {
            let whole = self.json(result, context).await?;
            return parsed("call_tool", whole);
        }
        let convert = move |result: &RawValue| content::blocks(result, splits);
        Ok(CallToolResult::success(
            self.convert(result, convert).await?,
        ))
    }

    /// Checks the arguments of a tool. Uses a blocking thread if the check may take long.
    async fn check(&self, tool: &Tool, arguments: &RawValue) -> Result<(), Failure> {
        let (schema, arguments) = (tool.input_schema.clone(), arguments.clone());
        // A step takes about as long as the conversion of a few bytes.
        let size = 4 * validation::steps(&arguments);
        let work = move || validation::check(&schema, &arguments);
        let checked = self.front.visits.run(size, work).await;
        let stopped = "the server is shutting down";
        let checked =
            checked.map_err(|_| Failure::Server(ErrorData::internal_error(stopped, None)))?;
        checked.map_err(Failure::Service)
    }

    /// Collects the items of a stream. Sends each item as progress to a client that requested
    /// progress.
    async fn run_stream(
        &self,
        mut items: RemoteStream<RawValue>,
        context: &RequestContext<RoleServer>,
    ) -> Result<CallToolResult, Failure> {
        let token = context.meta.get_progress_token().filter(|_| self.notifies);
        let mut blocks = Vec::new();
        let mut count = 0_u32;
        while let Some(item) = self.unless_ended(context, items.next()).await? {
            let item = item.map_err(|error| Failure::Service(request_client::text_of(&error)))?;
            let size = item.as_bytes().len();
            self.hold(&context.id, content::room_of_result(size))?;
            let convert = |item: &RawValue| content::blocks(item, false);
            let mut found = self.convert(item, convert).await?;
            count = count.saturating_add(1);
            if let Some(token) = &token {
                let mut progress = ProgressNotificationParam::new(token.clone(), count.into());
                let text = found.first().and_then(ContentBlock::as_text);
                if let Some(text) = text.filter(|it| it.text.len() <= PROGRESS_BYTES) {
                    progress = progress.with_message(&*text.text);
                }
                let sent = context.peer.notify_progress(progress);
                // The error is ignored, because the request of a disconnected client is canceled
                // anyway.
                let _ = self.unless_ended(context, sent).await?;
            }
            blocks.append(&mut found);
        }
        Ok(CallToolResult::success(blocks))
    }

    fn no_tool(&self, name: &str) -> String {
        let known: Vec<_> = self.offer.tools.keys().map(String::as_str).collect();
        format!(
            "Tool '{name}' not found in service {} (it has: {})",
            self.offer.id,
            known.join(", ")
        )
    }

    /// Calls a protocol function that returns a list. Any other result counts as an empty list.
    async fn list<T: DeserializeOwned>(
        &self,
        method: &'static str,
        context: &RequestContext<RoleServer>,
    ) -> Result<Vec<T>, ErrorData> {
        let listing = async {
            let result = self.call(method, Args::new(0, 0), context).await?;
            match self.json(result, context).await? {
                Json::Array(items) => {
                    let items = items.into_iter().map(|item| parsed(method, item));
                    items.collect()
                }
                _ => Ok(Vec::new()),
            }
        };
        listing.await.map_err(Failure::into_error)
    }

    async fn read(
        &self,
        uri: &str,
        context: &RequestContext<RoleServer>,
    ) -> Result<ReadResourceResult, Failure> {
        if self.offer.native.contains("read_resource") {
            let mut args = Args::new(0, 1);
            args.push_named("uri", uri);
            let result = self.call("read_resource", args, context).await?;
            if let Some(contents) = plain_contents(&result, uri, "text/plain") {
                return Ok(ReadResourceResult::new(vec![contents]));
            }
            let found = self.json(result, context).await?;
            return contents(found, uri);
        }
        let found = self.offer.resources.iter();
        let found = found.into_iter().find(|found| found.resource.uri == uri);
        let Some(found) = found else {
            let text = format!("Resource '{uri}' not found in service {}", self.offer.id);
            return Err(Failure::Server(ErrorData::resource_not_found(text, None)));
        };
        let kind = found.resource.mime_type.as_deref();
        let kind = kind.unwrap_or("text/plain").to_owned();
        let contents = match &found.source {
            Source::Text(text) => ResourceContents::text(text, uri).with_mime_type(kind),
            Source::Method(method) => {
                let result = self.call(method, Args::new(0, 0), context).await?;
                match plain_contents(&result, uri, &kind) {
                    Some(contents) => contents,
                    None => {
                        let text = self.json(result, context).await?.to_string();
                        ResourceContents::text(text, uri).with_mime_type(kind)
                    }
                }
            }
        };
        Ok(ReadResourceResult::new(vec![contents]))
    }

    async fn write_prompt(
        &self,
        request: GetPromptRequestParams,
        context: &RequestContext<RoleServer>,
    ) -> Result<GetPromptResult, Failure> {
        let name = request.name;
        let arguments = request.arguments.unwrap_or_default();
        let (result, description) = if self.offer.native.contains("get_prompt") {
            let mut args = Args::new(0, 2);
            args.push_named("name", &name);
            args.push_named("arguments", &arguments);
            let result = self.call("get_prompt", args, context).await?;
            (result, "Prompt result".to_owned())
        } else {
            let Some(found) = self.offer.prompt(&name) else {
                let text = format!("Prompt '{name}' not found in service {}", self.offer.id);
                return Err(Failure::Server(ErrorData::invalid_params(text, None)));
            };
            let args = named(&arguments);
            let result = self.call(&found.method, args, context).await?;
            (result, format!("Prompt for {name}"))
        };
        let text = match result.as_str() {
            Some(text) => text.to_owned(),
            None => {
                let mut found = self.json(result, context).await?;
                if let Json::Array(messages) = found["messages"].take() {
                    return prompt(&found, messages);
                }
                found.to_string()
            }
        };
        let message = PromptMessage::new_text(Role::User, text);
        Ok(GetPromptResult::new(vec![message]).with_description(description))
    }
}

/// Returns the arguments of a tool, which [`message`](super::message) has cut out of the request.
fn arguments(context: &RequestContext<RoleServer>) -> Result<RawValue, Failure> {
    let of_http = || context.extensions.get::<Parts>()?.extensions.get();
    if let Some(Arguments(found)) = context.extensions.get().or_else(of_http) {
        return Ok(found.clone());
    }
    let empty_map = RawValue::new(Bytes::from_static(&[0x80]));
    empty_map.map_err(|error| Failure::Service(error.to_string()))
}

/// Returns the members of an object as named arguments.
fn named(arguments: &JsonObject) -> Args {
    let mut args = Args::new(0, arguments.len());
    for (name, value) in arguments {
        args.push_named(name, value);
    }
    args
}

/// Returns the error for a protocol method that the service does not offer.
fn unknown_method() -> ErrorData {
    ErrorData::new(ErrorCode::METHOD_NOT_FOUND, "Method not found", None)
}

/// Parses the result of a protocol function.
fn parsed<T: DeserializeOwned>(method: &str, found: Json) -> Result<T, Failure> {
    serde_json::from_value(found).map_err(|error| {
        let expected = "does not return what the protocol says";
        Failure::Service(format!("`{method}` of the service {expected}: {error}"))
    })
}

/// Returns a string or binary data as the contents of a resource, or `None` for any other result.
fn plain_contents(result: &RawValue, uri: &str, kind: &str) -> Option<ResourceContents> {
    use base64::Engine;
    use base64::engine::general_purpose::STANDARD;

    if let Some(text) = result.as_str() {
        return Some(ResourceContents::text(text, uri).with_mime_type(kind));
    }
    let bytes = result.as_content()?;
    let kind = match kind {
        "text/plain" => "application/octet-stream",
        kind => kind,
    };
    Some(ResourceContents::blob(STANDARD.encode(bytes), uri).with_mime_type(kind))
}

/// Parses the result of `read_resource`: `{contents: [...]}`, the list alone, or any other value,
/// which is shown as text.
fn contents(found: Json, uri: &str) -> Result<ReadResourceResult, Failure> {
    let listed = match found {
        Json::Object(mut map) => match map.remove("contents") {
            Some(Json::Array(listed)) => listed,
            _ => {
                return Err(Failure::Service(
                    "`read_resource` returns no contents".into(),
                ));
            }
        },
        Json::Array(listed) => listed,
        other => vec![Json::String(other.to_string())],
    };
    let one = |content: Json| match content {
        Json::Object(mut content) => {
            content.retain(|_, value| !value.is_null());
            content.entry("uri").or_insert_with(|| uri.into());
            content
                .entry("mimeType")
                .or_insert_with(|| "text/plain".into());
            if !content.contains_key("blob") {
                content.entry("text").or_insert_with(|| "".into());
            }
            parsed("read_resource", Json::Object(content))
        }
        Json::String(text) => Ok(ResourceContents::text(text, uri)),
        other => Ok(ResourceContents::text(other.to_string(), uri)),
    };
    let contents = listed.into_iter().map(one);
    Ok(ReadResourceResult::new(contents.collect::<Result<_, _>>()?))
}

/// Parses a prompt of the form `{description, messages}`.
fn prompt(found: &Json, messages: Vec<Json>) -> Result<GetPromptResult, Failure> {
    let one = |message: Json| {
        let role = match message["role"].as_str() {
            Some("assistant") => Role::Assistant,
            _ => Role::User,
        };
        let content = match message.get("content") {
            Some(Json::String(text)) => ContentBlock::text(text),
            Some(content) => match serde_json::from_value(content.clone()) {
                Ok(block) => block,
                Err(_) => ContentBlock::text(content.to_string()),
            },
            None => ContentBlock::text(""),
        };
        PromptMessage::new(role, content)
    };
    let mut result = GetPromptResult::new(messages.into_iter().map(one).collect());
    result.description = found["description"].as_str().map(str::to_owned);
    Ok(result)
}

/// Implements the server trait of the MCP library (`rmcp`) for a gateway.
#[derive(Clone)]
pub(super) struct Handler(pub(super) std::sync::Arc<Gateway>);

impl Handler {
    fn has(&self, names: &[&str]) -> bool {
        names.iter().any(|name| self.0.offer.native.contains(name))
    }

    fn has_tools(&self) -> bool {
        self.has(&["list_tools", "call_tool"]) || !self.0.offer.tools.is_empty()
    }

    fn has_resources(&self) -> bool {
        let names = ["list_resources", "list_resource_templates", "read_resource"];
        self.has(&names) || !self.0.offer.resources.is_empty()
    }

    fn has_prompts(&self) -> bool {
        self.has(&["list_prompts", "get_prompt"]) || !self.0.offer.prompts.is_empty()
    }
}

impl rmcp::ServerHandler for Handler {
    fn get_info(&self) -> ServerConfig {
        let mut capabilities = ServerCapabilities::default();
        if self.has_tools() {
            let mut tools = ToolsCapability::default();
            tools.list_changed = Some(false);
            capabilities.tools = Some(tools);
        }
        if self.has_resources() {
            let mut resources = ResourcesCapability::default();
            resources.subscribe = Some(false);
            resources.list_changed = Some(false);
            capabilities.resources = Some(resources);
        }
        if self.has_prompts() {
            let mut prompts = PromptsCapability::default();
            prompts.list_changed = Some(false);
            capabilities.prompts = Some(prompts);
        }
        let offer = &self.0.offer;
        let this = Implementation::new(&*offer.id, env!("CARGO_PKG_VERSION"));
        let mut config = ServerConfig::new(capabilities).with_server_info(this);
        config.instructions = offer.description.clone().filter(|text| !text.is_empty());
        config
    }

    async fn list_tools(
        &self,
        _: Option<PaginatedRequestParams>,
        context: RequestContext<RoleServer>,
    ) -> Result<ListToolsResult, ErrorData> {
        let tools = if self.has(&["list_tools"]) {
            self.0.list("list_tools", &context).await?
        } else if self.has_tools() {
            let tools = self.0.offer.tools.values();
            tools.map(|found| found.tool.clone()).collect()
        } else {
            return Err(unknown_method());
        };
        Ok(ListToolsResult::with_all_items(tools))
    }

    async fn call_tool(
        &self,
        request: CallToolRequestParams,
        context: RequestContext<RoleServer>,
    ) -> Result<CallToolResponse, ErrorData> {
        if !self.has_tools() {
            return Err(unknown_method());
        }
        self.0.front.state.counters.mcp_calls.add();
        match self.0.run_tool(request, &context).await {
            Ok(result) => Ok(result.into()),
            Err(Failure::Service(text)) => {
                Ok(CallToolResult::error(vec![ContentBlock::text(text)]).into())
            }
            Err(Failure::Server(error)) => Err(error),
        }
    }

    async fn list_resources(
        &self,
        _: Option<PaginatedRequestParams>,
        context: RequestContext<RoleServer>,
    ) -> Result<ListResourcesResult, ErrorData> {
        let resources = if self.has(&["list_resources"]) {
            self.0.list("list_resources", &context).await?
        } else if self.has_resources() {
            let resources = self.0.offer.resources.iter();
            resources.map(|found| found.resource.clone()).collect()
        } else {
            return Err(unknown_method());
        };
        Ok(ListResourcesResult::with_all_items(resources))
    }

    async fn list_resource_templates(
        &self,
        _: Option<PaginatedRequestParams>,
        context: RequestContext<RoleServer>,
    ) -> Result<ListResourceTemplatesResult, ErrorData> {
        let templates = if self.has(&["list_resource_templates"]) {
            self.0.list("list_resource_templates", &context).await?
        } else if self.has_resources() {
            Vec::new()
        } else {
            return Err(unknown_method());
        };
        Ok(ListResourceTemplatesResult::with_all_items(templates))
    }

    async fn read_resource(
        &self,
        request: ReadResourceRequestParams,
        context: RequestContext<RoleServer>,
    ) -> Result<ReadResourceResponse, ErrorData> {
        if !self.has_resources() {
            return Err(unknown_method());
        }
        let read = self.0.read(&request.uri, &context).await;
        read.map(Into::into).map_err(Failure::into_error)
    }

    async fn list_prompts(
        &self,
        _: Option<PaginatedRequestParams>,
        context: RequestContext<RoleServer>,
    ) -> Result<ListPromptsResult, ErrorData> {
        let prompts = if self.has(&["list_prompts"]) {
            self.0.list("list_prompts", &context).await?
        } else if self.has_prompts() {
            let prompts = self.0.offer.prompts.values();
            prompts.map(|found| found.prompt.clone()).collect()
        } else {
            return Err(unknown_method());
        };
        Ok(ListPromptsResult::with_all_items(prompts))
    }

    async fn get_prompt(
        &self,
        request: GetPromptRequestParams,
        context: RequestContext<RoleServer>,
    ) -> Result<GetPromptResponse, ErrorData> {
        if !self.has_prompts() {
            return Err(unknown_method());
        }
        let written = self.0.write_prompt(request, &context).await;
        written.map(Into::into).map_err(Failure::into_error)
    }

    async fn on_custom_request(
        &self,
        _: CustomRequest,
        _: RequestContext<RoleServer>,
    ) -> Result<CustomResult, ErrorData> {
        Err(unknown_method())
    }
}
