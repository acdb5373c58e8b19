//! Tests `hypha_rpc::login` and `logout` on both servers.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use hypha_rpc::client::LoginPage;
use hypha_rpc::{Error, Value, args};
use hypha_rpc_tests::cases::run;
use hypha_rpc_tests::servers::{Kind, ROOT_TOKEN, Server};

/// Acts like the login page after the user has logged in, and reports the token.
async fn report(url: String, page: LoginPage, token: String) -> Result<()> {
    let client = hypha_rpc::connect(url).await?;
    let login = client.get_service("public/hypha-login").await?;
    // Take the workspace from the URL, as the login page does.
    let (_, query) = page.login_url.split_once('?').unwrap_or_default();
    let workspace = query
        .split('&')
        .find_map(|part| part.strip_prefix("workspace="));
    let report = args!(key = &page.key, token = &token, workspace = workspace);
    let _: Value = login.call("report", report).await?;
    client.disconnect().await;
    Ok(())
}

async fn logging_in(server: &Server) -> Result<()> {
    let url = server.url.clone();
    let user = |token: &str| {
        let (url, token) = (url.clone(), token.to_owned());
        move |page: LoginPage| async move {
            assert!(page.login_url.starts_with("http"), "{}", page.login_url);
            assert!(page.login_url.contains(&page.key));
            let reported = report(url, page, token).await;
            assert!(reported.is_ok(), "{reported:?}");
        }
    };
    let client = hypha_rpc::connect(&url).await?;
    let token = client.manager().await?.generate_token(None).await?;
    let found = hypha_rpc::login(&url).on_url(user(&token)).await?;
    ensure!(found == token, "another token");
    let again = hypha_rpc::connect(&url).token(found).await?;
    ensure!(
        again.workspace() == client.workspace(),
        "{}",
        again.workspace()
    );
    again.disconnect().await;

    let profile = hypha_rpc::login(&url)
        .on_url(user(&token))
        .profile()
        .await?;
    ensure!(
        profile.token == token && profile.email.is_none(),
        "{profile:?}"
    );

    // Request a token for one workspace, with a lifetime.
    let root = hypha_rpc::connect(&url).token(ROOT_TOKEN).await?;
    let own = root.manager().await?.generate_token(None).await?;
    let profile = hypha_rpc::login(&url)
        .workspace(root.workspace())
        .expires_in(Duration::from_secs(600))
        .connection(|options| options.connect_timeout(Duration::from_secs(10)))
        .on_url(user(&own))
        .profile()
        .await;
    match profile {
        Ok(profile) => {
            ensure!(
                profile.workspace.as_deref() == Some(&*root.workspace()),
                "{profile:?}"
            );
            ensure!(profile.token != own, "the token was not exchanged");
        }
        // The Python server exchanges only tokens that belong to an owner.
        Err(error) => ensure!(error.to_string().contains("ermission"), "{error}"),
    }
    root.disconnect().await;
    client.disconnect().await;
    Ok(())
}

async fn login_times_out(server: &Server) -> Result<()> {
    let login = hypha_rpc::login(&server.url).timeout(Duration::from_millis(300));
    let error = login
        .on_url(|_| async {})
        .await
        .err()
        .context("a token without a user")?;
    ensure!(
        error
            .to_string()
            .contains("Login timeout, waited for 0.3 seconds"),
        "{error}"
    );
    let elsewhere = hypha_rpc::login(&server.url)
        .service("public/no-login")
        .on_url(|_| async {});
    let error = elsewhere.await.err().context("a token without a service")?;
    ensure!(matches!(error, Error::Rejected(_)), "{error:?}");
    Ok(())
}

async fn logging_out(server: &Server) -> Result<()> {
    let (shown, mut urls) = tokio::sync::mpsc::unbounded_channel();
    let url = hypha_rpc::logout(&server.url)
        .on_url(move |url| async move { shown.send(url).unwrap_or_default() })
        .await?;
    ensure!(url.starts_with("http"), "{url}");
    ensure!(
        urls.recv().await.as_ref() == Some(&url),
        "the callback got another URL"
    );
    Ok(())
}

macro_rules! at_both_servers {
    ($($name:ident: $case:ident at $kind:ident;)*) => {
        $(#[test]
        fn $name() {
            run(Kind::$kind, &[], $case);
        })*
    };
}

at_both_servers! {
    logging_in_at_the_python_server: logging_in at Python;
    logging_in_at_our_server: logging_in at Ours;
    login_times_out_at_the_python_server: login_times_out at Python;
    login_times_out_at_our_server: login_times_out at Ours;
    logging_out_at_the_python_server: logging_out at Python;
    logging_out_at_our_server: logging_out at Ours;
}
