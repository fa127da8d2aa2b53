"""Calls of hooks: few at a time, within a deadline, and none for a while after several failures.

What is known of a hook is kept by each process for itself.
"""

import asyncio
import time
from collections import deque
from typing import Final
from uuid import UUID

from idp import clock, ids
from idp.delivery.standard_webhooks import sign
from idp.errors import RemoteError
from idp.infra import outbound
from idp.infra.metrics.declared import Gauge, Histogram
from idp.infra.outbound import CallFailed, CallTimedOut, TooLongError
from idp.keys import vault
from idp.oauth.token_hook.models import Failure, LoadedHook, context
from idp.settings import settings

#: Maximum size of a response, in bytes.
MAX_BYTES: Final = 32 * 1024
#: Calls to one hook at a time, and requests that wait for one of those to end.
CONCURRENT, WAITING = 8, 64
#: After so many failures within so many seconds, a hook is not called for PAUSE seconds. Then one call probes it.
FAILURES, WINDOW, PAUSE = 5, 30.0, 30.0
_OK: Final = 200

DURATION = Histogram("idp_token_hook_duration_seconds", "Time that requests waited for a token hook, with their turn.")
PAUSED = Gauge(
    "idp_token_hooks_paused", "Token hooks that a worker does not call for a while after failures.", mode="livemax"
)


class HookFailedError(RemoteError):
    """A hook gave no answer.

    Args:
        hint: the cause, for the log.
    """

    def __init__(self, failure: Failure, *, hint: str | None = None) -> None:
        super().__init__(failure)
        self.failure, self.hint = failure, hint


class Line:
    """The state of a hook in this process: its connections, the calls under way, and its last failures."""

    def __init__(self) -> None:
        self.loop = asyncio.get_running_loop()
        self.timeout = settings().token_hook_timeout
        self._http = outbound.client(max_bytes=MAX_BYTES, timeout_seconds=self.timeout)
        self._turns = asyncio.Semaphore(CONCURRENT)
        self._inside = 0
        self._failures: deque[float] = deque(maxlen=FAILURES)
        self._paused_until = 0.0
        self._probing = False

    @property
    def usable(self) -> bool:
        """Whether it belongs to this loop and to the settings. Tests have several of both."""
        return self.loop is asyncio.get_running_loop() and self.timeout == settings().token_hook_timeout

    @property
    def paused(self) -> bool:
        return self._paused_until > 0

    async def close(self) -> None:
        await self._http.aclose()

    async def call(self, hook: LoadedHook, body: bytes) -> bytes:
        """Send a request and return the body of the answer.

        Raises:
            HookFailedError: there is none.
        """
        if self.paused and (time.monotonic() < self._paused_until or self._probing):
            raise HookFailedError(Failure.PAUSED)
        if self._inside >= CONCURRENT + WAITING:
            raise HookFailedError(Failure.BUSY)
        probes, self._inside, begun = self.paused, self._inside + 1, time.monotonic()
        self._probing = self._probing or probes
        try:
            return await self._in_time(hook, body)
        finally:
            DURATION.observe(time.monotonic() - begun)
            self._inside -= 1
            if probes:
                self._probing = False

    async def _in_time(self, hook: LoadedHook, body: bytes) -> bytes:
        sent, begun = False, time.monotonic()
        try:
            async with asyncio.timeout(self.timeout), self._turns:
                if time.monotonic() - begun > self.timeout / 2:
                    # Too little time is left to tell a slow hook from a long queue.
                    raise HookFailedError(Failure.BUSY)
                sent = True
                answer = await outbound.ask(self._http, hook.url, _headers(hook, body), body)
        except (TimeoutError, CallTimedOut) as error:
            # A request that waited for its turn says nothing about the hook.
            raise HookFailedError(Failure.TIMED_OUT if sent else Failure.BUSY) from error
        except CallFailed as error:
            too_long = isinstance(error, TooLongError)
            failure = Failure.TOO_LONG if too_long else Failure.UNREACHABLE
            raise HookFailedError(failure, hint=outbound.cause(error)) from error
        if answer.status != _OK:
            raise HookFailedError(Failure.WRONG_STATUS, hint=f"The response has status {answer.status}.")
        return answer.body

    def succeeded(self) -> bool:
        """Note an answer. Returns whether the hook was paused."""
        was_paused = self.paused
        self._failures.clear()
        self._paused_until = 0.0
        count_paused()
        return was_paused

    def failed(self, failure: Failure) -> bool:
        """Note a failure. Returns whether the hook is paused from now on."""
        if failure in (Failure.BUSY, Failure.PAUSED):
            return False
        now, was_paused = time.monotonic(), self.paused
        self._failures.append(now)
        if was_paused or (len(self._failures) == FAILURES and now - self._failures[0] <= WINDOW):
            self._paused_until = now + PAUSE
            count_paused()
        return self.paused and not was_paused


_lines: dict[UUID, Line] = {}


async def line_of(hook: LoadedHook, known: set[UUID]) -> Line:
    """Return the line of a hook.

    Args:
        known: the ids of all hooks. The lines of others are closed.
    """
    line = _lines.get(hook.id)
    if line is not None and line.usable:
        return line
    _lines.pop(hook.id, None)
    gone = [_lines.pop(key) for key in _lines.keys() - known]
    line = _lines[hook.id] = Line()
    count_paused()
    for each in gone:
        if each.usable:
            await each.close()
    return line


def count_paused() -> None:
    PAUSED.set(sum(line.paused for line in _lines.values()))


async def close() -> None:
    """Close all connections, when the application ends."""
    lines = [*_lines.values()]
    _lines.clear()
    count_paused()
    for line in lines:
        if line.loop is asyncio.get_running_loop():
            await line.close()


def _headers(hook: LoadedHook, body: bytes) -> dict[str, str]:
    now = clock.now()
    old = hook.old_secret if hook.old_secret_until is not None and hook.old_secret_until > now else None
    keys = [vault.decrypt(sealed, context(hook.id)) for sealed in (hook.secret, old) if sealed]
    headers = {"content-type": "application/json", "user-agent": "idp-token-hook"}
    return headers | sign(str(ids.uuid7()), int(now.timestamp()), body, keys)
