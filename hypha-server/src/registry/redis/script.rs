//! Calls Lua scripts, which Redis runs atomically.

use std::sync::OnceLock;

use ::redis::aio::ConnectionManager;
use ::redis::{Cmd, ErrorKind, FromRedisValue, RedisResult, ServerErrorKind, cmd};

/// A Lua script. The script is sent to Redis once, and then called by its hash. Redis computes the
/// hash, whereas the script type of the client library would need a SHA-1 library.
pub(super) struct Script {
    code: String,
    hash: OnceLock<String>,
}

impl Script {
    /// Creates a script from pieces of code. Sends no command to Redis.
    pub(super) fn new(pieces: &[&str]) -> Script {
        Script {
            code: pieces.concat(),
            hash: OnceLock::new(),
        }
    }

    /// Calls the script. Sends the script first if Redis does not have it. `keys` are the keys that
    /// the script cannot derive from its arguments.
    ///
    /// # Errors
    ///
    /// Fails if Redis does not respond, if the script fails, or if the result cannot be converted
    /// to `T`.
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
            // Redis forgets its scripts when it restarts. `EVAL` runs this script and makes Redis
            // store it.
            Err(error) if error.kind() == ErrorKind::Server(ServerErrorKind::NoScript) => {
                asked("EVAL", &self.code).query_async(connection).await
            }
            answer => answer,
        }
    }
}
