"""Resolves host names in threads of their own, so that names that resolve slowly keep nobody else waiting.

The system's resolver waits for its name servers and cannot be interrupted: a lookup holds its thread even if nobody
waits for the result any longer. So the limit counts threads, and names that strangers choose have others than names
that administrators choose.
"""

import asyncio
import os
import socket
from concurrent.futures import ThreadPoolExecutor
from threading import Semaphore
from typing import Any

from idp.infra.metrics.declared import Counter

#: Number of names that one worker resolves at a time, in each group.
THREADS = 32

REFUSED = Counter("idp_name_lookups_refused", "Host names not resolved because of too many other lookups.")


class Lookups:
    """A group of lookups, at most :data:`THREADS` at a time."""

    def __init__(self) -> None:
        self._start()
        # Threads are not copied by fork.
        os.register_at_fork(after_in_child=self._start)

    def _start(self) -> None:
        self._executor = ThreadPoolExecutor(THREADS, thread_name_prefix="lookup")
        self._free = Semaphore(THREADS)

    async def getaddrinfo(self, host: str, port: int) -> list[Any]:
        """Return the addresses of a host for TCP, as :func:`socket.getaddrinfo`.

        Raises:
            OSError: the name cannot be resolved, or too many lookups of the group are under way.
            UnicodeError: it is not a host name.
        """
        if not self._free.acquire(blocking=False):
            REFUSED.add()
            raise OSError("Too many host names are being resolved.")
        lookup = self._executor.submit(socket.getaddrinfo, host, port, type=socket.SOCK_STREAM)
        # When the thread is free, not when the caller is cancelled.
        lookup.add_done_callback(lambda _: self._free.release())
        return await asyncio.wrap_future(lookup)


#: Of servers that administrators name.
CONFIGURED = Lookups()
#: Of servers of clients, and of other receivers of deliveries.
CLIENTS = Lookups()
#: Of servers that anybody can name, such as in the metadata of a client that registers itself.
STRANGERS = Lookups()
