//! Names that the protocol fixes: keys of typed maps, methods of the built-in service, and words that
//! no service may use.

/// The kind of a typed map: `ndarray`, `method`, `error` and others (`docs/protocol/03-values.md`).
pub const RTYPE: &str = "_rtype";
/// The content of a typed map.
pub const RVALUE: &str = "_rvalue";
/// The element type of an array, in numpy's notation.
pub const RDTYPE: &str = "_rdtype";
/// The lengths of an array's dimensions.
pub const RSHAPE: &str = "_rshape";
/// The trace of an error.
pub const RTRACE: &str = "_rtrace";
/// The name of a function; in an error, the name of its class, which other clients ignore.
pub const RNAME: &str = "_rname";
/// The data of an error, an extension that other clients ignore.
pub const RDATA: &str = "_rdata";
/// The address of the client that owns a function.
pub const RTARGET: &str = "_rtarget";
/// The path of a function at its owner.
pub const RMETHOD: &str = "_rmethod";
/// How a function answers: `true`, `false` or `"*"`.
pub const RPROMISE: &str = "_rpromise";
/// The public URL of the server through which a function is reached.
pub const RSERVER: &str = "_rserver";
/// The JSON Schema of a function.
pub const RSCHEMA: &str = "_rschema";
/// The documentation of a function.
pub const RDOC: &str = "_rdoc";
/// Whether a function is asynchronous.
pub const RASYNC: &str = "_rasync";
/// The public key of a function's owner, if its calls are encrypted.
pub const RENC_PUB: &str = "_renc_pub";
/// The id of the service that stands for an interface.
pub const RINTF_SERVICE_ID: &str = "_rintf_service_id";
/// Marks an interface.
pub const RINTF: &str = "_rintf";
/// Prefix of the ids of services that stand for interfaces.
pub const RINTF_PREFIX: &str = "_rintf_";
/// The method that closes a generator.
pub const RCLOSE_METHOD: &str = "_rclose_method";
/// The method that returns several items of a generator at once; an extension.
pub const RBATCH_METHOD: &str = "_rbatch_method";
/// The owner of a function wants to be told when its last handle is dropped; an extension.
pub const RRELEASE: &str = "_rrelease";
/// The owner of a function takes `built-in.cancel`; an extension.
pub const RCANCEL: &str = "_rcancel";
/// Marks an object that a Rust peer reads in a form of its own, such as a file; an extension.
pub const RNATIVE: &str = "_rnative";

/// Prefix of the methods of services.
pub const SERVICES: &str = "services.";
/// The id of the service that every client offers by itself.
pub const BUILT_IN: &str = "built-in";
/// Prefix of the methods of the built-in service.
pub const BUILT_IN_METHODS: &str = "services.built-in.";
/// Returns the description of a service.
pub const GET_SERVICE: &str = "services.built-in.get_service";
/// Answers `pong`.
pub const PING: &str = "services.built-in.ping";
/// Drops a function that the caller was handed; an extension.
pub const RELEASE: &str = "services.built-in.release";
/// Cancels a call of the caller; an extension.
pub const CANCEL: &str = "services.built-in.cancel";
/// Prefix of the methods that take messages in chunks.
pub const MESSAGE_CACHE: &str = "services.built-in.message_cache.";

/// Keys of every service's own description. A method cannot have one of these names
/// (`docs/protocol/04-services.md`).
pub const RESERVED: [&str; 8] = [
    "id",
    "name",
    "description",
    "type",
    "docs",
    "config",
    "app_id",
    "service_schema",
];

/// The encryption header of a message's second segment (`docs/protocol/07-auth-login-encryption.md`).
pub const ENC: &str = "_enc";

/// The JSON Schema annotation that marks kinds of values that JSON does not have: `ndarray`,
/// `function`, `stream` (of `items`), `object` (one with functions), `file`, `timestamp`, `set` or
/// `ordered_map`. Validators ignore it.
pub const SCHEMA_KIND: &str = "x-hypha-type";
