//! Runs services in the process of a test, without a server (feature `testing`).
//!
//! [`in_process`] returns a typed proxy of a service that runs in the same process. A test calls
//! the service through this proxy like any other client, but needs neither a port nor a running
//! server.
//!
//! # Examples
//!
//! ```
//! use hypha_rpc::{prelude::*, testing};
//!
//! /// Arithmetic.
//! #[hypha_service]
//! trait Calculator {
//!     async fn divide(&self, a: f64, b: f64) -> Result<f64, String>;
//! }
//!
//! struct Desk;
//! impl Calculator for Desk {
//!     async fn divide(&self, a: f64, b: f64) -> Result<f64, String> {
//!         if b == 0.0 { Err("division by zero".into()) } else { Ok(a / b) }
//!     }
//! }
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() {
//! // In a `#[tokio::test]`:
//! let calculator = testing::in_process(CalculatorService::new(Desk)).await.unwrap();
//! assert_eq!(calculator.divide(1.0, 4.0).await.unwrap(), 0.25);
//! assert!(calculator.divide(1.0, 0.0).await.is_err());
//! # }
//! ```

use std::convert::Infallible;
use std::future::IntoFuture;
use std::pin::Pin;

use futures_util::{SinkExt, StreamExt};

use crate::call::Proxy;
use crate::client::{Client, Identity, Settings};
use crate::error::Error;
use crate::service::IntoService;
use crate::transport::Frame;
use crate::transport::memory::{MemoryLink, pair};
use crate::workspace::UserInfo;
use hypha_wire::{
    EncodeError, Map, Message, Stamp, Value, absolute_address, split_address, to_vec,
};

/// Maximum number of frames that wait in each direction of a link. The client's own send queue has
/// the same limit.
const CAPACITY: usize = 1024;

/// Workspace of the service. The caller is in the same workspace unless the test sets another one.
const WORKSPACE: &str = "test";

/// Serves `service` in this process and connects its typed proxy, without a server or a network.
///
/// Encoding, checks of arguments and permissions, heartbeats, chunks, callbacks, streams and the
/// caller's [`Context`](crate::Context) work in the same way as with a server. If the test pauses
/// tokio's clock (`start_paused = true`), timeouts elapse immediately. The service ends when the
/// proxy, all clones of the proxy, and all values received through the proxy are dropped.
///
/// # Errors
///
/// Awaiting fails
///
/// * with [`Error::Invalid`] if there is no tokio runtime, if the service has an invalid id or
///   method name, or if the user set by the test cannot be encoded;
/// * with [`Error::Rejected`] if the caller may not access the service, for example a `protected`
///   service from [another workspace](InProcess::workspace).
///
/// # Examples
///
/// In this example, a user with a role calls the service from another workspace:
///
/// ```
/// use hypha_rpc::workspace::UserInfo;
/// use hypha_rpc::{prelude::*, testing};
///
/// struct Clinic;
///
/// #[hypha_service(visibility = "public")]
/// impl Clinic {
///     /// Return the name of the caller's workspace.
///     pub async fn whence(&self, ctx: &Context) -> Result<String, String> {
///         match ctx.user().has_role("nurse") {
///             true => Ok(ctx.workspace().to_owned()),
///             false => Err("only for nurses".into()),
///         }
///     }
/// }
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() {
/// let nurse = UserInfo { roles: vec!["nurse".into()], ..UserInfo::default() };
/// let clinic = testing::in_process(Clinic)
///     .workspace("ward")
///     .user(nurse)
///     .await
///     .unwrap();
/// assert_eq!(clinic.whence().await.unwrap(), "ward");
/// # }
/// ```
pub fn in_process<S: IntoService>(service: S) -> InProcess<S> {
    InProcess {
        service,
        workspace: WORKSPACE.to_owned(),
        user: UserInfo::default(),
        settings: Settings::in_process(),
    }
}

/// Service to run in this process, and the settings of the client that calls it. Awaiting this
/// value starts the service and returns its proxy. Returned by [`in_process`].
#[must_use = "the service begins when this is awaited"]
#[derive(Debug)]
pub struct InProcess<S> {
    service: S,
    workspace: String,
    user: UserInfo,
    settings: Settings,
}

impl<S> InProcess<S> {
    /// Sets the calling user, which methods read with [`Context::user`](crate::Context::user).
    /// Default: an anonymous user without an id.
    pub fn user(mut self, user: UserInfo) -> Self {
        self.user = user;
        self
    }

    /// Sets the caller's workspace. Default: the workspace of the service, `test`.
    ///
    /// A caller in another workspace can use the service only if the visibility of the service is
    /// `unlisted` or `public`.
    pub fn workspace(mut self, workspace: impl Into<String>) -> Self {
        self.workspace = workspace.into();
        self
    }

    /// Changes the settings of the client that provides the service and of the client that calls
    /// it. A test can, for example, set a lower limit. Default: [`Settings::in_process`].
    pub fn settings(mut self, change: impl FnOnce(&mut Settings)) -> Self {
        change(&mut self.settings);
        self
    }
}

impl<S> IntoFuture for InProcess<S>
where
    S: IntoService,
    S::Proxy: Proxy + 'static,
{
    type Output = Result<S::Proxy, Error>;
    type IntoFuture = Pin<Box<dyn Future<Output = Self::Output> + Send>>;

    fn into_future(self) -> Self::IntoFuture {
        let InProcess {
            service,
            workspace,
            user,
            settings,
        } = self;
        let service = service.into_service();
        Box::pin(async move {
            Error::<Infallible>::unless_in_runtime("the clients cannot be started")?;
            let caller = Identity {
                user: user.clone(),
                ..Identity::new(workspace, "caller")
            };
            let host = Identity::new(WORKSPACE, "service");
            let side = |identity: &Identity| {
                let (ours, theirs) = pair(CAPACITY);
                let client =
                    Client::from_link(Box::new(theirs), identity.clone(), settings.clone());
                Side::new(ours, identity).map(|side| (side, client))
            };
            let unfit = |e: EncodeError| Error::Invalid(format!("the user set by the test: {e}"));
            let (caller_side, client) = side(&caller).map_err(unfit)?;
            let (host_side, host) = side(&host).map_err(unfit)?;
            let id = service.id().to_owned();
            host.register_service(service).await?;
            crate::runtime::spawn(carry(caller_side, host_side, host));
            let service = client
                .get_remote_service(&format!("{WORKSPACE}/service:{id}"))
                .await?;
            Ok(S::Proxy::from_service(service))
        })
    }
}

/// The server's end of the link to one client. Also contains the data that the server adds to each
/// message of that client.
struct Side {
    link: MemoryLink,
    /// Absolute address, `workspace/client`.
    address: String,
    /// The user of the client, encoded once for all messages.
    user: Vec<u8>,
}

impl Side {
    fn new(link: MemoryLink, identity: &Identity) -> Result<Self, EncodeError> {
        Ok(Side {
            link,
            address: identity.address(),
            user: to_vec(&identity.user)?,
        })
    }

    /// Adds the fields that a server adds to a message of this client. Returns the receiver and the
    /// new message. Returns `None` if the frame is not a message, or if the message has no
    /// receiver.
    fn stamp(&self, frame: Frame) -> Option<(String, Frame)> {
        let Frame::Binary(data) = frame else {
            return None;
        };
        let message = Message::parse(data).ok()?;
        let (workspace, _) = split_address(&self.address)?;
        let to = absolute_address(message.to()?, workspace).into_owned();
        let stamped = message.stamped(&Stamp {
            to: &to,
            from: &self.address,
            ws: workspace,
            user: &self.user,
        });
        Some((to, Frame::Binary(stamped.into_bytes())))
    }
}

/// Forwards messages between both clients like a server, until one of the clients closes its link.
///
/// `_service` is the only handle of the client that provides the service. Owning this handle keeps
/// that client connected while this task runs.
async fn carry(mut caller: Side, mut host: Side, _service: Client) {
    loop {
        let (from_caller, frame) = tokio::select! {
            frame = caller.link.next() => (true, frame),
            frame = host.link.next() => (false, frame),
        };
        let Some(Ok(frame)) = frame else { break };
        // After a client has sent its close frame, the client waits until this end of its link is
        // dropped, so stop forwarding.
        if matches!(frame, Frame::Close(_)) {
            break;
        }
        let from = if from_caller { &caller } else { &host };
        let Some((to, frame)) = from.stamp(frame) else {
            continue;
        };
        let receiver = [&mut caller, &mut host]
            .into_iter()
            .find(|side| side.address == to);
        if let Some(receiver) = receiver {
            if receiver.link.send(frame).await.is_err() {
                break;
            }
        }
    }
    // Send the event that a server sends when a client disconnects. Without this event, the client
    // that provides the service would keep the streams and functions of the caller until they
    // expire.
    let (workspace, id) = split_address(&caller.address).unwrap_or_default();
    let data = Map::from_iter([
        ("id".to_owned(), Value::from(id)),
        ("workspace".to_owned(), Value::from(workspace)),
    ]);
    let event = Map::from_iter([
        ("type".to_owned(), Value::from("client_disconnected")),
        ("to".to_owned(), Value::from("*")),
        ("data".to_owned(), Value::Map(data)),
    ]);
    if let Ok(event) = to_vec(&event) {
        // Sending fails if the client that provides the service has closed its link first. That
        // client then holds nothing that must be released.
        let _ = host.link.send(Frame::Binary(event.into())).await;
    }
}
