//! Starts the Python server and `hypha-server` for the whole-system tests.

use std::collections::hash_map::RandomState;
use std::hash::{BuildHasher, Hasher};
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream, UdpSocket};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};
use std::{fmt, fs, thread};

use anyhow::{Context, Result, bail, ensure};

use crate::executables::executable;
use crate::peers;
use crate::process::Process;

/// Maximum time until a server has started. The Python server takes about ten seconds.
const START_LIMIT: Duration = Duration::from_secs(120);
/// Interval at which to check a server that is starting.
const POLL: Duration = Duration::from_millis(100);
/// Maximum number of attempts to start a server. An attempt fails if another program takes the free
/// port before the server binds it.
const START_ATTEMPTS: usize = 3;

/// Environment variable that names a folder. The folder describes the servers that all test
/// programs share.
pub const SERVERS_VARIABLE: &str = "HYPHA_TEST_SERVERS";

/// Token of the user `root` of every server.
pub const ROOT_TOKEN: &str = "c4b1f09a7d3e62858f1d0b6ac79e3542";

/// Secret with which servers sign tokens, unless [`Setup::secret`] is set.
pub const JWT_SECRET: &str = "a secret that all servers of the tests share";

/// Kind of server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// The original server, in Python.
    Python,
    /// `hypha-server`.
    Ours,
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Kind::Python => "the Python server",
            Kind::Ours => "hypha-server",
        })
    }
}

/// A running server.
#[derive(Debug)]
pub struct Server {
    /// Kind of the server.
    pub kind: Kind,
    /// URL, `http://127.0.0.1:<port>`.
    pub url: String,
    /// Process of the server. `None` if another process started it.
    pub process: Option<Process>,
}

/// Options for starting a server.
#[derive(Clone, Debug, Default)]
pub struct Setup {
    /// Port. Default: any free port.
    pub port: Option<u16>,
    /// Secret for tokens. Default: [`JWT_SECRET`].
    pub secret: Option<String>,
    /// Path of `hypha-server`. Default: the program of this build.
    pub program: Option<PathBuf>,
    /// Additional command-line arguments. Default: none.
    pub arguments: Vec<String>,
    /// Whether the Python server starts its MCP and A2A gateways. `hypha-server` always has these
    /// gateways. Default: false.
    pub gateways: bool,
}

impl Setup {
    /// Returns a setup with a fixed free port. Several servers can be started at this address one
    /// after another.
    pub fn restartable() -> Result<Setup> {
        Ok(Setup {
            port: Some(free_port()?),
            ..Setup::default()
        })
    }

    /// Returns the setup of a server in a cluster. Each server of the cluster needs its own id.
    #[must_use]
    pub fn in_cluster(redis: &Redis, id: &str) -> Setup {
        let shared = ["--redis-uri", &redis.uri, "--server-id", id];
        // URL of the load balancer of the cluster. The tests do not use the load balancer.
        let public = ["--public-base-url", "http://hypha.example.org"];
        Setup {
            arguments: [shared.as_slice(), &public]
                .concat()
                .iter()
                .map(ToString::to_string)
                .collect(),
            ..Setup::default()
        }
    }
}

/// A running Redis without persistence.
#[derive(Debug)]
pub struct Redis {
    uri: String,
    _process: Process,
}

impl Redis {
    /// Checks that the program `redis-server` is installed.
    pub fn installed() -> Result<()> {
        let version = Command::new("redis-server").arg("--version").output();
        version.context("`redis-server` cannot be run").map(drop)
    }

    /// Starts a Redis on a free port, and waits until it is ready.
    pub fn start() -> Result<Redis> {
        let port = free_port()?;
        let mut command = Command::new("redis-server");
        command.args(["--port", &port.to_string(), "--bind", "127.0.0.1"]);
        command.args(["--save", "", "--appendonly", "no"]);
        let process = Process::start("Redis", &command)?;
        process.wait_for_line(START_LIMIT, |line| {
            line.contains("Ready to accept connections").then_some(())
        })?;
        Ok(Redis {
            uri: format!("redis://127.0.0.1:{port}/0"),
            _process: process,
        })
    }
}

impl Server {
    /// Starts a server, and waits until it is ready.
    pub fn start(kind: Kind) -> Result<Server> {
        Self::start_as(kind, &Setup::default())
    }

    /// Starts a server with these options, and waits until it is ready.
    pub fn start_as(kind: Kind, setup: &Setup) -> Result<Server> {
        let mut command = match kind {
            Kind::Python if setup.gateways => peers::python_program("original_with_gateways.py")?,
            Kind::Python => Command::new(peers::python()?),
            Kind::Ours => Command::new(match &setup.program {
                Some(program) => program.clone(),
                None => executable("hypha-server")?,
            }),
        };
        if kind == Kind::Python && !setup.gateways {
            // `-P` removes the working directory from Python's module path.
            command.args(["-u", "-B", "-P", "-m", "hypha.server"]);
        }
        command.args(["--host=127.0.0.1", "--root-token", ROOT_TOKEN]);
        command.args(&setup.arguments);
        // The tests send as fast as they can. This would exceed the default rate limits.
        for limit in ["WS_MSG_RATE", "WS_MSG_BURST", "HTTP_RATE", "HTTP_BURST"] {
            command.env(format!("HYPHA_{limit}_LIMIT"), "1000000");
        }
        // On a busy machine, an HTTP client may send nothing for a minute. The Python server pings
        // such a client, and may disconnect the client if it responds slowly.
        command.env("HYPHA_STREAM_IDLE_THRESHOLD", "600");
        command.env("JWT_SECRET", setup.secret.as_deref().unwrap_or(JWT_SECRET));
        if let Some(port) = setup.port {
            wait_until_free(port)?;
        }
        match kind {
            Kind::Python => Server::start_python(&command, setup.port),
            Kind::Ours => Server::start_ours(command, setup.port.unwrap_or(0)),
        }
    }

    fn start_python(command: &Command, port: Option<u16>) -> Result<Server> {
        let mut failure = None;
        for _ in 0..START_ATTEMPTS {
            let port = port.map_or_else(free_port, Ok)?;
            let mut at_port = Command::new(command.get_program());
            at_port
                .args(command.get_args())
                .arg(format!("--port={port}"));
            at_port.envs(command.get_envs().filter_map(|(k, v)| Some((k, v?))));
            let process = Process::start("the Python server", &at_port)?;
            let url = format!("http://127.0.0.1:{port}");
            match wait_until_ready(&process, &url) {
                Ok(()) => {
                    return Ok(Server {
                        kind: Kind::Python,
                        url,
                        process: Some(process),
                    });
                }
                Err(error) => failure = Some(error),
            }
        }
        Err(failure.context("no attempt was made")?)
    }

    fn start_ours(mut command: Command, port: u16) -> Result<Server> {
        command.arg(format!("--port={port}")).arg("--in-memory");
        let process = Process::start("hypha-server", &command)?;
        let url = process.wait_for_prefix(START_LIMIT, "READY ")?;
        wait_until_ready(&process, &url)?;
        Ok(Server {
            kind: Kind::Ours,
            url,
            process: Some(process),
        })
    }

    /// Returns the server that all tests share. If `cargo xtask test` has started a server, returns
    /// that server. Otherwise the first test starts a server in this process. Prints a message and
    /// returns `None` if the test must be skipped.
    ///
    /// Tests on this server do not affect each other, because each peer gets a separate anonymous
    /// workspace.
    ///
    /// # Panics
    ///
    /// Panics if the server does not start.
    pub fn shared(kind: Kind) -> Option<ServerInUse> {
        if let Some(folder) = std::env::var_os(SERVERS_VARIABLE) {
            match ServerInUse::published(kind, Path::new(&folder)) {
                Ok(server) => return Some(server),
                Err(error) => panic!("{kind} is not shared: {error:#}"),
            }
        }
        // Keep the mutex locked while a server starts, so that concurrent tests do not start
        // several servers.
        static PYTHON: Mutex<Option<&'static Server>> = Mutex::new(None);
        static OURS: Mutex<Option<&'static Server>> = Mutex::new(None);
        if kind == Kind::Python {
            peers::or_skip(peers::python())?;
        }
        let place = if kind == Kind::Python { &PYTHON } else { &OURS };
        let mut place = place.lock().unwrap_or_else(PoisonError::into_inner);
        let server = match *place {
            Some(server) => server,
            None => match Server::start(kind) {
                // Leak the server, because it must run as long as this process. When the process
                // ends, the pipe to the server is closed, and the server ends.
                Ok(server) => *place.insert(Box::leak(Box::new(server))),
                Err(error) => panic!("{kind} does not start: {error:#}"),
            },
        };
        let process = server.process.as_ref()?;
        Some(ServerInUse {
            server: Server {
                kind,
                url: server.url.clone(),
                process: None,
            },
            output: ServerOutput::Process(process, process.mark()),
        })
    }
}

/// A shared server in use by one test. If the test fails, the output that the server has written
/// since the start of the test is printed on drop.
#[derive(Debug)]
pub struct ServerInUse {
    server: Server,
    output: ServerOutput,
}

/// Output of a shared server, and the length of that output when the test started.
#[derive(Debug)]
enum ServerOutput {
    Process(&'static Process, usize),
    File(PathBuf, u64),
}

impl ServerInUse {
    /// Returns the server that another process has started and described in this folder.
    fn published(kind: Kind, folder: &Path) -> Result<ServerInUse> {
        let output = folder.join(format!("{kind:?}.output"));
        let mark = fs::metadata(&output)?.len();
        Ok(ServerInUse {
            server: Server {
                kind,
                url: fs::read_to_string(folder.join(format!("{kind:?}.url")))?,
                process: None,
            },
            output: ServerOutput::File(output, mark),
        })
    }
}

impl std::ops::Deref for ServerInUse {
    type Target = Server;

    fn deref(&self) -> &Server {
        &self.server
    }
}

impl Drop for ServerInUse {
    fn drop(&mut self) {
        if !thread::panicking() {
            return;
        }
        match &self.output {
            ServerOutput::Process(process, mark) => eprint!("{}", process.transcript(*mark)),
            ServerOutput::File(file, mark) => {
                let text = fs::read(file).unwrap_or_default();
                let mark = usize::try_from(*mark).unwrap_or_default().min(text.len());
                let text = String::from_utf8_lossy(&text[mark..]);
                eprint!("--- output of {} ---\n{text}---\n", self.server.kind);
            }
        }
    }
}

/// Starts a server and describes it in `folder`. A test program uses this server if
/// [`SERVERS_VARIABLE`] names the folder.
pub fn publish(kind: Kind, folder: &Path) -> Result<Server> {
    let server = Server::start(kind)?;
    if let Some(process) = &server.process {
        process.copy_output(&folder.join(format!("{kind:?}.output")))?;
    }
    fs::write(folder.join(format!("{kind:?}.url")), &server.url)?;
    Ok(server)
}

/// Returns a port that is free for TCP and UDP, below the range of ports for outgoing connections.
/// Otherwise an outgoing connection could take the port while the server is stopped.
pub fn free_port() -> Result<u16> {
    let random = || RandomState::new().build_hasher().finish();
    let free = |port: &u16| {
        let address = ("127.0.0.1", *port);
        TcpListener::bind(address).is_ok() && UdpSocket::bind(address).is_ok()
    };
    let ports = std::iter::repeat_with(|| 10_000 + (random() % 20_000) as u16);
    ports.take(100).find(free).context("no port is free")
}

/// Waits until the port is free. A killed server closes its socket only after some time.
fn wait_until_free(port: u16) -> Result<()> {
    let deadline = Instant::now() + START_LIMIT;
    while let Err(error) = TcpListener::bind(("127.0.0.1", port)) {
        if Instant::now() > deadline {
            return Err(error).with_context(|| format!("port {port} stays in use"));
        }
        thread::sleep(POLL);
    }
    Ok(())
}

fn wait_until_ready(process: &Process, url: &str) -> Result<()> {
    let deadline = Instant::now() + START_LIMIT;
    loop {
        let problem = match http_get(url, "/health/readiness") {
            Ok((200, _)) => return Ok(()),
            Ok((status, body)) => format!("status {status}: {body}"),
            Err(error) => format!("{error:#}"),
        };
        if let Some(status) = process.try_wait()? {
            bail!("the server has ended ({status})\n{}", process.transcript(0));
        }
        if Instant::now() > deadline {
            bail!(
                "the server does not get ready: {problem}\n{}",
                process.transcript(0)
            );
        }
        thread::sleep(POLL);
    }
}

/// Sends a GET request. Returns the status and the body.
pub fn http_get(url: &str, path: &str) -> Result<(u16, String)> {
    let answer = http_get_with(url, path, &[])?;
    Ok((answer.status, String::from_utf8(answer.body)?))
}

/// An HTTP response with a body that is not decoded.
#[derive(Debug)]
pub struct Answer {
    /// Status code.
    pub status: u16,
    head: String,
    /// Bytes after the head. They are still in the content encoding of the response.
    pub body: Vec<u8>,
}

impl Answer {
    /// Returns the value of the first header with this name.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        let mut fields = self.head.lines().filter_map(|line| line.split_once(": "));
        let found = fields.find(|(found, _)| found.eq_ignore_ascii_case(name));
        found.map(|(_, value)| value)
    }
}

/// Sends a GET request with headers.
pub fn http_get_with(url: &str, path: &str, headers: &[(&str, &str)]) -> Result<Answer> {
    let address = url.strip_prefix("http://").context("not an http URL")?;
    let mut stream = TcpStream::connect(address)?;
    stream.set_read_timeout(Some(Duration::from_secs(10)))?;
    let mut request = format!("GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n");
    for (name, value) in headers {
        request += &format!("{name}: {value}\r\n");
    }
    write!(stream, "{request}\r\n")?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer)?;
    let end = answer.windows(4).position(|bytes| bytes == b"\r\n\r\n");
    let body = answer.split_off(end.context("not an HTTP response")? + 4);
    let head = String::from_utf8(answer)?;
    ensure!(head.starts_with("HTTP/1."), "not an HTTP response");
    let status = head.split(' ').nth(1).context("no status")?.parse()?;
    Ok(Answer { status, head, body })
}
