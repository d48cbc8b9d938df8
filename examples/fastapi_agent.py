"""An agent with FastAPI: `python fastapi_agent.py PORT`. It shortens text."""

import contextlib
import socket
import sys
from collections.abc import AsyncIterator

import uvicorn
from agent_registry_client import AsyncAgentRegistryClient
from fastapi import FastAPI

PORT = int(sys.argv[1])


@contextlib.asynccontextmanager
async def lifespan(_: FastAPI) -> AsyncIterator[None]:
    """Be registered while the application runs."""
    async with AsyncAgentRegistryClient().registered(
        f"summariser-{PORT}",
        agent_name="Summariser",
        host="127.0.0.1",
        port=PORT,
        metadata={"skills": ["summarise"]},
    ):
        yield


app = FastAPI(lifespan=lifespan)


@app.get("/summarise")
async def summarise(text: str) -> str:
    """Do what it is for."""
    return text.split(".", maxsplit=1)[0] + "."


if __name__ == "__main__":
    # Listening first: a second copy that finds the port taken only after it registered
    # would deregister the first.
    with socket.create_server(("127.0.0.1", PORT)) as listening:
        uvicorn.Server(uvicorn.Config(app)).run(sockets=[listening])
