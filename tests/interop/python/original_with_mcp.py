"""Starts the original server with its gateway for MCP, and without the worker that comes with it.

The worker launches MCP servers for others. It would need a browser, and registers services of its
own.
"""

import runpy
import sys
import types


async def hypha_startup(server):
    """Nothing to do."""


worker = types.ModuleType("hypha.workers.mcp_proxy")
worker.hypha_startup = hypha_startup
sys.modules[worker.__name__] = worker
# The folder of this file is not a place for modules.
del sys.path[0]
sys.argv.append("--enable-mcp")
runpy.run_module("hypha.server", run_name="__main__", alter_sys=True)
