//! Serves the JavaScript client, and the folders of pages that the operator has mounted.

use std::fs::{File, Metadata};
use std::io::{self, Read};
use std::path::{Component, Path as FilePath, PathBuf};
use std::time::UNIX_EPOCH;

use axum::Extension;
use axum::body::{Body, Bytes};
use axum::extract::{OriginalUri, Path, State as Shared};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Redirect, Response};
use futures_util::{Stream, stream};

use super::credentials::Links;
use super::info::not_found;
use super::problem::{Problem, failed, problem};
use super::{Front, Remote, body, request_client};
use crate::settings::Mount;

/// Prefix of the names of all files of the JavaScript client. Other files of its folder are not
/// served.
const JS_CLIENT: &str = "hypha-rpc-";
/// Number of bytes that are read from a file at once. This amount of memory is charged to each
/// request.
const PIECE: usize = 64 * 1024;

/// Serves a file of the JavaScript client.
pub(super) async fn js_client(
    Shared(front): Shared<Front>,
    Extension(remote): Extension<Remote>,
    Path(name): Path<String>,
    OriginalUri(uri): OriginalUri,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    if !name.starts_with(JS_CLIENT) {
        return Err(not_found(uri).await);
    }
    let Some(folder) = &front.state.settings.js_client else {
        return Err(problem(
            StatusCode::NOT_FOUND,
            "This server has no JavaScript client. Its operator can get it with `npm install \
             hypha-rpc` and start the server with --js-client=node_modules/hypha-rpc/dist",
        ));
    };
    match inside(folder, &name) {
        Some(path) => serve(&front, remote, &headers, path).await,
        None => Err(not_found(uri).await),
    }
}

/// Serves a file of a mounted folder, and `index.html` for a folder. If the URL of a folder has no
/// slash at the end, redirects to the URL with a slash, so that relative links work.
pub(super) async fn mounted(
    Shared(front): Shared<Front>,
    Extension(remote): Extension<Remote>,
    Extension(mount): Extension<Mount>,
    path: Option<Path<String>>,
    OriginalUri(uri): OriginalUri,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let name = path.map_or_else(String::new, |Path(name)| name);
    let Some(mut path) = inside(&mount.folder, &name) else {
        return Err(not_found(uri).await);
    };
    if is_folder(path.clone()).await? {
        if !uri.path().ends_with('/') {
            let query = uri.query().map(|query| format!("?{query}"));
            let target = format!("{}/{}", uri.path(), query.unwrap_or_default());
            return Ok(Redirect::temporary(&target).into_response());
        }
        path.push("index.html");
    }
    serve(&front, remote, &headers, path).await
}

/// Returns the path of a file in a folder, or `None` if the name leads out of the folder or to a
/// hidden file. An empty name means the folder itself. Symbolic links are followed, because only
/// the operator can create them.
fn inside(folder: &FilePath, name: &str) -> Option<PathBuf> {
    let name = FilePath::new(name);
    let plain = |part: Component<'_>| match part {
        Component::Normal(part) => part
            .to_str()
            .is_some_and(|part| !part.starts_with('.') && !part.contains(['\\', '\0'])),
        _ => false,
    };
    name.components().all(plain).then(|| folder.join(name))
}

/// Returns whether a path is a folder. Runs on a blocking thread, because the disk may be slow.
async fn is_folder(path: PathBuf) -> Result<bool, Problem> {
    let checked = tokio::task::spawn_blocking(move || path.is_dir());
    checked.await.map_err(failed)
}

/// Responds with a file, or with 304 if the client has the current version.
///
/// Files need no credentials, but a request with invalid credentials is refused, as on all other
/// routes.
async fn serve(
    front: &Front,
    remote: Remote,
    headers: &HeaderMap,
    path: PathBuf,
) -> Result<Response, Problem> {
    let visitor = request_client::identify(front, remote, headers, Links::OpenPages).await?;
    let charge = visitor.account.charge(PIECE).await;
    let charge = charge.map_err(|error| body::over_budget(&front.state, &error))?;
    let kind = content_type(&path);
    let opened = tokio::task::spawn_blocking(move || open(&path));
    let (file, metadata) = match opened.await.map_err(failed)? {
        Ok(opened) => opened,
        Err(error) => {
            tracing::debug!(%error, "cannot serve a file");
            return Err(problem(StatusCode::NOT_FOUND, "File not found"));
        }
    };
    let tag = tag(&metadata);
    let known = headers.get(header::IF_NONE_MATCH);
    if known.is_some_and(|known| known.as_bytes() == tag.as_bytes()) {
        return Ok((StatusCode::NOT_MODIFIED, [(header::ETAG, tag)]).into_response());
    }
    let length = metadata.len();
    let content = pieces(file, length, (visitor.visit, charge));
    let headers = [
        (header::CONTENT_TYPE, kind.to_owned()),
        (header::CONTENT_LENGTH, length.to_string()),
        // `no-cache` lets a browser cache the file, but makes it revalidate with the ETag on each
        // use.
        (header::CACHE_CONTROL, "no-cache".to_owned()),
        // This header keeps browsers from running a text file as a script because of the file's
        // content.
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff".to_owned()),
        (header::ETAG, tag),
    ];
    Ok((headers, Body::from_stream(content)).into_response())
}

/// Opens a file. Blocks.
///
/// # Errors
///
/// Fails if the path is not a regular file, for example a folder or a device.
fn open(path: &FilePath) -> io::Result<(File, Metadata)> {
    let file = File::open(path)?;
    let metadata = file.metadata()?;
    if !metadata.is_file() {
        return Err(io::ErrorKind::NotFound.into());
    }
    Ok((file, metadata))
}

/// Returns the next `left` bytes of a file as a stream. `held` is dropped with the stream.
fn pieces<T: Send + 'static>(
    file: File,
    left: u64,
    held: T,
) -> impl Stream<Item = io::Result<Bytes>> {
    stream::try_unfold((file, left, held), |(mut file, left, held)| async move {
        if left == 0 {
            return Ok(None);
        }
        let read = tokio::task::spawn_blocking(move || {
            let mut piece = vec![0; left.min(PIECE as u64) as usize];
            let count = file.read(&mut piece)?;
            piece.truncate(count);
            Ok::<_, io::Error>((file, piece))
        });
        let (file, piece) = read.await.map_err(io::Error::other)??;
        if piece.is_empty() {
            // The file has become shorter since its length was announced, so the response cannot be
            // completed.
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let left = left - piece.len() as u64;
        Ok(Some((Bytes::from(piece), (file, left, held))))
    })
}

/// Returns an entity tag made from the length and the modification time of a file.
fn tag(metadata: &Metadata) -> String {
    let changed = metadata.modified().ok();
    let changed = changed.and_then(|changed| changed.duration_since(UNIX_EPOCH).ok());
    let changed = changed.map_or(0, |changed| changed.as_nanos());
    format!("\"{:x}-{changed:x}\"", metadata.len())
}

/// Returns the content type for a file extension. Files with an unknown extension are downloaded,
/// not shown.
pub(super) fn content_type(path: &FilePath) -> &'static str {
    let extension = path.extension().and_then(|extension| extension.to_str());
    match extension.unwrap_or_default() {
        "js" | "mjs" => "application/javascript",
        "json" | "map" => "application/json",
        "html" | "htm" => "text/html; charset=utf-8",
        "css" => "text/css; charset=utf-8",
        "txt" | "md" => "text/plain; charset=utf-8",
        "svg" => "image/svg+xml",
        "png" => "image/png",
        "jpg" | "jpeg" => "image/jpeg",
        "gif" => "image/gif",
        "webp" => "image/webp",
        "ico" => "image/x-icon",
        "wasm" => "application/wasm",
        "woff2" => "font/woff2",
        "pdf" => "application/pdf",
        _ => "application/octet-stream",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_outside_the_folder_are_not_served() {
        let folder = FilePath::new("/srv/pages");
        assert_eq!(inside(folder, "a/b.js"), Some("/srv/pages/a/b.js".into()));
        assert_eq!(inside(folder, ""), Some("/srv/pages/".into()));
        for name in [
            "../x",
            "a/../../x",
            "/etc/passwd",
            ".git/config",
            "a/.env",
            "..\\x",
            "a\0b",
            "./x",
        ] {
            assert_eq!(inside(folder, name), None, "{name}");
        }
    }
}
