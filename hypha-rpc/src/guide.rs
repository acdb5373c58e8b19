//! The guide: one chapter per subject, with examples that the tests run.
//!
#![doc = include_str!("guide_links.md")]
#![doc = include_str!("../guide/README.md")]

// The chapters are files in `docs/guide` that link to each other by file name. If a link is defined
// several times, Markdown uses the first definition. The definitions in `guide_links.md` come
// first, so the links point to the pages of this module.
macro_rules! chapters {
    ($($name:ident $file:literal;)*) => {
        $(#[doc = include_str!("guide_links.md")]
        #[doc = include_str!(concat!("../guide/", $file))]
        pub mod $name {})*
    };
}

chapters! {
    contract "contract.md";
    service "service.md";
    caller "caller.md";
    data "data.md";
    streams "streams.md";
    files "files.md";
    errors "errors.md";
    context "context.md";
    connection "connection.md";
    middleware "middleware.md";
    schemas "schemas.md";
    testing "testing.md";
    blocking "blocking.md";
    browser "browser.md";
    webrtc "webrtc.md";
    python "python.md";
    javascript "javascript.md";
    mcp "mcp.md";
    glossary "glossary.md";
}
