"""A process that works on jobs and sends deliveries until it is killed: `python -m tests.provisioning.child`."""

import asyncio
import os

from idp import app
from idp.delivery import outbox, stream
from idp.infra.db import engine
from idp.keys import root_key
from idp.provisioning import jobs
from idp.provisioning.repository import jobs as repository
from idp.provisioning.repository import subjects


async def main() -> None:
    stream.TURN_SECONDS, stream.RENEW_SECONDS = 0.5, 0.5
    outbox.LEASE_SECONDS = stream.LEASE_SECONDS = 4.0
    subjects.CLAIM_SECONDS, repository.LEASE_SECONDS = 4.0, 4.0
    os.environ |= {"IDP_OUTBOUND_ALLOW_HTTP": "true", "IDP_OUTBOUND_ALLOWED_HOSTS": "127.0.0.0/8,::1/128"}
    engine.configure(os.environ["IDP_DATABASE_URL"])
    async with engine.connected(size=10):
        await root_key.unlock()
        await asyncio.gather(jobs.run(), outbox.run(app.DELIVERIES))


if __name__ == "__main__":
    asyncio.run(main())
