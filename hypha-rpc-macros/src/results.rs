//! Checks the return types of methods, and determines the kind of each return type.
//!
//! A result is sent to another program, so the result must own its data. The only exceptions are
//! types such as `Cow<'_, str>`, which `emit` converts to their owned form for the caller. A result
//! needs no schema, so this module does not check whether the type has a schema.

use proc_macro2::Span;
use syn::{ReturnType, Type, TypeImplTrait, parse_quote_spanned};

use crate::diag::Errors;
use crate::model::{Output, OutputKind};
use crate::types;

/// Reads the return type of a method. If a method cannot return the type, reports an error and
/// returns `None`.
pub(crate) fn read(output: &ReturnType, errors: &mut Errors) -> Option<Output> {
    let whole: Type = match output {
        ReturnType::Default => parse_quote_spanned!(Span::mixed_site()=> ()),
        ReturnType::Type(_, ty) => (**ty).clone(),
    };
    let found = types::inspect(&whole);
    let stream = match &found.impl_trait {
        Some(stream) => Some(Box::new(stream_items(&whole, stream, errors)?)),
        None => None,
    };
    check_sendable(found, errors)?;
    let kind = output_kind(&whole);
    Some(Output {
        whole,
        kind,
        stream,
    })
}

/// Returns `T` if the output contains `impl Stream<Item = T>`.
fn stream_items(whole: &Type, stream: &TypeImplTrait, errors: &mut Errors) -> Option<Output> {
    let Some(item) = types::stream_item(stream) else {
        let message = if types::is_future(stream) {
            "write `async fn`, and the output of the future as the result"
        } else {
            "results are sent to another process: the only `impl` here is `impl Stream<Item = ..>`; return an \
             owned value"
        };
        errors.push(stream, message);
        return None;
    };
    if !types::is_stream_or_result(whole) {
        errors.push(
            stream,
            "return a stream directly or in a `Result`; inside of other types, return \
             `RemoteStream::new(stream)`",
        );
        return None;
    }
    let found = types::inspect(&item);
    if let Some(found) = found.impl_trait {
        errors.push(found, "items have a fixed type; use an enum or `Value`");
        return None;
    }
    check_sendable(found, errors)?;
    let kind = output_kind(&item);
    Some(Output {
        whole: item,
        kind,
        stream: None,
    })
}

/// Reports a type that cannot be sent to another program. Returns `None` for such a type.
fn check_sendable(found: types::Found, errors: &mut Errors) -> Option<()> {
    if let Some((found, message)) = found.stays {
        errors.push(found, message);
        return None;
    }
    if let Some(found) = found.reference {
        errors.push(
            found,
            "results are sent to another process; return an owned value",
        );
        return None;
    }
    if let Some(found) = found.self_path {
        errors.push(found, "callers do not know `Self`; name the type");
        return None;
    }
    (!found.refused).then_some(())
}

/// Returns whether the type is a `Result`, as far as its tokens show.
fn output_kind(whole: &Type) -> OutputKind {
    match types::result_parts(whole) {
        Some(parts) => OutputKind::Fallible(Box::new(parts)),
        None if types::is_surely_plain(whole) => OutputKind::Plain,
        None => OutputKind::Unknown,
    }
}

/// Returns whether the type is `impl Future`, written instead of `async fn`.
pub(crate) fn is_future(output: &ReturnType) -> bool {
    let ReturnType::Type(_, ty) = output else {
        return false;
    };
    matches!(types::inspect(ty).impl_trait, Some(found) if types::is_future(&found))
}
