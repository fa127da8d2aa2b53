"""The table of figures, each beside its limit."""

import asyncio
import statistics
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import httpx
import msgspec

from bench import bare, limits, sample
from bench.bare import Statement
from bench.load import FORM, Request, Result, load
from bench.product import Product, running
from bench.sample import Sample
from idp.settings import settings


class Part(msgspec.Struct, frozen=True):
    """A measurement: a value, its limit and their ratio.

    Attributes:
        goal: if it differs from that of the figure.
    """

    name: str
    value: float
    limit: float
    ratio: float
    goal: str = ""

    @classmethod
    def of(cls, name: str, value: float, limit: float, goal: str = "") -> "Part":
        return cls(name, value, limit, value / limit, goal)

    def margin(self, goal: str) -> float:
        """Return at least 1 if it meets its goal, and the more the better it is."""
        sign, bound = (self.goal or goal).split()
        return self.ratio / float(bound) if sign == ">=" else float(bound) / max(self.ratio, 1e-9)


class Figure(msgspec.Struct, frozen=True):
    """A row of the table. Its value is that of its worst part.

    Attributes:
        goal: such as ">= 0.70" or "<= 1.20": the minimum or maximum of the ratio.
        beside: measurements for comparison, without a goal.
    """

    name: str
    value: float
    unit: str
    limit: float
    ratio: float
    goal: str
    met: bool
    parts: list[Part] = []
    beside: list[Part] = []

    @classmethod
    def of(cls, name: str, unit: str, goal: str, parts: Sequence[Part], beside: Sequence[Part] = ()) -> "Figure":
        worst = min(parts, key=lambda part: part.margin(goal))
        met = worst.margin(goal) >= 1
        shown = list(parts) if len(parts) > 1 else []
        goal = worst.goal or goal
        return cls(name, worst.value, unit, worst.limit, worst.ratio, goal, met, shown, list(beside))


class Bench(msgspec.Struct, frozen=True):
    """The environment of all figures.

    Attributes:
        seconds: the duration of one load.
        rounds: the number of measurements of each pair of a figure and its limit; the medians count.
    """

    folder: Path
    dsn: str
    product: Product
    sample: Sample
    seconds: float
    rounds: int

    @property
    def enough(self) -> int:
        """Return more single-use values than one load uses."""
        return int(self.seconds * 8000)

    def load(self, *requests: Request, **options: bool | float) -> Result:
        """Load the product."""
        return load(self.product.url, requests, **{"seconds": self.seconds} | options)  # type: ignore[arg-type]


Measure = Callable[[], Awaitable[float]]
#: Seconds after its start in which a server has done what it does once.
SETTLED_AFTER = 5


async def paired(bench: Bench, name: str, figure: Measure, limit: Measure) -> Part:
    """Measure figure and limit in turn, so that disturbances of the machine affect both."""
    values, bounds = [], []
    for _ in range(bench.rounds):
        bounds.append(await limit())
        values.append(await figure())
    return Part.of(name, statistics.median(values), statistics.median(bounds))


def client_credentials_request(bench: Bench, alg: str = "RS256") -> Request:
    return bench.sample.token_request(grant_type="client_credentials", resource=f"https://{alg.lower()}.example")


async def client_credentials(bench: Bench) -> Figure:
    async def figure() -> float:
        return bench.load(client_credentials_request(bench)).rate

    async def limit() -> float:
        return limits.signatures(bench.seconds)

    part = await paired(bench, "against the signatures", figure, limit)
    beside = _bare(bench, client_credentials_request(bench), part.limit, signatures=1)
    parts = [part, Part.of("against the bare handler", part.value, beside.value, ">= 0.90")]
    return Figure.of("client_credentials (JWT access token, RS256)", "tokens/s", ">= 0.70", parts, [beside])


async def es256(bench: Bench) -> Figure:
    async def rate(alg: str) -> float:
        return bench.load(client_credentials_request(bench, alg)).rate

    part = await paired(bench, "ES256", lambda: rate("ES256"), lambda: rate("RS256"))
    bare_rsa = _bare(bench, client_credentials_request(bench), part.limit, signatures=1).value
    beside = _bare(bench, client_credentials_request(bench, "ES256"), bare_rsa, signatures=1, alg="ES256")
    return Figure.of("the same with ES256, against RS256", "tokens/s", ">= 3.00", [part], [beside])


async def private_key_jwt(bench: Bench) -> Figure:
    """Measure tokens of a client with assertions: one verification, one signature, and one commit of the jti."""
    return await _once_proved(bench, "private_key_jwt (ES256 assertion)", sample.assertions)


async def dpop(bench: Bench) -> Figure:
    """Measure tokens that are bound to a key: one verification, one signature, and one commit of the proof's jti."""
    return await _once_proved(bench, "DPoP (ES256 proof)", sample.proved_requests)


async def _once_proved(bench: Bench, what: str, requests: Callable[[Sample, str, int], Sequence[Request]]) -> Figure:
    async def figure() -> float:
        return bench.load(*requests(bench.sample, bench.product.issuer, bench.enough), once=True).rate

    part = await paired(bench, what, figure, lambda: _composite(bench, signatures=1, proofs=1))
    (one,) = requests(bench.sample, bench.product.issuer, 1)
    beside = _bare_composite(bench, one, part.limit, signatures=1, proofs=1)
    return Figure.of(f"client_credentials with {what}", "tokens/s", ">= 0.60", [part], [beside])


async def _composite(bench: Bench, *, signatures: int = 2, proofs: int = 0, commits: int = 1) -> float:
    """Return the rate that so many operations allow, one after the other on the same cores."""
    cost = commits / limits.commits(bench.seconds, bench.dsn)
    if signatures:
        cost += signatures / limits.signatures(bench.seconds)
    if proofs:
        cost += proofs / limits.proofs(bench.seconds)
    return 1 / cost


async def fapi(bench: Bench) -> Figure:
    """Measure the three requests of a sign-in as in the FAPI 2.0 Security Profile: private_key_jwt, PAR and DPoP.

    Commits: the jti and the pushed request; the code; the two jti and the tokens. The first two requests make no RSA
    signature, so that handling a request is most of their cost, and their limit is a bare application. It reads once in
    place of the pushed request and the session.
    """
    issuer, users = bench.product.issuer, [user for user, _ in await sample.people(bench.enough)]

    async def push() -> float:
        return bench.load(*sample.pushes(bench.sample, issuer, bench.enough), once=True).rate

    async def authorize() -> float:
        return bench.load(*await sample.pushed(bench.sample, users), once=True).rate

    async def redeem() -> float:
        return bench.load(*await sample.bound_codes(bench.sample, issuer, users), once=True).rate

    commit = Statement(limits.COMMIT)
    (one_push,) = sample.pushes(bench.sample, issuer, 1)
    (one_authorization,) = await sample.pushed(bench.sample, users[:1])
    parts = [
        await _against_bare(bench, "pushed request", one_push, commit, commit, figure=push, proofs=1),
        await _against_bare(bench, "authorization", one_authorization, _one_read(bench), commit, figure=authorize),
        await paired(bench, "redemption", redeem, lambda: _composite(bench, proofs=2, commits=3)),
    ]
    whole = Part.of("all three", *(1 / sum(1 / getattr(part, of) for part in parts) for of in ("value", "limit")))
    name = "PAR, authorization and code with private_key_jwt and DPoP (FAPI 2.0)"
    (one_redemption,) = await sample.bound_codes(bench.sample, issuer, users[:1])
    beside = _bare_composite(bench, one_redemption, parts[-1].limit, proofs=2, commits=3)
    return Figure.of(name, "sign-ins/s", ">= 0.60", [whole], [*parts, beside])


async def authorization_code(bench: Bench) -> Figure:
    users = [user for user, _ in await sample.people(bench.enough)]

    async def figure() -> float:
        return bench.load(*await sample.codes(bench.sample, users), once=True).rate

    part = await paired(bench, "redemption", figure, lambda: _composite(bench))
    name = "authorization_code redemption (access + ID token + refresh token)"
    beside = _bare_composite(bench, (await sample.codes(bench.sample, users[:1]))[0], part.limit)
    return Figure.of(name, "redemptions/s", ">= 0.60", [part], [beside])


async def refresh_token(bench: Bench) -> Figure:
    users = [user for user, _ in await sample.people(bench.enough)]

    async def figure() -> float:
        return bench.load(*await sample.refresh_tokens(bench.sample, users), once=True).rate

    part = await paired(bench, "rotation", figure, lambda: _composite(bench))
    beside = _bare_composite(bench, (await sample.refresh_tokens(bench.sample, users[:1]))[0], part.limit)
    return Figure.of("refresh_token rotation with openid scope", "rotations/s", ">= 0.60", [part], [beside])


def _ask(bench: Bench, request: Request) -> httpx.Response:
    url = bench.product.url + request.path
    return httpx.request(request.method, url, headers=request.headers, content=request.body)


def _bare(bench: Bench, request: Request, limit: float, **before: Any) -> Part:
    """Return the rate of a bare handler that does only the expensive part of the work and gives the same response."""
    with bare.serving(bench.folder, bare.Answer.of(_ask(bench, request), **before)) as url:
        rates = [load(url, [request], seconds=bench.seconds).rate for _ in range(bench.rounds)]
    return Part.of("a bare handler that does only this", statistics.median(rates), limit)


def _bare_composite(bench: Bench, request: Request, limit: float, *, commits: int = 1, **before: int) -> Part:
    statements = [Statement(limits.COMMIT)] * commits
    return _bare(bench, request, limit, dsn=bench.dsn, statements=statements, **{"signatures": 2} | before)


async def _against_bare(
    bench: Bench, name: str, request: Request, *statements: Statement, figure: Measure | None = None, proofs: int = 0
) -> Part:
    """Measure a request against a bare application with the same response, after these statements and verifications.

    Args:
        figure: the measurement, if the request can be sent only once.
    """
    before = {"dsn": bench.dsn if statements else None, "statements": statements, "proofs": proofs}
    with bare.serving(bench.folder, bare.Answer.of(_ask(bench, request), **before)) as url:

        async def again() -> float:
            return bench.load(request).rate

        async def limit() -> float:
            return load(url, [request], seconds=bench.seconds).rate

        return await paired(bench, name, figure or again, limit)


def _one_read(bench: Bench) -> Statement:
    return Statement("SELECT * FROM client WHERE client_id = $1", [bench.sample.client_id])


async def reads(bench: Bench) -> Figure:
    (first, *_) = await sample.codes(bench.sample, [user for user, _ in await sample.people(1)])
    token = _ask(bench, first).json()["access_token"]
    introspection = Request("POST", "/introspect", FORM | bench.sample.authorization, urlencode({"token": token}))
    userinfo = Request("GET", "/userinfo", {"Authorization": f"Bearer {token}"})
    parts = [
        await _against_bare(bench, name, request, _one_read(bench))
        for name, request in (("introspection", introspection), ("userinfo", userinfo))
    ]
    return Figure.of("introspection, userinfo", "answers/s", ">= 0.80", parts)


async def documents(bench: Bench) -> Figure:
    parts = []
    for path in ("/.well-known/jwks.json", "/.well-known/openid-configuration"):
        name = path.rpartition("/")[2]
        etag = httpx.get(bench.product.url + path).headers["etag"]
        parts.append(await _against_bare(bench, f"{name}, 200", Request("GET", path)))
        parts.append(await _against_bare(bench, f"{name}, 304", Request("GET", path, {"If-None-Match": etag})))
    return Figure.of("JWKS and discovery, 200 and 304", "answers/s", ">= 0.80", parts)


def verifications(bench: Bench) -> float:
    config = settings()
    costs = config.argon2_memory_cost, config.argon2_time_cost, config.argon2_parallelism
    return limits.verifications(bench.seconds, *costs)


async def password_sign_in(bench: Bench) -> Figure:
    emails = [email for _, email in await sample.people(int(bench.seconds * 300))]

    async def figure() -> float:
        requests = await sample.sign_ins(bench.product.issuer, emails)
        # As many concurrent requests as concurrent hashings, and a few that wait.
        return bench.load(*requests, connections=16, once=True).rate

    async def limit() -> float:
        return verifications(bench)

    part = await paired(bench, "sign-in", figure, limit)
    return Figure.of("password sign-in (POST of the form)", "sign-ins/s", ">= 0.85", [part])


async def memory(bench: Bench) -> Figure:
    """Measure a server that has just started: all of its processes, then the largest worker under load."""
    tokens, at_half = 0, 0.0
    with running(bench.folder, bench.dsn, port=bench.product.other_port) as product:
        await asyncio.sleep(SETTLED_AFTER)
        idle = product.proportional()
        while tokens < 100_000:
            tokens += load(product.url, [client_credentials_request(bench)], seconds=bench.seconds).requests
            if not at_half and tokens >= 50_000:
                at_half = product.memory()
        end = product.memory()
    # An allocator may round up by 2 %.
    parts = [
        Part.of("all processes, idle (PSS)", idle, 100),
        Part.of("a worker after 100,000 tokens", end, 85),
        Part.of("a worker since 50,000", end, at_half * 1.02),
    ]
    return Figure.of("memory with two workers", "MiB", "<= 1.00", parts)


async def start(bench: Bench) -> Figure:
    taken = []
    for _ in range(max(3, bench.rounds)):
        with running(bench.folder, bench.dsn, port=bench.product.other_port) as product:
            taken.append(product.started_within)
    part = Part.of("start", statistics.median(taken), 1.2)
    return Figure.of("start to first answer, database up", "s", "<= 1.00", [part])


FIGURES = (
    client_credentials, es256, private_key_jwt, dpop, authorization_code, refresh_token, fapi, reads, documents,
    password_sign_in, memory, start,
)  # fmt: skip
