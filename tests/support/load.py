"""Clients that refresh their tokens all the time, and observers of what must never fail."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import replace
from typing import Any, NamedTuple

import httpx
import jwt

from tests.support.browser import open_browser
from tests.support.oauth import RelyingParty
from tests.support.server import TLS, Server
from tests.support.tokens import jti_of

#: Served from memory.
PUBLISHED = ("/.well-known/openid-configuration", "/.well-known/oauth-authorization-server", "/.well-known/jwks.json")
PAUSE_SECONDS = 0.02


class Answer(NamedTuple):
    """The response to a refresh: its status, its error, its Retry-After, when the request was sent by the monotonic
    clock, and how many seconds it took.
    """

    status: int
    error: str
    retry_after: str
    sent: float
    seconds: float


class Session:
    """One session of a client: rotates its refresh token all the time, and keeps the last one that it received.

    Attributes:
        received: every refresh token, the last one at the end.
        answers: the responses to its refreshes.
    """

    def __init__(self, party: RelyingParty, tokens: dict[str, Any]) -> None:
        self.party = party
        self.access_token: str = tokens["access_token"]
        self.received: list[str] = [tokens["refresh_token"]]
        self.answers: list[Answer] = []

    async def refresh(self) -> Answer:
        """Refresh once."""
        started = time.monotonic()
        response = await self.party.refresh(self.received[-1])
        body = response.json()
        if response.is_success:
            self.access_token = body["access_token"]
            self.received.append(body["refresh_token"])
        retry_after = response.headers.get("retry-after", "")
        taken = time.monotonic() - started
        self.answers.append(Answer(response.status_code, body.get("error", ""), retry_after, started, taken))
        return self.answers[-1]

    async def run(self) -> None:
        while True:
            await self.refresh()
            await asyncio.sleep(PAUSE_SECONDS)


class Load:
    """Sessions that refresh, and a resource server that validates their tokens offline with keys that it fetches."""

    def __init__(self, server: Server, sessions: list[Session]) -> None:
        self.server, self.sessions = server, sessions
        #: How often everything that is published was fetched, and how long the slowest of it took.
        self.observed, self.slowest = 0, 0.0

    @property
    def answers(self) -> list[Answer]:
        return [answer for session in self.sessions for answer in session.answers]

    @property
    def refused(self) -> list[Answer]:
        return [answer for answer in self.answers if answer.status != 200]

    def check(self, seconds: float) -> None:
        """Check that every refusal was one of an outage, within so many seconds, and that the observer saw none."""
        assert {answer[:2] for answer in self.refused} <= {(503, "temporarily_unavailable")}
        assert all(int(answer.retry_after) > 0 for answer in self.refused)
        assert max((answer.seconds for answer in self.refused), default=0.0) < seconds
        assert self.observed > 0

    @property
    def received(self) -> set[str]:
        """The ``jti`` of every refresh token that a session received."""
        return {str(jti_of(token)) for session in self.sessions for token in session.received}

    async def until_rotated(self, seconds: float = 60) -> float:
        """Wait until every session has received two more tokens. Returns the seconds that it took.

        The answer to the first of them may have been on its way.
        """
        return await self._until(lambda session: len(session.received), seconds)

    async def until_refused(self, seconds: float = 60) -> float:
        """Wait until two more requests of every session have been refused."""
        return await self._until(lambda session: sum(answer.status != 200 for answer in session.answers), seconds)

    async def _until(self, count: Callable[[Session], int], seconds: float) -> float:
        started, before = time.monotonic(), [count(session) for session in self.sessions]
        async with asyncio.timeout(seconds):
            while any(count(session) < had + 2 for session, had in zip(self.sessions, before, strict=True)):
                await asyncio.sleep(PAUSE_SECONDS)
        return time.monotonic() - started

    async def observe(self) -> None:
        """Fetch and validate all the time.

        Raises:
            AssertionError: something that needs no database failed, or changed.
        """
        async with httpx.AsyncClient(verify=TLS, timeout=30) as http:
            before = [(await http.get(f"{self.server.url}{path}")).content for path in PUBLISHED]
            while True:
                for path, content in zip(PUBLISHED, before, strict=True):
                    started = time.monotonic()
                    response = await http.get(f"{self.server.url}{path}")
                    assert (response.status_code, response.content) == (200, content)
                    self.slowest = max(self.slowest, time.monotonic() - started)
                keys = jwt.PyJWKSet.from_dict(response.json())
                for session in self.sessions:
                    kid = jwt.get_unverified_header(session.access_token)["kid"]
                    jwt.decode(session.access_token, keys[kid], algorithms=["RS256"], options={"verify_aud": False})
                self.observed += 1
                await asyncio.sleep(PAUSE_SECONDS)


@asynccontextmanager
async def signed_in(party: RelyingParty, emails: list[str]) -> AsyncIterator[list[Session]]:
    """Sign users in. Each session has a connection of its own, so that all workers get some."""
    async with AsyncExitStack() as stack:
        sessions = []
        for email in emails:
            http = await stack.enter_async_context(httpx.AsyncClient(verify=TLS, timeout=60))
            own = replace(party, http=http)
            async with open_browser(party.issuer) as browser:
                sessions.append(Session(own, await own.tokens(browser, email)))
        yield sessions


@asynccontextmanager
async def load(server: Server, sessions: list[Session]) -> AsyncIterator[Load]:
    """Run sessions and an observer for the duration of a block. A failure of one of them fails the block."""
    running = Load(server, sessions)
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(task) for task in (running.observe(), *(each.run() for each in sessions))]
        await running.until_rotated()
        yield running
        for task in tasks:
            task.cancel()
