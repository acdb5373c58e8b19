//! Determines properties of types from their tokens.
//!
//! A macro sees the names of types, not the types themselves. For example, `Result` may be an
//! alias, and `Context` may be a type of the user. Some functions return `true` only if the answer
//! is certain; their docs say so. All other functions assume the common meaning of a name.

use proc_macro2::Span;
use quote::quote_spanned;
use syn::spanned::Spanned;
use syn::visit_mut::{self, VisitMut};
use syn::{
    GenericArgument, Ident, Lifetime, Path, PathArguments, PathSegment, Type, TypeImplTrait,
    TypeParamBound, TypeReference, parse_quote_spanned,
};

/// Returns the type without the parentheses and invisible groups around it.
fn bare(ty: &Type) -> &Type {
    match ty {
        Type::Group(group) => bare(&group.elem),
        Type::Paren(paren) => bare(&paren.elem),
        other => other,
    }
}

/// Returns `C` of `a::b::C<..>`.
fn last_segment(ty: &Type) -> Option<&PathSegment> {
    match bare(ty) {
        Type::Path(path) if path.qself.is_none() => path.path.segments.last(),
        _ => None,
    }
}

/// Returns the name of a type if the type is a plain name without a path or parameters.
pub(crate) fn plain_name(ty: &Type) -> Option<&Ident> {
    match bare(ty) {
        Type::Path(path) if path.qself.is_none() => path.path.get_ident(),
        _ => None,
    }
}

/// Returns whether the last segment of a path has this name.
pub(crate) fn is_named(ty: &Type, name: &str) -> bool {
    last_segment(ty).is_some_and(|segment| segment.ident == name)
}

/// Returns whether the type is `Context` or `&Context`.
pub(crate) fn is_context(ty: &Type) -> bool {
    match bare(ty) {
        Type::Reference(reference) => is_named(&reference.elem, "Context"),
        other => is_named(other, "Context"),
    }
}

/// Returns whether the type is `&[u8]`, which serde would encode as a list of numbers.
pub(crate) fn is_byte_slice(ty: &Type) -> bool {
    matches!(bare(ty), Type::Reference(reference) if is_to_bytes(reference))
}

/// Returns whether the type is `Option<&[u8]>`.
pub(crate) fn is_optional_byte_slice(ty: &Type) -> bool {
    optional(ty).is_some_and(is_byte_slice)
}

/// Returns whether a type, or the `T` of an `Option<T>`, has the name of `bytes::Bytes` or of an
/// array of the crate `ndarray`.
pub(crate) fn may_be_shared_bytes(ty: &Type) -> bool {
    const NAMES: [&str; 10] = [
        "Bytes", "Array", "Array0", "Array1", "Array2", "Array3", "Array4", "Array5", "Array6",
        "ArrayD",
    ];
    let is_known = |ty: &Type| NAMES.iter().any(|name| is_named(ty, name));
    is_known(bare(ty)) || optional(ty).is_some_and(is_known)
}

/// Replaces each `Bytes` in a callback or stream by `binary`. The callback or stream may be in an
/// `Option`. Returns `None` for all other types, and if the type contains no `Bytes`.
pub(crate) fn with_binary(ty: &Type, binary: &Type) -> Option<Type> {
    struct Replace<'a>(&'a Type, bool);
    impl VisitMut for Replace<'_> {
        fn visit_type_mut(&mut self, ty: &mut Type) {
            if is_named(ty, "Bytes") {
                (*ty, self.1) = (self.0.clone(), true);
            } else {
                visit_mut::visit_type_mut(self, ty);
            }
        }
    }
    let carries = |ty: &Type| is_named(ty, "Callback") || is_named(ty, "RemoteStream");
    if !carries(bare(ty)) && !optional(ty).is_some_and(carries) {
        return None;
    }
    let (mut described, mut replace) = (ty.clone(), Replace(binary, false));
    replace.visit_type_mut(&mut described);
    replace.1.then_some(described)
}

/// Returns whether a part of the type is `_`.
pub(crate) fn is_inferred(ty: &Type) -> bool {
    struct Find(bool);
    impl VisitMut for Find {
        fn visit_type_mut(&mut self, ty: &mut Type) {
            self.0 |= matches!(ty, Type::Infer(_));
            visit_mut::visit_type_mut(self, ty);
        }
    }
    let mut find = Find(false);
    find.visit_type_mut(&mut ty.clone());
    find.0
}

/// Returns `T` of `Option<T>`.
fn optional(ty: &Type) -> Option<&Type> {
    let segment = last_segment(ty).filter(|segment| segment.ident == "Option")?;
    let PathArguments::AngleBracketed(arguments) = &segment.arguments else {
        return None;
    };
    match arguments.args.first()? {
        GenericArgument::Type(ty) => Some(ty),
        _ => None,
    }
}

/// Returns whether the type is `&[u8]` or `Option<&[u8]>`. Only in these types can an argument
/// borrow bytes.
pub(crate) fn is_bytes(ty: &Type) -> bool {
    is_byte_slice(ty) || is_optional_byte_slice(ty)
}

fn is_to_bytes(reference: &TypeReference) -> bool {
    matches!(bare(&reference.elem), Type::Slice(slice) if is_named(&slice.elem, "u8"))
}

/// Returns `T` and `E` of `Result<T, E>`. For the aliases `anyhow::Result<T>` and `io::Result<T>`,
/// `E` is the type `Error` beside the alias.
pub(crate) fn result_parts(ty: &Type) -> Option<(Type, Type)> {
    let arguments = result_arguments(ty)?;
    match arguments[..] {
        [ok, error] => Some((ok.clone(), error.clone())),
        [ok] => Some((ok.clone(), error_beside(ty)?)),
        _ => None,
    }
}

/// Returns `T` of an alias `Result<T>`. The type of the error is part of the alias.
pub(crate) fn alias_of_result(ty: &Type) -> Option<&Type> {
    match result_arguments(ty)?[..] {
        [ok] => Some(ok),
        _ => None,
    }
}

/// Returns the type arguments of a type that is called `Result`.
fn result_arguments(ty: &Type) -> Option<Vec<&Type>> {
    let segment = last_segment(ty).filter(|segment| segment.ident == "Result")?;
    let PathArguments::AngleBracketed(arguments) = &segment.arguments else {
        return None;
    };
    let types = arguments.args.iter().map(|argument| match argument {
        GenericArgument::Type(ty) => Some(ty),
        _ => None,
    });
    types.collect()
}

/// Returns the type `Error` in the module of a well-known alias of `Result`.
fn error_beside(ty: &Type) -> Option<Type> {
    let Type::Path(path) = bare(ty) else {
        return None;
    };
    let mut path = path.clone();
    let mut segments = path.path.segments.iter_mut().rev();
    let (last, module) = (segments.next()?, segments.next()?);
    if module.ident != "anyhow" && module.ident != "io" {
        return None;
    }
    *last = PathSegment::from(Ident::new("Error", last.ident.span()));
    Some(Type::Path(path))
}

/// Returns whether the name of the type ends with `Result`. The names of aliases of `Result`
/// usually end in this way.
pub(crate) fn is_called_result(ty: &Type) -> bool {
    last_segment(ty).is_some_and(|segment| segment.ident.to_string().ends_with("Result"))
}

/// Returns `true` if the type is certainly not an alias of `Result`, and `false` if in doubt. A
/// name in the prelude counts as certain: if the user had an alias of `Result` named `String`,
/// rustc would report an error in the generated code. The documentation and the error messages are
/// better for types that are certain.
pub(crate) fn is_surely_plain(ty: &Type) -> bool {
    const NAMES: [&str; 20] = [
        "bool", "char", "f32", "f64", "i8", "i16", "i32", "i64", "i128", "isize", "u8", "u16",
        "u32", "u64", "u128", "usize", "String", "Vec", "Option", "Box",
    ];
    match bare(ty) {
        Type::Tuple(_) | Type::Array(_) | Type::ImplTrait(_) => true,
        Type::Path(path) if path.qself.is_none() && path.path.segments.len() == 1 => {
            NAMES.iter().any(|name| path.path.segments[0].ident == name)
        }
        _ => false,
    }
}

/// Returns `T` of `impl Stream<Item = T>`.
pub(crate) fn stream_item(ty: &TypeImplTrait) -> Option<Type> {
    ty.bounds.iter().find_map(|bound| {
        let TypeParamBound::Trait(bound) = bound else {
            return None;
        };
        let segment = bound.path.segments.last()?;
        let PathArguments::AngleBracketed(arguments) = &segment.arguments else {
            return None;
        };
        arguments.args.iter().find_map(|argument| match argument {
            GenericArgument::AssocType(item)
                if segment.ident == "Stream" && item.ident == "Item" =>
            {
                Some(item.ty.clone())
            }
            _ => None,
        })
    })
}

/// Returns whether the type is `impl Future`.
pub(crate) fn is_future(ty: &TypeImplTrait) -> bool {
    has_bound(&ty.bounds, &["Future"])
}

/// Returns whether a type that contains an `impl` is supported. The type must be the `impl` itself,
/// or a generic type whose first argument is the `impl`, such as `Result<impl Stream, E>`. The
/// runtime cannot extract the stream from any other type.
pub(crate) fn is_stream_or_result(ty: &Type) -> bool {
    if matches!(bare(ty), Type::ImplTrait(_)) {
        return true;
    }
    if is_surely_plain(ty) {
        return false;
    }
    let Some(segment) = last_segment(ty) else {
        return false;
    };
    match &segment.arguments {
        PathArguments::AngleBracketed(arguments) => {
            // Any other generic type may be an alias of `Result`. If the type is not an alias,
            // rustc reports an error.
            let first = arguments.args.first();
            match first {
                Some(GenericArgument::Type(ty)) => matches!(bare(ty), Type::ImplTrait(_)),
                _ => false,
            }
        }
        _ => false,
    }
}

/// Returns the type with every `impl` replaced by `named`.
pub(crate) fn with_named(ty: &Type, named: &Type) -> Type {
    struct Replace<'a>(&'a Type);
    impl VisitMut for Replace<'_> {
        fn visit_type_mut(&mut self, ty: &mut Type) {
            if matches!(ty, Type::ImplTrait(_)) {
                *ty = self.0.clone();
            } else {
                visit_mut::visit_type_mut(self, ty);
            }
        }
    }
    let mut ty = ty.clone();
    Replace(named).visit_type_mut(&mut ty);
    ty
}

/// Adds `bound` to every `impl Trait` type that has no bound named `name`.
pub(crate) fn bound_impls(ty: &mut Type, name: &str, bound: &TypeParamBound) {
    struct Bind<'a>(&'a str, &'a TypeParamBound);
    impl VisitMut for Bind<'_> {
        fn visit_type_impl_trait_mut(&mut self, ty: &mut TypeImplTrait) {
            if !has_bound(&ty.bounds, &[self.0]) {
                ty.bounds.push(self.1.clone());
            }
        }
    }
    Bind(name, bound).visit_type_mut(ty);
}

/// Replaces every `str`, slice and `dyn` that is not behind a pointer with a sized type, and
/// returns the replaced types. Without the replacement, rustc would report every use of such a type
/// in the generated code. The function only searches the arguments of types that are known not to
/// be pointers, such as `Option`.
pub(crate) fn give_sizes(ty: &mut Type) -> Vec<Type> {
    struct Give(Vec<Type>);
    impl VisitMut for Give {
        fn visit_type_mut(&mut self, ty: &mut Type) {
            let span = ty.span();
            let sized = match bare(ty) {
                Type::Slice(slice) => {
                    let item = &slice.elem;
                    parse_quote_spanned!(span=> ::std::vec::Vec<#item>)
                }
                other if plain_name(other).is_some_and(|name| name == "str") => {
                    parse_quote_spanned!(span=> ::std::string::String)
                }
                // A service cannot use a trait object. The replacement is an `impl` type in a
                // `Type::Verbatim`, which `Found::refused` recognizes. The `impl` accepts any
                // trait, and the body of a method may use it.
                Type::TraitObject(object) => {
                    let bounds = &object.bounds;
                    Type::Verbatim(quote_spanned!(span=> impl #bounds))
                }
                other => {
                    let holds = |name: &&str| is_named(other, name);
                    let inside = match other {
                        Type::Path(_) => ["Option", "Result", "Vec", "Object"].iter().any(holds),
                        Type::Tuple(_) | Type::Array(_) | Type::ImplTrait(_) => true,
                        _ => false,
                    };
                    if inside {
                        visit_mut::visit_type_mut(self, ty);
                    }
                    return;
                }
            };
            self.0.push(std::mem::replace(ty, sized));
        }
    }
    let mut give = Give(Vec::new());
    give.visit_type_mut(ty);
    give.0
}

const FUNCTION: &str = "a Rust function cannot be sent to another program; use `Callback<A, R>`";
const STREAM: &str = "a Rust stream cannot be sent to another program; return `impl Stream<Item = \
                      ..>`, or use `RemoteStream<T>`";

/// First occurrence of each restricted kind of type inside a type.
#[derive(Default)]
pub(crate) struct Found {
    pub(crate) reference: Option<TypeReference>,
    pub(crate) mutable_reference: Option<TypeReference>,
    /// First `&[u8]`.
    pub(crate) byte_slice: Option<TypeReference>,
    /// First reference inside `Callback<..>`.
    pub(crate) callback_reference: Option<TypeReference>,
    pub(crate) impl_trait: Option<TypeImplTrait>,
    /// First Rust function or stream. A Rust function or stream cannot be sent. The string is the
    /// message, which names the type to use instead.
    pub(crate) stays: Option<(Type, &'static str)>,
    /// Whether the type contains a replacement that [`give_sizes`] made. An error was already
    /// reported for the replaced type.
    pub(crate) refused: bool,
    pub(crate) self_path: Option<Path>,
    pub(crate) static_lifetime: Option<Lifetime>,
}

/// Finds the parts of a type for which contracts have rules, such as references.
///
/// Visits a mutable copy of the type. The visitor of `syn` for shared references is in a separate
/// feature, which would make the build of every user slower.
pub(crate) fn inspect(ty: &Type) -> Found {
    let mut found = Found::default();
    found.visit_type_mut(&mut ty.clone());
    found
}

impl VisitMut for Found {
    fn visit_type_mut(&mut self, ty: &mut Type) {
        match ty {
            Type::Verbatim(_) => self.refused = true,
            Type::TraitObject(object) if has_bound(&object.bounds, &["Stream"]) => {
                self.stays.get_or_insert_with(|| (ty.clone(), STREAM));
            }
            Type::TraitObject(object) if has_bound(&object.bounds, &["Fn", "FnMut", "FnOnce"]) => {
                self.stays.get_or_insert_with(|| (ty.clone(), FUNCTION));
            }
            Type::FnPtr(_) => {
                self.stays.get_or_insert_with(|| (ty.clone(), FUNCTION));
            }
            _ => visit_mut::visit_type_mut(self, ty),
        }
    }

    fn visit_type_reference_mut(&mut self, reference: &mut TypeReference) {
        self.reference.get_or_insert_with(|| reference.clone());
        if reference.mutability.is_some() {
            self.mutable_reference
                .get_or_insert_with(|| reference.clone());
        }
        if is_to_bytes(reference) {
            self.byte_slice.get_or_insert_with(|| reference.clone());
        }
        visit_mut::visit_type_reference_mut(self, reference);
    }

    fn visit_type_impl_trait_mut(&mut self, found: &mut TypeImplTrait) {
        self.impl_trait.get_or_insert_with(|| found.clone());
    }

    fn visit_path_mut(&mut self, path: &mut Path) {
        if path
            .segments
            .first()
            .is_some_and(|segment| segment.ident == "Self")
        {
            self.self_path.get_or_insert_with(|| path.clone());
        }
        visit_mut::visit_path_mut(self, path);
    }

    fn visit_path_segment_mut(&mut self, segment: &mut PathSegment) {
        if segment.ident == "Callback" && self.callback_reference.is_none() {
            let mut inside = Found::default();
            visit_mut::visit_path_segment_mut(&mut inside, segment);
            self.callback_reference = inside.reference;
        }
        visit_mut::visit_path_segment_mut(self, segment);
    }

    fn visit_lifetime_mut(&mut self, lifetime: &mut Lifetime) {
        if lifetime.ident == "static" {
            self.static_lifetime.get_or_insert_with(|| lifetime.clone());
        }
    }
}

/// Returns whether one of the bounds is a trait with one of these names.
fn has_bound<'a>(bounds: impl IntoIterator<Item = &'a TypeParamBound>, names: &[&str]) -> bool {
    bounds.into_iter().any(|bound| match bound {
        TypeParamBound::Trait(bound) => bound
            .path
            .segments
            .last()
            .is_some_and(|last| names.iter().any(|name| last.ident == name)),
        _ => false,
    })
}

/// Replaces every lifetime in the type by `'static`. The result is valid in a function without
/// parameters. Among types with a hidden lifetime, only `Cow` is recognized by name.
pub(crate) fn with_static(ty: &Type) -> Type {
    struct Fill;
    impl VisitMut for Fill {
        fn visit_type_reference_mut(&mut self, reference: &mut TypeReference) {
            reference.lifetime = Some(Lifetime::new("'static", Span::mixed_site()));
            visit_mut::visit_type_reference_mut(self, reference);
        }
        fn visit_path_segment_mut(&mut self, segment: &mut PathSegment) {
            visit_mut::visit_path_segment_mut(self, segment);
            if segment.ident != "Cow" {
                return;
            }
            if let PathArguments::AngleBracketed(arguments) = &mut segment.arguments {
                let shown = |argument| matches!(argument, &GenericArgument::Lifetime(_));
                if !arguments.args.iter().any(shown) {
                    let lifetime = Lifetime::new("'static", Span::mixed_site());
                    let lifetime = GenericArgument::Lifetime(lifetime);
                    arguments.args.insert(0, lifetime);
                }
            }
        }
        fn visit_lifetime_mut(&mut self, lifetime: &mut Lifetime) {
            *lifetime = Lifetime::new("'static", lifetime.span());
        }
    }
    let mut ty = ty.clone();
    Fill.visit_type_mut(&mut ty);
    ty
}
