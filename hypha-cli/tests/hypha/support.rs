//! Starts a server with a sample service, and runs the program `hypha`.

use std::path::PathBuf;
use std::process::{Output, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use hypha_rpc::prelude::*;
use hypha_server::Server;
use tokio::io::AsyncWriteExt as _;
use tokio::process::Command;

/// Maximum duration of one run of the program.
const LIMIT: Duration = Duration::from_secs(60);

/// The root token of the server.
pub(crate) const ROOT_TOKEN: &str = "c4b1f09a7d3e62858f1d0b6ac79e3542";

/// An error of the sample service.
#[derive(Debug, thiserror::Error, Serialize, Deserialize, RemoteError)]
pub(crate) enum DeskError {
    #[error("division by zero")]
    DivisionByZero,
}

/// The name of a person.
#[derive(Serialize, Deserialize, JsonSchema)]
pub(crate) struct Name(String);

pub(crate) struct Desk;

/// Arithmetic for demonstrations.
#[hypha_service(id = "desk", visibility = "public")]
impl Desk {
    /// Divide one number by another.
    pub(crate) async fn divide(
        &self,
        /// The number to divide.
        a: f64,
        #[hypha(default = 1.0)] b: f64,
    ) -> Result<f64, DeskError> {
        if b == 0.0 {
            return Err(DeskError::DivisionByZero);
        }
        Ok(a / b)
    }

    /// Count, and report each number.
    pub(crate) async fn count(&self, on_number: Callback<u32>) {
        for number in 1..=3 {
            let _ = on_number.call(number).await;
        }
    }

    /// Greet somebody.
    pub(crate) async fn greet(&self, name: String) -> String {
        format!("Hello {name}")
    }

    /// Return the number of bytes.
    pub(crate) async fn weigh(&self, raw: Binary) -> u64 {
        raw.len() as u64
    }

    /// Return the length of a name, and of its short form.
    pub(crate) async fn measure(
        &self,
        name: Name,
        shorten: Option<Callback<String, String>>,
    ) -> anyhow::Result<Vec<u64>> {
        let Name(name) = name;
        let mut lengths = vec![name.len() as u64];
        if let Some(shorten) = shorten {
            lengths.push(shorten.call(name).await?.len() as u64);
        }
        Ok(lengths)
    }

    /// Return the arguments.
    pub(crate) async fn since(
        &self,
        time: hypha_rpc::Timestamp,
        factor: f64,
    ) -> (hypha_rpc::Timestamp, f64) {
        (time, factor)
    }

    /// Return the argument.
    pub(crate) async fn echo(&self, value: Value) -> Value {
        value
    }

    /// Double an image.
    pub(crate) async fn brighten(&self, image: NdArray) -> anyhow::Result<NdArray> {
        Ok(image.map_f64(|pixel| 2.0 * pixel)?)
    }

    /// Count upwards.
    pub(crate) async fn numbers(&self, to: u32) -> impl Stream<Item = u32> + Send + use<> {
        futures_util::stream::iter(0..to)
    }

    /// Never end.
    pub(crate) async fn wait(&self) {
        std::future::pending::<()>().await;
    }

    /// Return the length of a file.
    pub(crate) async fn length(&self, mut file: RemoteFile) -> anyhow::Result<u64> {
        let mut content = Vec::new();
        tokio::io::AsyncReadExt::read_to_end(&mut file, &mut content).await?;
        Ok(content.len() as u64)
    }

    /// Return a file.
    pub(crate) async fn report(&self) -> RemoteFile {
        RemoteFile::from_bytes("a report\n").named("report.txt")
    }
}

/// A server, and a client that offers the service `id`.
pub(crate) struct Host {
    pub(crate) server: Server,
    pub(crate) client: Client,
    pub(crate) id: String,
    /// Folder that contains the contexts of the program and other files.
    pub(crate) folder: Folder,
}

impl Host {
    pub(crate) async fn start() -> anyhow::Result<Host> {
        let server = Server::builder().bind("127.0.0.1:0").root_token(ROOT_TOKEN);
        let server = server.start().await?;
        let client = hypha_rpc::connect(server.url()).await?;
        let id = client.register_service(Desk).await?.id;
        Ok(Host {
            server,
            client,
            id,
            folder: Folder::new()?,
        })
    }

    /// Returns a command that runs the program with this server and without contexts.
    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        let mut command = command(arguments);
        command.env("HYPHA_SERVER_URL", self.server.url());
        command.env("HYPHA_CONFIG", self.folder.path("config.json"));
        command
    }

    pub(crate) async fn run(&self, arguments: &[&str]) -> anyhow::Result<Output> {
        output(self.command(arguments), b"").await
    }

    /// Runs the program and returns its standard output. Fails if the program fails.
    pub(crate) async fn stdout(&self, arguments: &[&str]) -> anyhow::Result<String> {
        let output = self.run(arguments).await?;
        anyhow::ensure!(output.status.success(), "{arguments:?}: {output:?}");
        Ok(String::from_utf8(output.stdout)?)
    }

    /// Runs the program, which must fail with this exit code. Returns the error text.
    pub(crate) async fn failure(&self, arguments: &[&str], code: i32) -> anyhow::Result<String> {
        error(&self.run(arguments).await?, code)
    }

    /// Returns a target for `hypha call`.
    pub(crate) fn target(&self, method: &str) -> String {
        format!("{}.{method}", self.id)
    }

    pub(crate) async fn stop(self) {
        self.client.disconnect().await;
        self.server.shutdown().await;
    }
}

/// Returns a command that runs the program. Removes the environment variables that set options.
pub(crate) fn command(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_hypha"));
    for variable in ["SERVER_URL", "TOKEN", "WORKSPACE", "CONTEXT"] {
        command.env_remove(format!("HYPHA_{variable}"));
    }
    // Hide the contexts of the user who runs the tests.
    command
        .env("HYPHA_CONFIG", "/nowhere/hypha.json")
        .args(arguments);
    command.kill_on_drop(true);
    command
}

/// Runs a command, and passes this text to its standard input.
pub(crate) async fn output(mut command: Command, input: &[u8]) -> anyhow::Result<Output> {
    command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let mut child = command.spawn()?;
    if let Some(mut stdin) = child.stdin.take() {
        // Ignore the error, because a program that reads no input may have ended already.
        let _ = stdin.write_all(input).await;
    }
    Ok(tokio::time::timeout(LIMIT, child.wait_with_output()).await??)
}

/// Sends the program the signal that Ctrl-C sends.
#[cfg(unix)]
pub(crate) async fn interrupt(child: &tokio::process::Child) -> anyhow::Result<()> {
    let pid = child.id().unwrap_or_default().to_string();
    let sent = Command::new("kill").args(["-INT", &pid]).status().await?;
    anyhow::ensure!(sent.success(), "no signal was sent");
    Ok(())
}

/// Returns the text on the standard error. Checks that the exit code matches and that the standard
/// output is empty.
pub(crate) fn error(output: &Output, code: i32) -> anyhow::Result<String> {
    anyhow::ensure!(output.status.code() == Some(code), "not {code}: {output:?}");
    anyhow::ensure!(output.stdout.is_empty(), "{output:?}");
    Ok(String::from_utf8(output.stderr.clone())?)
}

/// A folder that is deleted with its content when dropped.
pub(crate) struct Folder(PathBuf);

impl Folder {
    pub(crate) fn new() -> std::io::Result<Folder> {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let name = format!("hypha-cli-{}-{number}", std::process::id());
        let path = std::env::temp_dir().join(name);
        std::fs::create_dir_all(&path)?;
        Ok(Folder(path))
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    /// Returns the path as text, for arguments.
    pub(crate) fn name(&self, name: &str) -> String {
        self.path(name).display().to_string()
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}
