"""The workshop as a server of MCP, which speaks over stdin and stdout: `python -m examples.agents.mcp_server
FOLDER`.
"""

from __future__ import annotations

import sys
from pathlib import Path

from mcp.server import MCPServer

from examples.agents.workshop import Workshop


def main(folder: Path) -> None:
    workshop, server = Workshop(folder), MCPServer("workshop")
    for tool in workshop.tools:
        server.tool()(tool)
    server.run()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
