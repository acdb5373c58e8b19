"""Starts the original server with its MCP gateway, and without the MCP worker.

The worker starts other MCP servers. It needs a browser, and registers services.
"""

import runpy
import sys
import types


async def hypha_startup(server):
    """Replaces the startup function of the worker. Does nothing."""


worker = types.ModuleType("hypha.workers.mcp_proxy")
worker.hypha_startup = hypha_startup
sys.modules[worker.__name__] = worker
# Modules must not be imported from the folder of this file.
del sys.path[0]
sys.argv.append("--enable-mcp")
runpy.run_module("hypha.server", run_name="__main__", alter_sys=True)
