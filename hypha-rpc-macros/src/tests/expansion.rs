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

/// A wrong contract still gives its trait and a proxy, so that the rest of a program compiles; its
/// service has no methods.
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
