"""A vendor server on a real socket: in a thread of the test, or in a process of its own."""

import asyncio
import socket
import threading
from pathlib import Path
from typing import Any, Self

import uvicorn

from tests.support.vendors.app import KEY, VendorApp
from tests.support.vendors.behaviours import Behaviour, Script
from tests.support.vendors.journal import Journal


class VendorServer:
    """Context manager: `base_url` for Anthropic's SDK, `openai_url` for OpenAI's."""

    def __init__(self, *, port: int = 0, journal: Path | None = None, key: str | None = KEY) -> None:
        self.key = key
        self.script = Script()
        self.journal = Journal(journal)
        self._socket = socket.create_server(("127.0.0.1", port))
        self.port: int = self._socket.getsockname()[1]
        self._app = VendorApp(self.script, self.journal, key=key)
        config = uvicorn.Config(
            self._app,
            lifespan="off",
            ws="none",
            loop="asyncio",
            log_config=None,
            log_level="critical",  # answers are cut off by raising, which it would report
            access_log=False,
            timeout_graceful_shutdown=1,
        )
        self._server = uvicorn.Server(config)
        self._thread = threading.Thread(target=self.run, daemon=True)

    @property
    def base_url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def openai_url(self) -> str:
        return f"{self.base_url}/v1"

    def accept(self, key: str) -> None:
        """From now on this key alone is taken."""
        self.key = self._app.key = key

    def behave(self, kind: Any = "answer", **how: Any) -> None:
        """The next requests are answered so."""
        self.script.add(Behaviour(kind, **how))

    def entries(self) -> list[dict[str, Any]]:
        return self.journal.entries()

    async def came(self, outcome: str | None = None, *, count: int = 1) -> dict[str, Any]:
        """The journal's last entry once it is there, and has come to this end."""
        return await asyncio.to_thread(self.journal.wait, count, outcome)

    def run(self) -> None:
        self._server.run(sockets=[self._socket])

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.should_exit = True
        self._thread.join(timeout=10)
        self._socket.close()
        self.journal.close()
