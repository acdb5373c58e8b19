//! Names fixed by the protocol: keys of typed maps, methods of the built-in service, and reserved
//! words.

/// Kind of a typed map: `ndarray`, `method`, `error` and other kinds
/// (`docs/protocol/03-values.md`).
pub const RTYPE: &str = "_rtype";
/// Content of a typed map.
pub const RVALUE: &str = "_rvalue";
/// Element type of an array, in numpy's notation.
pub const RDTYPE: &str = "_rdtype";
/// Lengths of the dimensions of an array.
pub const RSHAPE: &str = "_rshape";
/// Traceback of an error.
pub const RTRACE: &str = "_rtrace";
/// Name of a function. In an error, the name of the error class; this use is an extension.
pub const RNAME: &str = "_rname";
/// Data of an error; an extension.
pub const RDATA: &str = "_rdata";
/// Messages of the causes of an error, the nearest cause first. Only Rust peers send them.
pub const RCAUSES: &str = "_rcauses";
/// Address of the client that owns a function.
pub const RTARGET: &str = "_rtarget";
/// Path of a function at its owner.
pub const RMETHOD: &str = "_rmethod";
/// Form of the response of a function: `true`, `false` or `"*"`.
pub const RPROMISE: &str = "_rpromise";
/// Public URL of the server that the owner of a function is connected to.
pub const RSERVER: &str = "_rserver";
/// JSON Schema of a function.
pub const RSCHEMA: &str = "_rschema";
/// Documentation of a function.
pub const RDOC: &str = "_rdoc";
/// Whether a function is asynchronous.
pub const RASYNC: &str = "_rasync";
/// Public key of a function's owner, if calls are encrypted.
pub const RENC_PUB: &str = "_renc_pub";
/// Id of the service of an interface.
pub const RINTF_SERVICE_ID: &str = "_rintf_service_id";
/// Marks an interface.
pub const RINTF: &str = "_rintf";
/// Prefix of the service ids of interfaces.
pub const RINTF_PREFIX: &str = "_rintf_";
/// Method that closes a generator.
pub const RCLOSE_METHOD: &str = "_rclose_method";
/// Method that returns several items of a generator at once; an extension.
pub const RBATCH_METHOD: &str = "_rbatch_method";
/// Whether the owner of a function wants a release when the last handle of the function is dropped;
/// an extension.
pub const RRELEASE: &str = "_rrelease";
/// Whether the owner of a function accepts `built-in.cancel`; an extension.
pub const RCANCEL: &str = "_rcancel";
/// Marks an object that Rust peers decode as a type of their own, such as a file; an extension.
pub const RNATIVE: &str = "_rnative";

/// Prefix of the method paths of services.
pub const SERVICES: &str = "services.";
/// Id of the service that every client has.
pub const BUILT_IN: &str = "built-in";
/// Prefix of the method paths of the built-in service.
pub const BUILT_IN_METHODS: &str = "services.built-in.";
/// Method that returns the description of a service.
pub const GET_SERVICE: &str = "services.built-in.get_service";
/// Method that returns `pong`.
pub const PING: &str = "services.built-in.ping";
/// Method that releases a function handed to the caller; an extension.
pub const RELEASE: &str = "services.built-in.release";
/// Method that cancels a call of the caller; an extension.
pub const CANCEL: &str = "services.built-in.cancel";
/// Prefix of the manager's address: the workspace `*` and the slash.
pub const MANAGER_WORKSPACE: &str = "*/";
/// Member of the built-in service that holds the methods for chunks.
pub const CHUNK_MEMBERS: &str = "message_cache";
/// Prefix of the methods that receive messages in chunks.
pub const MESSAGE_CACHE: &str = "services.built-in.message_cache.";

/// Keys of every service description. No method can have one of these names
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

/// Encryption header of the second segment of a message
/// (`docs/protocol/07-auth-login-encryption.md`).
pub const ENC: &str = "_enc";

/// JSON Schema annotation for values that JSON cannot represent.
///
/// Its value is `ndarray`, `function`, `stream` (of `items`), `object` (with functions), `file`,
/// `timestamp`, `duration`, `set` or `ordered_map`. Validators ignore it.
pub const SCHEMA_KIND: &str = "x-hypha-type";

/// JSON Schema annotation of an `ndarray`, the type of its elements, or of a number, its type. As
/// numpy names the types.
pub const SCHEMA_DTYPE: &str = "x-hypha-dtype";
/// JSON Schema annotation of an `ndarray`: its number of dimensions.
pub const SCHEMA_DIMENSIONS: &str = "x-hypha-dimensions";
/// JSON Schema annotation of a `function`: the list of the schemas of its arguments.
pub const SCHEMA_ARGUMENTS: &str = "x-hypha-arguments";
/// JSON Schema annotation of a `function`: the schema of its result.
pub const SCHEMA_RETURNS: &str = "x-hypha-returns";
/// JSON Schema annotation of a `function`, a `stream` or a function schema: the schema of the data
/// of its errors.
pub const SCHEMA_ERROR: &str = "x-hypha-error";
/// JSON Schema annotation of an `object`: the function schemas of its methods by name.
pub const SCHEMA_METHODS: &str = "x-hypha-methods";
/// JSON Schema annotation of an error type or one of its alternatives: an object with the `name` on
/// the wire and, if known, the `classes`, the `message`, and the field `source` with the cause. Its
/// member `other` is true for the alternative that stands for all other errors, `from` if the error
/// is made of its cause, and `transparent` if it passes on the message and causes of its field.
pub const SCHEMA_VARIANT: &str = "x-hypha-variant";
/// JSON Schema annotation of a map: the schema of its keys, which are texts in JSON.
pub const SCHEMA_KEYS: &str = "x-hypha-keys";
/// Marks a field whose type distinguishes null from a missing member. The schema then has no
/// default, and does not contain this key.
pub const SCHEMA_ABSENT: &str = "x-hypha-absent";
/// JSON Schema annotation of a number: its unit, such as `mm`.
pub const SCHEMA_UNIT: &str = "x-hypha-unit";
