//! Context of an incoming call: its caller and origin (`docs/protocol/02-messages.md#s11`).

use std::fmt;
use std::sync::{Arc, OnceLock, Weak};

use tokio_util::sync::CancellationToken;

use crate::engine::{LinkPeer, UserInfo};
use hypha_wire as wire;
use hypha_wire::{Map, Message, Value};

/// Caller and origin of a call, as the server wrote them into the message.
///
/// A caller cannot forge its address, workspace and user. A method receives the context through a
/// parameter of type `&Context` or `Context`, which is not part of its schema. Cloning is cheap.
///
/// # Examples
///
/// ```
/// use hypha_rpc::prelude::*;
///
/// struct Door;
///
/// #[hypha_service]
/// impl Door {
///     /// Open the door for users that are logged in.
///     pub async fn open(&self, ctx: &Context) -> Result<(), String> {
///         match ctx.user().is_anonymous {
///             true => Err(format!("{} is not logged in", ctx.from())),
///             false => Ok(()),
///         }
///     }
/// }
/// ```
#[derive(Clone)]
pub struct Context {
    inner: Arc<Inner>,
}

struct Inner {
    message: Message,
    /// Caller on a link without a server. Takes precedence over the message.
    link_peer: Option<Arc<LinkPeer>>,
    connection_type: &'static str,
    /// Public key of the sender, if the call is encrypted.
    caller_key: Option<bytes::Bytes>,
    user: OnceLock<UserInfo>,
    cancelled: CancellationToken,
}

impl Context {
    pub(crate) fn new(
        message: Message,
        connection_type: &'static str,
        caller_key: Option<bytes::Bytes>,
        link_peer: Option<Arc<LinkPeer>>,
    ) -> Self {
        Context {
            inner: Arc::new(Inner {
                message,
                link_peer,
                connection_type,
                caller_key,
                user: OnceLock::new(),
                cancelled: CancellationToken::new(),
            }),
        }
    }

    /// Creates the context of a call within this program.
    pub(crate) fn local() -> Self {
        Self::new(Message::default(), "local", None, None)
    }

    pub(crate) fn message(&self) -> &Message {
        &self.inner.message
    }

    /// Returns the caller's address, `workspace/client`. The address of the workspace manager is
    /// `*/<manager id>`.
    #[must_use]
    pub fn from(&self) -> &str {
        match &self.inner.link_peer {
            Some(peer) => &peer.address,
            None => self.peer(),
        }
    }

    /// Returns the address of the sender on this link. It identifies the peer of sessions and
    /// chunks. Use [`from`](Self::from) for permissions: on a link without a server, the peer
    /// chooses this address.
    pub(crate) fn peer(&self) -> &str {
        self.inner.message.from().unwrap_or_default()
    }

    /// Returns the called address, which is the address of this client.
    #[must_use]
    pub fn to(&self) -> &str {
        self.inner.message.to().unwrap_or_default()
    }

    /// Returns the caller's workspace. Empty on links without a server.
    #[must_use]
    pub fn workspace(&self) -> &str {
        match &self.inner.link_peer {
            Some(peer) => &peer.workspace,
            None => self.inner.message.ws().unwrap_or_default(),
        }
    }

    /// Returns the user of the caller, as authenticated by the server.
    ///
    /// Without a server, or if the server sent no valid user, the user is anonymous and has no id,
    /// roles or permissions. The first call decodes the user and caches it.
    #[must_use]
    pub fn user(&self) -> &UserInfo {
        if let Some(peer) = &self.inner.link_peer {
            return &peer.user;
        }
        self.inner.user.get_or_init(|| {
            let raw = self.inner.message.user();
            let read = raw.map(|raw| wire::from_slice(&raw)).transpose();
            let user = read.unwrap_or_else(|e| {
                tracing::warn!("the user of {} cannot be read: {e}", self.from());
                None
            });
            user.unwrap_or_default()
        })
    }

    /// Returns the path that was called: `services.<service>.<method>`, or `<session>.<function>`
    /// for a callback.
    #[must_use]
    pub fn method(&self) -> &str {
        self.inner.message.method().unwrap_or_default()
    }

    /// Returns the caller's session of this call, or `None` if the caller does not wait for a
    /// response.
    #[must_use]
    pub fn session(&self) -> Option<&str> {
        self.inner.message.session()
    }

    /// Returns the kind of transport of this client: `websocket`, `http_streaming`, `webrtc`, or
    /// `local` for a call within one program.
    #[must_use]
    pub fn connection_type(&self) -> &'static str {
        self.inner.connection_type
    }

    /// Returns the token that is triggered when the caller stops waiting for this call. The wait
    /// ends if the caller disconnects, if a Rust caller drops its future or reaches its timeout, or
    /// if this program disconnects. A stream in the result may hold the context: the token is also
    /// triggered after the method has returned.
    ///
    /// The handler decides whether to stop. Its future is dropped only when this program
    /// disconnects, after the grace periods of
    /// [`Client::disconnect`](crate::Client::disconnect). Clones of the context share the token, so
    /// a task started by the handler can observe it. Callers in other languages send no
    /// cancellation.
    ///
    /// # Examples
    ///
    /// ```
    /// # use hypha_rpc::service::Context;
    /// async fn survey(ctx: &Context, plates: Vec<u32>) -> Result<u32, String> {
    ///     let mut done = 0;
    ///     for plate in plates {
    ///         if ctx.cancellation().is_cancelled() {
    ///             return Err(format!("stopped after {done} plates"));
    ///         }
    ///         done += plate.min(1);
    ///     }
    ///     Ok(done)
    /// }
    /// ```
    #[must_use]
    pub fn cancellation(&self) -> &CancellationToken {
        &self.inner.cancelled
    }

    pub(crate) fn cancel(&self) {
        self.inner.cancelled.cancel();
    }

    /// Returns whether more than `count` clones of the context exist.
    pub(super) fn has_more_than(&self, count: usize) -> bool {
        Arc::strong_count(&self.inner) > count
    }

    pub(super) fn downgrade(&self) -> WeakContext {
        WeakContext(Arc::downgrade(&self.inner))
    }

    /// Returns the public key of the caller, or `None` if the call was not encrypted. Only the
    /// owner of the matching private key can have encrypted the call.
    #[cfg(feature = "encryption")]
    #[must_use]
    pub fn caller_public_key(&self) -> Option<crate::crypto::PublicKey> {
        let key = self.inner.caller_key.as_deref()?;
        crate::crypto::PublicKey::try_from(key).ok()
    }

    /// Returns the public key of the caller as 64 hexadecimal digits.
    pub(crate) fn caller_key(&self) -> Option<String> {
        self.inner.caller_key.as_deref().map(crate::engine::hex)
    }

    /// Returns the whole context as a map, with the keys that other languages use.
    ///
    /// Contains every key of the message's first segment, `connection_type`, and for an encrypted
    /// call `encryption` and `caller_public_key`.
    #[must_use]
    pub fn to_map(&self) -> Map {
        // The message was parsed before, so this fails only if a value in the message cannot be
        // decoded. The map then has only the keys below.
        let mut map = self.inner.message.main().unwrap_or_default();
        if self.inner.link_peer.is_some() {
            map.insert("from".into(), self.from().into());
            map.insert("ws".into(), self.workspace().into());
            let user = wire::to_vec(self.user()).ok().map(bytes::Bytes::from);
            let user = user.and_then(|user| wire::from_slice(&user).ok());
            map.insert("user".into(), user.unwrap_or_default());
        }
        map.insert(
            "connection_type".into(),
            Value::from(self.inner.connection_type),
        );
        if let Some(key) = self.caller_key() {
            map.insert("encryption".into(), true.into());
            map.insert("caller_public_key".into(), key.into());
        }
        map
    }
}

/// Context that is not kept alive.
pub(super) struct WeakContext(Weak<Inner>);

impl WeakContext {
    pub(super) fn is_held(&self) -> bool {
        self.0.strong_count() > 0
    }

    pub(super) fn upgrade(&self) -> Option<Context> {
        let inner = self.0.upgrade()?;
        Some(Context { inner })
    }
}

impl fmt::Debug for Context {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Context")
            .field("from", &self.from())
            .field("method", &self.method())
            .finish_non_exhaustive()
    }
}
