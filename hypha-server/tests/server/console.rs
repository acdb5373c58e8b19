//! The console without a browser: pages, headers, sessions and forms.

use anyhow::{Context as _, Result, ensure};
use hypha_rpc::service::{IncomingCall, Method, Service};
use hypha_rpc::workspace::{Permission, TokenConfig, Visibility};
use hypha_rpc::{Client, hypha_service};
use hypha_server::Server;
use reqwest::header::{HeaderMap, HeaderValue};
use reqwest::{Response, StatusCode};

use crate::support;

const ROOT: &str = "c4b1f09a7d3e62858f1d0b6ac79e3542";
/// Text that would run a script if it were not escaped.
const HOSTILE: &str = "<script>alert(1)</script><img src=x onerror='alert(2)'>\"'";

struct Desk;

/// A desk.
#[hypha_service(id = "desk", visibility = "public")]
impl Desk {
    /// Add two numbers.
    pub(crate) async fn add(&self, a: f64, #[hypha(default = 1.0)] b: f64) -> f64 {
        a + b
    }
}

async fn server() -> Result<Server> {
    let builder = Server::builder().bind("127.0.0.1:0");
    Ok(builder.root_token(ROOT).console(true).start().await?)
}

/// A browser without scripts, with its cookies.
struct Browser {
    http: reqwest::Client,
    base: String,
    cookies: Vec<(String, String)>,
    /// The proof on the last page.
    proof: String,
}

impl Browser {
    fn new(server: &Server) -> Browser {
        let http =
            support::http_reader(|client| client.redirect(reqwest::redirect::Policy::none()));
        Browser {
            http,
            base: server.url().to_owned(),
            cookies: Vec::new(),
            proof: String::new(),
        }
    }

    /// The headers of a browser that opens a page.
    fn headers(&self) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in [
            ("accept", "text/html,application/xhtml+xml"),
            ("sec-fetch-site", "same-origin"),
            ("sec-fetch-mode", "navigate"),
            ("sec-fetch-dest", "document"),
        ] {
            headers.insert(name, HeaderValue::from_static(value));
        }
        let cookies: Vec<String> = self
            .cookies
            .iter()
            .map(|(name, value)| format!("{name}={value}"))
            .collect();
        if let Ok(cookies) = cookies.join("; ").parse() {
            headers.insert("cookie", cookies);
        }
        headers
    }

    fn remember(&mut self, response: &Response) {
        for cookie in response.headers().get_all("set-cookie") {
            let pair = cookie.to_str().unwrap_or_default().split(';').next();
            let Some((name, value)) = pair.and_then(|pair| pair.split_once('=')) else {
                continue;
            };
            self.cookies.retain(|(known, _)| known != name);
            if !value.is_empty() {
                self.cookies.push((name.to_owned(), value.to_owned()));
            }
        }
    }

    /// Opens a page.
    async fn open(&mut self, path: &str) -> Result<(StatusCode, String)> {
        let request = self.http.get(format!("{}{path}", self.base));
        let response = request.headers(self.headers()).send().await?;
        self.remember(&response);
        let status = response.status();
        let page = response.text().await?;
        if let Some((_, rest)) = page.split_once("name=\"proof\" content=\"") {
            self.proof = rest.split('"').next().unwrap_or_default().to_owned();
        }
        Ok((status, page))
    }

    /// Submits a form of the last page.
    async fn submit(&mut self, path: &str, fields: &[(&str, &str)]) -> Result<Response> {
        let mut all = vec![("csrf", self.proof.as_str())];
        all.extend(fields);
        let response = self.post(path, &all).await?;
        self.remember(&response);
        Ok(response)
    }

    async fn post(&self, path: &str, fields: &[(&str, &str)]) -> Result<Response> {
        let mut body = reqwest::Url::parse("http://form/")?;
        body.query_pairs_mut().extend_pairs(fields);
        let request = self.http.post(format!("{}{path}", self.base));
        let kind = "application/x-www-form-urlencoded";
        let request = request.headers(self.headers()).header("content-type", kind);
        let body = body.query().unwrap_or_default().to_owned();
        Ok(request.body(body).send().await?)
    }

    /// Signs in with a token.
    async fn sign_in(&mut self, token: &str) -> Result<Response> {
        self.open("/console/").await?;
        self.submit("/console/sign-in", &[("token", token)]).await
    }

    fn cookie(&self, name: &str) -> Option<&str> {
        let found = self.cookies.iter().find(|(known, _)| known == name);
        found.map(|(_, value)| value.as_str())
    }
}

/// Returns a token of an administrator of the workspace `public`.
async fn token(server: &Server) -> Result<String> {
    let root = hypha_rpc::connect(server.url()).token(ROOT).await?;
    let config = TokenConfig {
        workspace: Some("public".into()),
        permission: Some(Permission::Admin.into()),
        ..TokenConfig::default()
    };
    Ok(root.manager().await?.generate_token(Some(config)).await?)
}

async fn provider(server: &Server) -> Result<Client> {
    let options = hypha_rpc::connect(server.url()).token(token(server).await?);
    Ok(options.workspace("public").await?)
}

async fn desk(server: &Server) -> Result<Client> {
    let client = provider(server).await?;
    client.register_service(Desk).await?;
    Ok(client)
}

#[tokio::test]
async fn browsers_are_sent_to_the_console_and_programs_are_not() -> Result<()> {
    let server = server().await?;
    let mut browser = Browser::new(&server);
    let request = browser.http.get(server.url()).headers(browser.headers());
    let response = request.send().await?;
    assert_eq!(response.status(), StatusCode::TEMPORARY_REDIRECT);
    assert_eq!(response.headers()["location"], "/console/");
    assert_eq!(response.headers()["vary"], "Accept");
    for accept in ["*/*", "application/json"] {
        let request = browser.http.get(server.url()).header("accept", accept);
        let text = request.send().await?.text().await?;
        assert!(text.starts_with("This is a Hypha server"), "{text}");
    }
    let (status, page) = browser.open("/console/").await?;
    assert_eq!(status, StatusCode::OK);
    assert!(page.contains("href=\"/console/ws/public\""), "{page}");
    Ok(())
}

#[tokio::test]
async fn embedded_servers_have_no_console_unless_it_is_turned_on() -> Result<()> {
    let server = support::server().await?;
    let mut browser = Browser::new(&server);
    let (_, text) = browser.open("/").await?;
    assert!(text.starts_with("This is a Hypha server"), "{text}");
    assert_eq!(browser.open("/console/").await?.0, StatusCode::NOT_FOUND);
    Ok(())
}

#[tokio::test]
async fn pages_forbid_inline_scripts_and_other_hosts() -> Result<()> {
    let server = server().await?;
    let browser = Browser::new(&server);
    let url = format!("{}/console/", server.url());
    let response = browser
        .http
        .get(url)
        .headers(browser.headers())
        .send()
        .await?;
    let headers = response.headers().clone();
    let policy = headers["content-security-policy"].to_str()?;
    assert!(policy.starts_with("default-src 'none'; script-src 'self'; style-src 'self';"));
    assert!(policy.contains("frame-ancestors 'none'") && !policy.contains("unsafe"));
    assert_eq!(headers["x-content-type-options"], "nosniff");
    assert_eq!(headers["cross-origin-opener-policy"], "same-origin");
    let cookie = headers["set-cookie"].to_str()?;
    for part in ["Path=/console", "HttpOnly", "SameSite=Strict"] {
        assert!(cookie.contains(part), "{cookie}");
    }
    let page = response.text().await?;
    assert!(!page.contains("<style") && !page.contains(" style=") && !page.contains(" onclick"));
    for file in ["console.css", "console.js", "values.js", "code.js"] {
        let url = format!("{}/console/assets/{file}", server.url());
        let first = browser.http.get(&url).send().await?;
        assert_eq!(first.status(), StatusCode::OK, "{file}");
        let tag = first.headers()["etag"].clone();
        let content = first.text().await?;
        assert!(
            !content.contains("https://") && !content.contains("innerHTML = "),
            "{file}"
        );
        let again = browser
            .http
            .get(&url)
            .header("if-none-match", tag)
            .send()
            .await?;
        assert_eq!(again.status(), StatusCode::NOT_MODIFIED, "{file}");
    }
    Ok(())
}

#[tokio::test]
async fn services_are_found_described_and_called() -> Result<()> {
    let server = server().await?;
    let _desk = desk(&server).await?;
    let mut browser = Browser::new(&server);
    let (_, page) = browser.open("/console/ws/public?q=DESK").await?;
    assert!(page.contains("1 service<"), "{page}");
    let (_, none) = browser.open("/console/ws/public?q=nothing").await?;
    assert!(none.contains("0 services<"), "{none}");
    let link = page.split("href=\"").find(|it| it.contains(":desk\""));
    let link = link
        .and_then(|it| it.split('"').next())
        .context("no link")?;
    let (status, page) = browser.open(link).await?;
    assert_eq!(status, StatusCode::OK, "{page}");
    for part in [
        "A desk.",
        "Add two numbers.",
        "data-kind=\"number\" data-name=\"a\" data-required",
        "value=\"1.0\"",
    ] {
        assert!(page.contains(part), "{part}: {page}");
    }
    let target = page
        .split("data-call=\"")
        .nth(1)
        .and_then(|it| it.split('"').next());
    let url = format!("{}{}", server.url(), target.context("no form")?);
    let request = |proof: &str| {
        let request = browser.http.post(&url).headers(browser.headers());
        let request = request.header("sec-fetch-mode", "cors");
        let request = request.header("x-hypha-console", proof);
        request
            .header("content-type", "application/json")
            .body(r#"{"a": 2}"#)
    };
    let answer = request(&browser.proof).send().await?;
    assert_eq!(answer.text().await?, "3.0");
    let refused = request("wrong").send().await?;
    assert_eq!(refused.status(), StatusCode::FORBIDDEN);
    Ok(())
}

#[tokio::test]
async fn a_token_is_kept_in_the_cookie_and_in_no_page() -> Result<()> {
    let server = server().await?;
    let mut browser = Browser::new(&server);
    let refused = browser.sign_in("no-token").await?;
    assert!(refused.status().is_client_error());
    let page = refused.text().await?;
    assert!(!page.contains("Open the login page"), "{page}");
    for part in [
        "The server does not accept this token",
        "Use this token",
        "<nav",
    ] {
        assert!(page.contains(part), "{part}: {page}");
    }
    assert_eq!(browser.cookie("hypha_console"), None);
    let (_, page) = browser.open("/console/ws/ws-user-root/clients").await?;
    let sentence = "Only users that may enter the workspace see its clients.";
    assert!(
        page.contains(sentence) && page.contains("class=\"tabs\""),
        "{page}"
    );
    let response = browser.sign_in(ROOT).await?;
    assert_eq!(response.status(), StatusCode::SEE_OTHER);
    let (_, page) = browser.open("/console/").await?;
    assert!(
        page.contains("Sign out") && page.contains("Administration"),
        "{page}"
    );
    assert!(!page.contains(ROOT));
    let (status, page) = browser.open("/console/admin").await?;
    assert_eq!(status, StatusCode::OK, "{page}");
    assert!(page.contains("(this one)"), "{page}");
    // The cookie counts for the console only.
    let cookie = format!("hypha_console={ROOT}");
    let config = browser
        .http
        .get(format!("{}/assets/config.json", server.url()));
    let config = config.header("cookie", cookie).send().await?.text().await?;
    assert!(config.contains("\"is_anonymous\":true"), "{config}");
    browser.submit("/console/sign-out", &[]).await?;
    assert_eq!(browser.cookie("hypha_console"), None);
    let (status, page) = browser.open("/console/admin").await?;
    assert_eq!(status, StatusCode::FORBIDDEN, "{page}");
    // A session whose token is no longer valid ends.
    browser
        .cookies
        .push(("hypha_console".into(), "expired".into()));
    let (status, page) = browser.open("/console/").await?;
    assert_eq!(status, StatusCode::UNAUTHORIZED);
    assert!(page.contains("Sign in again"), "{page}");
    assert_eq!(browser.cookie("hypha_console"), None);
    Ok(())
}

#[tokio::test]
async fn requests_of_other_pages_cannot_act() -> Result<()> {
    let server = server().await?;
    let mut browser = Browser::new(&server);
    browser.sign_in(ROOT).await?;
    let (_, page) = browser.open("/console/ws/public/tokens").await?;
    assert!(page.contains("Create a token"), "{page}");
    let path = "/console/ws/public/tokens";
    let create = [("action", "create"), ("permission", "read"), ("hours", "1")];
    let is_refused = async |response: Response| -> Result<()> {
        let (status, text) = (response.status(), response.text().await?);
        ensure!(
            status == StatusCode::FORBIDDEN && !text.contains("New token"),
            "{text}"
        );
        Ok(())
    };
    // Without the proof, and with that of another session.
    is_refused(browser.post(path, &create).await?).await?;
    let mut other = Browser::new(&server);
    other.open("/console/").await?;
    let mut fields = create.to_vec();
    fields.push(("csrf", other.proof.as_str()));
    is_refused(browser.post(path, &fields).await?).await?;
    // From another origin, even with the proof.
    let url = format!("{}{path}", server.url());
    let body = format!(
        "action=create&permission=read&hours=1&csrf={}",
        browser.proof
    );
    let form = "application/x-www-form-urlencoded";
    let request = browser.http.post(&url).headers(browser.headers());
    let request = request.header("origin", "https://evil.example");
    is_refused(
        request
            .header("content-type", form)
            .body(body)
            .send()
            .await?,
    )
    .await?;
    // Scripts of an application, which has the same origin, cannot read the page with the proof.
    let mut headers = browser.headers();
    headers.insert("sec-fetch-mode", HeaderValue::from_static("cors"));
    headers.insert("sec-fetch-dest", HeaderValue::from_static("empty"));
    let read = browser.http.get(&url).headers(headers).send().await?;
    assert_eq!(read.status(), StatusCode::FORBIDDEN);
    assert!(!read.text().await?.contains(&browser.proof));
    // A link on another site opens the page in two steps, and keeps the session.
    let mut headers = browser.headers();
    headers.insert("sec-fetch-site", HeaderValue::from_static("cross-site"));
    headers.remove("cookie");
    let linked = browser.http.get(&url).headers(headers).send().await?;
    assert!(linked.headers().get("set-cookie").is_none());
    assert!(linked.text().await?.contains("http-equiv=\"refresh\""));
    // Check that the same requests from a page of the console succeed.
    let (_, page) = browser.open(path).await?;
    assert!(page.contains("Create a token"));
    let page = browser.submit(path, &create).await?.text().await?;
    assert!(page.contains("New token"), "{page}");
    Ok(())
}

#[tokio::test]
async fn tokens_are_created_inspected_and_revoked() -> Result<()> {
    let server = server().await?;
    let mut browser = Browser::new(&server);
    browser.sign_in(&token(&server).await?).await?;
    let path = "/console/ws/public/tokens";
    browser.open(path).await?;
    let create = [
        ("action", "create"),
        ("permission", "admin"),
        ("hours", "2"),
    ];
    let page = browser.submit(path, &create).await?.text().await?;
    let token = page.split("aria-label=\"New token\">").nth(1);
    let token = token
        .and_then(|it| it.split('<').next())
        .context("no token")?
        .to_owned();
    let inspect = [("action", "inspect"), ("token", token.as_str())];
    let page = browser.submit(path, &inspect).await?.text().await?;
    assert!(page.contains("Admin in <code>public</code>"), "{page}");
    let revoke = [("action", "revoke"), ("token", token.as_str())];
    let page = browser.submit(path, &revoke).await?.text().await?;
    assert!(page.contains("The token is revoked"), "{page}");
    let response = browser.submit(path, &inspect).await?;
    assert!(response.status().is_client_error());
    Ok(())
}

#[tokio::test]
async fn administrators_see_and_disconnect_clients() -> Result<()> {
    let server = server().await?;
    let desk = desk(&server).await?;
    let id = desk.client_id().to_owned();
    let mut browser = Browser::new(&server);
    browser.sign_in(ROOT).await?;
    let (_, page) = browser.open("/console/ws/public/clients").await?;
    assert!(page.contains(&format!("Disconnect {id}")), "{page}");
    let response = browser
        .submit("/console/ws/public/kick", &[("client", "nobody")])
        .await?;
    assert!(response.text().await?.contains("Client not connected"));
    let response = browser
        .submit("/console/ws/public/kick", &[("client", &id)])
        .await?;
    assert_eq!(response.status(), StatusCode::SEE_OTHER);
    Ok(())
}

#[tokio::test]
async fn events_arrive_while_they_happen() -> Result<()> {
    let server = server().await?;
    let mut browser = Browser::new(&server);
    browser.sign_in(&token(&server).await?).await?;
    let (_, page) = browser.open("/console/ws/public/events").await?;
    assert!(
        page.contains("data-events=\"/console/ws/public/events?live=1\""),
        "{page}"
    );
    let request = browser
        .http
        .get(format!("{}/console/ws/public/events?live=1", server.url()));
    let request = request.headers(browser.headers());
    let mut live = request
        .header("x-hypha-console", &browser.proof)
        .send()
        .await?;
    assert_eq!(live.chunk().await?.as_deref(), Some(&b"{}\n"[..]));
    let _desk = desk(&server).await?;
    let event = async {
        while let Some(line) = live.chunk().await? {
            let line = String::from_utf8_lossy(&line).into_owned();
            if line.contains("service_added") && line.contains(":desk") {
                return Ok(());
            }
        }
        anyhow::bail!("no event")
    };
    tokio::time::timeout(std::time::Duration::from_secs(20), event).await?
}

#[tokio::test]
async fn texts_of_services_are_escaped() -> Result<()> {
    let server = server().await?;
    let client = provider(&server).await?;
    let schema = serde_json::json!({
        "name": HOSTILE,
        "description": HOSTILE,
        "parameters": {
            "type": "object",
            "properties": {HOSTILE: {
                "enum": [HOSTILE],
                "description": HOSTILE,
                "default": HOSTILE,
            }},
        },
    });
    let method = Method::new(
        "m",
        |call: IncomingCall| async move { call.reply(&HOSTILE) },
    );
    let service = Service::new("hostile")
        .name(HOSTILE)
        .description(HOSTILE)
        .docs(HOSTILE)
        .service_type(HOSTILE)
        .visibility(Visibility::Public)
        .method(method.doc(HOSTILE).schema(schema));
    client.register_service(service).await?;
    let mut browser = Browser::new(&server);
    let id = format!("{}:hostile", client.client_id());
    for path in [
        "/console/ws/public".to_owned(),
        format!("/console/ws/public/service/{id}"),
        format!("/console/ws/public?q={}", "%3Cscript%3Ealert(1)"),
        "/console/ws/%3Cscript%3Ealert(1)".to_owned(),
        "/console/ws/public/service/%3Cscript%3Ealert(1)".to_owned(),
    ] {
        let (_, page) = browser.open(&path).await?;
        assert!(page.contains("&lt;script&gt;"), "{path}: {page}");
        assert!(
            !page.contains("<script>") && !page.contains("<img"),
            "{path}: {page}"
        );
    }
    Ok(())
}

#[tokio::test]
async fn the_server_page_has_charts() -> Result<()> {
    let server = server().await?;
    let mut browser = Browser::new(&server);
    let (status, page) = browser.open("/console/server").await?;
    assert_eq!(status, StatusCode::OK);
    for part in ["Healthy", "<svg", "Mean latency of HTTP calls"] {
        assert!(page.contains(part), "{part}: {page}");
    }
    Ok(())
}

#[tokio::test]
async fn the_console_is_below_the_base_path() -> Result<()> {
    let builder = Server::builder().bind("127.0.0.1:0").base_path("/hypha");
    let server = builder.console(true).start().await?;
    let mut browser = Browser::new(&server);
    let (status, page) = browser.open("/console/").await?;
    assert_eq!(status, StatusCode::OK, "{page}");
    assert!(
        page.contains("href=\"/hypha/console/assets/console.css\""),
        "{page}"
    );
    Ok(())
}

#[tokio::test]
async fn calls_are_not_pages_that_an_application_can_open() -> Result<()> {
    let server = server().await?;
    let _provider = desk(&server).await?;
    let mut browser = Browser::new(&server);
    browser.sign_in(ROOT).await?;
    browser.open("/console/").await?;
    let url = format!(
        "{}/console/http/ws-user-root/services/~/generate_token",
        server.url()
    );
    // An application opens the URL in a window, which it can read.
    for site in ["same-origin", "cross-site"] {
        for query in ["", "?arrived=1"] {
            let mut headers = browser.headers();
            headers.insert("sec-fetch-site", HeaderValue::from_static(site));
            let request = browser.http.get(format!("{url}{query}"));
            let opened = request.headers(headers).send().await?;
            assert_eq!(opened.status(), StatusCode::FORBIDDEN, "{site} {query}");
        }
    }
    // The script of a page calls with its proof.
    let call = browser.http.get(&url).headers(browser.headers());
    let called = call
        .header("x-hypha-console", &browser.proof)
        .send()
        .await?;
    assert_eq!(called.status(), StatusCode::OK);
    Ok(())
}

#[tokio::test]
async fn several_sessions_of_one_browser_are_refused() -> Result<()> {
    let server = server().await?;
    let mut browser = Browser::new(&server);
    browser.sign_in(ROOT).await?;
    let (status, _) = browser.open("/console/").await?;
    assert_eq!(status, StatusCode::OK);
    // An application adds a cookie for a longer path, which browsers send first.
    browser
        .cookies
        .insert(0, ("hypha_console".into(), "another".into()));
    let (status, page) = browser.open("/console/").await?;
    assert_eq!(status, StatusCode::BAD_REQUEST, "{page}");
    Ok(())
}

#[tokio::test]
async fn pages_of_services_are_bounded() -> Result<()> {
    let server = server().await?;
    let client = provider(&server).await?;
    let properties: serde_json::Map<String, serde_json::Value> = (0..3000)
        .map(|i| (format!("p{i}"), serde_json::json!({"$ref": "#/$defs/D"})))
        .collect();
    let schema = serde_json::json!({
        "name": "f",
        "parameters": {
            "type": "object",
            "properties": properties,
            "$defs": {"D": {"type": "string", "description": "d".repeat(100_000)}},
        },
    });
    let method = hypha_rpc::service::Method::blocking("f", |_| Ok(hypha_rpc::args!()));
    let service = hypha_rpc::Service::new("large").method(method.schema(schema));
    client
        .register_service(service)
        .visibility(Visibility::Public)
        .await?;
    let mut browser = Browser::new(&server);
    let path = format!("/console/ws/{}/service/large", client.workspace());
    let (status, page) = browser.open(&path).await?;
    assert_eq!(status, StatusCode::OK, "{page}");
    assert!(page.contains("This form omits some arguments"));
    assert!(page.len() < 2_000_000, "{} bytes", page.len());
    Ok(())
}

#[tokio::test]
async fn links_of_other_sites_keep_the_browser() -> Result<()> {
    let server = server().await?;
    let mut browser = Browser::new(&server);
    browser.open("/console/").await?;
    let url = format!("{}/console/", server.url());
    for (query, is_opened_twice) in [("?arrived=1", false), ("?xarrived=1", true)] {
        let mut headers = browser.headers();
        headers.insert("sec-fetch-site", HeaderValue::from_static("cross-site"));
        headers.remove("cookie");
        let request = browser.http.get(format!("{url}{query}")).headers(headers);
        let linked = request.send().await?;
        assert_eq!(linked.headers().get("set-cookie"), None, "{query}");
        let page = linked.text().await?;
        assert_eq!(page.contains("http-equiv=\"refresh\""), is_opened_twice);
    }
    // The forms of the page that was open before still belong to the browser.
    let response = browser
        .submit("/console/sign-in", &[("token", ROOT)])
        .await?;
    assert_eq!(response.status(), StatusCode::SEE_OTHER);
    Ok(())
}

#[tokio::test]
async fn wrong_fields_are_named() -> Result<()> {
    let server = server().await?;
    let mut browser = Browser::new(&server);
    browser.sign_in(ROOT).await?;
    let path = "/console/ws/public/tokens";
    browser.open(path).await?;
    let token = |permission, hours| {
        let action = ("action", "create");
        vec![action, ("permission", permission), ("hours", hours)]
    };
    let tokens = path;
    let create = "/console/workspaces";
    for (path, fields, name) in [
        (tokens, token("read", "garbage"), "hours"),
        (tokens, token("read", ""), "hours"),
        (tokens, token("read", "0"), "hours"),
        (tokens, token("read", "-1"), "hours"),
        (tokens, token("read", "NaN"), "hours"),
        (tokens, token("read", "inf"), "hours"),
        (tokens, token("read", "1e30"), "hours"),
        (tokens, token("all", "1"), "permission"),
        (tokens, vec![("action", "destroy")], "action"),
        (tokens, vec![], "action"),
        (create, vec![("id", " ")], "id"),
        (
            create,
            vec![("id", "lab"), ("persistent", "no")],
            "persistent",
        ),
    ] {
        let response = browser.submit(path, &fields).await?;
        assert_eq!(response.status(), StatusCode::BAD_REQUEST, "{fields:?}");
        let page = response.text().await?;
        let text = format!("Field `{name}`: expected ");
        assert!(page.contains(&text) && page.contains("<nav"), "{page}");
    }
    let (status, page) = browser.open("/console/ws/public?from=x").await?;
    assert_eq!(status, StatusCode::BAD_REQUEST);
    assert!(page.contains("Field `from`: expected "), "{page}");
    let page = browser.submit(path, &token("read", "0.0001")).await?;
    assert!(page.text().await?.contains("New token"));
    Ok(())
}

#[tokio::test]
async fn anonymous_users_are_told_to_sign_in() -> Result<()> {
    let server = server().await?;
    let mut browser = Browser::new(&server);
    browser.open("/console/").await?;
    let create: &[_] = &[("action", "create"), ("permission", "read"), ("hours", "1")];
    for (path, fields) in [
        ("/console/workspaces", &[("id", "lab")][..]),
        ("/console/ws/public/tokens", create),
    ] {
        let response = browser.submit(path, fields).await?;
        assert_eq!(response.status(), StatusCode::UNAUTHORIZED, "{path}");
        let page = response.text().await?;
        assert!(page.contains("Sign in to create a "), "{page}");
        assert!(page.contains("<a href=\"/console/#sign-in\">"), "{page}");
    }
    Ok(())
}

#[tokio::test]
async fn administrators_receive_the_events_of_public() -> Result<()> {
    let server = server().await?;
    let mut browser = Browser::new(&server);
    browser.sign_in(ROOT).await?;
    let path = "/console/ws/public/events";
    let live = format!("data-events=\"{path}?live=1\"");
    let (_, page) = browser.open(path).await?;
    assert!(page.contains(&live), "{page}");
    // A token for another workspace is told so.
    let root = hypha_rpc::connect(server.url()).token(ROOT).await?;
    let token = root.manager().await?.generate_token(None).await?;
    let mut browser = Browser::new(&server);
    browser.sign_in(&token).await?;
    let (_, page) = browser.open(path).await?;
    let text = "Your token is for the workspace ws-user-root.";
    assert!(page.contains(text) && !page.contains(&live), "{page}");
    Ok(())
}

#[tokio::test]
async fn names_that_change_the_direction_are_shown_as_they_are() -> Result<()> {
    let server = server().await?;
    let client = provider(&server).await?;
    let name = "gpj\u{202e}exe";
    let schema = serde_json::json!({
        "name": name,
        "description": name,
        "parameters": {
            "type": "object",
            "properties": {name: {"type": "string", "default": name}},
        },
    });
    let method = Method::blocking(name, |_| Ok(hypha_rpc::args!()));
    let service = Service::new(name).name(name).description(name).docs(name);
    let service = service.visibility(Visibility::Public);
    client
        .register_service(service.method(method.schema(schema)))
        .await?;
    let mut browser = Browser::new(&server);
    let id = format!("{}:gpj%E2%80%AEexe", client.client_id());
    for path in [
        "/console/ws/public".to_owned(),
        format!("/console/ws/public/service/{id}"),
        "/console/ws/%E2%80%AEx".to_owned(),
    ] {
        let (_, page) = browser.open(&path).await?;
        assert!(page.contains("\\u{202e}"), "{path}: {page}");
        // The values that a script or a form sends are unchanged.
        for text in page.split('>').filter_map(|it| it.split('<').next()) {
            assert!(!text.contains('\u{202e}') || text == name, "{path}: {text}");
        }
    }
    Ok(())
}
