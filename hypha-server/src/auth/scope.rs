//! Parses and writes the claim `scope` of a token. The claim consists of words separated by blanks.
//!
//! `ws:<workspace>#<permission>` grants a permission in a workspace. `cid:<client>` binds the token
//! to a client, and `wid:<workspace>` binds the token to a workspace. All other words remain
//! unchanged.

use hypha_rpc::workspace::{Permission, Scope};

/// Parses the claim. Returns `None` if a `ws:` word has no permission or an unknown permission.
/// Ignoring such a word could grant permissions that the issuer did not intend.
pub(super) fn parse(text: &str) -> Option<Scope> {
    let mut scope = Scope {
        extra_scopes: Some(Vec::new()),
        ..Scope::default()
    };
    for word in text.split_whitespace() {
        if let Some(grant) = word.strip_prefix("ws:") {
            // Split at the first `#`, because the name of a workspace must not contain `#`.
            let (workspace, letters) = grant.split_once('#')?;
            scope
                .workspaces
                .insert(workspace.to_owned(), Permission::parse(letters)?);
        } else if let Some(client) = word.strip_prefix("cid:") {
            scope.client_id = Some(client.to_owned());
        } else if let Some(workspace) = word.strip_prefix("wid:") {
            scope.current_workspace = Some(workspace.to_owned());
        } else {
            scope
                .extra_scopes
                .get_or_insert_default()
                .push(word.to_owned());
        }
    }
    Some(scope)
}

/// Writes the claim for a scope. This function is the inverse of [`parse`].
pub(super) fn format(scope: &Scope) -> String {
    let mut words: Vec<String> = scope
        .workspaces
        .iter()
        .map(|(workspace, permission)| format!("ws:{workspace}#{}", permission.as_str()))
        .collect();
    words.extend(scope.client_id.iter().map(|client| format!("cid:{client}")));
    words.extend(
        scope
            .current_workspace
            .iter()
            .map(|workspace| format!("wid:{workspace}")),
    );
    words.extend(scope.extra_scopes.iter().flatten().cloned());
    words.join(" ")
}

/// Returns the words of a scope that restrict the token to a special purpose, such as
/// `file:download`. Returns `None` if there are no such words. The server must not accept a token
/// with such a word for a connection. Words without a colon, such as `openid`, come from identity
/// providers and have no meaning for this server.
pub(crate) fn is_specialised(scope: &Scope) -> Option<Vec<&str>> {
    let words: Vec<&str> = scope
        .extra_scopes
        .iter()
        .flatten()
        .map(String::as_str)
        .filter(|word| word.contains(':'))
        .collect();
    (!words.is_empty()).then_some(words)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_of_word_is_kept() {
        let text = "ws:lab#rw ws:other#r cid:c1 wid:lab openid file:download";
        let scope = parse(text).unwrap();
        assert_eq!(scope.workspaces["lab"], Permission::ReadWrite);
        assert_eq!(scope.client_id.as_deref(), Some("c1"));
        assert_eq!(scope.current_workspace.as_deref(), Some("lab"));
        assert_eq!(is_specialised(&scope), Some(vec!["file:download"]));
        assert_eq!(format(&scope), text);
        assert_eq!(is_specialised(&parse("openid profile").unwrap()), None);
    }

    #[test]
    fn an_unknown_permission_invalidates_the_scope() {
        assert!(parse("ws:lab#everything").is_none());
        assert!(parse("ws:lab").is_none());
    }
}
