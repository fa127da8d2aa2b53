"""A process that sends the deliveries of a database until it is killed: `python -m tests.delivery.child DSN`."""

import asyncio
import sys

from idp.delivery import outbox, stream
from idp.infra.db import engine
from idp.keys import root_key
from tests.delivery.conftest import HANDLERS


async def main(dsn: str) -> None:
    stream.TURN_SECONDS, stream.RENEW_SECONDS = 0.5, 0.5
    outbox.LEASE_SECONDS = stream.LEASE_SECONDS = 4.0
    engine.configure(dsn)
    async with engine.connected(size=10):
        await root_key.unlock()
        await outbox.run(HANDLERS)


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1]))
