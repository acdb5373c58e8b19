//! The chapters of the guide, whose snippets are compiled and run as documentation tests, with the
//! dependencies that the guide lists.

macro_rules! chapters {
    ($($name:ident $file:literal;)*) => {
        $(#[doc = include_str!(concat!("../../../docs/guide/", $file))]
        mod $name {})*
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
