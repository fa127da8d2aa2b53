"""A bare ASGI application under Granian, run like the product. It returns the same bytes and does nothing else.

Run as ``python -m bench.bare PORT``, with the :class:`Answer` as JSON in the file that ``BENCH_ANSWER`` names.
"""

import asyncio
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import asyncpg
import httpx
import msgspec
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.hashes import SHA256

from bench.product import WORKERS, free_port


class Statement(msgspec.Struct, frozen=True):
    """A statement to run before the response. Without ``arguments`` it gets 16 and 32 random bytes."""

    text: str
    arguments: Sequence[str] = ()


class Answer(msgspec.Struct, frozen=True):
    """The response to every request.

    Attributes:
        statements: are prepared, and run one after the other before the response.
        signatures: the number of signatures to make before it.
        alg: their algorithm; RS256 (RSA 2048) or ES256.
        proofs: the number of ES256 signatures to verify before it.
    """

    status: int
    headers: list[tuple[str, str]]
    body: bytes
    dsn: str | None = None
    statements: Sequence[Statement] = ()
    signatures: int = 0
    alg: str = "RS256"
    proofs: int = 0

    @classmethod
    def of(cls, response: httpx.Response, **before: Any) -> "Answer":
        """Return the same response as a server gave.

        Args:
            before: the work before the response.
        """
        left_to_the_server = {"date", "transfer-encoding", "connection", "server"}
        headers = [pair for pair in response.headers.multi_items() if pair[0] not in left_to_the_server]
        return cls(response.status_code, headers, response.content, **before)


def _signer(alg: str) -> Callable[[bytes], bytes]:
    if alg == "ES256":
        curve_key = ec.generate_private_key(ec.SECP256R1())
        return lambda message: curve_key.sign(message, ec.ECDSA(SHA256()))
    key = rsa.generate_private_key(65537, 2048)
    return lambda message: key.sign(message, padding.PKCS1v15(), SHA256())


def _verifier() -> Callable[[], None]:
    key, message = ec.generate_private_key(ec.SECP256R1()), os.urandom(400)
    public, signature = key.public_key(), key.sign(message, ec.ECDSA(SHA256()))
    return lambda: public.verify(signature, message, ec.ECDSA(SHA256()))


def create_app() -> Any:
    answer = msgspec.json.decode(Path(os.environ["BENCH_ANSWER"]).read_bytes(), type=Answer)
    headers = [(name.encode(), value.encode()) for name, value in answer.headers]
    start = {"type": "http.response.start", "status": answer.status, "headers": headers}
    end = {"type": "http.response.body", "body": answer.body, "more_body": False}
    free: asyncio.Queue[Any] = asyncio.Queue()
    # No key is made if nothing is signed, because that is slow.
    sign = _signer(answer.alg) if answer.signatures else bytes
    verify = _verifier()

    async def connect() -> None:
        for _ in range(10):
            connection = await asyncpg.connect(answer.dsn)
            free.put_nowait([(await connection.prepare(one.text), one.arguments) for one in answer.statements])

    async def app(scope: dict[str, Any], receive: Any, send: Any) -> None:
        if scope["type"] == "lifespan":
            await receive()
            if answer.dsn is not None:
                await connect()
            await send({"type": "lifespan.startup.complete"})
            await receive()
            await send({"type": "lifespan.shutdown.complete"})
            return
        if scope["method"] == "POST":
            await receive()
        for _ in range(answer.proofs):
            verify()
        for _ in range(answer.signatures):
            sign(answer.body)
        if answer.dsn is not None:
            held = await free.get()
            for statement, arguments in held:
                await statement.fetchrow(*(arguments or (os.urandom(16), os.urandom(32))))
            free.put_nowait(held)
        await send(start)
        await send(end)

    return app


def main() -> None:
    from granian.server import Server

    from idp.cli.workers import granian_options

    port = int(sys.argv[1])
    Server(
        "bench.bare:create_app", address="127.0.0.1", port=port, workers=WORKERS, factory=True, **granian_options()
    ).serve()


@contextmanager
def serving(folder: Path, answer: Answer) -> Iterator[str]:
    """Run the application for the duration of a block. Yields its URL."""
    port, file = free_port(), folder / "answer.json"
    file.write_bytes(msgspec.json.encode(answer))
    process = subprocess.Popen(
        [sys.executable, "-m", "bench.bare", str(port)],
        env=os.environ | {"BENCH_ANSWER": str(file), "PYTHONPATH": str(Path(__file__).parents[1])},
    )
    url = f"http://127.0.0.1:{port}"
    try:
        for _ in range(1000):
            try:
                httpx.get(url)
                break
            except httpx.TransportError:
                time.sleep(0.01)
        yield url
    finally:
        process.terminate()
        process.wait(20)


if __name__ == "__main__":
    main()
