// Generated; see `generated.rs`.

use hypha_rpc::prelude::*;

/// Ends */ here """ or ''' or \ or \""" ` ${process.exit(1)}
/// import os
/// os.abort()
/// std::process::abort();
///
/// panic!("indented");
/// \```
/// panic!("fenced");
/// \```
/// - panic!("listed");
/// \~~~
/// \<script>alert(1)\</script> reversed {@link x} #{x} */ evil() """ evil() "
#[hypha_service]
#[allow(clippy::too_many_arguments, clippy::wrong_self_convention)]
pub trait Evil {
    /// Ends */ here """ or ''' or \ or \""" ` ${process.exit(1)}
    /// import os
    /// os.abort()
    /// std::process::abort();
    ///
    /// panic!("indented");
    /// \```
    /// panic!("fenced");
    /// \```
    /// - panic!("listed");
    /// \~~~
    /// \<script>alert(1)\</script> reversed {@link x} #{x} */ evil() """ evil() "
    async fn class(&self);

    /// Ends */ here """ or ''' or \ or \""" ` ${process.exit(1)}
    /// import os
    /// os.abort()
    /// std::process::abort();
    ///
    /// panic!("indented");
    /// \```
    /// panic!("fenced");
    /// \```
    /// - panic!("listed");
    /// \~~~
    /// \<script>alert(1)\</script> reversed {@link x} #{x} */ evil() """ evil() "
    async fn type_(&self);

    /// Ends */ here """ or ''' or \ or \""" ` ${process.exit(1)}
    /// import os
    /// os.abort()
    /// std::process::abort();
    ///
    /// panic!("indented");
    /// \```
    /// panic!("fenced");
    /// \```
    /// - panic!("listed");
    /// \~~~
    /// \<script>alert(1)\</script> reversed {@link x} #{x} */ evil() """ evil() "
    async fn new(&self);

    /// Ends */ here """ or ''' or \ or \""" ` ${process.exit(1)}
    /// import os
    /// os.abort()
    /// std::process::abort();
    ///
    /// panic!("indented");
    /// \```
    /// panic!("fenced");
    /// \```
    /// - panic!("listed");
    /// \~~~
    /// \<script>alert(1)\</script> reversed {@link x} #{x} */ evil() """ evil() "
    async fn constructor(&self);

    /// Ends */ here """ or ''' or \ or \""" ` ${process.exit(1)}
    /// import os
    /// os.abort()
    /// std::process::abort();
    ///
    /// panic!("indented");
    /// \```
    /// panic!("fenced");
    /// \```
    /// - panic!("listed");
    /// \~~~
    /// \<script>alert(1)\</script> reversed {@link x} #{x} */ evil() """ evil() "
    async fn r#fn(&self);

    /// Ends */ here """ or ''' or \ or \""" ` ${process.exit(1)}
    /// import os
    /// os.abort()
    /// std::process::abort();
    ///
    /// panic!("indented");
    /// \```
    /// panic!("fenced");
    /// \```
    /// - panic!("listed");
    /// \~~~
    /// \<script>alert(1)\</script> reversed {@link x} #{x} */ evil() """ evil() "
    #[hypha(name = "self")]
    async fn self2(&self);

    /// Ends */ here """ or ''' or \ or \""" ` ${process.exit(1)}
    /// import os
    /// os.abort()
    /// std::process::abort();
    ///
    /// panic!("indented");
    /// \```
    /// panic!("fenced");
    /// \```
    /// - panic!("listed");
    /// \~~~
    /// \<script>alert(1)\</script> reversed {@link x} #{x} */ evil() """ evil() "
    #[hypha(name = "Self")]
    async fn self3(&self);

    /// Ends */ here """ or ''' or \ or \""" ` ${process.exit(1)}
    /// import os
    /// os.abort()
    /// std::process::abort();
    ///
    /// panic!("indented");
    /// \```
    /// panic!("fenced");
    /// \```
    /// - panic!("listed");
    /// \~~~
    /// \<script>alert(1)\</script> reversed {@link x} #{x} */ evil() """ evil() "
    #[hypha(name = "__init__")]
    async fn _init(&self);

    /// Ends */ here """ or ''' or \ or \""" ` ${process.exit(1)}
    /// import os
    /// os.abort()
    /// std::process::abort();
    ///
    /// panic!("indented");
    /// \```
    /// panic!("fenced");
    /// \```
    /// - panic!("listed");
    /// \~~~
    /// \<script>alert(1)\</script> reversed {@link x} #{x} */ evil() """ evil() "
    #[hypha(name = "__x")]
    async fn _x(&self);

    /// Ends */ here """ or ''' or \ or \""" ` ${process.exit(1)}
    /// import os
    /// os.abort()
    /// std::process::abort();
    ///
    /// panic!("indented");
    /// \```
    /// panic!("fenced");
    /// \```
    /// - panic!("listed");
    /// \~~~
    /// \<script>alert(1)\</script> reversed {@link x} #{x} */ evil() """ evil() "
    async fn list(&self);

    /// Ends */ here """ or ''' or \ or \""" ` ${process.exit(1)}
    /// import os
    /// os.abort()
    /// std::process::abort();
    ///
    /// panic!("indented");
    /// \```
    /// panic!("fenced");
    /// \```
    /// - panic!("listed");
    /// \~~~
    /// \<script>alert(1)\</script> reversed {@link x} #{x} */ evil() """ evil() "
    async fn str(&self);

    /// Ends */ here """ or ''' or \ or \""" ` ${process.exit(1)}
    /// import os
    /// os.abort()
    /// std::process::abort();
    ///
    /// panic!("indented");
    /// \```
    /// panic!("fenced");
    /// \```
    /// - panic!("listed");
    /// \~~~
    /// \<script>alert(1)\</script> reversed {@link x} #{x} */ evil() """ evil() "
    #[hypha(name = "Any")]
    async fn any(&self);

    /// Ends */ here """ or ''' or \ or \""" ` ${process.exit(1)}
    /// import os
    /// os.abort()
    /// std::process::abort();
    ///
    /// panic!("indented");
    /// \```
    /// panic!("fenced");
    /// \```
    /// - panic!("listed");
    /// \~~~
    /// \<script>alert(1)\</script> reversed {@link x} #{x} */ evil() """ evil() "
    #[hypha(name = "None")]
    async fn none(&self);

    /// Ends */ here """ or ''' or \ or \""" ` ${process.exit(1)}
    /// import os
    /// os.abort()
    /// std::process::abort();
    ///
    /// panic!("indented");
    /// \```
    /// panic!("fenced");
    /// \```
    /// - panic!("listed");
    /// \~~~
    /// \<script>alert(1)\</script> reversed {@link x} #{x} */ evil() """ evil() "
    #[hypha(name = "with-dash")]
    async fn with_dash(&self);

    // `with space` is not a valid name in a contract.

    /// Ends */ here """ or ''' or \ or \""" ` ${process.exit(1)}
    /// import os
    /// os.abort()
    /// std::process::abort();
    ///
    /// panic!("indented");
    /// \```
    /// panic!("fenced");
    /// \```
    /// - panic!("listed");
    /// \~~~
    /// \<script>alert(1)\</script> reversed {@link x} #{x} */ evil() """ evil() "
    #[hypha(name = "3d")]
    async fn _3d(&self);

    /// Ends */ here """ or ''' or \ or \""" ` ${process.exit(1)}
    /// import os
    /// os.abort()
    /// std::process::abort();
    ///
    /// panic!("indented");
    /// \```
    /// panic!("fenced");
    /// \```
    /// - panic!("listed");
    /// \~~~
    /// \<script>alert(1)\</script> reversed {@link x} #{x} */ evil() """ evil() "
    #[hypha(name = "kůň")]
    async fn k(&self);

    /// Ends */ here """ or ''' or \ or \""" ` ${process.exit(1)}
    /// import os
    /// os.abort()
    /// std::process::abort();
    ///
    /// panic!("indented");
    /// \```
    /// panic!("fenced");
    /// \```
    /// - panic!("listed");
    /// \~~~
    /// \<script>alert(1)\</script> reversed {@link x} #{x} */ evil() """ evil() "
    #[hypha(name = "日本")]
    async fn x(&self);

    /// Ends */ here """ or ''' or \ or \""" ` ${process.exit(1)}
    /// import os
    /// os.abort()
    /// std::process::abort();
    ///
    /// panic!("indented");
    /// \```
    /// panic!("fenced");
    /// \```
    /// - panic!("listed");
    /// \~~~
    /// \<script>alert(1)\</script> reversed {@link x} #{x} */ evil() """ evil() "
    #[hypha(name = "a\"b")]
    async fn a_b(&self);

    // `a*/b` is not a valid name in a contract.

    // `a b` is not a valid name in a contract.

    // `}; export const x = 1; interface Y {` is not a valid name in a contract.

    /// Ends */ here """ or ''' or \ or \""" ` ${process.exit(1)}
    /// import os
    /// os.abort()
    /// std::process::abort();
    ///
    /// panic!("indented");
    /// \```
    /// panic!("fenced");
    /// \```
    /// - panic!("listed");
    /// \~~~
    /// \<script>alert(1)\</script> reversed {@link x} #{x} */ evil() """ evil() "
    async fn fails(&self) -> Result<(), Cause>;

    /// Ends */ here """ or ''' or \ or \""" ` ${process.exit(1)}
    /// import os
    /// os.abort()
    /// std::process::abort();
    ///
    /// panic!("indented");
    /// \```
    /// panic!("fenced");
    /// \```
    /// - panic!("listed");
    /// \~~~
    /// \<script>alert(1)\</script> reversed {@link x} #{x} */ evil() """ evil() "
    async fn members(
        &self,
        /// Ends */ here """ or ''' or \ or \""" ` ${process.exit(1)}
        /// import os
        /// os.abort()
        /// std::process::abort();
        ///
        /// panic!("indented");
        /// \```
        /// panic!("fenced");
        /// \```
        /// - panic!("listed");
        /// \~~~
        /// \<script>alert(1)\</script> reversed {@link x} #{x} */ evil() """ evil() "
        it: MembersIt,
    ) -> MembersResult;

    /// Ends */ here """ or ''' or \ or \""" ` ${process.exit(1)}
    /// import os
    /// os.abort()
    /// std::process::abort();
    ///
    /// panic!("indented");
    /// \```
    /// panic!("fenced");
    /// \```
    /// - panic!("listed");
    /// \~~~
    /// \<script>alert(1)\</script> reversed {@link x} #{x} */ evil() """ evil() "
    async fn types(
        &self,
        #[hypha(name = "Vec_x")]
        vec_x2: Vec2,
        vec_x: Option<Vec3>,
        #[hypha(name = "Promise_x")]
        promise_x: Option<Promise>,
        #[hypha(name = "Itself_x")]
        itself_x: Option<Itself>,
        #[hypha(name = "First_x")]
        first_x: Option<First>,
        #[hypha(name = "Second_x")]
        second_x: Option<Second>,
        #[hypha(name = "Lists_x")]
        lists_x: Option<Lists>,
        #[hypha(name = "a~1b~0c%22_x")]
        a_1b_0c_22_x: Option<ABC>,
        #[hypha(name = "Tree_x")]
        tree_x: Option<Tree>,
        #[hypha(name = "Either_x")]
        either_x: Option<Either>,
        #[hypha(name = "Open_x")]
        open_x: Option<Open>,
        gone_x: Option<Value>,
        #[hypha(default = Value::Map(hypha_rpc::Map::from_iter([("a".to_owned(), Value::List(vec![Value::from(1i64), Value::Map(hypha_rpc::Map::from_iter([("b".to_owned(), Value::Null)]))]))])))]
        anything: Value,
        wrong_default: Option<i64>,
        #[hypha(default = "Ends */ here \"\"\" or ''' or \\ or \\\"\"\" ` ${process.exit(1)} \u{2028}import os\u{d}os.abort()\u{85}std::process::abort();\n\n    panic!(\"indented\");\n```\npanic!(\"fenced\");\n```\n-     panic!(\"listed\");\n~~~\n<script>alert(1)</script> \u{202e}reversed\u{0} {@link x} #{x} *\u{0}/ evil() \"\u{0}\"\u{0}\" evil() \"".to_owned())]
        text_default: String,
        #[hypha(default = Promise::EndsHereOrOrOrProcessExit1ImportOsOsAbortStdProcessAbortPani)]
        word_default: Promise,
        #[hypha(default = Open { others: 3, others2: std::collections::BTreeMap::from([]) })]
        point_default: Open,
        #[hypha(default = Either::Either2(Either2::Text("text".to_owned())))]
        either_default: Either,
        #[hypha(default = std::collections::BTreeMap::from([("Ends */ here \"\"\" or ''' or \\ or \\\"\"\" ` ${process.exit(1)} \u{2028}import os\u{d}os.abort()\u{85}std::process::abort();\n\n    panic!(\"indented\");\n```\npanic!(\"fenced\");\n```\n-     panic!(\"listed\");\n~~~\n<script>alert(1)</script> \u{202e}reversed\u{0} {@link x} #{x} *\u{0}/ evil() \"\u{0}\"\u{0}\" evil() \"".to_owned(), 1.0)]))]
        map_default: std::collections::BTreeMap<String, f64>,
        #[hypha(default = 18446744073709551615)]
        large_default: u64,
        numbers: Option<i64>,
        mixed: Option<Value>,
        fractions: Option<f64>,
        impossible: Option<Value>,
        odd: Option<Value>,
        elsewhere: Option<Value>,
        empty_choice: Option<Value>,
        pair: Option<[Value; 0]>,
        one: Option<(i64,)>,
        callback: Option<Function>,
        maybe: Option<Function>,
        stream: Option<RemoteStream<Tree>>,
        when: Option<hypha_rpc::Timestamp>,
        set: Option<hypha_rpc::Set<Vec<String>>>,
        ordered: Option<hypha_rpc::OrderedMap<Value, String>>,
        image: Option<NdArray>,
        file: Option<RemoteFile>,
        object: Option<Object>,
        unknown: Option<Value>,
    ) -> Value;

    #[hypha(name = "nested.class")]
    async fn nested_class(
        &self,
        // The arguments are unknown.
        arg1: Option<Value>,
        arg2: Option<Value>,
        arg3: Option<Value>,
        arg4: Option<Value>,
    ) -> Value;

    // `nested.deep er.list` is not a valid name in a contract.
}

#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[derive(thiserror::Error, RemoteError)]
pub enum Cause {
    #[error("{0:é>5}")]
    A(#[from] hypha_rpc::Error),
    #[error("{}", "Cause.B")]
    B(#[source] hypha_rpc::Error),
    #[error(transparent)]
    C(#[from] Box<Cause>),
    #[error("{}", "Cause.D")]
    D(#[source] Option<Box<Cause>>),
    #[error("{}", "Cause.E")]
    E(hypha_rpc::Error, #[source] Box<Cause>),
    #[error("{}", "Cause.F")]
    F(hypha_rpc::Error, Box<Cause>),
    #[error("{}", "Cause.G")]
    G {
        source: hypha_rpc::Error,
        #[source]
        #[serde(rename = "backtrace")]
        backtrace2: Box<Cause>,
        #[serde(rename = "Ends */ here \"\"\" or ''' or \\ or \\\"\"\" ` ${process.exit(1)} \u{2028}import os\u{d}os.abort()\u{85}std::process::abort();\n\n    panic!(\"indented\");\n```\npanic!(\"fenced\");\n```\n-     panic!(\"listed\");\n~~~\n<script>alert(1)</script> \u{202e}reversed\u{0} {@link x} #{x} *\u{0}/ evil() \"\u{0}\"\u{0}\" evil() \"")]
        ends_here_or_or_or_process_exit_1_import_os_os_abort_std_pro: String,
    },
    #[error("{}", "Cause.H")]
    H {
        #[serde(rename = "source")]
        source2: String,
    },
    #[error("{0:?}")]
    I(Value),
    #[error("{}", "Cause.J")]
    J(i64),
    #[error("{}", "Cause.K")]
    K(#[from] Alone),
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct MembersResult {
    /// Ends */ here """ or ''' or \ or \""" ` ${process.exit(1)}
    /// import os
    /// os.abort()
    /// std::process::abort();
    ///
    /// panic!("indented");
    /// \```
    /// panic!("fenced");
    /// \```
    /// - panic!("listed");
    /// \~~~
    /// \<script>alert(1)\</script> reversed {@link x} #{x} */ evil() """ evil() "
    pub class: String,
    /// Ends */ here """ or ''' or \ or \""" ` ${process.exit(1)}
    /// import os
    /// os.abort()
    /// std::process::abort();
    ///
    /// panic!("indented");
    /// \```
    /// panic!("fenced");
    /// \```
    /// - panic!("listed");
    /// \~~~
    /// \<script>alert(1)\</script> reversed {@link x} #{x} */ evil() """ evil() "
    pub type_: String,
    /// Ends */ here """ or ''' or \ or \""" ` ${process.exit(1)}
    /// import os
    /// os.abort()
    /// std::process::abort();
    ///
    /// panic!("indented");
    /// \```
    /// panic!("fenced");
    /// \```
    /// - panic!("listed");
    /// \~~~
    /// \<script>alert(1)\</script> reversed {@link x} #{x} */ evil() """ evil() "
    pub new: String,
    /// Ends */ here """ or ''' or \ or \""" ` ${process.exit(1)}
    /// import os
    /// os.abort()
    /// std::process::abort();
    ///
    /// panic!("indented");
    /// \```
    /// panic!("fenced");
    /// \```
    /// - panic!("listed");
    /// \~~~
    /// \<script>alert(1)\</script> reversed {@link x} #{x} */ evil() """ evil() "
    pub constructor: String,
    /// Ends */ here """ or ''' or \ or \""" ` ${process.exit(1)}
    /// import os
    /// os.abort()
    /// std::process::abort();
    ///
    /// panic!("indented");
    /// \```
    /// panic!("fenced");
    /// \```
    /// - panic!("listed");
    /// \~~~
    /// \<script>alert(1)\</script> reversed {@link x} #{x} */ evil() """ evil() "
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "String")]
    pub r#fn: Option<String>,
    /// Ends */ here """ or ''' or \ or \""" ` ${process.exit(1)}
    /// import os
    /// os.abort()
    /// std::process::abort();
    ///
    /// panic!("indented");
    /// \```
    /// panic!("fenced");
    /// \```
    /// - panic!("listed");
    /// \~~~
    /// \<script>alert(1)\</script> reversed {@link x} #{x} */ evil() """ evil() "
    #[serde(rename = "self", default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "String")]
    pub self2: Option<String>,
    /// Ends */ here """ or ''' or \ or \""" ` ${process.exit(1)}
    /// import os
    /// os.abort()
    /// std::process::abort();
    ///
    /// panic!("indented");
    /// \```
    /// panic!("fenced");
    /// \```
    /// - panic!("listed");
    /// \~~~
    /// \<script>alert(1)\</script> reversed {@link x} #{x} */ evil() """ evil() "
    #[serde(rename = "Self", default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "String")]
    pub self3: Option<String>,
    /// Ends */ here """ or ''' or \ or \""" ` ${process.exit(1)}
    /// import os
    /// os.abort()
    /// std::process::abort();
    ///
    /// panic!("indented");
    /// \```
    /// panic!("fenced");
    /// \```
    /// - panic!("listed");
    /// \~~~
    /// \<script>alert(1)\</script> reversed {@link x} #{x} */ evil() """ evil() "
    #[serde(rename = "__init__", default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "String")]
    pub _init: Option<String>,
    /// Ends */ here """ or ''' or \ or \""" ` ${process.exit(1)}
    /// import os
    /// os.abort()
    /// std::process::abort();
    ///
    /// panic!("indented");
    /// \```
    /// panic!("fenced");
    /// \```
    /// - panic!("listed");
    /// \~~~
    /// \<script>alert(1)\</script> reversed {@link x} #{x} */ evil() """ evil() "
    #[serde(rename = "__x", default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "String")]
    pub _x: Option<String>,
    /// Ends */ here """ or ''' or \ or \""" ` ${process.exit(1)}
    /// import os
    /// os.abort()
    /// std::process::abort();
    ///
    /// panic!("indented");
    /// \```
    /// panic!("fenced");
    /// \```
    /// - panic!("listed");
    /// \~~~
    /// \<script>alert(1)\</script> reversed {@link x} #{x} */ evil() """ evil() "
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "String")]
    pub list: Option<String>,
    /// Ends */ here """ or ''' or \ or \""" ` ${process.exit(1)}
    /// import os
    /// os.abort()
    /// std::process::abort();
    ///
    /// panic!("indented");
    /// \```
    /// panic!("fenced");
    /// \```
    /// - panic!("listed");
    /// \~~~
    /// \<script>alert(1)\</script> reversed {@link x} #{x} */ evil() """ evil() "
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "String")]
    pub str: Option<String>,
    /// Ends */ here """ or ''' or \ or \""" ` ${process.exit(1)}
    /// import os
    /// os.abort()
    /// std::process::abort();
    ///
    /// panic!("indented");
    /// \```
    /// panic!("fenced");
    /// \```
    /// - panic!("listed");
    /// \~~~
    /// \<script>alert(1)\</script> reversed {@link x} #{x} */ evil() """ evil() "
    #[serde(rename = "Any", default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "String")]
    pub any: Option<String>,
    /// Ends */ here """ or ''' or \ or \""" ` ${process.exit(1)}
    /// import os
    /// os.abort()
    /// std::process::abort();
    ///
    /// panic!("indented");
    /// \```
    /// panic!("fenced");
    /// \```
    /// - panic!("listed");
    /// \~~~
    /// \<script>alert(1)\</script> reversed {@link x} #{x} */ evil() """ evil() "
    #[serde(rename = "None", default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "String")]
    pub none: Option<String>,
    /// Ends */ here """ or ''' or \ or \""" ` ${process.exit(1)}
    /// import os
    /// os.abort()
    /// std::process::abort();
    ///
    /// panic!("indented");
    /// \```
    /// panic!("fenced");
    /// \```
    /// - panic!("listed");
    /// \~~~
    /// \<script>alert(1)\</script> reversed {@link x} #{x} */ evil() """ evil() "
    #[serde(rename = "with-dash", default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "String")]
    pub with_dash: Option<String>,
    /// Ends */ here """ or ''' or \ or \""" ` ${process.exit(1)}
    /// import os
    /// os.abort()
    /// std::process::abort();
    ///
    /// panic!("indented");
    /// \```
    /// panic!("fenced");
    /// \```
    /// - panic!("listed");
    /// \~~~
    /// \<script>alert(1)\</script> reversed {@link x} #{x} */ evil() """ evil() "
    #[serde(rename = "with space", default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "String")]
    pub with_space: Option<String>,
    /// Ends */ here """ or ''' or \ or \""" ` ${process.exit(1)}
    /// import os
    /// os.abort()
    /// std::process::abort();
    ///
    /// panic!("indented");
    /// \```
    /// panic!("fenced");
    /// \```
    /// - panic!("listed");
    /// \~~~
    /// \<script>alert(1)\</script> reversed {@link x} #{x} */ evil() """ evil() "
    #[serde(rename = "3d", default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "String")]
    pub _3d: Option<String>,
    /// Ends */ here """ or ''' or \ or \""" ` ${process.exit(1)}
    /// import os
    /// os.abort()
    /// std::process::abort();
    ///
    /// panic!("indented");
    /// \```
    /// panic!("fenced");
    /// \```
    /// - panic!("listed");
    /// \~~~
    /// \<script>alert(1)\</script> reversed {@link x} #{x} */ evil() """ evil() "
    #[serde(rename = "kůň", default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "String")]
    pub k: Option<String>,
    /// Ends */ here """ or ''' or \ or \""" ` ${process.exit(1)}
    /// import os
    /// os.abort()
    /// std::process::abort();
    ///
    /// panic!("indented");
    /// \```
    /// panic!("fenced");
    /// \```
    /// - panic!("listed");
    /// \~~~
    /// \<script>alert(1)\</script> reversed {@link x} #{x} */ evil() """ evil() "
    #[serde(rename = "日本", default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "String")]
    pub x: Option<String>,
    /// Ends */ here """ or ''' or \ or \""" ` ${process.exit(1)}
    /// import os
    /// os.abort()
    /// std::process::abort();
    ///
    /// panic!("indented");
    /// \```
    /// panic!("fenced");
    /// \```
    /// - panic!("listed");
    /// \~~~
    /// \<script>alert(1)\</script> reversed {@link x} #{x} */ evil() """ evil() "
    #[serde(rename = "a\"b", default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "String")]
    pub a_b2: Option<String>,
    /// Ends */ here """ or ''' or \ or \""" ` ${process.exit(1)}
    /// import os
    /// os.abort()
    /// std::process::abort();
    ///
    /// panic!("indented");
    /// \```
    /// panic!("fenced");
    /// \```
    /// - panic!("listed");
    /// \~~~
    /// \<script>alert(1)\</script> reversed {@link x} #{x} */ evil() """ evil() "
    #[serde(rename = "a*/b", default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "String")]
    pub a_b3: Option<String>,
    /// Ends */ here """ or ''' or \ or \""" ` ${process.exit(1)}
    /// import os
    /// os.abort()
    /// std::process::abort();
    ///
    /// panic!("indented");
    /// \```
    /// panic!("fenced");
    /// \```
    /// - panic!("listed");
    /// \~~~
    /// \<script>alert(1)\</script> reversed {@link x} #{x} */ evil() """ evil() "
    #[serde(rename = "a\nb", default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "String")]
    pub a_b4: Option<String>,
    /// Ends */ here """ or ''' or \ or \""" ` ${process.exit(1)}
    /// import os
    /// os.abort()
    /// std::process::abort();
    ///
    /// panic!("indented");
    /// \```
    /// panic!("fenced");
    /// \```
    /// - panic!("listed");
    /// \~~~
    /// \<script>alert(1)\</script> reversed {@link x} #{x} */ evil() """ evil() "
    #[serde(rename = "}; export const x = 1; interface Y {", default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "String")]
    pub _export_const_x_1_interface_y: Option<String>,
    /// Ends */ here """ or ''' or \ or \""" ` ${process.exit(1)}
    /// import os
    /// os.abort()
    /// std::process::abort();
    ///
    /// panic!("indented");
    /// \```
    /// panic!("fenced");
    /// \```
    /// - panic!("listed");
    /// \~~~
    /// \<script>alert(1)\</script> reversed {@link x} #{x} */ evil() """ evil() "
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "String")]
    pub a_b: Option<String>,
    /// Ends */ here """ or ''' or \ or \""" ` ${process.exit(1)}
    /// import os
    /// os.abort()
    /// std::process::abort();
    ///
    /// panic!("indented");
    /// \```
    /// panic!("fenced");
    /// \```
    /// - panic!("listed");
    /// \~~~
    /// \<script>alert(1)\</script> reversed {@link x} #{x} */ evil() """ evil() "
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "String")]
    pub default: Option<String>,
    /// Ends */ here """ or ''' or \ or \""" ` ${process.exit(1)}
    /// import os
    /// os.abort()
    /// std::process::abort();
    ///
    /// panic!("indented");
    /// \```
    /// panic!("fenced");
    /// \```
    /// - panic!("listed");
    /// \~~~
    /// \<script>alert(1)\</script> reversed {@link x} #{x} */ evil() """ evil() "
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "String")]
    pub r#async: Option<String>,
    /// Ends */ here """ or ''' or \ or \""" ` ${process.exit(1)}
    /// import os
    /// os.abort()
    /// std::process::abort();
    ///
    /// panic!("indented");
    /// \```
    /// panic!("fenced");
    /// \```
    /// - panic!("listed");
    /// \~~~
    /// \<script>alert(1)\</script> reversed {@link x} #{x} */ evil() """ evil() "
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "String")]
    pub arguments: Option<String>,
    /// Ends */ here """ or ''' or \ or \""" ` ${process.exit(1)}
    /// import os
    /// os.abort()
    /// std::process::abort();
    ///
    /// panic!("indented");
    /// \```
    /// panic!("fenced");
    /// \```
    /// - panic!("listed");
    /// \~~~
    /// \<script>alert(1)\</script> reversed {@link x} #{x} */ evil() """ evil() "
    #[serde(rename = "r#type", default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "String")]
    pub r_type: Option<String>,
    /// Ends */ here """ or ''' or \ or \""" ` ${process.exit(1)}
    /// import os
    /// os.abort()
    /// std::process::abort();
    ///
    /// panic!("indented");
    /// \```
    /// panic!("fenced");
    /// \```
    /// - panic!("listed");
    /// \~~~
    /// \<script>alert(1)\</script> reversed {@link x} #{x} */ evil() """ evil() "
    #[serde(rename = "", default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "String")]
    pub x2: Option<String>,
    /// Ends */ here """ or ''' or \ or \""" ` ${process.exit(1)}
    /// import os
    /// os.abort()
    /// std::process::abort();
    ///
    /// panic!("indented");
    /// \```
    /// panic!("fenced");
    /// \```
    /// - panic!("listed");
    /// \~~~
    /// \<script>alert(1)\</script> reversed {@link x} #{x} */ evil() """ evil() "
    #[serde(rename = "_", default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "String")]
    pub x3: Option<String>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct MembersIt {
    /// Ends */ here """ or ''' or \ or \""" ` ${process.exit(1)}
    /// import os
    /// os.abort()
    /// std::process::abort();
    ///
    /// panic!("indented");
    /// \```
    /// panic!("fenced");
    /// \```
    /// - panic!("listed");
    /// \~~~
    /// \<script>alert(1)\</script> reversed {@link x} #{x} */ evil() """ evil() "
    pub class: String,
    /// Ends */ here """ or ''' or \ or \""" ` ${process.exit(1)}
    /// import os
    /// os.abort()
    /// std::process::abort();
    ///
    /// panic!("indented");
    /// \```
    /// panic!("fenced");
    /// \```
    /// - panic!("listed");
    /// \~~~
    /// \<script>alert(1)\</script> reversed {@link x} #{x} */ evil() """ evil() "
    pub type_: String,
    /// Ends */ here """ or ''' or \ or \""" ` ${process.exit(1)}
    /// import os
    /// os.abort()
    /// std::process::abort();
    ///
    /// panic!("indented");
    /// \```
    /// panic!("fenced");
    /// \```
    /// - panic!("listed");
    /// \~~~
    /// \<script>alert(1)\</script> reversed {@link x} #{x} */ evil() """ evil() "
    pub new: String,
    /// Ends */ here """ or ''' or \ or \""" ` ${process.exit(1)}
    /// import os
    /// os.abort()
    /// std::process::abort();
    ///
    /// panic!("indented");
    /// \```
    /// panic!("fenced");
    /// \```
    /// - panic!("listed");
    /// \~~~
    /// \<script>alert(1)\</script> reversed {@link x} #{x} */ evil() """ evil() "
    pub constructor: String,
    /// Ends */ here """ or ''' or \ or \""" ` ${process.exit(1)}
    /// import os
    /// os.abort()
    /// std::process::abort();
    ///
    /// panic!("indented");
    /// \```
    /// panic!("fenced");
    /// \```
    /// - panic!("listed");
    /// \~~~
    /// \<script>alert(1)\</script> reversed {@link x} #{x} */ evil() """ evil() "
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "String")]
    pub r#fn: Option<String>,
    /// Ends */ here """ or ''' or \ or \""" ` ${process.exit(1)}
    /// import os
    /// os.abort()
    /// std::process::abort();
    ///
    /// panic!("indented");
    /// \```
    /// panic!("fenced");
    /// \```
    /// - panic!("listed");
    /// \~~~
    /// \<script>alert(1)\</script> reversed {@link x} #{x} */ evil() """ evil() "
    #[serde(rename = "self", default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "String")]
    pub self2: Option<String>,
    /// Ends */ here """ or ''' or \ or \""" ` ${process.exit(1)}
    /// import os
    /// os.abort()
    /// std::process::abort();
    ///
    /// panic!("indented");
    /// \```
    /// panic!("fenced");
    /// \```
    /// - panic!("listed");
    /// \~~~
    /// \<script>alert(1)\</script> reversed {@link x} #{x} */ evil() """ evil() "
    #[serde(rename = "Self", default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "String")]
    pub self3: Option<String>,
    /// Ends */ here """ or ''' or \ or \""" ` ${process.exit(1)}
    /// import os
    /// os.abort()
    /// std::process::abort();
    ///
    /// panic!("indented");
    /// \```
    /// panic!("fenced");
    /// \```
    /// - panic!("listed");
    /// \~~~
    /// \<script>alert(1)\</script> reversed {@link x} #{x} */ evil() """ evil() "
    #[serde(rename = "__init__", default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "String")]
    pub _init: Option<String>,
    /// Ends */ here """ or ''' or \ or \""" ` ${process.exit(1)}
    /// import os
    /// os.abort()
    /// std::process::abort();
    ///
    /// panic!("indented");
    /// \```
    /// panic!("fenced");
    /// \```
    /// - panic!("listed");
    /// \~~~
    /// \<script>alert(1)\</script> reversed {@link x} #{x} */ evil() """ evil() "
    #[serde(rename = "__x", default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "String")]
    pub _x: Option<String>,
    /// Ends */ here """ or ''' or \ or \""" ` ${process.exit(1)}
    /// import os
    /// os.abort()
    /// std::process::abort();
    ///
    /// panic!("indented");
    /// \```
    /// panic!("fenced");
    /// \```
    /// - panic!("listed");
    /// \~~~
    /// \<script>alert(1)\</script> reversed {@link x} #{x} */ evil() """ evil() "
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "String")]
    pub list: Option<String>,
    /// Ends */ here """ or ''' or \ or \""" ` ${process.exit(1)}
    /// import os
    /// os.abort()
    /// std::process::abort();
    ///
    /// panic!("indented");
    /// \```
    /// panic!("fenced");
    /// \```
    /// - panic!("listed");
    /// \~~~
    /// \<script>alert(1)\</script> reversed {@link x} #{x} */ evil() """ evil() "
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "String")]
    pub str: Option<String>,
    /// Ends */ here """ or ''' or \ or \""" ` ${process.exit(1)}
    /// import os
    /// os.abort()
    /// std::process::abort();
    ///
    /// panic!("indented");
    /// \```
    /// panic!("fenced");
    /// \```
    /// - panic!("listed");
    /// \~~~
    /// \<script>alert(1)\</script> reversed {@link x} #{x} */ evil() """ evil() "
    #[serde(rename = "Any", default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "String")]
    pub any: Option<String>,
    /// Ends */ here """ or ''' or \ or \""" ` ${process.exit(1)}
    /// import os
    /// os.abort()
    /// std::process::abort();
    ///
    /// panic!("indented");
    /// \```
    /// panic!("fenced");
    /// \```
    /// - panic!("listed");
    /// \~~~
    /// \<script>alert(1)\</script> reversed {@link x} #{x} */ evil() """ evil() "
    #[serde(rename = "None", default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "String")]
    pub none: Option<String>,
    /// Ends */ here """ or ''' or \ or \""" ` ${process.exit(1)}
    /// import os
    /// os.abort()
    /// std::process::abort();
    ///
    /// panic!("indented");
    /// \```
    /// panic!("fenced");
    /// \```
    /// - panic!("listed");
    /// \~~~
    /// \<script>alert(1)\</script> reversed {@link x} #{x} */ evil() """ evil() "
    #[serde(rename = "with-dash", default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "String")]
    pub with_dash: Option<String>,
    /// Ends */ here """ or ''' or \ or \""" ` ${process.exit(1)}
    /// import os
    /// os.abort()
    /// std::process::abort();
    ///
    /// panic!("indented");
    /// \```
    /// panic!("fenced");
    /// \```
    /// - panic!("listed");
    /// \~~~
    /// \<script>alert(1)\</script> reversed {@link x} #{x} */ evil() """ evil() "
    #[serde(rename = "with space", default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "String")]
    pub with_space: Option<String>,
    /// Ends */ here """ or ''' or \ or \""" ` ${process.exit(1)}
    /// import os
    /// os.abort()
    /// std::process::abort();
    ///
    /// panic!("indented");
    /// \```
    /// panic!("fenced");
    /// \```
    /// - panic!("listed");
    /// \~~~
    /// \<script>alert(1)\</script> reversed {@link x} #{x} */ evil() """ evil() "
    #[serde(rename = "3d", default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "String")]
    pub _3d: Option<String>,
    /// Ends */ here """ or ''' or \ or \""" ` ${process.exit(1)}
    /// import os
    /// os.abort()
    /// std::process::abort();
    ///
    /// panic!("indented");
    /// \```
    /// panic!("fenced");
    /// \```
    /// - panic!("listed");
    /// \~~~
    /// \<script>alert(1)\</script> reversed {@link x} #{x} */ evil() """ evil() "
    #[serde(rename = "kůň", default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "String")]
    pub k: Option<String>,
    /// Ends */ here """ or ''' or \ or \""" ` ${process.exit(1)}
    /// import os
    /// os.abort()
    /// std::process::abort();
    ///
    /// panic!("indented");
    /// \```
    /// panic!("fenced");
    /// \```
    /// - panic!("listed");
    /// \~~~
    /// \<script>alert(1)\</script> reversed {@link x} #{x} */ evil() """ evil() "
    #[serde(rename = "日本", default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "String")]
    pub x: Option<String>,
    /// Ends */ here """ or ''' or \ or \""" ` ${process.exit(1)}
    /// import os
    /// os.abort()
    /// std::process::abort();
    ///
    /// panic!("indented");
    /// \```
    /// panic!("fenced");
    /// \```
    /// - panic!("listed");
    /// \~~~
    /// \<script>alert(1)\</script> reversed {@link x} #{x} */ evil() """ evil() "
    #[serde(rename = "a\"b", default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "String")]
    pub a_b2: Option<String>,
    /// Ends */ here """ or ''' or \ or \""" ` ${process.exit(1)}
    /// import os
    /// os.abort()
    /// std::process::abort();
    ///
    /// panic!("indented");
    /// \```
    /// panic!("fenced");
    /// \```
    /// - panic!("listed");
    /// \~~~
    /// \<script>alert(1)\</script> reversed {@link x} #{x} */ evil() """ evil() "
    #[serde(rename = "a*/b", default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "String")]
    pub a_b3: Option<String>,
    /// Ends */ here """ or ''' or \ or \""" ` ${process.exit(1)}
    /// import os
    /// os.abort()
    /// std::process::abort();
    ///
    /// panic!("indented");
    /// \```
    /// panic!("fenced");
    /// \```
    /// - panic!("listed");
    /// \~~~
    /// \<script>alert(1)\</script> reversed {@link x} #{x} */ evil() """ evil() "
    #[serde(rename = "a\nb", default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "String")]
    pub a_b4: Option<String>,
    /// Ends */ here """ or ''' or \ or \""" ` ${process.exit(1)}
    /// import os
    /// os.abort()
    /// std::process::abort();
    ///
    /// panic!("indented");
    /// \```
    /// panic!("fenced");
    /// \```
    /// - panic!("listed");
    /// \~~~
    /// \<script>alert(1)\</script> reversed {@link x} #{x} */ evil() """ evil() "
    #[serde(rename = "}; export const x = 1; interface Y {", default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "String")]
    pub _export_const_x_1_interface_y: Option<String>,
    /// Ends */ here """ or ''' or \ or \""" ` ${process.exit(1)}
    /// import os
    /// os.abort()
    /// std::process::abort();
    ///
    /// panic!("indented");
    /// \```
    /// panic!("fenced");
    /// \```
    /// - panic!("listed");
    /// \~~~
    /// \<script>alert(1)\</script> reversed {@link x} #{x} */ evil() """ evil() "
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "String")]
    pub a_b: Option<String>,
    /// Ends */ here """ or ''' or \ or \""" ` ${process.exit(1)}
    /// import os
    /// os.abort()
    /// std::process::abort();
    ///
    /// panic!("indented");
    /// \```
    /// panic!("fenced");
    /// \```
    /// - panic!("listed");
    /// \~~~
    /// \<script>alert(1)\</script> reversed {@link x} #{x} */ evil() """ evil() "
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "String")]
    pub default: Option<String>,
    /// Ends */ here """ or ''' or \ or \""" ` ${process.exit(1)}
    /// import os
    /// os.abort()
    /// std::process::abort();
    ///
    /// panic!("indented");
    /// \```
    /// panic!("fenced");
    /// \```
    /// - panic!("listed");
    /// \~~~
    /// \<script>alert(1)\</script> reversed {@link x} #{x} */ evil() """ evil() "
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "String")]
    pub r#async: Option<String>,
    /// Ends */ here """ or ''' or \ or \""" ` ${process.exit(1)}
    /// import os
    /// os.abort()
    /// std::process::abort();
    ///
    /// panic!("indented");
    /// \```
    /// panic!("fenced");
    /// \```
    /// - panic!("listed");
    /// \~~~
    /// \<script>alert(1)\</script> reversed {@link x} #{x} */ evil() """ evil() "
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "String")]
    pub arguments: Option<String>,
    /// Ends */ here """ or ''' or \ or \""" ` ${process.exit(1)}
    /// import os
    /// os.abort()
    /// std::process::abort();
    ///
    /// panic!("indented");
    /// \```
    /// panic!("fenced");
    /// \```
    /// - panic!("listed");
    /// \~~~
    /// \<script>alert(1)\</script> reversed {@link x} #{x} */ evil() """ evil() "
    #[serde(rename = "r#type", default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "String")]
    pub r_type: Option<String>,
    /// Ends */ here """ or ''' or \ or \""" ` ${process.exit(1)}
    /// import os
    /// os.abort()
    /// std::process::abort();
    ///
    /// panic!("indented");
    /// \```
    /// panic!("fenced");
    /// \```
    /// - panic!("listed");
    /// \~~~
    /// \<script>alert(1)\</script> reversed {@link x} #{x} */ evil() """ evil() "
    #[serde(rename = "", default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "String")]
    pub x2: Option<String>,
    /// Ends */ here """ or ''' or \ or \""" ` ${process.exit(1)}
    /// import os
    /// os.abort()
    /// std::process::abort();
    ///
    /// panic!("indented");
    /// \```
    /// panic!("fenced");
    /// \```
    /// - panic!("listed");
    /// \~~~
    /// \<script>alert(1)\</script> reversed {@link x} #{x} */ evil() """ evil() "
    #[serde(rename = "_", default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "String")]
    pub x3: Option<String>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Vec2 {
    #[serde(rename = "Vec", default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Box<Vec2>")]
    pub vec: Option<Box<Vec2>>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Vec3 {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "i64")]
    pub list: Option<i64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Vec<Value>")]
    pub x: Option<Vec<Value>>,
}

/// Ends */ here """ or ''' or \ or \""" ` ${process.exit(1)}
/// import os
/// os.abort()
/// std::process::abort();
///
/// panic!("indented");
/// \```
/// panic!("fenced");
/// \```
/// - panic!("listed");
/// \~~~
/// \<script>alert(1)\</script> reversed {@link x} #{x} */ evil() """ evil() "
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub enum Promise {
    #[serde(rename = "class")]
    Class,
    #[serde(rename = "type_")]
    Type,
    #[serde(rename = "new")]
    New,
    #[serde(rename = "constructor")]
    Constructor,
    #[serde(rename = "fn")]
    Fn,
    #[serde(rename = "self")]
    Self2,
    #[serde(rename = "Self")]
    Self3,
    #[serde(rename = "__init__")]
    Init,
    #[serde(rename = "__x")]
    X,
    #[serde(rename = "list")]
    List,
    #[serde(rename = "str")]
    Str,
    Any,
    None,
    #[serde(rename = "with-dash")]
    WithDash,
    #[serde(rename = "with space")]
    WithSpace,
    #[serde(rename = "3d")]
    T3d,
    #[serde(rename = "kůň")]
    K,
    #[serde(rename = "日本")]
    T,
    #[serde(rename = "a\"b")]
    AB,
    #[serde(rename = "a*/b")]
    AB2,
    #[serde(rename = "a\nb")]
    AB3,
    #[serde(rename = "}; export const x = 1; interface Y {")]
    ExportConstX1InterfaceY,
    #[serde(rename = "")]
    T2,
    #[serde(rename = "Ends */ here \"\"\" or ''' or \\ or \\\"\"\" ` ${process.exit(1)} \u{2028}import os\u{d}os.abort()\u{85}std::process::abort();\n\n    panic!(\"indented\");\n```\npanic!(\"fenced\");\n```\n-     panic!(\"listed\");\n~~~\n<script>alert(1)</script> \u{202e}reversed\u{0} {@link x} #{x} *\u{0}/ evil() \"\u{0}\"\u{0}\" evil() \"")]
    EndsHereOrOrOrProcessExit1ImportOsOsAbortStdProcessAbortPani,
    #[serde(rename = "x")]
    X2,
    #[serde(rename = "X")]
    X3,
    #[serde(rename = "x-")]
    X4,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Itself(pub Value);

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct First(pub Value);

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Second(pub First);

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Lists(pub Vec<Lists>);

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ABC {
    pub x: ABCX,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub enum Tree {
    Leaf(i64),
    Both(Box<Tree>, Box<Tree>),
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum Either {
    Integer(i64),
    Either2(Either2),
    Bool(bool),
}

fn default_open_others() -> i64 {
    7
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Open {
    #[serde(default = "default_open_others")]
    pub others: i64,
    /// Everything else.
    #[serde(flatten)]
    pub others2: std::collections::BTreeMap<String, String>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[derive(thiserror::Error, RemoteError)]
#[error("{}", "Alone")]
pub struct Alone(pub Value);

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub enum ABCX {
    #[serde(rename = "Ends */ here \"\"\" or ''' or \\ or \\\"\"\" ` ${process.exit(1)} \u{2028}import os\u{d}os.abort()\u{85}std::process::abort();\n\n    panic!(\"indented\");\n```\npanic!(\"fenced\");\n```\n-     panic!(\"listed\");\n~~~\n<script>alert(1)</script> \u{202e}reversed\u{0} {@link x} #{x} *\u{0}/ evil() \"\u{0}\"\u{0}\" evil() \"")]
    EndsHereOrOrOrProcessExit1ImportOsOsAbortStdProcessAbortPani,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum Either2 {
    Text(String),
    Number(f64),
}
