//! The requirements of each test program besides Rust.

use std::collections::BTreeSet;

/// Package of the whole-system tests.
pub(super) const WHOLE_SYSTEM: &str = "hypha-rpc-tests";

/// A requirement of a test program.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Need {
    /// The packages of `tests/interop/requirements.lock`.
    Python,
    /// The packages of `tests/interop/requirements-mcp.lock`.
    McpClients,
    /// The packages of `tests/interop/js/package-lock.json`.
    JavaScript,
    /// The program `chromium`.
    Chromium,
    /// The compilation target of WebAssembly.
    Browser,
    /// The program `redis-server`.
    Redis,
    /// The program `turnserver`.
    TurnServer,
    /// The Python server and `hypha-server`, shared by all tests of a run.
    Servers,
    /// A program of this workspace.
    Program(Program),
}

/// A program of this workspace that tests start.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Program {
    pub(super) kind: ProgramKind,
    pub(super) name: &'static str,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum ProgramKind {
    Binary,
    Example,
}

impl ProgramKind {
    /// Returns the cargo option that builds a program of this kind.
    pub(super) fn option(self) -> &'static str {
        match self {
            ProgramKind::Binary => "--bin",
            ProgramKind::Example => "--example",
        }
    }
}

const fn binary(name: &'static str) -> Need {
    let kind = ProgramKind::Binary;
    Need::Program(Program { kind, name })
}

const fn example(name: &'static str) -> Need {
    let kind = ProgramKind::Example;
    Need::Program(Program { kind, name })
}

/// A test program of a package, with its requirements.
struct Row {
    package: &'static str,
    program: &'static str,
    needs: &'static [Need],
}

const fn row(program: &'static str, needs: &'static [Need]) -> Row {
    Row {
        package: WHOLE_SYSTEM,
        program,
        needs,
    }
}

const SERVER: Need = binary("hypha-server");
const SHARED: Need = binary("shared_servers");
const CONFORMANCE: Need = example("conformance");
const CONFORMANCE_CLIENT: Need = example("conformance_client");

/// Test programs with requirements. A program without a row has no requirements. Every whole-system
/// test has a row.
const ROWS: &[Row] = &[
    Row {
        package: "hypha-server",
        program: "server",
        needs: &[Need::Redis],
    },
    Row {
        package: "hypha-hostile",
        program: "small",
        needs: &[SERVER],
    },
    row(
        "accounts",
        &[
            Need::Python,
            Need::JavaScript,
            Need::Chromium,
            SERVER,
            example("stage"),
        ],
    ),
    row("bad_input", &[Need::Servers]),
    row("client_errors", &[Need::Servers]),
    row(
        "cluster",
        &[
            Need::Python,
            Need::Redis,
            SERVER,
            CONFORMANCE,
            CONFORMANCE_CLIENT,
        ],
    ),
    row("encryption", &[Need::JavaScript, Need::Servers]),
    row("faults", &[Need::Python, SERVER]),
    row("gone", &[Need::JavaScript, Need::Servers]),
    row(
        "guide",
        &[
            Need::JavaScript,
            Need::Servers,
            example("microscope"),
            example("segmenter"),
        ],
    ),
    row(
        "http_transport",
        &[
            Need::JavaScript,
            Need::Servers,
            CONFORMANCE,
            CONFORMANCE_CLIENT,
        ],
    ),
    row(
        "interop",
        &[
            Need::JavaScript,
            Need::Servers,
            CONFORMANCE,
            CONFORMANCE_CLIENT,
        ],
    ),
    row(
        "left_behind",
        &[Need::JavaScript, Need::Servers, CONFORMANCE_CLIENT],
    ),
    row(
        "login_page",
        &[Need::JavaScript, Need::Chromium, Need::Servers],
    ),
    row("blocking", &[Need::Servers]),
    row(
        "browser",
        &[
            Need::Python,
            Need::JavaScript,
            Need::Browser,
            Need::Chromium,
            Need::Servers,
            SERVER,
            CONFORMANCE,
            CONFORMANCE_CLIENT,
            example("microscope"),
            binary("browser_module"),
        ],
    ),
    row("closures", &[Need::Servers]),
    row("exceptions", &[Need::Servers]),
    row(
        "console",
        &[
            Need::Python,
            Need::JavaScript,
            Need::Chromium,
            Need::Servers,
            SERVER,
            CONFORMANCE,
            binary("hypha"),
        ],
    ),
    row("command", &[Need::Servers, CONFORMANCE, binary("hypha")]),
    row("login", &[Need::Servers]),
    row("operate", &[Need::Servers]),
    row("types", &[Need::JavaScript, Need::Servers]),
    row("a2a", &[Need::Python, SERVER]),
    row("mcp", &[Need::McpClients, Need::Servers, example("mcp")]),
    row(
        "microscope",
        &[
            Need::JavaScript,
            Need::Servers,
            example("microscope"),
            example("microscope_caller"),
        ],
    ),
    row("options", &[Need::JavaScript, Need::Servers]),
    row("outcomes", &[Need::Python, Need::JavaScript, SERVER]),
    row("plain_http", &[Need::JavaScript, Need::Servers]),
    row("pyodide", &[Need::JavaScript, Need::Servers, CONFORMANCE]),
    row("quickstart", &[Need::Servers, example("quickstart")]),
    row("restart", &[Need::Python, Need::JavaScript, SERVER]),
    row(
        "schemas",
        &[
            Need::JavaScript,
            Need::Servers,
            binary("hypha"),
            example("describe"),
        ],
    ),
    row("survivor", &[SERVER, example("survivor")]),
    row("values", &[Need::JavaScript, Need::Servers]),
    row(
        "webrtc",
        &[
            Need::JavaScript,
            Need::Chromium,
            Need::TurnServer,
            Need::Servers,
        ],
    ),
];

/// Combined requirements of several test programs.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Needs(BTreeSet<Need>);

impl Needs {
    /// Adds the requirements of a test program.
    pub(super) fn add(&mut self, package: &str, program: &str) {
        let rows = ROWS.iter();
        let rows = rows.filter(|row| row.package == package && row.program == program);
        self.0.extend(rows.flat_map(|row| row.needs));
        if self.0.contains(&Need::Servers) {
            self.0.extend([Need::Python, SERVER, SHARED]);
        }
    }

    pub(super) fn contains(&self, need: Need) -> bool {
        self.0.contains(&need)
    }

    /// Returns the required programs of this workspace.
    pub(super) fn programs(&self) -> Vec<Program> {
        let programs = self.0.iter().filter_map(|need| match need {
            Need::Program(program) => Some(*program),
            _ => None,
        });
        programs.collect()
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::command::root;

    /// Checks that the row of each whole-system test lists the programs and peers that the test
    /// starts.
    #[test]
    fn every_whole_system_test_has_a_row_with_its_dependencies() {
        let folder = root().join("tests/tests");
        for entry in fs::read_dir(folder).expect("the folder of the tests") {
            let path = entry.expect("an entry").path();
            let name = path.file_stem().expect("a name").to_string_lossy();
            let mut text = String::new();
            if path.is_dir() {
                for entry in fs::read_dir(&path).expect("a folder") {
                    let path = entry.expect("an entry").path();
                    if path.is_file() {
                        text += &fs::read_to_string(path).expect("a source");
                    }
                }
            } else {
                text += &fs::read_to_string(&path).expect("a source");
            }
            let row = ROWS.iter().find(|row| row.program == name);
            assert!(row.is_some(), "`{name}` has no row");
            let mut needs = Needs::default();
            needs.add(WHOLE_SYSTEM, &name);
            let programs = needs.programs();
            for part in text.split("executable(\"").skip(1) {
                let program = part.split('"').next().unwrap_or_default();
                let listed = programs.iter().any(|listed| listed.name == program);
                assert!(listed, "`{name}` starts `{program}`, which its row lacks");
            }
            let conformance = text.contains("Host::start") || text.contains("start_client");
            let listed = needs.contains(CONFORMANCE) || needs.contains(CONFORMANCE_CLIENT);
            assert!(
                listed || !conformance,
                "`{name}` needs the conformance programs"
            );
            let peers = [
                (Need::JavaScript, "JavaScript"),
                (Need::Python, "Kind::Python"),
                (Need::McpClients, "mcp_python"),
                (Need::Browser, "WebAssembly]"),
                (Need::Redis, "redis-server"),
                (Need::Chromium, "chromium"),
                (Need::TurnServer, "turn_server"),
                (Need::Servers, "shared("),
                (Need::Servers, "cases::run"),
            ];
            for (need, word) in peers {
                let missing = text.contains(word) && !needs.contains(need);
                assert!(!missing, "`{name}` has {word:?}, its row lacks {need:?}");
            }
        }
    }
}
