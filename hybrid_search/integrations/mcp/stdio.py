"""The MCP server over a pipe: one message a line, and an answer to every line that is no message."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Any, BinaryIO

import anyio
from mcp.server.stdio import stdio_server
from mcp.shared.message import SessionMessage
from mcp_types import INVALID_REQUEST

from hybrid_search.integrations.mcp.messages import error_of, error_with

if TYPE_CHECKING:
    from mcp.server import MCPServer

MAX_LINE = 1 << 20
"""Longest message in bytes."""


async def serve(server: MCPServer[Any], source: BinaryIO) -> None:
    """Answer the lines of `source` on stdout, until it ends."""
    lines = _Lines(source)
    async with stdio_server(stdin=lines) as (read, write):
        lines.answers = write
        # What `MCPServer.run_stdio_async` does, which takes no other stdin.
        inner = server._lowlevel_server
        await inner.run(read, write, inner.create_initialization_options())


class _Lines:
    """Passes messages on to the library and answers all other lines."""

    def __init__(self, source: BinaryIO) -> None:
        self._source = source
        self.answers: Any = None

    def __aiter__(self) -> _Lines:
        return self

    async def __anext__(self) -> bytes:
        while line := await self._read(MAX_LINE + 1):
            if len(line) > MAX_LINE:
                while line and not line.endswith(b"\n"):
                    line = await self._read(MAX_LINE)
                error = error_with(INVALID_REQUEST, f"The message is longer than {MAX_LINE:,} bytes.", None)
            elif not line.strip():
                continue
            else:
                error = error_of(line)
            if error is None:
                return line
            with suppress(anyio.ClosedResourceError, anyio.BrokenResourceError):  # it is being stopped
                await self.answers.send(SessionMessage(error))
        raise StopAsyncIteration

    async def _read(self, most: int) -> bytes:
        return await anyio.to_thread.run_sync(self._source.readline, most)
