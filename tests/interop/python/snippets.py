"""Runs the Python of a chapter of the guide, with `await` at the top level, as in a notebook.

The argument is the source text.
"""

import ast
import asyncio
import inspect
import sys


async def run(source):
    code = compile(source, "the chapter", "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
    result = eval(code, {"__name__": "__main__"})
    if inspect.iscoroutine(result):
        await result


asyncio.run(run(sys.argv[1]))
