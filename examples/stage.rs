//! Provides a stage that one user may move. The chapter on accounts shows this program.
//!
//! `HYPHA_SERVER_URL=.. HYPHA_TOKEN=.. cargo run -p hypha-rpc-examples --example stage -- USER_ID`

use std::sync::Mutex;

use hypha_rpc::prelude::*;
use hypha_rpc::service::IntoService;

/// A motorized stage.
struct Stage {
    /// Id of the user who may move the stage.
    operator: String,
    position: Mutex<f64>,
}

#[derive(Debug, thiserror::Error, Serialize, Deserialize, RemoteError)]
enum StageError {
    #[error("{0} may not move the stage")]
    #[remote_error(class = "PermissionError")]
    NotYours(String),
}

#[hypha_service(id = "stage")]
impl Stage {
    /// Moves the stage, and returns its new position in millimetres.
    pub async fn move_by(&self, ctx: &Context, distance: f64) -> Result<f64, StageError> {
        // A token that the operator has created has the operator as its parent.
        let user = ctx.user();
        let user = user.parent.as_ref().unwrap_or(&user.id);
        if *user != self.operator {
            return Err(StageError::NotYours(user.clone()));
        }
        let mut position = self
            .position
            .lock()
            .unwrap_or_else(|held| held.into_inner());
        *position += distance;
        Ok(*position)
    }

    /// Returns the position in millimetres.
    pub async fn position(&self) -> f64 {
        *self
            .position
            .lock()
            .unwrap_or_else(|held| held.into_inner())
    }
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    tracing_subscriber::fmt()
        .with_writer(std::io::stderr)
        .init();
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [operator, viewers @ ..] = arguments.as_slice() else {
        anyhow::bail!("the ids of the operator, and of users who may look, are missing");
    };
    // Only a user can enter the user's own workspace. So the service grants access to these
    // workspaces.
    let workspaces = [operator].into_iter().chain(viewers);
    let workspaces = workspaces.map(|user| format!("ws-user-{user}"));
    let stage = Stage {
        operator: operator.clone(),
        position: Mutex::new(0.0),
    };
    let service = stage
        .into_service()
        .visibility(Visibility::Protected)
        .authorized_workspaces(workspaces);
    let hypha = hypha_rpc::client::ConnectOptions::from_env()?.await?;
    let registered = hypha.register_service(service).await?;
    println!("{}", registered.id);
    hypha.run_until_ctrl_c().await?;
    Ok(())
}
