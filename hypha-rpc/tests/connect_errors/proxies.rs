//! Tests proxies between client and server. The host names of the servers do not resolve; only the
//! proxy can reach them.

use std::io;
use std::process::Command;
use std::time::Duration;

use hypha_rpc::error::{ConnectErrorKind, ProxyFailure, TlsFailure};
use hypha_rpc::transport::Transport;
use rcgen::KeyPair;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, copy_bidirectional};
use tokio::net::TcpStream;
use tokio_rustls::rustls;

use super::hypha::{self, Heads, connected};
use super::servers::{self, Server, answer, request, serve, write};
use super::{TRANSPORTS, find, refused, tls};

/// Starts an HTTP proxy that requires credentials, and connects every client to `port`, regardless
/// of the requested server.
async fn http_proxy(port: u16, heads: Heads) -> Server {
    serve(move |mut socket| {
        let heads = heads.clone();
        async move {
            let mut first = [0; 1];
            if socket.peek(&mut first).await.is_ok() && first == [5] {
                return write(&mut socket, &answer("400 Bad Request", "", "")).await;
            }
            let head = request(&mut socket).await;
            heads.push(&head);
            // Base64 of the end of `me:se@cret`.
            if !head.contains("asic bWU6c2VAY3JldA==\r\n") {
                let wanted = "Proxy-Authenticate: Basic\r\n";
                let status = "407 Proxy Authentication Required";
                return write(&mut socket, &answer(status, wanted, "")).await;
            }
            if head.starts_with("CONNECT refused.invalid") {
                return write(&mut socket, &answer("403 Forbidden", "", "")).await;
            }
            if !head.starts_with("CONNECT") {
                return hypha::accept(socket, &head).await;
            }
            let ok = b"HTTP/1.1 200 Connection established\r\n\r\n";
            let _ = socket.write_all(ok).await;
            tunnel(socket, port).await;
        }
    })
    .await
}

async fn tunnel(mut socket: TcpStream, port: u16) {
    if let Ok(mut server) = TcpStream::connect(("127.0.0.1", port)).await {
        let _ = copy_bidirectional(&mut socket, &mut server).await;
    }
}

/// Starts a SOCKS proxy that requires the same credentials.
async fn socks_proxy(port: u16, heads: Heads) -> Server {
    serve(move |socket| {
        let heads = heads.clone();
        async move {
            let _ = socks(socket, port, heads).await;
        }
    })
    .await
}

async fn socks(mut socket: TcpStream, port: u16, heads: Heads) -> io::Result<()> {
    let mut hello = [0; 2];
    socket.read_exact(&mut hello).await?;
    let mut methods = vec![0; usize::from(hello[1])];
    socket.read_exact(&mut methods).await?;
    if !methods.contains(&2) {
        return socket.write_all(&[5, 0xff]).await;
    }
    socket.write_all(&[5, 2]).await?;
    let mut password = [0; 11];
    socket.read_exact(&mut password).await?;
    let known = &password == b"\x01\x02me\x06secret";
    socket.write_all(&[1, u8::from(!known)]).await?;
    let mut head = [0; 5];
    socket.read_exact(&mut head).await?;
    let mut name = vec![0; usize::from(head[4]) + 2];
    socket.read_exact(&mut name).await?;
    let name = String::from_utf8_lossy(&name[..name.len() - 2]).into_owned();
    heads.push(&name);
    if name == "refused.invalid" {
        return socket.write_all(&[5, 2, 0, 1, 0, 0, 0, 0, 0, 0]).await;
    }
    socket.write_all(&[5, 0, 0, 1, 127, 0, 0, 1, 0, 0]).await?;
    tunnel(socket, port).await;
    Ok(())
}

#[tokio::test]
async fn an_http_proxy_opens_a_tunnel() {
    let server = hypha::server(Heads::default()).await;
    for (transport, request) in [
        (Transport::WebSocket, "CONNECT hypha.invalid:9527 HTTP/1.1"),
        (Transport::Http, "GET http://hypha.invalid:9527/rpc?"),
    ] {
        let heads = Heads::default();
        let proxy = http_proxy(server.port, heads.clone()).await;
        let connect = hypha_rpc::connect("http://hypha.invalid:9527").transport(transport);
        let url = format!("http://me:se%40cret@127.0.0.1:{}", proxy.port);
        let client = connected(connect.proxy(url)).await;
        assert_eq!(client.workspace(), "ws");
        let head = heads.first();
        assert!(head.starts_with(request), "{head}");
    }
}

#[tokio::test]
async fn tls_works_through_the_tunnel() {
    let authority = tls::authority(KeyPair::generate().expect("a key"));
    let config = tls::signed(tls::names(&["hypha.invalid"]), Some(&authority));
    let server = hypha::encrypted(config).await;
    for transport in [Transport::WebSocket, Transport::Http] {
        let heads = Heads::default();
        let proxy = http_proxy(server.port, heads.clone()).await;
        let connect = hypha_rpc::connect("https://hypha.invalid").transport(transport);
        let url = format!("http://me:se%40cret@127.0.0.1:{}", proxy.port);
        let connect = connect.proxy(url).ca_certificate(authority.pem());
        connected(connect).await;
        let head = heads.first();
        assert!(head.starts_with("CONNECT hypha.invalid:443 "), "{head}");
    }
}

/// An HTTP proxy that is encrypted.
async fn https_proxy(
    port: u16,
    heads: Heads,
    config: std::sync::Arc<tokio_rustls::rustls::ServerConfig>,
) -> Server {
    let acceptor = tokio_rustls::TlsAcceptor::from(config);
    serve(move |socket| {
        let (accepting, heads) = (acceptor.accept(socket), heads.clone());
        async move {
            let Ok(mut socket) = accepting.await else {
                return;
            };
            let head = request(&mut socket).await;
            heads.push(&head);
            if !head.starts_with("CONNECT") {
                return hypha::accept(socket, &head).await;
            }
            let ok = b"HTTP/1.1 200 Connection established\r\n\r\n";
            let _ = socket.write_all(ok).await;
            if let Ok(mut server) = TcpStream::connect(("127.0.0.1", port)).await {
                let _ = copy_bidirectional(&mut socket, &mut server).await;
            }
        }
    })
    .await
}

#[tokio::test]
async fn an_encrypted_proxy_is_used_by_both_transports() {
    let authority = tls::authority(KeyPair::generate().expect("a key"));
    let of = |name: &str| tls::signed(tls::names(&[name]), Some(&authority));
    let (plain, encrypted) = (
        hypha::server(Heads::default()).await,
        hypha::encrypted(of("hypha.invalid")).await,
    );
    for transport in [Transport::WebSocket, Transport::Http] {
        for (server, port) in [
            ("http://hypha.invalid:9527", plain.port),
            ("https://hypha.invalid", encrypted.port),
        ] {
            let heads = Heads::default();
            let proxy = https_proxy(port, heads.clone(), of("localhost")).await;
            let url = format!("https://localhost:{}", proxy.port);
            let connect = hypha_rpc::connect(server).transport(transport).proxy(url);
            connected(connect.ca_certificate(authority.pem())).await;
            assert!(heads.first().contains("hypha.invalid"), "{}", heads.first());
        }
        // The client checks the certificate of the proxy like the certificate of a server.
        let proxy = https_proxy(plain.port, Heads::default(), of("localhost")).await;
        let other = https_proxy(plain.port, Heads::default(), of("other.invalid")).await;
        let not_tls = serve(|mut socket| async move {
            write(&mut socket, &answer("400 Bad Request", "", "")).await;
        });
        let not_tls = not_tls.await;
        for server in ["https://hypha.invalid", "http://hypha.invalid:9527"] {
            for (port, trusted, failure) in [
                (proxy.port, false, TlsFailure::UnknownIssuer),
                (other.port, true, TlsFailure::NameMismatch),
                (not_tls.port, true, TlsFailure::NotTls),
            ] {
                let url = format!("https://localhost:{port}");
                let connect = hypha_rpc::connect(server).transport(transport).proxy(&url);
                let error = refused(match trusted {
                    true => connect.ca_certificate(authority.pem()),
                    false => connect,
                });
                let error = error.await;
                let kind = ConnectErrorKind::Proxy(ProxyFailure::Tls(failure));
                assert_eq!(error.kind(), kind, "{transport:?} {server}: {error:?}");
                assert!(!error.is_retryable());
                let text = error.to_string();
                assert!(
                    text.contains(&url) && text.contains("hypha.invalid"),
                    "{text}"
                );
                let names_it = text.contains("certificate") || failure == TlsFailure::NotTls;
                assert!(names_it, "{text}");
                assert!(find::<rustls::Error>(&error).is_some(), "{error:?}");
            }
        }
        // The certificate of the server is checked in the tunnel, and is not that of the proxy.
        let wrong = hypha::encrypted(of("other.invalid")).await;
        let proxy = https_proxy(wrong.port, Heads::default(), of("localhost")).await;
        let connect = hypha_rpc::connect("https://hypha.invalid").transport(transport);
        let connect = connect.proxy(format!("https://localhost:{}", proxy.port));
        let error = refused(connect.ca_certificate(authority.pem())).await;
        let kind = ConnectErrorKind::Tls(TlsFailure::NameMismatch);
        assert_eq!(error.kind(), kind, "{transport:?}: {error:?}");
    }
}

#[tokio::test]
async fn a_socks_proxy_receives_the_host_name() {
    let server = hypha::server(Heads::default()).await;
    for transport in [Transport::WebSocket, Transport::Http] {
        let heads = Heads::default();
        let proxy = socks_proxy(server.port, heads.clone()).await;
        let connect = hypha_rpc::connect("http://hypha.invalid:9527").transport(transport);
        let url = format!("socks5h://me:secret@127.0.0.1:{}", proxy.port);
        connected(connect.proxy(url)).await;
        assert_eq!(heads.first(), "hypha.invalid");
    }
}

#[tokio::test]
async fn an_unreachable_proxy_is_named() {
    let port = servers::closed_port().await;
    for scheme in ["http", "socks5h"] {
        for (server, transport) in TRANSPORTS.map(|transport| ("https://h.invalid", transport)) {
            let connect = hypha_rpc::connect(server).transport(transport);
            let connect = connect.proxy(format!("{scheme}://u:SECRET@127.0.0.1:{port}"));
            let error = refused(connect).await;
            let kind = ConnectErrorKind::Proxy(ProxyFailure::Unreachable);
            assert_eq!(error.kind(), kind, "{error:?}");
            assert!(error.is_retryable());
            // The library used for SOCKS with the HTTP transport does not keep the cause.
            let has_cause = find::<io::Error>(&error).is_some();
            assert!(has_cause || scheme == "socks5h", "{error:?}");
            let text = error.to_string();
            assert!(
                text.contains(&format!("{scheme}://127.0.0.1:{port}")),
                "{text}"
            );
            assert!(
                text.contains("h.invalid") && text.contains("NO_PROXY"),
                "{text}"
            );
            let all = format!("{error:?} {}", hypha_rpc::error::report(&error));
            assert!(!all.contains("SECRET"), "{all}");
        }
    }
}

#[tokio::test]
async fn wrong_credentials_are_reported() {
    let (http, socks) = (
        http_proxy(0, Heads::default()).await,
        socks_proxy(0, Heads::default()).await,
    );
    for (server, proxy, transport) in [
        (
            "http://h.invalid",
            format!("http://127.0.0.1:{}", http.port),
            Transport::WebSocket,
        ),
        (
            "http://h.invalid",
            format!("http://127.0.0.1:{}", http.port),
            Transport::Http,
        ),
        (
            "https://h.invalid",
            format!("http://127.0.0.1:{}", http.port),
            Transport::Http,
        ),
        (
            "http://h.invalid",
            format!("socks5h://127.0.0.1:{}", socks.port),
            Transport::WebSocket,
        ),
        (
            "http://h.invalid",
            format!("socks5h://a:b@127.0.0.1:{}", http.port),
            Transport::WebSocket,
        ),
    ] {
        let connect = hypha_rpc::connect(server)
            .transport(transport)
            .proxy(&proxy);
        let error = refused(connect).await;
        let kind = match proxy.contains("a:b") {
            true => ConnectErrorKind::Proxy(ProxyFailure::Protocol),
            false => ConnectErrorKind::Proxy(ProxyFailure::Credentials),
        };
        assert_eq!(error.kind(), kind, "{proxy}, {transport:?}: {error:?}");
        assert!(
            !error.is_retryable() && error.to_string().contains("h.invalid"),
            "{error}"
        );
    }
}

#[tokio::test]
async fn a_refusal_by_the_proxy_is_reported() {
    let http = http_proxy(0, Heads::default()).await;
    let socks = socks_proxy(0, Heads::default()).await;
    for proxy in [
        format!("http://me:se%40cret@127.0.0.1:{}", http.port),
        format!("socks5h://me:secret@127.0.0.1:{}", socks.port),
    ] {
        let error = refused(hypha_rpc::connect("http://refused.invalid").proxy(proxy)).await;
        let kind = ConnectErrorKind::Proxy(ProxyFailure::Refused);
        assert_eq!(error.kind(), kind, "{error:?}");
        assert!(!error.is_retryable());
    }
}

#[tokio::test]
async fn a_proxy_of_an_unknown_kind_is_an_invalid_option() {
    for transport in TRANSPORTS {
        let connect = hypha_rpc::connect("http://h.invalid").transport(transport);
        let error = refused(connect.proxy("ftp://u:SECRET@proxy")).await;
        assert_eq!(error.kind(), ConnectErrorKind::InvalidOption, "{error:?}");
        let text = error.to_string();
        assert!(
            text.contains("`proxy`") && text.contains("ftp://proxy"),
            "{text}"
        );
        assert!(
            !text.contains("SECRET") && text.contains("socks5"),
            "{text}"
        );
    }
}

/// Returns the command that runs one ignored test in a process of its own. Variables must be set
/// before a process starts.
fn ignored_test(name: &str) -> Command {
    let mut child = Command::new(std::env::current_exe().expect("this program"));
    child.args(["--exact", name, "--ignored"]);
    child
}

/// Runs such a command, and checks that its test passes.
async fn passes(mut child: Command) {
    let output = tokio::task::spawn_blocking(move || child.output()).await;
    let output = output.expect("no panic").expect("runs");
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(
        output.status.success() && text.contains("1 passed"),
        "{text}"
    );
}

#[tokio::test]
async fn the_environment_names_a_proxy_and_exceptions() {
    let heads = Heads::default();
    let server = hypha::server(Heads::default()).await;
    let proxy = http_proxy(server.port, heads.clone()).await;
    let mut child = ignored_test("proxies::with_variables");
    child
        .env_remove("http_proxy")
        .env_remove("no_proxy")
        .env(
            "HTTP_PROXY",
            format!("http://me:se%40cret@127.0.0.1:{}", proxy.port),
        )
        .env("NO_PROXY", "direct.invalid")
        .env(
            "HYPHA_TEST_SERVER",
            format!("http://127.0.0.1:{}", server.port),
        );
    passes(child).await;
    assert_eq!(heads.all().len(), 2, "{:?}", heads.all());
}

#[tokio::test]
#[ignore = "`the_environment_names_a_proxy_and_exceptions` runs it with its variables"]
async fn with_variables() {
    let server = std::env::var("HYPHA_TEST_SERVER").expect("the server");
    for transport in [Transport::WebSocket, Transport::Http] {
        let connect = |url: &str| hypha_rpc::connect(url).transport(transport);
        connected(connect("http://hypha.invalid")).await;
        // A client connects to loopback addresses without the proxy.
        connected(connect(&server)).await;
        let error = refused(connect("http://direct.invalid")).await;
        assert_eq!(error.kind(), ConnectErrorKind::Dns, "{error:?}");
        let error = refused(connect("http://hypha.invalid").no_proxy()).await;
        assert_eq!(error.kind(), ConnectErrorKind::Dns, "{error:?}");
    }
}

/// Starts a SOCKS proxy without passwords that responds to each request with `status`. Records the
/// address type and the address of each request.
async fn open_socks_proxy(port: u16, status: u8, heads: Heads) -> Server {
    serve(move |mut socket| {
        let heads = heads.clone();
        async move {
            let mut hello = [0; 3];
            let _ = socket.read_exact(&mut hello).await;
            let _ = socket.write_all(&[5, 0]).await;
            let mut head = [0; 4];
            let _ = socket.read_exact(&mut head).await;
            let length = match head[3] {
                1 => 4,
                4 => 16,
                _ => usize::from(socket.read_u8().await.unwrap_or_default()),
            };
            let mut address = vec![0; length + 2];
            let _ = socket.read_exact(&mut address).await;
            heads.push(&format!("{} {:?}", head[3], &address[..length]));
            let _ = socket.write_all(&[5, status, 0, 1, 0, 0, 0, 0, 0, 0]).await;
            if status == 0 {
                tunnel(socket, port).await;
            }
        }
    })
    .await
}

#[tokio::test]
async fn a_socks_proxy_receives_an_ipv6_address() {
    let server = hypha::server(Heads::default()).await;
    for scheme in ["socks5", "socks5h"] {
        for transport in [Transport::WebSocket, Transport::Http] {
            let heads = Heads::default();
            let proxy = open_socks_proxy(server.port, 0, heads.clone()).await;
            let connect = hypha_rpc::connect("http://[fd12::1]:9527").transport(transport);
            connected(connect.proxy(format!("{scheme}://127.0.0.1:{}", proxy.port))).await;
            let address = "fd12::1".parse::<std::net::Ipv6Addr>().expect("an address");
            assert_eq!(heads.first(), format!("4 {:?}", address.octets()));
        }
    }
}

#[tokio::test]
async fn failures_behind_a_socks_proxy_have_one_kind() {
    for (status, failure) in [
        (1, ProxyFailure::NoWay),
        (2, ProxyFailure::Refused),
        (3, ProxyFailure::NoWay),
        (4, ProxyFailure::NoWay),
        (5, ProxyFailure::NoWay),
        (6, ProxyFailure::NoWay),
        (7, ProxyFailure::Refused),
        (8, ProxyFailure::Refused),
    ] {
        let proxy = open_socks_proxy(0, status, Heads::default()).await;
        for transport in TRANSPORTS {
            let connect = hypha_rpc::connect("http://h.invalid").transport(transport);
            let connect = connect.proxy(format!("socks5h://127.0.0.1:{}", proxy.port));
            let error = refused(connect).await;
            let kind = ConnectErrorKind::Proxy(failure);
            assert_eq!(error.kind(), kind, "{transport:?} {status}: {error:?}");
        }
    }
    let heads = Heads::default();
    let socks = socks_proxy(0, heads.clone()).await;
    for transport in TRANSPORTS {
        // This program resolves the host name, so the proxy is not at fault.
        let connect = hypha_rpc::connect("http://h.invalid").transport(transport);
        let connect = connect.proxy(format!("socks5://127.0.0.1:{}", socks.port));
        let error = refused(connect).await;
        assert_eq!(
            error.kind(),
            ConnectErrorKind::Dns,
            "{transport:?}: {error:?}"
        );
        // The name of the proxy cannot be resolved.
        let connect = hypha_rpc::connect("http://127.0.0.9").transport(transport);
        let error = refused(connect.proxy("socks5://proxy.invalid")).await;
        let kind = ConnectErrorKind::Proxy(ProxyFailure::Unreachable);
        assert_eq!(error.kind(), kind, "{transport:?}: {error:?}");
        let connect = hypha_rpc::connect("http://h.invalid").transport(transport);
        let connect = connect.proxy(format!("socks5h://me:wrong!@127.0.0.1:{}", socks.port));
        let error = refused(connect).await;
        let kind = ConnectErrorKind::Proxy(ProxyFailure::Credentials);
        assert_eq!(error.kind(), kind, "{transport:?}: {error:?}");
    }
}

/// Starts a proxy that accepts connections and never responds.
async fn silent_proxy() -> Server {
    serve(|socket| async move {
        std::future::pending::<()>().await;
        drop(socket);
    })
    .await
}

#[tokio::test]
async fn a_silent_proxy_is_named() {
    let proxy = silent_proxy().await;
    for scheme in ["http", "socks5h"] {
        for transport in TRANSPORTS {
            let connect = hypha_rpc::connect("http://h.invalid").transport(transport);
            let connect = connect.connect_timeout(Duration::from_millis(100));
            let url = format!("{scheme}://u:SECRET@127.0.0.1:{}", proxy.port);
            let error = refused(connect.proxy(url)).await;
            assert_eq!(error.kind(), ConnectErrorKind::Timeout, "{error:?}");
            let text = error.to_string();
            let shown = format!("the proxy {scheme}://127.0.0.1:{}", proxy.port);
            assert!(text.contains(&shown), "{transport:?}: {text}");
            let all = format!("{error:?} {text}");
            assert!(!all.contains("SECRET") && !all.contains("from "), "{all}");
        }
    }
}

#[tokio::test]
async fn a_proxy_of_the_environment_is_named() {
    let silent = silent_proxy().await;
    for port in [silent.port, servers::closed_port().await] {
        let mut child = ignored_test("proxies::with_a_bad_variable");
        child
            .env_remove("http_proxy")
            .env_remove("no_proxy")
            .env_remove("NO_PROXY")
            .env("HTTP_PROXY", format!("http://u:SECRET@127.0.0.1:{port}"));
        passes(child).await;
    }
}

#[tokio::test]
#[ignore = "`a_proxy_of_the_environment_is_named` runs it with its variable"]
async fn with_a_bad_variable() {
    for transport in TRANSPORTS {
        let connect = hypha_rpc::connect("http://h.invalid").transport(transport);
        let error = refused(connect.connect_timeout(Duration::from_millis(100))).await;
        let text = error.to_string();
        assert!(text.contains("the proxy http://127.0.0.1:"), "{text}");
        assert!(text.contains("(from HTTP_PROXY)"), "{text}");
        assert!(!text.contains("SECRET"), "{text}");
    }
}
