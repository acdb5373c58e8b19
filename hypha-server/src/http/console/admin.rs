//! Shows the page for administrators: the servers, their connections, and the accounts.

use axum::response::Response;
use hypha_rpc::{Value, args};
use maud::{Markup, html};

use super::super::problem::Problem;
use super::{ADMINISTRATION, Visit, layout, refusal};

/// Shows the servers, their connections and the accounts. The services that return these lists
/// check the permission.
pub(super) async fn page(visit: Visit) -> Response {
    let content = content(&visit).await;
    visit.show("Administration", content)
}

async fn content(visit: &Visit) -> Result<Markup, Problem> {
    let id = &visit.state().info.server_id;
    let utilities = visit.own_service(ADMINISTRATION, "admin-utils").await?;
    let servers = utilities.call::<Vec<String>>("list_servers", args!());
    let servers = servers.await.map_err(refusal)?;
    let usage = utilities.call::<Value>("get_resource_usage", args!());
    let usage = usage.await.map_err(refusal)?;
    let has_accounts = cfg!(feature = "accounts") && visit.state().settings.accounts.enabled;
    let accounts = if has_accounts {
        let service = visit.own_service(ADMINISTRATION, "accounts").await?;
        let listed = service.call::<Vec<Value>>("list", args!()).await;
        Some(listed.map_err(refusal)?)
    } else {
        None
    };
    let methods = |name: &str| {
        let service = format!("{id}:{name}");
        visit.path(&["ws", ADMINISTRATION, "service", &service])
    };
    Ok(html! {
        h1 { "Administration" }
        h2 { "Servers" }
        ul {
            @for server in &servers {
                li { code { (server) } @if server == id { " (this one)" } }
            }
        }
        p {
            a href=(methods("admin-utils")) {
                "Disconnect clients, unload workspaces, block users and addresses"
            }
        }
        h2 { "Connections" }
        div class="columns" {
            (counts("User", usage.get("connections_per_user")))
            (counts("Workspace", usage.get("connections_per_workspace")))
        }
        @if let Some(accounts) = &accounts {
            h2 { "Accounts" }
            (table_of(accounts))
            p {
                a href=(methods("accounts")) {
                    "Create, verify, change and disable accounts"
                }
            }
        } @else {
            p { "Accounts with passwords are off (" code { "--enable-local-auth" } ")." }
        }
    })
}

/// Returns a table of numbers by name.
fn counts(title: &str, counts: Option<&Value>) -> Markup {
    html! {
        (layout::scrolling(title, &html! {
            table {
                thead { tr { th scope="col" { (title) } th scope="col" { "Connections" } } }
                tbody {
                    @if let Some(Value::Map(counts)) = counts {
                        @for (name, count) in counts {
                            tr {
                                th scope="row" { (name) }
                                td class="number" { (count.as_u64().unwrap_or_default()) }
                            }
                        }
                    }
                }
            }
        }))
    }
}

/// Returns the table of the accounts.
fn table_of(accounts: &[Value]) -> Markup {
    let text = |account: &Value, name: &str| match account.get(name) {
        Some(Value::String(text)) => text.clone(),
        Some(Value::List(texts)) => {
            let texts = texts.iter().filter_map(Value::as_str);
            texts.collect::<Vec<_>>().join(", ")
        }
        _ => String::new(),
    };
    let is = |account: &Value, name: &str| account.get(name).and_then(Value::as_bool);
    html! {
        (layout::scrolling("Accounts", &html! {
            table {
                thead {
                    tr {
                        @for title in ["E-mail", "Name", "Id", "Roles", "Status"] {
                            th scope="col" { (title) }
                        }
                    }
                }
                tbody {
                    @for account in accounts {
                        tr {
                            th scope="row" { (text(account, "email")) }
                            td { (text(account, "name")) }
                            td { code { (text(account, "id")) } }
                            td { (text(account, "roles")) }
                            td {
                                @if is(account, "disabled") == Some(true) {
                                    "disabled"
                                } @else if is(account, "email_verified") == Some(true) {
                                    "verified"
                                } @else {
                                    "not verified"
                                }
                            }
                        }
                    }
                }
            }
        }))
    }
}
