"""A vendor of Chat Completions whose every token is the moment when it was sent: `python -m bench.load.token_vendor`.

Prints its port, then serves until it is ended. `tokens` and `pause_ms` of the model's name say how many, how fast:
`tokens-200-20`.
"""

import asyncio
import json
import socket
import sys
import time
from typing import Any

import uvicorn


async def app(_scope: dict[str, Any], receive: Any, send: Any) -> None:
    """One streamed answer."""
    body = b""
    more = True
    while more:
        event = await receive()
        body, more = body + event.get("body", b""), event.get("more_body", False)
    _, tokens, pause = json.loads(body)["model"].split("-")
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"text/event-stream")]})

    async def chunk(**part: Any) -> None:
        head = {"id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 1_800_000_000, "model": "tokens"}
        data = f"data: {json.dumps({**head, 'usage': None, 'choices': [], **part})}\n\n".encode()
        await send({"type": "http.response.body", "body": data, "more_body": True})

    for _ in range(int(tokens)):
        await asyncio.sleep(int(pause) / 1000)
        delta = {"index": 0, "delta": {"content": f"{time.monotonic_ns()} "}, "finish_reason": None}
        await chunk(choices=[delta])
    await chunk(choices=[{"index": 0, "delta": {}, "finish_reason": "stop"}])
    count = {"prompt_tokens": 3, "completion_tokens": int(tokens), "total_tokens": 3 + int(tokens)}
    await chunk(usage=count)
    await send({"type": "http.response.body", "body": b"data: [DONE]\n\n"})


def main() -> None:
    bound = socket.create_server(("127.0.0.1", 0))
    sys.stdout.write(f"{bound.getsockname()[1]}\n")
    sys.stdout.flush()
    config = uvicorn.Config(app, lifespan="off", log_config=None, access_log=False)
    uvicorn.Server(config).run(sockets=[bound])


if __name__ == "__main__":
    main()
