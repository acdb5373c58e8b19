//! The frame of a page: head, navigation and footer.

use hypha_wire::is_direction;
use maud::{DOCTYPE, Markup, html};

use super::{Visit, path};
use crate::state::State;

/// Returns the hidden field of a form with the proof of the session.
pub(super) fn proof_field(visit: &Visit) -> Markup {
    html! { input type="hidden" name="csrf" value=(visit.session.proof); }
}

/// Returns the head of a page. `title` may come from a service.
fn head(state: &State, title: &str, proof: &str) -> Markup {
    html! {
        meta charset="utf-8";
        meta name="viewport" content="width=device-width, initial-scale=1";
        meta name="color-scheme" content="light dark";
        meta name="proof" content=(proof);
        title { (title) " · Hypha" }
        link rel="icon" href="data:,";
        link rel="stylesheet" href=(path(state, &["assets", "console.css"]));
        script type="module" src=(path(state, &["assets", "console.js"])) {}
    }
}

/// Returns a page with navigation.
pub(super) fn page(visit: &Visit, title: &str, content: &Markup) -> Markup {
    let user = &visit.visitor.user;
    html! {
        (DOCTYPE)
        html lang="en" {
            head { (head(visit.state(), title, &visit.session.proof)) }
            body {
                a class="skip" href="#content" { "Skip to the content" }
                header {
                    nav aria-label="Console" {
                        a class="brand" href=(visit.path(&[])) { "Hypha" }
                        a href=(visit.path(&[])) { "Workspaces" }
                        a href=(visit.path(&["server"])) { "Server" }
                        @if visit.is_administrator() {
                            a href=(visit.path(&["admin"])) { "Administration" }
                        }
                    }
                    @if visit.session.has_token {
                        form class="user" method="post" action=(visit.path(&["sign-out"])) {
                            (proof_field(visit))
                            span { (user.email.as_deref().unwrap_or(&user.id)) }
                            button type="submit" { "Sign out" }
                        }
                    } @else {
                        div class="user" {
                            span { "Anonymous" }
                            a href=(format!("{}#sign-in", visit.path(&[]))) { "Sign in" }
                        }
                    }
                }
                p id="connection" role="status" {}
                main id="content" tabindex="-1" { (content) }
                footer { "hypha-server " (env!("CARGO_PKG_VERSION")) }
            }
        }
    }
}

/// Returns a page without navigation, for a user that is not identified.
pub(super) fn bare_page(state: &State, title: &str, content: &Markup) -> Markup {
    html! {
        (DOCTYPE)
        html lang="en" {
            head { (head(state, title, "")) }
            body {
                main id="content" { (content) }
            }
        }
    }
}

/// Replaces control characters and marks of direction in the texts of a page by their escapes, such
/// as `\u{202e}`. Names and docs come from other users, who could make a name look like another.
///
/// Keeps the attributes and the content of text areas, which are the values that a form sends.
pub(super) fn visible(page: String) -> String {
    let is_unseen = |c: char| is_direction(c) || (c.is_control() && !matches!(c, '\n' | '\t'));
    if !page.contains(is_unseen) {
        return page;
    }
    let mut shown = String::with_capacity(page.len() + 64);
    let mut rest = page.as_str();
    while !rest.is_empty() {
        // The template escapes `<` and `>` in texts and attributes.
        let (text, tag) = rest.split_at(rest.find('<').unwrap_or(rest.len()));
        for c in text.chars() {
            match is_unseen(c) {
                true => shown.extend(c.escape_unicode()),
                false => shown.push(c),
            }
        }
        let end = match tag.starts_with("<textarea") {
            true => tag.find("</textarea>"),
            false => tag.find('>').map(|end| end + 1),
        };
        let (tag, after) = tag.split_at(end.unwrap_or(tag.len()));
        shown.push_str(tag);
        rest = after;
    }
    shown
}

/// Returns the content of a page that shows an error.
pub(super) fn failure(text: &str) -> Markup {
    html! {
        h1 { "This did not work" }
        p class="bad" role="alert" { (text) }
    }
}

/// Returns a page that opens `url`, the URL of a page of the console.
pub(super) fn redirection(url: &str) -> Markup {
    html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta http-equiv="refresh" content=(format!("0;url={url}"));
                title { "Hypha" }
            }
            body { a href=(url) { "Continue" } }
        }
    }
}

/// Returns the navigation within a workspace. `current` is the last part of the page's path.
pub(super) fn tabs(visit: &Visit, workspace: &str, current: &str) -> Markup {
    let tabs = [
        ("Services", ""),
        ("Clients", "clients"),
        ("Events", "events"),
        ("Tokens", "tokens"),
    ];
    html! {
        nav class="tabs" aria-label="Workspace" {
            @for (name, last) in tabs {
                @let parts = if last.is_empty() {
                    vec!["ws", workspace]
                } else {
                    vec!["ws", workspace, last]
                };
                a href=(visit.path(&parts)) aria-current=[(last == current).then_some("page")] {
                    (name)
                }
            }
        }
    }
}

/// Returns a table that scrolls if the screen is too narrow for it.
pub(super) fn scrolling(label: &str, table: &Markup) -> Markup {
    html! {
        div class="scroll" role="region" aria-label=(label) tabindex="0" { (table) }
    }
}

/// Returns a time in seconds since 1970 as a text in UTC, such as `2026-01-31 12:00:00`.
pub(super) fn time(seconds: f64) -> String {
    let since = std::time::Duration::try_from_secs_f64(seconds).unwrap_or_default();
    let at = std::time::UNIX_EPOCH.checked_add(since);
    let text = at.map_or_else(String::new, crate::event_log::iso);
    short(&text).to_owned()
}

/// Returns an ISO 8601 time without fractions of a second.
pub(super) fn short(text: &str) -> &str {
    text.split_once('.').map_or(text, |(whole, _)| whole)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_cannot_change_how_they_look() {
        let text = "a\u{202e}b\u{0}\n";
        let page = html! {
            p title=(text) { (text) }
            textarea { (text) }
            b { (text) }
        };
        let shown = "a\\u{202e}b\\u{0}\n";
        let expected =
            format!("<p title=\"{text}\">{shown}</p><textarea>{text}</textarea><b>{shown}</b>");
        assert_eq!(visible(page.into_string()), expected);
        assert_eq!(visible("größer שלום".into()), "größer שלום");
    }
}
