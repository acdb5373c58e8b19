//! Signs users in and out: with a token, an account of the server, or the server's login page.

use axum::body::Body;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use hypha_rpc::{Value, args};
use maud::{Markup, html};
use serde_json::json;

use super::super::problem::{Problem, problem};
use super::layout::proof_field;
use super::session::{self, Session, TOKEN_COOKIE, TOKEN_MAX};
use super::{Visit, layout, path, refusal, respond};
use crate::state::State;

/// Name of the login service, which is in the workspace `public`.
const LOGIN: &str = "hypha-login";

/// Returns the forms to sign in, for a user without a token.
pub(super) fn forms(visit: &Visit) -> Markup {
    let accounts = cfg!(feature = "accounts") && visit.state().settings.accounts.enabled;
    // If there are no accounts, no identity provider and no login methods, the login page only asks
    // for a token.
    let has_provider = visit.state().settings.tokens.provider_keys_url().is_some();
    let has_page = accounts || has_provider || visit.state().has_login_methods;
    let action = visit.path(&["sign-in"]);
    html! {
        section id="sign-in" aria-labelledby="sign-in-title" {
            h2 id="sign-in-title" { "Sign in" }
            p { "Without signing in, you see only public services." }
            div class="columns" {
                @if accounts {
                    form class="card" method="post" action=(action) {
                        h3 { "With your account" }
                        (proof_field(visit))
                        label for="email" { "E-mail" }
                        input id="email" name="email" type="email" autocomplete="username" required;
                        label for="password" { "Password" }
                        input id="password" name="password" type="password"
                            autocomplete="current-password" required;
                        button type="submit" { "Sign in" }
                    }
                }
                form class="card" method="post" action=(action) {
                    h3 { "With a token" }
                    (proof_field(visit))
                    label for="token" { "Token" }
                    input id="token" name="token" type="password" autocomplete="off" required;
                    button type="submit" { "Use this token" }
                }
                @if has_page {
                    form class="card" method="post" action=(visit.path(&["login"])) {
                        h3 { "With the login page" }
                        (proof_field(visit))
                        p { "For accounts of an identity provider or of your organization." }
                        button type="submit" { "Open the login page" }
                    }
                }
            }
        }
    }
}

/// Responds to a request whose sender cannot be identified, and ends the session.
pub(super) fn refused(state: &State, session: &Session, problem: Problem) -> Response {
    let (status, text) = problem.into_parts();
    let ends = session.has_token && status == StatusCode::UNAUTHORIZED;
    let content = html! {
        (layout::failure(&text))
        p {
            a href=(path(state, &[])) {
                @if ends { "Sign in again" } @else { "Try again" }
            }
        }
    };
    let mut response = respond(state, status, layout::bare_page(state, "Error", &content));
    if ends {
        session::set_cookie(state, &mut response, TOKEN_COOKIE, "");
    }
    response
}

/// Signs the user in with the token or the account in the form.
pub(super) async fn sign_in(visit: Visit, body: Body) -> Response {
    match token_of(&visit, body).await {
        Ok(token) => {
            let mut response = visit.go_to(&[]);
            session::set_cookie(visit.state(), &mut response, TOKEN_COOKIE, &token);
            response
        }
        Err(problem) => {
            let (status, text) = problem.into_parts();
            let content = html! {
                h1 { "You are not signed in" }
                p class="bad" role="alert" { (text) }
                (forms(&visit))
            };
            let page = layout::page(&visit, "Sign in", &content);
            respond(visit.state(), status, page)
        }
    }
}

/// Returns the token for the submitted form.
async fn token_of(visit: &Visit, body: Body) -> Result<String, Problem> {
    let fields = visit.form(body).await?;
    let token = match fields.given("token") {
        Some(token) => token,
        None => {
            let service = visit.own_service("public", LOGIN).await?;
            let (email, password) = (fields.text("email"), fields.text("password"));
            let call = service.call::<Value>("login", args!(email = email, password = password));
            let answer = call.await.map_err(refusal)?;
            let text = |name| answer.get(name).and_then(Value::as_str);
            match text("token") {
                Some(token) => token.to_owned(),
                None => {
                    let why = text("error").unwrap_or("The login service has sent no token");
                    return Err(problem(StatusCode::UNAUTHORIZED, why));
                }
            }
        }
    };
    checked(visit, &token).await?;
    Ok(token)
}

/// Checks that a token is valid, and that it fits into a cookie.
async fn checked(visit: &Visit, token: &str) -> Result<(), Problem> {
    let plain = token.bytes().all(|byte| byte.is_ascii_graphic());
    if !plain || token.contains([';', ',', '"', '\\']) || token.len() > TOKEN_MAX {
        let text = format!("A token has at most {TOKEN_MAX} plain characters");
        return Err(problem(StatusCode::BAD_REQUEST, text));
    }
    let user = crate::session::user_of(visit.state(), token).await;
    user.map_err(|refusal| {
        let (status, text) = Problem::from(refusal).into_parts();
        if status != StatusCode::UNAUTHORIZED {
            return problem(status, text);
        }
        let text = format!(
            "The server does not accept this token. It may be incomplete, expired, revoked, or of \
             another server. ({text})"
        );
        problem(status, text)
    })?;
    Ok(())
}

/// Signs the user out. The token stays valid until it expires or is revoked.
pub(super) async fn sign_out(visit: Visit, body: Body) -> Response {
    if let Err(problem) = visit.form(body).await {
        return visit.show("Sign out", Err(problem));
    }
    let mut response = visit.go_to(&[]);
    session::set_cookie(visit.state(), &mut response, TOKEN_COOKIE, "");
    response
}

/// Starts a login on the server's login page, which may be a page of an identity provider.
pub(super) async fn start_login(visit: Visit, body: Body) -> Response {
    let content = async {
        visit.form(body).await?;
        let service = visit.own_service("public", LOGIN).await?;
        let started = service.call::<Value>("start", args!()).await;
        let started = started.map_err(refusal)?;
        let text = |name| started.get(name).and_then(Value::as_str);
        let (Some(url), Some(key)) = (text("login_url"), text("key")) else {
            let why = "The login service has sent no URL";
            return Err(problem(StatusCode::BAD_GATEWAY, why));
        };
        // The URL is checked, because an embedding program may have replaced the login service.
        if !url.starts_with("http://") && !url.starts_with("https://") {
            let why = "The login service has sent an invalid URL";
            return Err(problem(StatusCode::BAD_GATEWAY, why));
        }
        Ok(html! {
            h1 { "Sign in with the login page" }
            p {
                a class="button" href=(url) target="_blank" rel="noopener noreferrer" {
                    "Open the login page"
                }
            }
            form method="post" action=(visit.path(&["login", "check"])) data-login="" {
                (proof_field(&visit))
                input type="hidden" name="key" value=(key);
                p role="status" { "Log in there. This page continues by itself." }
                button type="submit" { "I have logged in" }
            }
        })
    };
    let content = content.await;
    visit.show("Sign in", content)
}

/// Signs the user in if the login has been completed. Scripts receive JSON.
pub(super) async fn check_login(visit: Visit, body: Body) -> Response {
    let received = async {
        let fields = visit.form(body).await?;
        let service = visit.own_service("public", LOGIN).await?;
        let args = args!(key = fields.text("key"), timeout = 0.0);
        let answer = service.call::<Value>("check", args).await;
        let answer = answer.map_err(refusal)?;
        let Some(token) = answer.as_str() else {
            return Ok((fields, None));
        };
        checked(&visit, token).await?;
        Ok::<_, Problem>((fields, Some(token.to_owned())))
    };
    match received.await {
        Err(problem) => visit.show("Sign in", Err(problem)),
        Ok((fields, token)) => {
            let mut response = match (&token, fields.text("script")) {
                (_, "1") => axum::Json(json!({"done": token.is_some()})).into_response(),
                (Some(_), _) => visit.go_to(&[]),
                (None, _) => {
                    let why = "The login is not complete yet. Go back, log in, and try again";
                    visit.show("Sign in", Err(problem(StatusCode::CONFLICT, why)))
                }
            };
            if let Some(token) = token {
                session::set_cookie(visit.state(), &mut response, TOKEN_COOKIE, &token);
            }
            response
        }
    }
}
