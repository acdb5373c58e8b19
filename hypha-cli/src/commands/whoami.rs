//! `hypha whoami`: shows the user and the workspace of the connection.

use anyhow::Result;
use clap::Args;
use hypha_rpc::workspace::UserInfo;
use serde_json::json;

use crate::connection::ConnectionOptions;
use crate::output::{self, Style, paint};

/// Show the user, the workspace and the server
#[derive(Args)]
#[command(after_long_help = "\
Examples:
  hypha whoami
  hypha whoami --json --context lab")]
pub(crate) struct Options {
    #[command(flatten)]
    connection: ConnectionOptions,
    /// Print as JSON
    #[arg(long)]
    json: bool,
}

pub(crate) async fn run(options: Options) -> Result<()> {
    let connection = options.connection.resolve()?;
    let client = connection.options().silent(true).await?;
    let (user, workspace) = (client.user(), client.workspace());
    client.disconnect().await;
    if options.json {
        return output::json(&json!({
            "server_url": connection.server_url,
            "context": connection.context,
            "workspace": workspace,
            "user": user,
        }));
    }
    let context = connection.context.unwrap_or_else(|| "none".to_owned());
    let mut fields = vec![
        ("Server", connection.server_url),
        ("Context", context),
        ("Workspace", workspace),
    ];
    fields.extend(about(&user));
    output::write(&text(&fields), None)
}

/// Returns the fields of a user that have a value.
pub(crate) fn about(user: &UserInfo) -> Vec<(&'static str, String)> {
    let mut fields = vec![("User", user.id.clone())];
    if let Some(email) = &user.email {
        fields.push(("Email", email.clone()));
    }
    if !user.roles.is_empty() {
        fields.push(("Roles", user.roles.join(", ")));
    }
    let granted = user.scope.as_ref().map(|scope| &scope.workspaces);
    let granted: Vec<String> = granted
        .into_iter()
        .flatten()
        .map(|(workspace, permission)| format!("{workspace} ({})", permission.as_str()))
        .collect();
    if !granted.is_empty() {
        fields.push(("Permissions", granted.join(", ")));
    }
    if let Some(left) = user.expires_at.and_then(left) {
        fields.push(("Expires", left));
    }
    fields
}

/// Returns the time that remains until `at`. `at` is in seconds since 1970.
fn left(at: f64) -> Option<String> {
    let now = std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .ok()?;
    let left = at - now.as_secs_f64();
    Some(match left {
        left if left <= 0.0 => "expired".to_owned(),
        left if left < 120.0 => format!("in {left:.0} s"),
        left if left < 7200.0 => format!("in {:.0} min", left / 60.0),
        left if left < 172_800.0 => format!("in {:.0} h", left / 3600.0),
        left => format!("in {:.0} d", left / 86_400.0),
    })
}

/// Formats each field as one line, and aligns the values of all fields.
pub(crate) fn text(fields: &[(&str, String)]) -> String {
    let width = fields
        .iter()
        .map(|(name, _)| name.len() + 1)
        .max()
        .unwrap_or_default();
    let mut text = String::new();
    for (name, value) in fields {
        let name = format!("{:<width$}", format!("{name}:"));
        text += &format!("{} {}\n", paint(Style::Bold, &name), output::line(value));
    }
    text
}
