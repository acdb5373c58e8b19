//! Requests with the function `fetch` of a browser, a worker or Node.
//!
//! The objects of JavaScript are not `Send`, so they stay in a local task, which ends when the
//! receiver of the response or of its body is dropped.

use bytes::Bytes;
use futures_util::StreamExt as _;
use futures_util::future::{Either, select};
use futures_util::stream;
use http::StatusCode;
use js_sys::{Function, Promise, Reflect, Uint8Array};
use tokio::sync::{mpsc, oneshot};
use wasm_bindgen::{JsCast, JsValue};
use wasm_bindgen_futures::{JsFuture, spawn_local};
use web_sys::{AbortController, Headers, ReadableStreamDefaultReader, RequestCache, RequestInit};

use super::{Cause, NotPosted, Opened, Response};
use crate::error::{ConnectError, ConnectErrorKind};
use crate::transport::SocketOptions;
use crate::transport::browser::message_of;

/// Maximum number of received parts of a body that wait for the connection. The task reads no more
/// while there are so many, so that the browser pauses the server.
const WAITING_PARTS: usize = 16;

/// Error of `fetch`. Browsers hide the cause, for the safety of other sites.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
struct FetchError(String);

/// Sends requests to one URL. `fetch` follows redirects.
#[derive(Clone)]
pub(super) struct Requests {
    url: String,
}

impl Requests {
    /// # Errors
    ///
    /// Fails if the URL is invalid.
    pub(super) fn new(url: &str, _: &SocketOptions) -> Result<Self, ConnectError> {
        let invalid = |e| ConnectError::new(ConnectErrorKind::InvalidUrl, message_of(&e));
        web_sys::Url::new(url).map_err(invalid)?;
        Ok(Requests {
            url: url.to_owned(),
        })
    }

    pub(super) fn url(&self) -> &str {
        &self.url
    }

    /// Opens the stream with a GET request.
    pub(super) async fn open(
        self,
        query: String,
        token: Option<String>,
    ) -> Result<Opened, ConnectError> {
        let sent = send(self.with_query(&query), token, None).await;
        let failed = |cause| {
            ConnectError::new(ConnectErrorKind::Unreachable, "")
                .with_url(&self.url)
                .with_source(cause)
        };
        Ok(Opened {
            response: sent.map_err(failed)?,
            requests: self,
        })
    }

    /// Posts one message.
    pub(super) async fn post(
        &self,
        query: &str,
        token: Option<&str>,
        body: Bytes,
    ) -> Result<Response, NotPosted> {
        let sent = send(self.with_query(query), token.map(str::to_owned), Some(body));
        sent.await.map_err(|cause| NotPosted {
            // The error does not tell whether the server was reached.
            maybe_accepted: true,
            cause,
        })
    }

    fn with_query(&self, query: &str) -> String {
        format!("{}?{query}", self.url)
    }
}

/// Sends a request in a local task: a POST of `body`, or a GET for the stream.
async fn send(url: String, token: Option<String>, body: Option<Bytes>) -> Result<Response, Cause> {
    let (respond, response) = oneshot::channel();
    spawn_local(run(url, token, body, respond));
    let ended = |_| FetchError("the request ended without a response".to_owned());
    response.await.map_err(ended)?
}

async fn run(
    url: String,
    token: Option<String>,
    body: Option<Bytes>,
    mut respond: oneshot::Sender<Result<Response, Cause>>,
) {
    let fetching = match Fetching::start(&url, token.as_deref(), body.as_deref()) {
        Ok(fetching) => fetching,
        Err(error) => {
            // An error means that nothing waits for the response. The same applies below.
            let _ = respond.send(Err(failed(&error)));
            return;
        }
    };
    let response = JsFuture::from(fetching.response.clone());
    let response = tokio::select! {
        response = response => response,
        () = respond.closed() => return,
    };
    let response = match response.and_then(JsCast::dyn_into::<web_sys::Response>) {
        Ok(response) => response,
        Err(error) => {
            let _ = respond.send(Err(failed(&error)));
            return;
        }
    };
    let length = response.headers().get("content-length").ok().flatten();
    let (parts, received) = mpsc::channel(WAITING_PARTS);
    let body = stream::unfold(received, async |mut received: mpsc::Receiver<_>| {
        received.recv().await.map(|part| (part, received))
    });
    let status = StatusCode::from_u16(response.status()).unwrap_or_default();
    let failure = || FetchError(format!("HTTP status {status}")).into();
    let _ = respond.send(Ok(Response {
        status,
        failure: (!response.ok()).then(failure),
        length: length.and_then(|length| length.parse().ok()),
        body: body.boxed(),
    }));
    if let Some(body) = response.body() {
        let reader: ReadableStreamDefaultReader = body.get_reader().unchecked_into();
        transfer(&reader, &parts).await;
    }
    // The drop of `fetching` ends the request.
}

/// Sends the parts of a body to the receiver, until the body ends or the receiver is dropped.
async fn transfer(
    reader: &ReadableStreamDefaultReader,
    parts: &mpsc::Sender<Result<Bytes, Cause>>,
) {
    loop {
        let read = JsFuture::from(reader.read());
        let closed = std::pin::pin!(parts.closed());
        let part = match select(read, closed).await {
            Either::Left((Ok(part), _)) => part,
            Either::Left((Err(error), _)) => {
                let _ = parts.send(Err(failed(&error))).await;
                return;
            }
            Either::Right(_) => return,
        };
        let value = Reflect::get(&part, &"value".into());
        let Some(bytes) = value
            .ok()
            .and_then(|value| value.dyn_into::<Uint8Array>().ok())
        else {
            // The end of the body has no value.
            return;
        };
        if parts.send(Ok(Bytes::from(bytes.to_vec()))).await.is_err() {
            return;
        }
    }
}

/// A request in progress. The drop aborts it.
struct Fetching {
    response: Promise,
    abort: AbortController,
}

impl Fetching {
    fn start(url: &str, token: Option<&str>, body: Option<&[u8]>) -> Result<Self, JsValue> {
        let abort = AbortController::new()?;
        let headers = Headers::new()?;
        headers.set("content-type", "application/msgpack")?;
        if let Some(token) = token {
            headers.set("authorization", &format!("Bearer {token}"))?;
        }
        let options = RequestInit::new();
        options.set_signal(Some(&abort.signal()));
        match body {
            Some(body) => {
                options.set_method("POST");
                options.set_body(&Uint8Array::from(body));
            }
            None => {
                headers.set("accept", "application/x-msgpack-stream")?;
                options.set_cache(RequestCache::NoStore);
            }
        }
        options.set_headers(&headers);
        // Pages, workers and Node have different types of global objects.
        let fetch = Reflect::get(&js_sys::global(), &"fetch".into())?;
        let fetch: Function = fetch.dyn_into()?;
        let response = fetch.call2(&JsValue::UNDEFINED, &url.into(), &options)?;
        Ok(Fetching {
            response: response.dyn_into()?,
            abort,
        })
    }
}

impl Drop for Fetching {
    fn drop(&mut self) {
        // Has no effect on a request that is complete.
        self.abort.abort();
    }
}

fn failed(error: &JsValue) -> Cause {
    FetchError(message_of(error)).into()
}
