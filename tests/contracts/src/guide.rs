//! The chapters of the guide. Their snippets are compiled and run as documentation tests.

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
    errors "errors.md";
    context "context.md";
    connection "connection.md";
    middleware "middleware.md";
    schemas "schemas.md";
    testing "testing.md";
    blocking "blocking.md";
    browser "browser.md";
    python "python.md";
    javascript "javascript.md";
    glossary "glossary.md";
}
