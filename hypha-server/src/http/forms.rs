//! Forms of results that a request selects by its header `Accept`: files as files, arrays as npy or
//! PNG, binary data unchanged.
//!
//! Without that header, or if the header prefers the format of the request, a result is JSON or
//! MessagePack, as in the Python server (`functions`).

use std::io;
use std::path::Path;

use axum::body::{Body, Bytes};
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use futures_util::stream::BoxStream;
use futures_util::{Stream, StreamExt, stream};
use hypha_rpc::error::report;
use hypha_rpc::{Error, NdArray, RemoteFile, RemoteService};
use hypha_wire::keys::RTYPE;
use hypha_wire::{ByteOrder, DType, RawValue, is_direction};

use super::accept::Accept;
use super::body::{Content, SizedBody, over_budget};
use super::files::content_type;
use super::problem::{Problem, problem};
use super::request_client::{self, Visitor};
use super::transcode::Format;
use super::visits::Visit;
use super::{Front, image};
use crate::memory::{Account, Charge};

pub(super) const JSON: &str = "application/json";
pub(super) const MSGPACK: &str = "application/msgpack";
const EVENTS: &str = "text/event-stream";
const NPY: &str = "application/x-npy";
#[cfg(feature = "images")]
const PNG: &str = "image/png";
const ANY: &str = "application/octet-stream";
/// Memory charged for the piece of a file that is read ahead, in bytes. The piece that is being
/// sent has a separate charge for its actual size, because the owner of the file may send larger
/// pieces.
const AHEAD: usize = 256 * 1024;

/// Form of a response.
#[derive(Debug)]
pub(super) enum Form {
    /// JSON or MessagePack.
    Value(Format),
    /// The content of a file.
    File,
    /// Binary data of this type.
    Content(Bytes, &'static str),
    Npy(NdArray),
    #[cfg(feature = "images")]
    Png(NdArray),
}

/// Returns the form in which to send a result. `format` is the format of the request. Among forms
/// of equal quality, a file is sent as a file, and any other result in `format`, if `format` can
/// represent the result.
///
/// If `accept` permits no form of the result, a file is sent as a file, and other results are sent
/// in `format`.
///
/// # Errors
///
/// Fails with 406 if `accept` permits no form of an array or binary data. JSON is no form of them,
/// because JSON cannot represent them.
pub(super) fn choose(result: &RawValue, accept: &Accept, format: Format) -> Result<Form, Problem> {
    let value = |format: Format| {
        let name = match format {
            Format::Json => JSON,
            Format::Msgpack => MSGPACK,
        };
        (Form::Value(format), accept.quality(name))
    };
    let other = match format {
        Format::Json => Format::Msgpack,
        Format::Msgpack => Format::Json,
    };
    if result.is_stream() {
        let events = accept.quality(EVENTS).max(accept.quality(JSON));
        let of = |format| match format {
            Format::Json => (Form::Value(Format::Json), events),
            Format::Msgpack => value(Format::Msgpack),
        };
        let best = Accept::best([of(format), of(other)]);
        return Ok(best.unwrap_or(Form::Value(format)));
    }
    if result.as_str().is_none()
        && let Some(bytes) = result.as_content()
    {
        let kind = image::media_type(&bytes).unwrap_or(ANY);
        // A file of an unknown type may have the type that the caller expects.
        let quality = accept.quality(kind);
        let content = (Form::Content(bytes, kind), quality);
        return best_of_binary(accept, format, vec![content], || {
            format!("The result is binary data, which can be sent as {kind} or {MSGPACK}")
        });
    }
    match result.member(RTYPE).as_ref().and_then(RawValue::as_str) {
        Some("iostream") => {
            let kind = accept.quality(&type_of(result));
            let best = Accept::best([(Form::File, kind), value(format), value(other)]);
            Ok(best.unwrap_or(Form::File))
        }
        Some("ndarray") => {
            let Ok(array) = result.decode::<NdArray>() else {
                return Ok(Form::Value(format));
            };
            let mut forms = Vec::new();
            if descr(&array).is_some() {
                forms.push((Form::Npy(array.clone()), accept.quality(NPY)));
            }
            #[cfg(feature = "images")]
            if image::png_bound(&array).is_some() {
                forms.push((Form::Png(array.clone()), accept.quality(PNG)));
            }
            best_of_binary(accept, format, forms, || {
                format!(
                    "The result is an array of {} with shape {:?}. {MSGPACK} supports every array, \
                     {NPY} supports the types of numpy, and image/png supports uint8 and uint16 \
                     with 2 dimensions, or with 3 dimensions and 1, 3 or 4 channels",
                    array.dtype(),
                    array.shape()
                )
            })
        }
        _ => {
            let best = Accept::best([value(format), value(other)]);
            Ok(best.unwrap_or(Form::Value(format)))
        }
    }
}

/// Returns the best form of a result that JSON cannot represent.
fn best_of_binary(
    accept: &Accept,
    format: Format,
    mut forms: Vec<(Form, u16)>,
    result: impl FnOnce() -> String,
) -> Result<Form, Problem> {
    let msgpack = (Form::Value(Format::Msgpack), accept.quality(MSGPACK));
    match format {
        Format::Msgpack => forms.insert(0, msgpack),
        Format::Json => forms.push(msgpack),
    }
    Accept::best(forms).ok_or_else(|| {
        let detail = format!(
            "{}; the header `Accept` of the request permits none of these types",
            result()
        );
        problem(StatusCode::NOT_ACCEPTABLE, detail)
    })
}

/// Returns the media type of a file: the published type, or else the usual type for its name.
fn type_of(file: &RawValue) -> String {
    let text = |key| file.member(key)?.as_str().map(str::to_owned);
    let published = text("type").filter(|kind| {
        is_media_type(kind) && kind.len() <= 256 && HeaderValue::from_str(kind).is_ok()
    });
    published.unwrap_or_else(|| {
        let name = text("name").unwrap_or_default();
        content_type(Path::new(&name)).to_owned()
    })
}

/// Returns whether a text is one media type. Browsers would read a list as several headers, of
/// which the last one counts.
fn is_media_type(text: &str) -> bool {
    let essence = text.split(';').next().unwrap_or_default().trim();
    let is_token = |part: &str| {
        let other = |c: char| "!#$&-^_.+".contains(c);
        !part.is_empty() && part.chars().all(|c| c.is_ascii_alphanumeric() || other(c))
    };
    let is_pair = essence
        .split_once('/')
        .is_some_and(|(kind, subtype)| is_token(kind) && is_token(subtype));
    is_pair && !text.contains(',')
}

/// Returns numpy's description of the elements of an array, or `None` if an npy file cannot contain
/// such elements.
fn descr(array: &NdArray) -> Option<String> {
    let order = match array.byte_order() {
        ByteOrder::Little => '<',
        ByteOrder::Big => '>',
    };
    let (kind, size) = match array.dtype() {
        DType::Bool => return Some("|b1".to_owned()),
        DType::Int8 => return Some("|i1".to_owned()),
        DType::UInt8 => return Some("|u1".to_owned()),
        DType::Int16 => ('i', 2),
        DType::Int32 => ('i', 4),
        DType::Int64 => ('i', 8),
        DType::UInt16 => ('u', 2),
        DType::UInt32 => ('u', 4),
        DType::UInt64 => ('u', 8),
        DType::Float16 => ('f', 2),
        DType::Float32 => ('f', 4),
        DType::Float64 => ('f', 8),
        DType::Complex64 => ('c', 8),
        DType::Complex128 => ('c', 16),
        DType::Other(name) => {
            let plain = |c: char| c.is_ascii_alphanumeric() || "<>|=[]".contains(c);
            return (name.len() <= 64 && name.chars().all(plain)).then(|| name.clone());
        }
    };
    Some(format!("{order}{kind}{size}"))
}

/// Returns the head of an npy file (format 1.0), up to the elements.
fn npy_head(array: &NdArray) -> Option<Vec<u8>> {
    let sides: Vec<String> = array.shape().iter().map(usize::to_string).collect();
    let comma = if sides.len() == 1 { "," } else { "" };
    let mut text = format!(
        "{{'descr': '{}', 'fortran_order': False, 'shape': ({}{comma}), }}",
        descr(array)?,
        sides.join(", ")
    );
    // The elements begin at a multiple of 64, and a line feed ends the text.
    let len = (10 + text.len() + 1).next_multiple_of(64) - 10;
    while text.len() + 1 < len {
        text.push(' ');
    }
    text.push('\n');
    let mut head = b"\x93NUMPY\x01\x00".to_vec();
    head.extend_from_slice(&u16::try_from(text.len()).ok()?.to_le_bytes());
    head.extend_from_slice(text.as_bytes());
    Some(head)
}

/// Responds with an array or binary data. `charge` is that of the result.
///
/// # Errors
///
/// Fails if an image exceeds a memory limit.
#[cfg_attr(
    not(feature = "images"),
    allow(unused_mut, unused_variables, reason = "only images need more memory")
)]
pub(super) async fn binary(
    front: &Front,
    form: Form,
    mut charge: Charge,
    account: &Account,
    visit: Visit,
) -> Result<Response, Problem> {
    let unfit = || {
        problem(
            StatusCode::INTERNAL_SERVER_ERROR,
            "The array cannot be sent",
        )
    };
    let (content, kind) = match form {
        Form::Content(bytes, kind) => (Content::Bytes(Bytes::new(), bytes), kind),
        Form::Npy(array) => {
            let head = npy_head(&array).ok_or_else(unfit)?;
            (Content::Bytes(head.into(), array.data().clone()), NPY)
        }
        #[cfg(feature = "images")]
        Form::Png(array) => {
            let room = image::png_bound(&array).ok_or_else(unfit)?;
            let grown = super::body::grow(&mut charge, room).await;
            grown.map_err(|error| over_budget(&front.state, &error))?;
            let size = array.data().len();
            let encode = move || {
                image::png(&array).map(|mut image| {
                    image.shrink_to_fit();
                    image
                })
            };
            let image = front.visits.run(size, encode).await?.ok_or_else(unfit)?;
            // The array was dropped with its encoder.
            charge.shrink_to(image.len());
            (Content::Bytes(Bytes::new(), image.into()), PNG)
        }
        Form::Value(_) | Form::File => return Err(unfit()),
    };
    let len = match &content {
        Content::Bytes(head, rest) => head.len() + rest.len(),
        Content::Json(_) => 0,
    };
    let headers = [
        (header::CONTENT_TYPE, kind),
        // The type is a guess of the server. Browsers must not guess another type.
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    ];
    let body = SizedBody::new(content, len as u64, account, (charge, visit));
    Ok((headers, Body::new(body)).into_response())
}

/// Responds with the content of a file, which is read while it is sent. Closes the file at its
/// owner at the end, or when the sender of the request is gone.
///
/// # Errors
///
/// Fails if the file cannot be read, or the memory for a piece is not free.
pub(super) async fn file(
    front: &Front,
    result: &RawValue,
    service: RemoteService,
    visitor: Visitor,
) -> Result<Response, Problem> {
    let kind = type_of(result);
    let file: RemoteFile = result.decode().map_err(|error| {
        let detail = format!("RemoteException: the result is unreadable: {error}");
        problem(StatusCode::INTERNAL_SERVER_ERROR, detail)
    })?;
    let Visitor { account, visit, .. } = visitor;
    let over = |error| over_budget(&front.state, &error);
    let ahead = account.charge(AHEAD).await.map_err(over)?;
    let mut headers = vec![
        (header::CONTENT_TYPE, kind.clone()),
        (header::CONTENT_DISPOSITION, disposition(&kind, file.name())),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff".to_owned()),
        (header::CACHE_CONTROL, "no-cache".to_owned()),
    ];
    if let Some(size) = file.size() {
        headers.push((header::CONTENT_LENGTH, size.to_string()));
    }
    let mut sending = Sending {
        front: front.clone(),
        left: file.size(),
        pieces: file.into_stream().boxed(),
        charge: None,
        account,
        _ahead: ahead,
        _service: service,
        _visit: visit,
    };
    // Read before the head of the response is sent, because an error cannot be reported after that.
    let first = sending.next().await.map_err(|error| {
        let cause = error
            .get_ref()
            .and_then(|cause| cause.downcast_ref::<Error>());
        match cause {
            Some(error) => request_client::refusal(error),
            None => {
                let detail = format!("RemoteException: {}", report(&error));
                problem(StatusCode::INTERNAL_SERVER_ERROR, detail)
            }
        }
    })?;
    let mut response = Body::from_stream(sending.from(first)).into_response();
    for (name, value) in headers {
        if let Ok(value) = HeaderValue::from_str(&value) {
            response.headers_mut().insert(name, value);
        }
    }
    Ok(response)
}

/// A file while it is sent.
struct Sending {
    // Dropped before the client, through which the file is closed at its owner.
    pieces: BoxStream<'static, io::Result<Bytes>>,
    /// Announced bytes that are not sent yet.
    left: Option<u64>,
    /// Charge for the piece that is being sent.
    charge: Option<Charge>,
    account: Account,
    front: Front,
    _ahead: Charge,
    _service: RemoteService,
    _visit: Visit,
}

impl Sending {
    /// Returns the next piece, or `None` at the end of the file or of its announced length.
    ///
    /// # Errors
    ///
    /// Fails if the file cannot be read, is shorter than announced, or the request is evicted from
    /// memory.
    async fn next(&mut self) -> io::Result<Option<Bytes>> {
        self.charge = None;
        if self.left == Some(0) {
            return Ok(None);
        }
        let account = self.account.clone();
        let next = tokio::select! {
            next = self.pieces.next() => next,
            () = account.gives_way() => {
                self.front.state.counters.http_refused_memory.add();
                return Err(io::Error::other("the server is out of memory"));
            }
        };
        let mut piece = match next {
            Some(piece) => piece?,
            None if self.left.is_some() => return Err(io::ErrorKind::UnexpectedEof.into()),
            None => return Ok(None),
        };
        match self.account.charge(piece.len()).await {
            Ok(charge) => self.charge = Some(charge),
            Err(error) => {
                self.front.state.counters.http_refused_memory.add();
                return Err(io::Error::other(error));
            }
        }
        if let Some(left) = &mut self.left {
            piece.truncate(usize::try_from(*left).unwrap_or(usize::MAX));
            *left -= piece.len() as u64;
        }
        Ok(Some(piece))
    }

    /// Returns the pieces from `first` on.
    fn from(self, first: Option<Bytes>) -> impl Stream<Item = io::Result<Bytes>> + Send + 'static {
        let rest = stream::unfold(Some(self), |sending| async move {
            let mut sending = sending?;
            match sending.next().await {
                Ok(piece) => Some((Ok(piece?), Some(sending))),
                Err(error) => Some((Err(error), None)),
            }
        });
        stream::iter(first.map(Ok)).chain(rest)
    }
}

/// Returns `Content-Disposition` of a file. Browsers show images, sound, films, plain text and PDF;
/// they save other types, which could contain scripts.
fn disposition(kind: &str, name: Option<&str>) -> String {
    let essence = kind.split(';').next().unwrap_or_default().trim();
    let essence = essence.to_ascii_lowercase();
    let shown = match essence.split_once('/') {
        Some(("image", subtype)) => subtype != "svg+xml",
        Some(("audio" | "video", _)) => true,
        _ => matches!(&*essence, "text/plain" | "application/pdf"),
    };
    let mut text = if shown { "inline" } else { "attachment" }.to_owned();
    // The name may be a path of another system.
    let name = name.and_then(|name| name.rsplit(['/', '\\']).next());
    let Some(name) = name.filter(|name| !name.is_empty()) else {
        return text;
    };
    // In `gpj.exe` with a mark of direction in front, the end could look like `.jpg`.
    let is_seen = |c: &char| !c.is_control() && !is_direction(*c);
    let name: String = name.chars().filter(is_seen).take(200).collect();
    let plain = |c: char| c.is_ascii() && !matches!(c, '"' | '\\' | '%');
    let ascii: String = name
        .chars()
        .map(|c| if plain(c) { c } else { '_' })
        .collect();
    text.push_str(&format!("; filename=\"{ascii}\""));
    if ascii != name {
        text.push_str("; filename*=UTF-8''");
        for byte in name.bytes() {
            match byte {
                b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' => {
                    text.push(char::from(byte));
                }
                _ => text.push_str(&format!("%{byte:02X}")),
            }
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_media_type_is_accepted_and_a_list_is_not() {
        for kind in ["image/png", "text/plain; charset=utf-8", "image/svg+xml"] {
            assert!(is_media_type(kind), "{kind}");
        }
        for kind in [
            "image/x,text/html",
            "image",
            "image/",
            "image/a b",
            "text/html, a/b",
        ] {
            assert!(!is_media_type(kind), "{kind}");
        }
    }

    #[test]
    fn names_of_files_are_parts_of_a_header() {
        for (kind, name, expected) in [
            (
                "image/png",
                Some("folder/a.png"),
                "inline; filename=\"a.png\"",
            ),
            (
                "text/html",
                Some("C:\\x y.html"),
                "attachment; filename=\"x y.html\"",
            ),
            ("image/svg+xml", None, "attachment"),
            ("Text/Plain; charset=utf-8", Some("d/"), "inline"),
            (
                "text/csv",
                Some("\"µ\r\n.csv"),
                "attachment; filename=\"__.csv\"; filename*=UTF-8''%22%C2%B5.csv",
            ),
            (
                "text/csv",
                Some("a\u{202e}vsc.\u{200f}exe"),
                "attachment; filename=\"avsc.exe\"",
            ),
        ] {
            assert_eq!(disposition(kind, name), expected);
        }
    }

    #[test]
    fn heads_of_npy_are_those_of_numpy() {
        let array = NdArray::from_vec([2, 3], vec![0_u16; 6]).unwrap();
        let head = npy_head(&array).unwrap();
        assert_eq!(head.len() % 64, 0);
        assert_eq!(head[..10], *b"\x93NUMPY\x01\x00\x76\x00");
        let text = "{'descr': '<u2', 'fortran_order': False, 'shape': (2, 3), }";
        assert_eq!(&head[10..10 + text.len()], text.as_bytes());
        let text =
            |array: NdArray| String::from_utf8_lossy(&npy_head(&array).unwrap()).into_owned();
        let line = text(NdArray::from(vec![1.0_f64]));
        assert!(
            line.contains("'<f8', 'fortran_order': False, 'shape': (1,), }"),
            "{line}"
        );
        let big = NdArray::from_vec([], vec![1_i32]).unwrap();
        let big = text(big.with_byte_order(ByteOrder::Big));
        assert!(
            big.contains("'>i4', 'fortran_order': False, 'shape': (), }"),
            "{big}"
        );
        let odd = DType::Other("O', 'x".to_owned());
        assert!(
            NdArray::from_bytes(odd, [1], vec![0; 8])
                .ok()
                .is_none_or(|a| descr(&a).is_none())
        );
    }
}
