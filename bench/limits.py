"""The limits that figures are compared with: what the machine can do without any other work."""

import asyncio
import hashlib
import multiprocessing
import secrets
import time
from collections.abc import Callable
from typing import Any

import asyncpg
from argon2 import PasswordHasher
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.hashes import SHA256

from bench.product import WORKERS

#: As many concurrent commits in one process as the pool of a worker has connections.
POOL = 10
#: One row, in the table that :func:`bench.setting.prepared` makes.
COMMIT = "INSERT INTO bench_commit (id, value) VALUES ($1, $2)"


def _signatures(begin: float, until: float) -> int:
    key, message, count = rsa.generate_private_key(65537, 2048), secrets.token_bytes(400), 0
    _wait(begin)
    while time.time() < until:
        key.sign(message, padding.PKCS1v15(), SHA256())
        count += 1
    return count


def _proofs(begin: float, until: float) -> int:
    key, message, count = ec.generate_private_key(ec.SECP256R1()), secrets.token_bytes(400), 0
    public, signature = key.public_key(), key.sign(message, ec.ECDSA(SHA256()))
    _wait(begin)
    while time.time() < until:
        public.verify(signature, message, ec.ECDSA(SHA256()))
        count += 1
    return count


def _verifications(begin: float, until: float, memory_cost: int, time_cost: int, parallelism: int) -> int:
    hasher, count = PasswordHasher(time_cost=time_cost, memory_cost=memory_cost, parallelism=parallelism), 0
    hashed = hasher.hash("correct horse battery staple")
    _wait(begin)
    while time.time() < until:
        hasher.verify(hashed, "correct horse battery staple")
        count += 1
    return count


def _commits(begin: float, until: float, dsn: str) -> int:
    return asyncio.run(_commit(begin, until, dsn))


async def _commit(begin: float, until: float, dsn: str) -> int:
    async def insert(connection: Any) -> int:
        statement = await connection.prepare(COMMIT)
        await asyncio.sleep(max(0.0, begin - time.time()))
        count = 0
        while time.time() < until:
            await statement.fetch(secrets.token_bytes(16), hashlib.sha256(b"%d" % count).digest())
            count += 1
        return count

    connections = [await asyncpg.connect(dsn) for _ in range(POOL)]
    try:
        return sum(await asyncio.gather(*map(insert, connections)))
    finally:
        for connection in connections:
            await connection.close()


def _rate(work: Callable[..., int], seconds: float, *arguments: Any) -> float:
    """Return how often per second as many processes as the product has workers do something."""
    # Separate processes need a moment to start and to make their keys.
    begin = time.time() + 1.5
    with multiprocessing.get_context("spawn").Pool(WORKERS) as pool:
        jobs = [pool.apply_async(work, (begin, begin + seconds, *arguments)) for _ in range(WORKERS)]
        return sum(job.get(seconds + 30) for job in jobs) / seconds


def _wait(begin: float) -> None:
    time.sleep(max(0.0, begin - time.time()))


def signatures(seconds: float) -> float:
    """Return RS256 signatures (RSA 2048) per second."""
    return _rate(_signatures, seconds)


def proofs(seconds: float) -> float:
    """Return verifications of ES256 signatures per second."""
    return _rate(_proofs, seconds)


def verifications(seconds: float, memory_cost: int, time_cost: int, parallelism: int) -> float:
    """Return Argon2id verifications per second."""
    return _rate(_verifications, seconds, memory_cost, time_cost, parallelism)


def commits(seconds: float, dsn: str) -> float:
    """Return durable commits of one row per second."""
    return _rate(_commits, seconds, dsn)
