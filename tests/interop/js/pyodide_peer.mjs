// Runs the Python conformance client in Pyodide: Python in WebAssembly. The first argument is the
// folder of the Python packages; the others are those of the Python program.

import { fileURLToPath } from "node:url";
import { loadPyodide } from "pyodide";
import { say } from "./peer.mjs";

const [packages, ...rest] = process.argv.slice(2);
const programs = fileURLToPath(new URL("../python", import.meta.url));

const pyodide = await loadPyodide({ stdout: say, stderr: console.error });
// Packages with code for this machine cannot be imported. The client works without them.
for (const [place, folder] of [["/packages", packages], ["/programs", programs]]) {
  pyodide.mountNodeFS(place, folder);
}
pyodide.globals.set("rest", rest);
process.exitCode = await pyodide.runPythonAsync(`
import sys
sys.dont_write_bytecode = True
sys.path += ["/programs", "/packages"]
sys.argv = ["conformance_client.py", *rest]
import conformance_client
await conformance_client.main()
`);
process.exit();
