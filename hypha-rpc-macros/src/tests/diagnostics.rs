//! Error messages and the tokens they underline: `underlined => message`.

use super::run;

/// Returns all errors of a trait.
fn mistakes(attr: &str, item: &str) -> Vec<String> {
    run(attr, item).1.messages()
}

/// Returns all errors of a trait with these methods.
fn in_trait(methods: &str) -> Vec<String> {
    mistakes("", &format!("trait Contract {{ {methods} }}"))
}

#[test]
fn correct_contracts_have_none() {
    let nothing: Vec<String> = Vec::new();
    assert_eq!(in_trait(""), nothing);
    assert_eq!(
        in_trait("async fn f(&self, r#type: &str, ctx: Context) -> Option<u8>;"),
        nothing
    );
    assert_eq!(
        mistakes(
            r#"id = "a-b", name = "n", description = "d", service_type = "t", visibility = "unlisted",
               docs = "d", rename_all = "camelCase", singleton, flags = ["a",], crate = ::other::place,"#,
            "trait T { #[hypha(name = \"g\")] async fn f(&self, #[hypha(default = 1, name = \"b\")] a: u8); }"
        ),
        nothing
    );
    assert_eq!(
        mistakes(r#"authorized_workspaces = ["w"], flags = []"#, "trait T {}"),
        nothing
    );
}

#[test]
fn the_receiver() {
    assert_eq!(
        in_trait("async fn f(&mut self);"),
        [
            "&mut self => service methods take `&self`, because calls run at the same time; use a lock \
          for state"
        ]
    );
    assert_eq!(in_trait("async fn f(self);").len(), 1);
    assert_eq!(in_trait("async fn f(self: Arc<Self>);").len(), 1);
    assert_eq!(
        in_trait("async fn f(a: u8);"),
        ["f => service methods take `&self`"]
    );
}

#[test]
fn not_async() {
    assert_eq!(
        in_trait("fn f(&self); async fn g(&self);"),
        [
            "fn => service methods are asynchronous: write `async fn`, or `#[hypha(blocking)]` before a \
          method that blocks its thread"
        ]
    );
    assert_eq!(in_trait("#[hypha(blocking = false)] fn f(&self);").len(), 1);
    let nothing: Vec<String> = Vec::new();
    assert_eq!(in_trait("fn f(&self); fn g(&self) -> u8;"), nothing);
    assert_eq!(
        in_trait("fn f(&self); #[hypha(blocking)] fn g(&self);"),
        nothing
    );
    // `impl Future` is an error itself, and makes the contract count as asynchronous. So the plain
    // `fn` is another error.
    let future = "fn f(&self); fn g(&self) -> impl Future<Output = u8>;";
    assert_eq!(in_trait(future).len(), 2);
}

#[test]
fn blocking() {
    let nothing: Vec<String> = Vec::new();
    assert_eq!(
        in_trait("#[hypha(blocking)] fn f(&self, ctx: &Context, text: &str) -> u8;"),
        nothing
    );
    assert_eq!(
        in_trait("#[hypha(blocking, name = \"g\")] async fn f(&self);"),
        [
            "async => a blocking method is a plain `fn`, which runs on a thread of its own; leave out \
          `async` or `blocking`"
        ]
    );
    assert_eq!(
        in_trait("#[hypha(blocking = 1)] async fn f(&self);"),
        ["1 => `blocking` takes `true`, `false` or no value"]
    );
}

#[test]
fn lists_of_texts() {
    assert_eq!(
        mistakes(
            r#"flags = "a", authorized_workspaces = ["w", 1]"#,
            "trait T {}"
        ),
        [
            "1 => `authorized_workspaces` is a list of string literals",
            "flags => write `flags = [\"..\", \"..\"]`",
        ]
    );
    assert_eq!(
        mistakes(
            r#"visibility = "public", authorized_workspaces = ["w"], singleton"#,
            "trait T {}"
        ),
        [
            "authorized_workspaces => `authorized_workspaces` requires `visibility = \
             \"protected\"`: all workspaces may use other services anyway"
        ]
    );
}

#[test]
fn modifiers() {
    assert_eq!(
        in_trait("async unsafe extern \"C\" fn f(&self);"),
        [
            "unsafe => a service method cannot be `unsafe`: callers in other programs cannot \
             uphold its conditions; remove `unsafe`",
            "extern \"C\" => a service method cannot be `extern`",
        ]
    );
}

#[test]
fn generics() {
    let fixed = "a contract has fixed types; use an enum or `Value`";
    assert_eq!(
        in_trait("async fn f<T: Send>(&self, t: T);"),
        [format!("T: Send => {fixed}")]
    );
    assert_eq!(
        in_trait("async fn f(&self, t: impl Send);"),
        [format!(
            "impl Send => {fixed}, `Callback<A, R>` for a function, `RemoteStream<T>` for a stream"
        )]
    );
    assert_eq!(
        in_trait("async fn f<'a>(&'a self, t: &'a str);"),
        ["'a => a service method has no named lifetimes; leave them out, as in `&str`"]
    );
    assert_eq!(
        mistakes("", "trait T<X> { async fn f(&self, t: X); }"),
        [
            "X => a contract has fixed types, because its schema and callers in other languages know no \
          type parameters; use an enum or `Value`"
        ]
    );
}

#[test]
fn items_that_are_not_methods() {
    assert_eq!(
        in_trait("type X; const N: u8; m!();"),
        [
            "X => a contract has fixed types; name the type itself",
            "N => a contract has only methods",
            "m!(); => a contract has only methods",
        ]
    );
}

#[test]
fn patterns() {
    let message = "an argument must have a plain name, which is its name on the wire";
    assert_eq!(
        in_trait("async fn f(&self, (a, b): (u8, u8), _: u8, ref c: u8);"),
        [
            format!("(a, b) => {message}"),
            format!("_ => {message}"),
            format!("ref c => {message}"),
        ]
    );
}

#[test]
fn types_of_arguments() {
    assert_eq!(
        in_trait("async fn f(&self, a: &mut u8, b: &'static str, c: Vec<Self>);"),
        [
            "&mut u8 => arguments are copies, so changes would be lost; take an owned value",
            "'static => arguments live as long as the call; leave the lifetime out, as in `&str`, or write `Cow<'_, str>`",
            "Self => callers do not know `Self`; name the type",
        ]
    );
}

#[test]
fn results_that_borrow() {
    let message = "results are sent to another process; return an owned value";
    assert_eq!(
        in_trait("async fn f(&self) -> &str;"),
        [format!("&str => {message}")]
    );
    assert_eq!(
        in_trait("async fn f(&self) -> Result<u8, Box<&'static str>>;"),
        [format!("&'static str => {message}")]
    );
}

#[test]
fn streams() {
    assert_eq!(
        in_trait(
            "async fn a(&self) -> impl Stream<Item = u8>; \
             async fn b(&self) -> Result<impl futures::Stream<Item = Result<u8, E>> + Send, E>; \
             async fn c(&self) -> anyhow::Result<impl Stream<Item = u8>>;"
        ),
        [""; 0]
    );
    let only = "results are sent to another process: the only `impl` here is `impl Stream<Item = ..>`; return an \
                owned value";
    assert_eq!(
        in_trait("async fn f(&self) -> impl Iterator<Item = u8>;"),
        [format!("impl Iterator<Item = u8> => {only}")]
    );
    assert_eq!(
        in_trait("async fn f(&self) -> impl Stream;"),
        [format!("impl Stream => {only}")]
    );
    assert_eq!(
        in_trait("async fn f(&self) -> Vec<impl Stream<Item = u8>>;"),
        [
            "impl Stream<Item = u8> => return a stream directly or in a `Result`; inside of \
             other types, return `RemoteStream::new(stream)`"
        ]
    );
    assert_eq!(
        in_trait("async fn f(&self) -> impl Stream<Item = &str>;"),
        ["&str => results are sent to another process; return an owned value"]
    );
}

#[test]
fn keys() {
    assert_eq!(
        mistakes(r#"ids = "x", name = "a", name = "b""#, "trait T {}"),
        [
            "ids => unknown key `ids`; the keys here are `id`, `name`, `description`, \
             `service_type`, `visibility`, `authorized_workspaces`, `singleton`, `flags`, `docs`, \
             `rename_all`, `crate`",
            "name => the key `name` is given twice",
        ]
    );
    assert_eq!(
        in_trait("#[hypha(bloking)] async fn f(&self, #[hypha(defualt = 1)] a: u8);"),
        [
            "bloking => unknown key `bloking`; the keys here are `name`, `blocking`",
            "defualt => unknown key `defualt`; the keys here are `name`, `default`, `required`, \
             `context`",
        ]
    );
    assert_eq!(
        in_trait("async fn f(&self, #[hypha(default = None, required)] a: Option<u8>);"),
        [
            "default => callers must send a required argument, so it has no default; remove \
             `default` or `required`"
        ]
    );
    assert_eq!(
        in_trait("#[hypha] #[hypha(name = \"a\")] #[hypha(name = \"b\")] async fn f(&self);"),
        [
            "hypha => write `#[hypha(key = value)]`",
            "name => the key `name` is given twice"
        ]
    );
}

#[test]
fn values_of_keys() {
    assert_eq!(
        mistakes(
            r#"id = "a.b", name = 1, description, visibility = "secret", rename_all = "x", crate = "y""#,
            "trait T {}"
        ),
        [
            "\"a.b\" => `id` cannot contain `.`, which has a meaning in addresses",
            "description => write `description = \"..\"`",
            "\"secret\" => `visibility` is one of \"public\", \"protected\", \"unlisted\"",
            "\"x\" => `rename_all` is one of \"camelCase\", \"PascalCase\", \"snake_case\", \
             \"SCREAMING_SNAKE_CASE\", \"kebab-case\"",
            "\"y\" => `crate` is the path of a crate or module",
            "1 => `name` is a string literal",
        ]
    );
    assert_eq!(
        mistakes("id = \"\"", "trait T {}"),
        ["\"\" => `id` is empty"]
    );
    assert_eq!(mistakes("id =", "trait T {}").len(), 1);
    let long = format!("description = \"{}\"", "x".repeat(1025));
    assert_eq!(mistakes(&long, "trait T {}").len(), 1);
}

#[test]
fn names_given_twice() {
    assert_eq!(
        in_trait("async fn f(&self); #[hypha(name = \"f\")] async fn g(&self);"),
        ["\"f\" => the name `f` already belongs to the method `f`"]
    );
    assert_eq!(
        mistakes(
            "rename_all = \"camelCase\"",
            "trait T { async fn a_b(&self, c_d: u8, cD: u8); async fn aB(&self); }"
        ),
        [
            "cD => the name `cD` already belongs to the argument `c_d`",
            "aB => the name `aB` already belongs to the method `a_b`",
        ]
    );
    assert!(in_trait("#[cfg(a)] async fn f(&self); #[cfg(b)] async fn f(&self);").is_empty());
}

#[test]
fn names_of_the_service_itself() {
    assert_eq!(
        in_trait("async fn config(&self);"),
        [
            "config => `config` is a reserved key of every service; give the method another name \
             with `#[hypha(name = \"..\")]`"
        ]
    );
    assert!(in_trait("#[hypha(name = \"get_config\")] async fn config(&self);").is_empty());
}

#[test]
fn context_is_not_sent() {
    assert_eq!(
        in_trait("async fn f(&self, #[hypha(name = \"c\", default = 1, required)] ctx: &Context);"),
        [
            "default => the context is never missing, so it has no default; remove `default`",
            "\"c\" => the context is not sent, so it has no name on the wire",
            "&Context => the context is never missing; remove `required`",
        ]
    );
    assert!(
        in_trait("async fn f(&self, #[hypha(context = false, name = \"c\")] c: Context);")
            .is_empty()
    );
}

#[test]
fn schemars_on_an_argument() {
    let at = |ty: &str| in_trait(&format!("async fn f(&self, #[schemars(a)] a: {ty});"));
    assert!(at("u8").is_empty());
    assert_eq!(
        at("Context"),
        ["#[schemars(a)] => the context is not sent, so it has no schema; remove `schemars`"]
    );
    for ty in ["&[u8]", "Option<&[u8]>", "bytes::Bytes", "Array2<u8>"] {
        assert_eq!(
            at(ty),
            ["#[schemars(a)] => `schemars` does not describe bytes and arrays; remove it"]
        );
    }
    assert_eq!(
        in_trait("async fn f(&self, #[cfg_attr(b, schemars(a))] a: u8);"),
        [
            "#[cfg_attr(b, schemars(a))] => `cfg_attr` cannot hold `schemars`; write the method \
             twice, each with its own `cfg`"
        ]
    );
}

#[test]
fn cfg_on_an_argument() {
    assert_eq!(
        in_trait("async fn f(&self, #[cfg(unix)] a: u8);"),
        ["#[cfg(unix)] => an argument cannot depend on `cfg`; put it on the method"]
    );
}

#[test]
fn other_items() {
    assert_eq!(
        mistakes("", "struct S;"),
        ["S => `#[hypha_service]` goes on a trait or an `impl` block"]
    );
    assert_eq!(
        mistakes("", "pub fn f() {}"),
        ["f => `#[hypha_service]` goes on a trait or an `impl` block"]
    );
}

/// The expansion always contains the user's item; otherwise every use of it would cause another
/// error.
#[test]
fn the_item_survives() {
    for item in [
        "struct S ;",
        "fn f () { }",
        "impl A for S { fn f () { 1 } }",
        "trait { }",
    ] {
        assert_eq!(run("", item).0.to_string(), item);
    }
    for item in ["impl S { }", "trait T < X >"] {
        let text = format!("{}{{}}", item.trim_end_matches("{ }"));
        assert!(run("", &text).0.to_string().contains(item), "{item}");
    }
}

/// rustc reports an incomplete member; everything else is still generated.
#[test]
fn half_typed() {
    let proxy_of = |item: &str| {
        let (tokens, errors) = run("", item);
        assert_eq!(errors.messages(), [""; 0], "{item}");
        assert!(!errors.is_empty(), "{item}");
        let text = tokens.to_string();
        assert!(text.contains("struct LabProxy"), "{item}");
        text.contains("fn count (& self ,)")
    };
    for typed in [
        "async fn size(&self) -> ;",
        "async fn size(&self, a: ) -> u8;",
        "async fn size(&self)",
        "async fn",
    ] {
        let item = format!("trait Lab {{ {typed} #[doc = \"a\"] async fn count(&self) -> u8; }}");
        assert!(proxy_of(&item), "{item}");
        let item = format!("trait Lab {{ async fn count(&self) -> u8; {typed} }}");
        assert!(proxy_of(&item), "{item}");
        let count = "/// Text. \n pub(crate) async fn count(&self) -> u8 { 1 }";
        let item = format!("impl Lab {{ {count} pub {typed} }}");
        assert!(proxy_of(&item), "{item}");
        let item = format!("impl Lab {{ pub {typed} {count} }}");
        assert!(proxy_of(&item), "{item}");
    }
}

#[test]
fn bodies_are_not_read() {
    let item = "impl Lab { pub async fn count(&self) -> u8 { let = ; self. } fn other() { 1 + } }";
    let (tokens, errors) = run("", item);
    assert!(errors.is_empty(), "{:?}", errors.messages());
    let text = tokens.to_string();
    assert!(text.contains("{ let = ; self . }"), "{text}");
    assert!(text.contains("fn other () { 1 + }"), "{text}");
    let item =
        "trait Lab { async fn count(&self) -> Array<{ 1 + 1 }> { let = ; } const A: u8 = { 1 }; }";
    assert_eq!(mistakes("", item), ["A => a contract has only methods"]);
}

#[test]
fn misplaced_attributes() {
    assert_eq!(
        mistakes(
            "",
            "#[hypha(id = \"a\")] trait T { \
             #[hypha(name = \"x\")] const X: u8; async fn f(#[hypha(name = \"x\")] &self); \
             #[cfg_attr(unix, hypha(name = \"x\"))] async fn g(&self); pub async fn h(&self); }"
        ),
        [
            "#[hypha(id = \"a\")] => `#[hypha(..)]` goes on methods and parameters; write keys of \
             the service into `#[hypha_service(..)]`",
            "#[hypha(name = \"x\")] => `#[hypha(..)]` goes on methods and their parameters",
            "#[hypha(name = \"x\")] => `self` is the service, not an argument",
            "#[cfg_attr(unix, hypha(name = \"x\"))] => `cfg_attr` cannot hold `hypha`; write the method \
             twice, each with its own `cfg`",
            "pub => methods of a trait have the visibility of the trait; remove `pub`",
            "X => a contract has only methods",
        ]
    );
}

#[test]
fn conditional_documentation() {
    let said = |attr: &str| {
        format!(
            "{attr} => `cfg_attr` cannot hold `doc`, which is part of the schema; write the text \
             without a condition, or the method twice, each with its own `cfg`"
        )
    };
    let text = "#[cfg_attr(unix, doc = \"x\")]";
    let other = "#[cfg_attr(docsrs, doc(cfg(unix)))]";
    let item = format!("trait T {{ {text} {other} async fn f(&self, {text} a: u8); }}");
    assert_eq!(mistakes("", &item), [said(text), said(text)]);
    let item = format!("impl T {{ {other} pub async fn f(&self) {{}} {text} fn g(&self) {{}} }}");
    assert_eq!(mistakes("", &item), [""; 0]);
}

#[test]
fn impl_blocks() {
    let in_block = |item: &str| mistakes("", item);
    assert_eq!(
        in_block("impl Desk { pub async fn f(&self, a: u8) -> u8 { a } fn g() {} }"),
        [""; 0]
    );
    assert_eq!(
        in_block("impl Trait for Desk { async fn f(&self) {} }"),
        [
            "Trait => put `#[hypha_service]` on the trait itself; its `impl` blocks need no attribute"
        ]
    );
    assert_eq!(
        in_block("impl<T> Desk<T> { pub async fn f(&self) {} }"),
        [
            "Desk<T> => the type of a service must be a plain name of this crate, without path or \
          type arguments"
        ]
    );
    assert_eq!(
        in_block("impl Desk { async fn f(&self) {} }"),
        ["Desk => the service has no methods: make those that callers may use `pub`"]
    );
    assert_eq!(
        in_block("impl Desk { pub async fn f(&mut self, (a, b): (u8, u8)) -> &str { \"\" } }")
            .len(),
        3,
        "each of the three is reported"
    );
}

#[test]
fn types_without_a_size() {
    let text = "`str` has no known size; write `String`, or `&str` for an argument";
    let slice = "a slice has no known size; write `Vec<..>`, or `&[u8]` for bytes as an argument";
    assert_eq!(
        in_trait("async fn f(&self, a: str, b: Vec<[u8]>) -> Result<str, (u8, str)>;"),
        [
            format!("str => {text}"),
            format!("[u8] => {slice}"),
            format!("str => {text}"),
            format!("str => {text}"),
        ]
    );
    assert_eq!(
        in_trait("async fn f(&self) -> impl Stream<Item = [u8]>;"),
        [format!("[u8] => {slice}")]
    );
    let nothing: Vec<String> = Vec::new();
    assert_eq!(
        in_trait("async fn f(&self, a: Box<str>, b: &[u8], c: Option<Arc<[u8]>>) -> Cow<'_, str>;"),
        nothing
    );
}

#[test]
fn trait_objects() {
    let object = "a contract has fixed types, not `dyn`; use an enum or `Value`, `Callback<A, R>` for a \
                  function, `RemoteStream<T>` for a stream, `Object<FooProxy>` for an object of the contract \
                  `Foo`";
    let stream = "a Rust stream cannot be sent to another program; return `impl Stream<Item = \
                  ..>`, or use `RemoteStream<T>`";
    let function = "a Rust function cannot be sent to another program; use `Callback<A, R>`";
    assert_eq!(
        in_trait("async fn f(&self, a: dyn Fn(u8), b: Box<dyn A + Send>) -> Option<dyn B>;"),
        [
            format!("dyn Fn(u8) => {object}"),
            format!("dyn B => {object}")
        ]
    );
    assert_eq!(
        in_trait("async fn f(&self, a: Vec<Box<dyn FnOnce() + Send>>) -> fn(&u8) -> u8;"),
        [
            format!("dyn FnOnce() + Send => {function}"),
            format!("fn(&u8) -> u8 => {function}"),
        ]
    );
    assert_eq!(
        in_trait("async fn f(&self) -> Pin<Box<dyn Stream<Item = u8> + Send>>;"),
        [format!("dyn Stream<Item = u8> + Send => {stream}")]
    );
    assert_eq!(
        mistakes(
            "",
            "impl Desk { pub async fn f(&self, a: dyn A) { a.b() } }"
        ),
        [format!("dyn A => {object}")]
    );
}

#[test]
fn hints_for_unsupported_types() {
    let future = "write `async fn`, and the output of the future as the result";
    assert_eq!(
        in_trait("fn f(&self) -> impl Future<Output = u8> + Send;"),
        [format!("impl Future<Output = u8> + Send => {future}")]
    );
    assert_eq!(
        in_trait("async fn f(&self) -> impl Future<Output = u8>;"),
        [format!("impl Future<Output = u8> => {future}")]
    );
    assert_eq!(
        in_trait("async fn f(&self, context: &mut Context);"),
        ["&mut Context => the context of a call does not change; write `&Context`"]
    );
    assert_eq!(
        in_trait("async fn f(&self, a: Option<Callback<(u8, &str)>>, b: Callback<Vec<u8>>);"),
        ["&str => arguments and results of a callback are owned types; write `String` for `&str`"]
    );
    let on_service = |keys: &str| mistakes(keys, "trait Contract { async fn f(&self); }");
    assert_eq!(
        on_service("\"desk\""),
        ["\"desk\" => write `key = value`, as in `name = \"..\"`"]
    );
    assert_eq!(
        on_service("singleton, id: \"desk\""),
        [": => write `id = value`"]
    );
    assert_eq!(on_service("id(\"desk\")"), ["( => write `id = value`"]);
}

#[test]
fn schemas_of_results() {
    let attribute = |keys: &str| in_trait(&format!("#[schemars({keys})] async fn f(&self) -> u8;"));
    assert_eq!(attribute("extend(\"maximum\" = 9)"), [""; 0]);
    assert_eq!(
        attribute("range(max = 9)"),
        [
            "#[schemars(range(max = 9))] => before a method, `schemars` takes only `extend(..)`, \
             which adds keywords to the schema of the result"
        ]
    );
}
