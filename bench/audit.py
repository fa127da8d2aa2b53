"""`python -m bench.audit`: the CPU time per token of recording every token in the audit trail.

It includes noting, writing and sealing the event, in this process and in PostgreSQL. It is measured alone, because it
is far less than the difference between two runs of the server. Compare it with the CPU time of a token without it.
"""

import asyncio
import os
import secrets
import tempfile
import time
from pathlib import Path
from uuid import UUID

from bench.product import free_port, set_up_environment

#: Tokens per half second, and the number of clients: many from one service, many users of many applications, a few.
SHAPES = ((1_000, 1), (500, 500), (50, 5))
TOKENS = 20_000


def _postgres_cpu(folder: Path) -> float:
    """Return the CPU seconds of all PostgreSQL processes, including those that have ended."""
    pid = int((folder / "postmaster.pid").read_text().splitlines()[0])
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    ticks = 0
    for process in (pid, *children):
        ticks += sum(map(int, Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[11:15]))
    return ticks / os.sysconf("SC_CLK_TCK")


async def _measure(folder: Path) -> None:
    from bench.setting import POSTGRES
    from idp.audit import buffer, checkpoints
    from idp.infra.db import engine, migrate
    from idp.infra.db.embedded import EmbeddedPostgres
    from idp.keys import checkpoint_signer, lifecycle, root_key
    from idp.keys.key_set import key_set

    with EmbeddedPostgres.start(folder, options=POSTGRES) as postgres:
        engine.configure(postgres.dsn)
        async with engine.connected(size=4):
            await migrate.upgrade()
            await root_key.unlock()
            await lifecycle.ensure_signing_key("RS256")
            await key_set.load()
            for tokens, clients in SHAPES:
                names, users = [secrets.token_hex(8) for _ in range(clients)], [UUID(int=n) for n in range(tokens)]
                jtis = [secrets.token_urlsafe(40) for _ in range(tokens)]
                began, began_there = time.process_time(), _postgres_cpu(folder)
                for _ in range(TOKENS // tokens):
                    for n in range(tokens):
                        buffer.token_issued(
                            "refresh_token", names[n % clients], jtis[n], user_id=users[n], session_id=users[n],
                            family_id=users[n],
                        )  # fmt: skip
                    await buffer.write()
                await checkpoints.create(checkpoint_signer.sign)
                here, there = time.process_time() - began, _postgres_cpu(folder) - began_there
                costs = f"{here / TOKENS * 1e6:.1f} µs in the server, {there / TOKENS * 1e6:.1f} µs in PostgreSQL"
                print(f"{tokens} tokens of {clients} clients at a time: {costs}")


def main() -> None:
    set_up_environment(free_port())
    with tempfile.TemporaryDirectory(prefix="idp-bench-") as name:
        asyncio.run(_measure(Path(name, "postgres")))


if __name__ == "__main__":
    main()
