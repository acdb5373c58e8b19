//! Performs the handshake over a WebSocket. The first frame contains the credentials, the client id
//! and the workspace of the client.

use hypha_rpc::workspace::UserInfo;
use serde_json::Value;

use super::admission::{
    Admitted, Applicant, connect, reconnection, unauthenticated, user_of, workspace_of,
};
use super::{Refusal, RefusalKind, Sessions};
use crate::auth::{self, Authenticated};
use crate::state::State;

/// The first frame of a client. An optional field that is missing, null or empty is `None`.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Hello {
    /// Empty if the field is missing. The admission later refuses an empty id with the error for an
    /// invalid id.
    client_id: String,
    /// Requested workspace. Default: the workspace of the token, or the user's own workspace.
    workspace: Option<String>,
    token: Option<String>,
    /// If both tokens are given, the server uses this token instead of `token`.
    reconnection_token: Option<String>,
}

impl Hello {
    /// Parses the first frame. Ignores unknown fields.
    ///
    /// # Errors
    ///
    /// Refuses the client as [`RefusalKind::Undecodable`] if the frame is not a JSON object, or if
    /// a known field is not a string.
    pub(super) fn parse(text: &str) -> Result<Hello, Refusal> {
        let Ok(Value::Object(fields)) = serde_json::from_str(text) else {
            return Err(Hello::undecodable());
        };
        // An empty token would be refused as invalid, so an empty string counts as missing.
        let text = |name: &str| match fields.get(name) {
            None | Some(Value::Null) => Ok(None),
            Some(Value::String(text)) => Ok(Some(text.clone()).filter(|text| !text.is_empty())),
            Some(_) => Err(Hello::undecodable()),
        };
        Ok(Hello {
            client_id: text("client_id")?.unwrap_or_default(),
            workspace: text("workspace")?,
            token: text("token")?,
            reconnection_token: text("reconnection_token")?,
        })
    }

    /// Returns the refusal for a first frame that cannot be decoded.
    pub(super) fn undecodable() -> Refusal {
        Refusal::new(
            RefusalKind::Undecodable,
            "Failed to decode authentication information",
        )
    }
}

/// Admits the client that has sent `hello` from the IP address `address`.
///
/// # Errors
///
/// Returns the refusal of the step that failed; see `admission`.
pub(super) async fn admit(
    sessions: &Sessions,
    hello: Hello,
    address: &str,
) -> Result<Admitted, Refusal> {
    let state = &sessions.state;
    let permit = sessions.admission.enter().await?;
    let (user, workspace) = authenticate(state, &hello).await?;
    let mut applicant = Applicant {
        workspace: choose_workspace(&user, workspace),
        user,
        client_id: &hello.client_id,
        address,
        reconnecting: hello.reconnection_token.is_some(),
    };
    let info = workspace_of(state, &mut applicant).await?;
    connect(sessions, applicant, info, permit).await
}

/// Returns the user of the credentials, and the requested workspace. If the client has requested no
/// workspace, this is the workspace to which its token is bound.
async fn authenticate(
    state: &State,
    hello: &Hello,
) -> Result<(Authenticated, Option<String>), Refusal> {
    if let Some(token) = &hello.reconnection_token {
        let named = hello.workspace.as_deref();
        let (user, workspace) = reconnection(state, token, &hello.client_id, named).await?;
        return Ok((user, Some(workspace)));
    }
    let Some(token) = &hello.token else {
        return Ok((auth::anonymous_user().into(), hello.workspace.clone()));
    };
    let user = user_of(state, token).await?;
    let scope = user.scope.clone().unwrap_or_default();
    if let Some(bound) = scope.client_id.filter(|bound| *bound != hello.client_id) {
        return Err(unauthenticated(format_args!(
            "Client id mismatch: this token is restricted to client with client_id='{bound}'"
        )));
    }
    match (scope.current_workspace, &hello.workspace) {
        (Some(bound), Some(named)) if bound != *named => Err(unauthenticated(format_args!(
            "Current workspace encoded in the token ({bound}) does not match the specified \
             workspace ({named})"
        ))),
        (bound, named) => {
            let workspace = named.clone().or(bound);
            Ok((user, workspace))
        }
    }
}

/// Returns the workspace that the user enters: `named`, or the user's own workspace.
///
/// The workspace `public` contains the services of the server, so only a user whose token is bound
/// to `public` enters it. Other users that request `public` enter the workspace of their token, or
/// their own workspace.
fn choose_workspace(user: &UserInfo, named: Option<String>) -> String {
    let bound = user
        .scope
        .as_ref()
        .and_then(|scope| scope.current_workspace.as_deref());
    match named {
        Some(named) if named == "public" && !user.is_anonymous && bound != Some("public") => {
            bound.map_or_else(|| user.own_workspace(), str::to_owned)
        }
        Some(named) => named,
        None => user.own_workspace(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_frame_is_an_object_of_strings() {
        let hello = Hello::parse(r#"{"client_id":"c","workspace":null,"token":"","x":1}"#).unwrap();
        assert_eq!(
            hello,
            Hello {
                client_id: "c".into(),
                ..Hello::default()
            }
        );
        for text in ["", "[]", "null", "\"c\"", r#"{"client_id":1}"#] {
            assert_eq!(
                Hello::parse(text).unwrap_err().kind,
                RefusalKind::Undecodable,
                "{text}"
            );
        }
    }
}
