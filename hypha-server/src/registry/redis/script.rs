//! Lua scripts, which Redis runs as one step.

use std::sync::OnceLock;

use ::redis::aio::ConnectionManager;
use ::redis::{Cmd, ErrorKind, FromRedisValue, RedisResult, ServerErrorKind, cmd};

/// A script that is sent once and then called by its hash.
pub(super) struct Script {
    code: String,
    hash: OnceLock<String>,
}

impl Script {
    /// Creates a script from pieces of code.
    pub(super) fn new(pieces: &[&str]) -> Script {
        Script {
            code: pieces.concat(),
            hash: OnceLock::new(),
        }
    }

    /// Calls the script. The keys are those it writes whose names it does not derive itself.
    pub(super) async fn call<T: FromRedisValue>(
        &self,
        connection: &mut ConnectionManager,
        keys: &[String],
        arguments: &[String],
    ) -> RedisResult<T> {
        let asked = |name: &str, script: &str| -> Cmd {
            let mut asked = cmd(name);
            asked.arg(script).arg(keys.len()).arg(keys).arg(arguments);
            asked
        };
        let hash = match self.hash.get() {
            Some(hash) => hash,
            None => {
                let mut load = cmd("SCRIPT");
                let hash = load.arg("LOAD").arg(&self.code);
                let hash = hash.query_async(connection).await?;
                self.hash.get_or_init(|| hash)
            }
        };
        let answer = asked("EVALSHA", hash).query_async(connection).await;
        match answer {
            // Redis forgets its scripts when it restarts.
            Err(error) if error.kind() == ErrorKind::Server(ServerErrorKind::NoScript) => {
                asked("EVAL", &self.code).query_async(connection).await
            }
            answer => answer,
        }
    }
}
