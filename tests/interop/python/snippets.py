"""Runs the Python code of a chapter of the guide. The code may use `await` at the top level.

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
