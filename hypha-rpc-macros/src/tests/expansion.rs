//! Snapshots of expansions.

use super::run;

fn expand(attr: &str, item: &str) -> String {
    let (tokens, errors) = run(attr, item);
    assert!(errors.is_empty(), "{:?}", errors.messages());
    prettyplease::unparse(&syn::parse2(tokens).expect("expansions are items"))
}

#[test]
fn calculator() {
    insta::assert_snapshot!(expand(
        r#"id = "calculator", name = "Calculator", visibility = "public""#,
        r#"
        /// Arithmetic for demonstrations.
        ///
        /// More of it.
        pub trait Calculator {
            /// Divide one number by another.
            async fn divide(
                &self,
                /// The number to divide.
                a: f64,
                /// The number to divide by.
                #[hypha(default = 1.0)]
                b: f64,
            ) -> Result<f64, CalcError>;

            /// Greet the caller.
            ///
            /// # Arguments
            ///
            /// * `name` - who it is
            async fn greet(&self, ctx: &Context, name: &str) -> String;

            async fn reset(&self);
        }
        "#,
    ));
}

#[test]
fn attributes_reach_every_piece() {
    insta::assert_snapshot!(expand(
        r#"id = "x", description = "d", docs = "https://example.org", service_type = "t",
           rename_all = "camelCase", crate = crate::rpc"#,
        r#"
        #[cfg(feature = "x")]
        #[deprecated(note = "old")]
        #[allow(missing_docs)]
        pub(crate) trait Old: std::fmt::Debug {
            #[cfg(unix)]
            #[deprecated]
            #[must_use]
            async fn take_all(&self, r#type: Option<u8>, #[hypha(name = "n")] #[allow(unused)] count: u8)
                -> io::Result<Vec<u8>>;

            #[hypha(name = "PUT")]
            async fn put(&self, #[hypha(default = b"")] raw_data: &[u8]) -> Alias {
                let length = raw_data.len();
                Ok(length)
            }
        }
        "#,
    ));
}

#[test]
fn streams() {
    insta::assert_snapshot!(expand(
        "",
        r#"
        trait Counting {
            async fn count(&self, from: u32) -> impl Stream<Item = u32>;
            async fn lines(&self) -> io::Result<impl Stream<Item = Line> + Send>;
        }
        "#
    ));
}

#[test]
fn an_impl_block() {
    insta::assert_snapshot!(expand(
        r#"id = "desk""#,
        r#"
        /// Adds numbers.
        impl Desk {
            const ZERO: i32 = 0;

            fn helper(&self) -> i32 { Self::ZERO }

            /// Add two numbers.
            pub async fn add(
                &self,
                /// The first.
                a: i32,
                #[hypha(default = 1)] b: i32,
            ) -> Result<i32, String> {
                Ok(a + b + self.helper())
            }
        }
        "#
    ));
}

#[test]
fn blocking() {
    insta::assert_snapshot!(expand(
        "",
        r#"
        trait Files {
            #[hypha(blocking)]
            fn lines(&self, path: &str, ctx: &Context) -> Result<u64, Error>;
            #[hypha(blocking)]
            fn twice(&self, n: u8) -> u8 { 2 * n }
        }
        "#
    ));
}

#[test]
fn contexts() {
    insta::assert_snapshot!(expand(
        "",
        r#"
        trait Callers {
            async fn owned(&self, a: u8, who: rpc::Context);
            async fn marked(&self, #[hypha(context)] who: Caller, b: u8);
            async fn ordinary(&self, #[hypha(context = false)] context: Context);
        }
        "#
    ));
}

#[test]
fn aliases() {
    insta::assert_snapshot!(expand(
        "",
        r#"
        trait Aliases {
            async fn plain(&self) -> Outcome<u8>;
            async fn stream(&self) -> Outcome<impl Stream<Item = Outcome<u8>>>;
            async fn borrowed(&self) -> Cow<'_, str>;
        }
        "#
    ));
}

#[test]
fn names() {
    insta::assert_snapshot!(expand(
        r#"rename_all = "camelCase""#,
        r#"
        trait Names {
            async fn take_all(&self, first_plate: u8, #[hypha(name = "2nd")] second: u8);
            #[hypha(name = "stage.move")]
            async fn move_stage(&self);
            async fn r#match(&self, r#fn: u8) -> u8;
        }
        "#
    ));
}

#[test]
fn service_metadata() {
    insta::assert_snapshot!(expand(
        r#"id = "a", name = "A", description = "d", service_type = "t", visibility = "protected",
           authorized_workspaces = ["ws"], singleton, flags = ["f", "g"], docs = "x""#,
        "/// Not the description.\ntrait Everything {}"
    ));
}

#[test]
fn an_impl_block_with_everything() {
    insta::assert_snapshot!(expand(
        "",
        r#"
        impl Desk {
            pub async fn count(&self, to: u32) -> impl Stream<Item = u32> { stream::iter(0..to) }
            #[cfg(unix)]
            #[hypha(blocking)]
            pub(crate) fn block(&self, ctx: &Context, #[hypha(default = b"")] data: &[u8]) {}
            pub async fn train(&self, mut on_loss: Callback<f32>) -> anyhow::Result<()> { Ok(()) }
            pub const LIMIT: u8 = 1;
            async fn private(&self) {}
        }
        "#
    ));
}

/// The path of the runtime appears only once in any expansion, on a separate line.
#[test]
fn the_runtime_is_named_once() {
    let methods = "async fn f(&self, a: u8) -> Result<impl Stream<Item = u8>, E>;
                   async fn g(&self, #[hypha(default = 1)] a: u8) -> Alias;";
    let text = expand("crate = a::b", &format!("trait T {{ {methods} }}"));
    assert_eq!(text.matches("use a::b::__private::{").count(), 1);
    assert_eq!(text.matches("a::b").count(), 1);
    assert_eq!(text.matches("hypha_rpc").count(), 0, "{text}");
}

/// The signatures of a proxy are its documentation.
#[test]
fn proxies_name_the_types_of_aliases() {
    let text = expand(
        "",
        "trait Lab {
            async fn boxed(&self) -> anyhow::Result<NdArray>;
            async fn io(&self) -> std::io::Result<Vec<u8>>;
            async fn generic(&self) -> Result<NdArray>;
            async fn own(&self) -> my::Result<NdArray>;
        }",
    );
    let proxy = text.split("impl LabProxy").last().expect("a proxy");
    let proxy = proxy.replace(char::is_whitespace, "");
    for call in [
        "fnboxed(&self)->__LabRuntime::Call<NdArray,anyhow::Error>",
        "fnio(&self)->__LabRuntime::Call<Vec<u8>,std::io::Error>",
        "fngeneric(&self,)->__LabRuntime::Call<NdArray,\
         <Result<NdArray>as__LabRuntime::Output<true>>::Error,>",
        "fnown(&self,)->__LabRuntime::Call<NdArray,\
         <my::Result<NdArray>as__LabRuntime::Output<true>>::Error,>",
    ] {
        assert!(proxy.contains(call), "{call}: {proxy}");
    }
}

#[test]
fn half_typed() {
    let (tokens, errors) = run(
        "",
        "trait Lab { async fn size(&self, plate: ) -> u8; async fn count(&self) -> u8; }",
    );
    assert!(!errors.is_empty());
    insta::assert_snapshot!(prettyplease::unparse(&syn::parse2(tokens).expect("items")));
}

/// Syntax that `syn` cannot parse becomes a lint. rustc has already reported this syntax, unless
/// rustc supports newer syntax than `syn`.
#[test]
fn unknown_syntax() {
    let (tokens, errors) = run("", "trait Lab { async gen fn size(&self) -> u8; }");
    assert!(!errors.is_empty());
    assert_eq!(errors.messages(), [""; 0]);
    let tokens = errors.append_to(tokens).to_string();
    assert!(tokens.contains("unused_must_use"), "{tokens}");
    assert!(tokens.contains("cannot read this"), "{tokens}");
}

#[test]
fn wrong_impl_block() {
    let (tokens, errors) = run(
        "",
        "impl Desk {
            pub fn new() -> Self { Desk }
            pub async fn pattern(&self, (a, b): (u8, u8)) -> u8 { a + b }
            pub async fn generic<T: Send>(&self, item: T) -> T { item }
            pub async fn good(&self, #[hypha(name = \"b\")] a: u8) -> u8 { a }
        }",
    );
    assert_eq!(errors.messages().len(), 3);
    insta::assert_snapshot!(prettyplease::unparse(&syn::parse2(tokens).expect("items")));
}

/// For an invalid contract, the macro generates the trait, a proxy, and a service without methods.
/// So the rest of the program compiles.
#[test]
fn wrong_contract() {
    let (tokens, errors) = run(
        "",
        "trait Wrong {
            async fn good(&self, a: u8) -> u8;
            async fn pattern(&self, (a, b): (u8, u8)) -> u8;
            async fn changes(&mut self) -> u8;
            fn waits(&self) -> u8;
        }",
    );
    assert_eq!(errors.messages().len(), 3);
    insta::assert_snapshot!(prettyplease::unparse(&syn::parse2(tokens).expect("items")));
}
