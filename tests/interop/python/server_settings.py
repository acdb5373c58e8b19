"""Prints the options and the environment variables that the Python server reads, as JSON.

Reads the source of the installed package, because importing its module starts a server.
"""

import ast
import importlib.util
import json
import pathlib

# Parts of the package that are programs of their own, or that the server never loads.
OTHERS = ("utils/", "workers/conda", "workers/python_eval")


def package() -> pathlib.Path:
    """Return the folder of the package."""
    spec = importlib.util.find_spec("hypha")
    return pathlib.Path(spec.submodule_search_locations[0])


def constant(node):
    """Return the value of a constant, or None."""
    return node.value if isinstance(node, ast.Constant) else None


def is_environment(node) -> bool:
    """Return whether an expression is `env` or `os.environ`."""
    name = getattr(node, "id", None) or getattr(node, "attr", None)
    return name in ("env", "environ")


def options(tree) -> list:
    """Return the options that a module adds to its parser."""
    found = []
    for call in ast.walk(tree):
        if not isinstance(call, ast.Call) or not call.args:
            continue
        name = constant(call.args[0])
        if getattr(call.func, "attr", None) != "add_argument" or not name:
            continue
        given = {keyword.arg: keyword.value for keyword in call.keywords}
        is_flag = constant(given.get("action")) == "store_true"
        is_number = getattr(given.get("type"), "id", None) == "int"
        found.append({"name": name, "flag": is_flag, "number": is_number})
    return found


def variables(tree) -> set:
    """Return the environment variables that a module reads."""
    found = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and node.args:
            reads = getattr(node.func, "attr", None) == "get"
            reads = reads and is_environment(getattr(node.func, "value", None))
            reads = reads or getattr(node.func, "attr", None) == "getenv"
            name = constant(node.args[0])
        elif isinstance(node, ast.Subscript):
            reads = isinstance(node.ctx, ast.Load) and is_environment(node.value)
            name = constant(node.slice)
        else:
            continue
        if reads and isinstance(name, str):
            found.add(name)
    return found


def main():
    """Print the options and variables."""
    root = package()
    read = set()
    for path in sorted(root.rglob("*.py")):
        if not str(path.relative_to(root)).startswith(OTHERS):
            read |= variables(ast.parse(path.read_text()))
    server = ast.parse((root / "server.py").read_text())
    print(json.dumps({"options": options(server), "variables": sorted(read)}))


if __name__ == "__main__":
    main()
