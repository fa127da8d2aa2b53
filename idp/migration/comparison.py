"""Comparing another issuer with this one, before applications are switched: what they may depend on, and would lose."""

from collections.abc import Collection, Iterable, Iterator, Mapping
from enum import StrEnum
from typing import Any, Final
from uuid import UUID

import msgspec

from idp.accounts import kept_subjects
from idp.accounts.attributes.registry import attributes
from idp.accounts.claims import PROTECTED_CLAIMS
from idp.accounts.users import named_user
from idp.errors import OperatorError
from idp.infra import foreign_json, outbound
from idp.keys import jose
from idp.oauth import subjects
from idp.oauth.claims.preview import preview
from idp.oauth.clients.registry import registry
from idp.oauth.clients.repository import find_client
from idp.oauth.clients.uris import origin_of
from idp.settings import settings

DISCOVERY: Final = "/.well-known/openid-configuration"
SECONDS: Final = 10.0
#: Members of the metadata that are texts about a server, or differ between any two.
_OWN: Final = frozenset({"op_policy_uri", "op_tos_uri", "service_documentation", "mtls_endpoint_aliases"})
#: What old tokens are compared with: a place of :class:`idp.oauth.claims.models.Place`, by the member of a line.
PLACES: Final = ("id_token", "access_token", "userinfo")


class State(StrEnum):
    """What a comparison found."""

    SAME = "same"
    DIFFERS = "differs"
    #: The old one has it, this one not.
    MISSING = "missing"
    #: Only this one has it. Applications ignore what they do not know.
    NEW = "new"


class Compared(msgspec.Struct, frozen=True, kw_only=True):
    """One compared value.

    Attributes:
        where: ``discovery``, ``keys``, or a place of claims.
        name: the member, the algorithm or the claim.
        about: the user and the client of a claim.
        old, ours: the values; of lists those that only one has.
    """

    where: str
    name: str
    state: State
    old: Any = None
    ours: Any = None
    about: str = ""


class Sample(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What the old issuer gave an application: tokens, or their claims, and the response of userinfo.

    Attributes:
        client_id: the application; None: as the tokens say.
        scope: of the request; None: as the tokens say.
        user: an address or an id, if the ``sub`` is not that of the user here.
    """

    client_id: str | None = None
    scope: str | None = None
    user: str | None = None
    id_token: str | dict[str, Any] | None = None
    access_token: str | dict[str, Any] | None = None
    userinfo: dict[str, Any] | None = None


class ComparisonError(OperatorError):
    """A comparison is not possible."""


async def issuers(old: str) -> list[Compared]:
    """Compare the metadata and the keys of another issuer with those that this server publishes.

    Raises:
        ComparisonError: one of them does not answer as it should.
    """
    before, after = await _metadata(old), await _metadata(settings().issuer)
    found = [_member(name, before[name], after.get(name)) for name in sorted(before.keys() - _OWN)]
    algorithms = [await _algorithms(old, before), await _algorithms(settings().issuer, after)]
    return [*found, _lists("keys", "alg", *algorithms)]


def _member(name: str, old: Any, ours: Any) -> Compared:
    if isinstance(old, list) and isinstance(ours, list):
        return _lists("discovery", name, old, ours)
    if name.endswith("_endpoint") or name in ("jwks_uri", "issuer", "check_session_iframe"):
        # Applications read the URL. That there is one is what counts, except for the issuer.
        same = old == ours if name == "issuer" else ours is not None
    else:
        same = old == ours or old is False
    state = State.SAME if same else State.MISSING if ours is None else State.DIFFERS
    return Compared(where="discovery", name=name, state=state, old=old, ours=ours)


def _lists(where: str, name: str, old: Collection[Any], ours: Collection[Any]) -> Compared:
    lost, new = [one for one in old if one not in ours], [one for one in ours if one not in old]
    state = State.MISSING if lost else State.NEW if new else State.SAME
    return Compared(where=where, name=name, state=state, old=lost or None, ours=new or None)


async def _metadata(issuer: str) -> dict[str, Any]:
    found = await _fetched(issuer, issuer.rstrip("/") + DISCOVERY)
    if not isinstance(found.get("issuer"), str) or found["issuer"].rstrip("/") != issuer.rstrip("/"):
        raise ComparisonError(f"The metadata at {issuer} is of another issuer, or of none.")
    return found


async def _algorithms(issuer: str, metadata: Mapping[str, Any]) -> list[str]:
    """Return the signature algorithms of the published keys."""
    keys = (await _fetched(issuer, str(metadata.get("jwks_uri")))).get("keys")
    listed = [key for key in keys if isinstance(key, dict)] if isinstance(keys, list) else []
    return sorted({str(key["alg"]) for key in listed if "alg" in key and key.get("use") != "enc"})


async def _fetched(issuer: str, url: str) -> dict[str, Any]:
    """Fetch a JSON object. The operator named the issuer, so its own host may be any; other hosts are guarded."""
    try:
        origin = origin_of(issuer)
        if origin is None:
            raise ComparisonError(f"{issuer!r} is no URL of an issuer.")
        seen = await outbound.observe(
            "GET", url, {"Accept": "application/json"}, b"", own=(origin,), timeout_seconds=SECONDS
        )
        if seen.status == 200:
            return foreign_json.decode(seen.body, dict[str, Any])
    except (outbound.CallFailed, ValueError) as error:
        raise ComparisonError(f"{url} does not answer as it should. {outbound.cause(error)}") from error
    raise ComparisonError(f"{url} answers with status {seen.status}.")


def samples(lines: Iterable[bytes], name: str) -> Iterator[Sample]:
    """Read samples, one JSON object a line.

    Raises:
        ComparisonError: a line is none.
    """
    for number, line in enumerate(lines, 1):
        if line.strip():
            try:
                yield foreign_json.decode(line, Sample)
            except ValueError as error:
                raise ComparisonError(f"{name}: line {number}: {str(error).replace('`', '')}.") from error


async def claims(given: Iterable[Sample], only: Collection[UUID] = ()) -> list[Compared]:
    """Compare claims of the old issuer with those that this server would give the same client for the same scopes.

    Nothing is issued. Claims of the protocol, such as ``exp``, are left out, except ``sub``.

    Args:
        only: these users; empty: all.

    Raises:
        ComparisonError: a sample does not say its user or client, or is no token.
    """
    await registry.load()
    await attributes.load()
    found: list[Compared] = []
    for sample in given:
        old = {place: value for place in PLACES if (value := _claims_of(getattr(sample, place))) is not None}
        found += await _sample(sample, old, only)
    return found


def _claims_of(value: str | dict[str, Any] | None) -> dict[str, Any] | None:
    if not isinstance(value, str):
        return value
    try:
        return dict(jose.unverified_claims(value))
    except jose.InvalidJWTError as error:
        raise ComparisonError("A token of a sample is no JWT. Leave out what is opaque.") from error


async def _sample(sample: Sample, old: Mapping[str, dict[str, Any]], only: Collection[UUID]) -> list[Compared]:
    client_id = sample.client_id or _first(old, "azp", "client_id", "aud")
    sub = _first(old, "sub")
    scope = sample.scope if sample.scope is not None else _first(old, "scope")
    if client_id is None or sub is None or scope is None:
        raise ComparisonError("A sample has no client_id, no scope or no sub, and no token that says it.")
    user_id = kept_subjects.user_id(sub)
    user = await named_user(sample.user or str(user_id or sub))
    client = await find_client(client_id)
    about = f"{sub} at {client_id}"
    if user is not None and only and user.id not in only:
        return []
    missing = [name for name, one in (("user", user), ("client", client)) if one is None]
    if user is None or client is None:
        return [Compared(where="here", name=name, state=State.MISSING, about=about) for name in missing]
    asked = [name for name in scope.split() if name in client.scopes]
    content = (await preview(client_id, user.id, scope=asked)).content
    found = [
        Compared(where="scope", name=name, state=State.MISSING, about=about)
        for name in scope.split()
        if name not in client.scopes
    ]
    for place, before in old.items():
        after = content.get(place, {}) | {"sub": subjects.subject(client, user.id)}
        names = sorted({*before, *after} - (PROTECTED_CLAIMS - {"sub"}))
        found += [_claim(place, name, before, after, about) for name in names]
    return found


def _claim(place: str, name: str, old: Mapping[str, Any], ours: Mapping[str, Any], about: str) -> Compared:
    if name not in ours:
        state = State.MISSING
    elif name not in old:
        state = State.NEW
    else:
        state = State.SAME if _normal(old[name]) == _normal(ours[name]) else State.DIFFERS
    return Compared(where=place, name=name, state=state, old=old.get(name), ours=ours.get(name), about=about)


def _normal(value: Any) -> Any:
    """Return a value for comparison: the order of texts in a list has no meaning."""
    if isinstance(value, dict):
        return {name: _normal(one) for name, one in value.items()}
    is_texts = isinstance(value, list) and all(isinstance(one, str) for one in value)
    return sorted(value) if is_texts else value


def _first(old: Mapping[str, Mapping[str, Any]], *names: str) -> str | None:
    """Return the first text among these claims."""
    return next((each[name] for name in names for each in old.values() if isinstance(each.get(name), str)), None)
