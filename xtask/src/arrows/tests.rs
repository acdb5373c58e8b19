//! Tests source files with deliberate violations. The error must name the arrow, the file and the
//! line of each violation.

use serde_json::json;

use super::source::{Source, from_files};
use super::{FREE_CRATES, LAYERS, free_crates, report, unused_layers, violations};

fn source_of(files: &[(&str, &str)]) -> Source {
    from_files(files).expect("sources that can be read")
}

/// Returns the violations in a package that consists of these source files.
fn found(package: &str, files: &[(&str, &str)]) -> String {
    violations(package, &source_of(files)).join("\n")
}

const ROOT: (&str, &str) = ("src/lib.rs", "mod a;\nmod b;\nmod c;\n");

#[test]
fn modules_without_a_cycle_are_in_order() {
    let files = [
        ROOT,
        ("src/a.rs", "use crate::{b, c::C};"),
        ("src/b/mod.rs", "mod inner;\nuse crate::c::C;"),
        (
            "src/b/inner.rs",
            "use super::super::c;\nuse super::X;\nuse self::y::Z;",
        ),
        ("src/c.rs", "pub struct C;"),
    ];
    assert_eq!(found("any", &files), "");
}

#[test]
fn a_cycle_is_named_with_all_its_arrows() {
    let files = [
        ROOT,
        ("src/a.rs", "\nuse crate::b;\nuse std::fmt;"),
        ("src/b.rs", "fn f() {\n    crate::c::g();\n}"),
        ("src/c/mod.rs", "mod deep;"),
        ("src/c/deep.rs", "\n\nuse super::super::a::{self, X};"),
    ];
    assert_eq!(
        found("any", &files),
        "any: modules in a cycle: a -> b -> c -> a\n  \
           a -> b\n    src/a.rs:2  crate::b\n  \
           b -> c\n    src/b.rs:2  crate::c::g\n  \
           c -> a\n    src/c/deep.rs:3  super::super::a\n    src/c/deep.rs:3  super::super::a::X"
    );
    let error = report(&violations("any", &source_of(&files))).expect_err("a violation");
    assert!(
        error
            .to_string()
            .starts_with("1 violations of the dependency rules")
    );
}

/// Checks that each way to reference a module is found. `b` names `a`, so a cycle shows that the
/// reference from `a` to `b` was found.
#[test]
fn every_way_to_name_a_module_is_seen() {
    let ways = [
        "use crate::b;",
        "use crate::b as other;",
        "use crate::{c::{C, D}, b::B};",
        "use crate::{b::*};",
        "use super::b::B;",
        "pub(crate) use super::{b::B as C};",
        "fn f() { crate::b::f::<u8>() }",
        "fn f(b: &super::b::B) -> Vec<crate::c::C> { todo!() }",
        "struct S { field: Option<crate::b::B> }",
        "impl crate::b::B for u8 {}",
        "fn f() { println!(\"{}\", crate::b::f()) }",
        "macro_rules! m { () => { $crate::b::f() }; }",
        "#[serde(with = \"crate::b::codec\")] struct S;",
        "#[derive(crate::b::Derive)] struct S;",
        "mod inner { use super::super::b; }",
        "mod inner { fn f() { super::super::b::f() } }",
        // These references use a name that the crate root or a facade re-exports.
        "use crate::B;",
        "use super::Renamed;",
        "use crate::facade::B;",
        "use crate::facade::nested::Thing;",
        "use crate::facade::*;",
        "fn f() { $crate::facade::B::new() }",
    ];
    for way in ways {
        let root = "mod a; mod b; mod c;\npub use b::{B, C as Renamed};\n\
                    pub mod facade { pub use crate::{B, b::nested}; pub use std::fmt; }";
        let files = [
            ("src/lib.rs", root),
            ("src/a.rs", way),
            ("src/b.rs", "use crate::a;"),
            ("src/c.rs", ""),
        ];
        let found = found("any", &files);
        assert!(found.contains("a -> b\n    src/a.rs:1"), "{way}: {found}");
        assert!(found.contains("b -> a\n    src/b.rs:1  crate::a"), "{way}");
    }
}

/// Tests modules below the top level. Sibling modules, including their descendants, must not form a
/// cycle.
#[test]
fn files_of_one_folder_form_no_cycle() {
    let root = ("src/lib.rs", "mod a;");
    let folder = "mod b; mod c; mod d;\npub use b::{B, Renamed as R}; pub use c::C;\n\
                  fn own() { b::f(); c::f() }\npub struct Own;";
    let d = ("src/a/d.rs", "use super::{B, C};");
    // A reference to a re-exported name counts as a reference to the module that defines the name.
    for way in [
        "use super::C;",
        "use super::c::C;",
        "use crate::a::C;",
        "use crate::a::c::C;",
        "fn f() { super::C::new() }",
        "use super as up; fn f() { up::C::new() }",
        "use super::c as other; fn f() { other::C::new() }",
        "mod inner { use super::super::C; }",
        "use super::*;",
    ] {
        let files = [
            root,
            ("src/a/mod.rs", folder),
            ("src/a/b.rs", way),
            (
                "src/a/c.rs",
                "use super::R; pub struct C; #[cfg(test)] mod tests { use super::*; }",
            ),
            d,
        ];
        let found = found("any", &files);
        let expected = "any: modules in a cycle: a::b -> a::c -> a::b\n  a::b -> a::c\n    \
                        src/a/b.rs:1  ";
        assert!(found.starts_with(expected), "{way}: {found}");
        let back = "\n  a::c -> a::b\n    src/a/c.rs:1  super::R";
        assert!(found.ends_with(back), "{way}: {found}");
    }
    // A module may use the items of its parent, although the parent uses the module.
    let files = [
        root,
        ("src/a/mod.rs", folder),
        (
            "src/a/b.rs",
            "use super::{Own, own}; use crate::a::Own as Other; pub struct B;",
        ),
        (
            "src/a/c.rs",
            "use super::{B, R, Own}; pub struct C; mod inner { use super::C; }",
        ),
        d,
    ];
    assert_eq!(found("any", &files), "");
}

#[test]
fn folders_with_all_that_is_in_them_form_no_cycle() {
    let files = [
        ("src/lib.rs", "mod a;"),
        ("src/a/mod.rs", "mod b; mod c;"),
        ("src/a/b/mod.rs", "mod x; mod y;"),
        ("src/a/b/x.rs", "use crate::a::c::z;"),
        ("src/a/b/y.rs", ""),
        ("src/a/c/mod.rs", "pub mod z; mod w;"),
        ("src/a/c/z.rs", ""),
        ("src/a/c/w.rs", "use super::super::b;"),
    ];
    assert_eq!(
        found("any", &files),
        "any: modules in a cycle: a::b -> a::c -> a::b\n  \
           a::b -> a::c\n    src/a/b/x.rs:1  crate::a::c::z\n  \
           a::c -> a::b\n    src/a/c/w.rs:1  super::super::b"
    );
}

/// Checks that a reference through a facade counts as a reference to the module that defines the
/// name. A facade has no layer.
#[test]
fn an_alias_of_a_facade_hides_nothing() {
    let root = "mod client; mod engine; mod error;\npub use client::Client;\n\
                pub mod prelude { pub use crate::client::{Client, args}; }\n\
                pub mod __private { pub use crate::client::macro_support::*; }";
    for way in [
        "use crate::prelude as p; fn f() { p::Client::new() }",
        "use crate::__private::{self as q}; fn f() { q::call() }",
        "fn f() { use crate::prelude as p; p::Client::new() }",
        "use crate::prelude as p; use p::Client;",
        "use crate::prelude as p; use self::p::args as a;",
        "use crate::prelude as p; mod inner { use super::p as up; fn f() { up::Client::new() } }",
        // A macro with `#[macro_export]` belongs to the crate root.
        "fn f() { crate::args!(1) }",
        "use crate::args;",
        "use crate::prelude::args;",
    ] {
        let files = [
            ("src/lib.rs", root),
            (
                "src/client.rs",
                "pub mod macro_support; pub struct Client;\n\
                 #[macro_export]\nmacro_rules! args { () => {}; }",
            ),
            ("src/client/macro_support.rs", "pub fn call() {}"),
            ("src/engine.rs", way),
            ("src/error.rs", ""),
        ];
        let found = found("hypha-rpc", &files);
        let expected = "hypha-rpc: the layer of `client` is not below that of `engine`: \
                        engine -> client\n    src/engine.rs:1  ";
        assert!(found.starts_with(expected), "{way}: {found}");
    }
}

#[test]
fn unreadable_constructs_are_forbidden() {
    for (way, path) in [
        (
            "macro_rules! m { ($m:ident) => { crate::$m::X }; }",
            "crate::$",
        ),
        (
            "macro_rules! m { ($m:ident) => { $crate::$m::X }; }",
            "crate::$",
        ),
        (
            "macro_rules! m { ($m:ident) => { use $crate::$m as n; }; }",
            "crate::$",
        ),
        (
            "macro_rules! m { ($m:ident) => { use crate::{b, $m::X}; }; }",
            "crate::$",
        ),
        (
            "macro_rules! m { ($m:ident) => { super::b::$m::f() }; }",
            "super::b::$",
        ),
        (
            "use crate::b as n; macro_rules! m { ($m:ident) => { n::$m() }; }",
            "n::$",
        ),
    ] {
        let files = [
            ROOT,
            ("src/a.rs", way),
            ("src/b.rs", "mod inner {}"),
            ("src/c.rs", ""),
        ];
        let expected = format!(
            "any: a variable of a macro hides an arrow: pass the whole path\n    \
             src/a.rs:1  {path}"
        );
        assert_eq!(found("any", &files), expected, "{way}");
    }
    for way in [
        "include!(\"code.rs\");",
        "fn f() { include!(concat!(env!(\"OUT_DIR\"), \"/code.rs\")) }",
        "mod inner { include! { \"code.rs\" } }",
        "fn f() { std::include!(\"code.rs\") }",
    ] {
        let files = [ROOT, ("src/a.rs", way), ("src/b.rs", ""), ("src/c.rs", "")];
        let expected = "any: an included file hides arrows: declare a module\n    src/a.rs:1";
        assert_eq!(found("any", &files), expected, "{way}");
    }
    // A path to a variant, an associated item or another crate is not a dependency between modules.
    let a = "use crate::b::Kind; const TEXT: &str = include_str!(\"a.md\");\n\
             macro_rules! m { ($v:ident, $m:ident) => {\n\
             (Kind::$v, crate::b::Kind::$v, std::$m::X, Self::$m()) }; }";
    let files = [
        ROOT,
        ("src/a.rs", a),
        ("src/b.rs", "pub enum Kind { V }"),
        ("src/c.rs", ""),
    ];
    assert_eq!(found("any", &files), "");
}

#[test]
fn a_layer_of_a_missing_module_is_reported() {
    let mut root = String::new();
    let layers = LAYERS.iter().find(|rule| rule.package == "hypha-rpc");
    let names = layers.into_iter().flat_map(|rule| rule.layers.concat());
    for name in names.filter(|name| *name != "crypto") {
        root.push_str(&format!("mod {name} {{ fn f() {{}} }}\n"));
    }
    let found = unused_layers("hypha-rpc", &source_of(&[("src/lib.rs", &root)]));
    assert_eq!(
        found,
        ["hypha-rpc: a layer names `crypto`, which is not a module"]
    );
    assert!(unused_layers("any", &source_of(&[("src/lib.rs", "")])).is_empty());
}

#[test]
fn tests_docs_and_visibility_are_no_arrows() {
    let a = "//! See [`crate::b`].\n\
             /// As crate::b::f.\n\
             pub(in crate::b) fn f() {}\n\
             // crate::b\n\
             const TEXT: &str = \"crate::b\";\n\
             #[cfg(test)]\nuse crate::{b, c};\n\
             #[cfg(test)]\n#[allow(unused)]\nfn g<A, B>(a: A) -> crate::b::B { crate::b::f() }\n\
             impl X { #[cfg(all(test, unix))] fn h() { crate::b::f() } }\n\
             #[cfg(test)]\nmod tests;\n\
             #[cfg(test)]\nmod more { use crate::b; }\n\
             fn last() { other::crate_b::f(); std::crate_::b(); }\n";
    let files = [
        ROOT,
        ("src/a.rs", a),
        ("src/b.rs", "use crate::a;"),
        ("src/c.rs", ""),
    ];
    assert_eq!(found("any", &files), "");
    // The code after the skipped items must still be read.
    let a = format!("{a}use crate::b;");
    let files = [ROOT, ("src/a.rs", &a), files[2], files[3]];
    assert!(found("any", &files).contains("a -> b\n    src/a.rs:17  crate::b"));
}

#[test]
fn an_arrow_to_a_layer_that_is_not_below_is_forbidden() {
    let root = "pub mod call; mod crypto; mod engine; pub mod error; mod schema;\n\
                pub mod service; pub use call::Call;";
    let files = [
        ("src/lib.rs", root),
        (
            "src/call/mod.rs",
            "mod send;\nuse crate::{engine, error::Error};",
        ),
        (
            "src/call/send.rs",
            "\nuse crate::{schema, service::{Service, context}};",
        ),
        (
            "src/crypto.rs",
            "\nuse crate::{error, schema::{Schema, kind}};",
        ),
        ("src/engine.rs", "use std::io;\nfn f(call: &crate::Call) {}"),
        ("src/error.rs", "use hypha_wire::Value;"),
        ("src/schema.rs", ""),
        ("src/service.rs", ""),
    ];
    let found = found("hypha-rpc", &files);
    for expected in [
        "hypha-rpc: modules in a cycle: call -> engine -> call\n",
        "hypha-rpc: the layer of `call` is not below that of `engine`: engine -> call\n    \
         src/engine.rs:2  crate::Call",
        // Checks that a module must not name another module of the same layer.
        "hypha-rpc: the layer of `schema` is not below that of `crypto`: crypto -> schema\n    \
         src/crypto.rs:2  crate::schema::Schema\n    \
         src/crypto.rs:2  crate::schema::kind",
    ] {
        assert!(found.contains(expected), "{expected}\nis not in\n{found}");
    }
    assert_eq!(found.matches("hypha-rpc: ").count(), 3, "{found}");
}

#[test]
fn a_module_of_a_layered_crate_needs_a_layer() {
    let files = [("src/lib.rs", "mod novelty;"), ("src/novelty.rs", "")];
    let found = found("hypha-rpc", &files);
    assert_eq!(found, "hypha-rpc: the module `novelty` is in no layer");
}

#[test]
fn aliases_and_globs_of_the_root_are_forbidden() {
    for (way, shown) in [
        ("use crate as root; fn f() { root::client::f() }", "crate"),
        (
            "use crate::{self as root}; fn f() { root::client::f() }",
            "crate",
        ),
        ("use {crate as root};", "crate"),
        ("use super as up;", "super"),
        ("use super::{self as up};", "super"),
        (
            "mod a { use super::super as up; fn f() { up::client::f() } }",
            "super::super",
        ),
        (
            "mod a { use super::super::*; fn f() { client::f() } }",
            "super::super::*",
        ),
        ("use crate::*; fn f() { client::f() }", "crate::*"),
        ("use crate::{error::*, *};", "crate::*"),
        ("pub(crate) use super::*;", "super::*"),
        ("fn f() { use crate as root; root::client::f() }", "crate"),
        ("fn f() { use crate::*; client::f() }", "crate::*"),
        ("macro_rules! m { () => { use $crate as root; }; }", "crate"),
        (
            "extern crate self as us; fn f() { us::client::f() }",
            "extern::crate::self",
        ),
    ] {
        let files = [
            ("src/lib.rs", "mod client; mod error; mod engine;"),
            ("src/client.rs", ""),
            ("src/error.rs", ""),
            ("src/engine.rs", way),
        ];
        let found = found("hypha-rpc", &files);
        let expected = format!(
            "hypha-rpc: an alias or glob of the crate root hides arrows: name the module\n    \
             src/engine.rs:1  {shown}"
        );
        assert!(found.contains(&expected), "{way}: {found}");
    }
    // Aliases and globs of the crate root are also forbidden in the crate root itself.
    for root in [
        "extern crate self as hypha_rpc; mod error;",
        "mod error; mod prelude { pub use crate::*; }",
        "mod error; pub use crate as root;",
    ] {
        let found = found("hypha-rpc", &[("src/lib.rs", root), ("src/error.rs", "")]);
        assert!(
            found.starts_with("hypha-rpc: an alias or glob "),
            "{root}: {found}"
        );
    }
    // Aliases of another crate, or of a module below the crate root, are allowed.
    let a = "mod b { use super as up; use super::*; fn f<'a>() -> impl Sized + use<'a> {} }\n\
             use hypha_wire as wire;\nuse std::*;";
    let files = [("src/lib.rs", "mod error;"), ("src/error.rs", a)];
    assert_eq!(found("hypha-rpc", &files), "");
}

#[test]
fn the_root_of_a_layered_crate_has_no_items_of_its_own() {
    for item in [
        "pub type Alias = client::X;",
        "use client::X;\npub(crate) type Alias = X;",
        "fn f() { client::f() }",
        "pub async unsafe fn f() {}",
        "macro_rules! m { () => { $crate::client::f() }; }",
        "#[allow(unused)]\nstruct S(client::X);",
        "impl Default for S { fn default() -> S { client::f() } }",
        "static X: client::X = client::X;",
        "thread_local! { static X: client::X = client::X; }",
    ] {
        let root = format!("mod client;\nmod error;\n{item}");
        let files = [
            ("src/lib.rs", root.as_str()),
            ("src/client.rs", ""),
            ("src/error.rs", "fn f() { m!(); crate::f() }"),
        ];
        let found = found("hypha-rpc", &files);
        let expected = "hypha-rpc: an item of the root hides arrows: move it to a module\n    ";
        assert!(found.starts_with(expected), "{item}: {found}");
    }
    let root = "#![doc = \"\"]\n#[cfg(unix)] mod client; pub(crate) mod error;\n\
                #[doc(inline)] pub use client::{a::X, Y};\n\
                pub mod prelude { pub use crate::Y; }\n#[cfg(test)] fn helper() {}";
    let files = [
        ("src/lib.rs", root),
        ("src/client.rs", ""),
        ("src/error.rs", ""),
    ];
    assert_eq!(found("hypha-rpc", &files), "");
}

#[test]
fn the_server_has_layers() {
    let files = [
        ("src/lib.rs", "mod http; mod state; mod store;"),
        ("src/http.rs", "use crate::state;"),
        ("src/state.rs", "use crate::{http, store};"),
        ("src/store.rs", ""),
    ];
    let found = found("hypha-server", &files);
    let expected = "the layer of `http` is not below that of `state`: state -> http";
    assert!(found.contains(expected), "{found}");
}

#[test]
fn the_server_does_not_name_the_engine() {
    for way in [
        "use hypha_rpc::engine::Session;",
        "use ::hypha_rpc::{Client, engine};",
        "fn f() { hypha_rpc::engine::f() }",
        "fn f() { vec![hypha_rpc::engine::f()] }",
    ] {
        let files = [("src/lib.rs", "mod http;"), ("src/http.rs", way)];
        let found = found("hypha-server", &files);
        let expected = "hypha-server must not name `hypha_rpc::engine`\n    src/http.rs:1  ";
        assert!(found.starts_with(expected), "{way}: {found}");
    }
    let files = [("src/lib.rs", "use hypha_rpc::{Client, service::engine};")];
    assert_eq!(found("hypha-server", &files), "");
}

#[test]
fn the_wire_crate_has_no_runtime_and_no_crate_above_it() {
    let package = |name: &str, source: Option<&str>| {
        let targets: [&str; 0] = [];
        json!({"id": name, "name": name, "source": source, "targets": targets})
    };
    let uses = |name: &str, of: &[(&str, Option<&str>)]| {
        let of = of
            .iter()
            .map(|(name, kind)| json!({"pkg": name, "dep_kinds": [{"kind": kind}]}));
        json!({"id": name, "deps": of.collect::<Vec<_>>()})
    };
    let registry = Some("registry");
    let metadata = json!({
        "packages": [
            package("hypha-wire", None), package("hypha-rpc", None),
            package("between", registry), package("tokio", registry),
        ],
        "resolve": {"nodes": [
            uses("hypha-wire", &[("between", None), ("hypha-rpc", Some("dev"))]),
            uses("between", &[("tokio", None)]),
            uses("hypha-rpc", &[("hypha-wire", None)]),
            uses("tokio", &[]),
        ]},
    });
    let found = free_crates(&metadata, &FREE_CRATES).expect("metadata");
    let expected = "hypha-wire must not depend on tokio: hypha-wire -> between -> tokio";
    assert_eq!(found, [expected]);

    let mut metadata = metadata;
    metadata["resolve"]["nodes"][0] = uses("hypha-wire", &[("hypha-rpc", None)]);
    let found = free_crates(&metadata, &FREE_CRATES).expect("metadata");
    let expected = "hypha-wire must not depend on hypha-rpc: hypha-wire -> hypha-rpc";
    assert_eq!(found, [expected]);
}
