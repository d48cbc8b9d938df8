"""An agent with asyncio alone: `python asyncio_agent.py PORT`. It echoes lines."""

import asyncio
import signal
import sys

from agent_registry_client import AsyncAgentRegistryClient


async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Do what it is for."""
    while line := await reader.readline():
        writer.write(line)
        await writer.drain()
    writer.close()


async def main(port: int) -> None:
    """Serve, and be registered, until a signal comes."""
    stop = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    server = await asyncio.start_server(echo, "127.0.0.1", port)
    async with (
        server,
        AsyncAgentRegistryClient().registered(
            f"echo-{port}", agent_name="Echo", host="127.0.0.1", port=port
        ),
    ):
        await stop.wait()


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1])))
