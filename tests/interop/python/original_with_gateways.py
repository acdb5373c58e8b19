"""Starts the original server with its MCP and A2A gateways, but without their workers.

The workers start other servers of these protocols. They need a browser, and register services.
"""

import runpy
import sys
import types


async def hypha_startup(server):
    """Replaces the startup function of a worker. Does nothing."""


for name in ("mcp_proxy", "a2a_proxy"):
    worker = types.ModuleType(f"hypha.workers.{name}")
    worker.hypha_startup = hypha_startup
    sys.modules[worker.__name__] = worker
# Modules must not be imported from the folder of this file.
del sys.path[0]
sys.argv += ["--enable-mcp", "--enable-a2a"]
runpy.run_module("hypha.server", run_name="__main__", alter_sys=True)
