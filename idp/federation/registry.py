"""Configuration of upstream providers, and the providers in memory that requests use."""

import re
from collections.abc import Awaitable, Callable, Collection, Sequence
from datetime import datetime
from itertools import count
from typing import Any
from uuid import UUID

import msgspec
import structlog

from idp.accounts import profile
from idp.audit.events import record
from idp.directory import organizations
from idp.directory.repository.organizations import slugs_of_enabled_organizations
from idp.federation import providers, repository, rules
from idp.federation.errors import InvalidUpstreamError
from idp.federation.models import Upstream
from idp.infra.db.cache_invalidation import exclusive_change
from idp.keys import vault
from idp.settings import Settings, settings

log = structlog.get_logger()

TOPIC = "upstreams"

#: Options that decide which server gets the client secret, the password or the tokens of users.
_DESTINATION = ("metadata_url", "api", "url", "start_tls", "ca")
_ID = re.compile(r"[a-z0-9][a-z0-9-]{0,30}")


def configure(*, secret_is_known: bool = True, **values: Any) -> Upstream:
    """Validate a configuration and add the defaults of its kind.

    Args:
        secret_is_known: whether ``client_secret`` is the secret. Otherwise any text stands for it.

    Raises:
        InvalidUpstreamError: a value is missing or invalid.
    """
    given = {name: value for name, value in values.items() if value not in (None, (), {})}
    kind = given.get("kind", "oidc")
    if kind not in providers.KINDS:
        raise InvalidUpstreamError(f"kind must be one of {', '.join(sorted(providers.KINDS))}.")
    defaults = {"id": kind, "kind": kind} | providers.KINDS[kind].DEFAULTS
    try:
        upstream = msgspec.convert(defaults | given, Upstream)
    except msgspec.ValidationError as error:
        raise InvalidUpstreamError(f"The configuration of the upstream is invalid: {error}.") from error
    if not _ID.fullmatch(upstream.id):
        raise InvalidUpstreamError("The id must have at most 31 lower-case letters, digits and hyphens.")
    if not upstream.name.strip() or not upstream.name.isprintable() or len(upstream.name) > 60:
        raise InvalidUpstreamError("The name must be one line of up to 60 characters.")
    if unknown := upstream.claims.keys() - profile.FIELDS.keys() - {"email"}:
        raise InvalidUpstreamError(f"There are no such claims: {', '.join(sorted(unknown))}.")
    if upstream.organization_id is not None and not providers.KINDS[kind].redirects:
        raise InvalidUpstreamError("A directory belongs to the whole server, not to an organisation.")
    if upstream.adds_members and upstream.organization_id is None:
        raise InvalidUpstreamError("Only an upstream of an organisation can add members.")
    rules.check(upstream.rules)
    providers.KINDS[kind].check(upstream)
    if secret_is_known:
        providers.KINDS[kind].check_secret(upstream)
    return providers.with_issuer(upstream)


def is_id(text: str) -> bool:
    """Return whether an upstream can have this id."""
    return _ID.fullmatch(text) is not None


async def free_id(name: str) -> str:
    """Return a name, or the first of ``name-2``, ``name-3`` that no upstream has."""
    taken = {known.id for known in from_settings(settings())} | {row.id for row in await repository.upstreams()}
    return next(each for number in count(1) if (each := name if number == 1 else f"{name}-{number}") not in taken)


def from_settings(config: Settings) -> list[Upstream]:
    """Return the providers that are configured by settings."""
    found = []
    if config.google_client_id:
        found.append(
            configure(
                kind="google",
                client_id=config.google_client_id,
                client_secret=_reveal(config.google_client_secret),
                required_claims={"hd": config.google_domains} if config.google_domains else {},
            )
        )
    if config.github_client_id:
        found.append(
            configure(
                kind="github",
                client_id=config.github_client_id,
                client_secret=_reveal(config.github_client_secret),
                organizations=config.github_organizations,
            )
        )
    return found


def _reveal(secret: Any) -> str | None:
    return secret.get_secret_value() if secret is not None else None


def _context(upstream_id: str) -> str:
    return f"upstream.client_secret:{upstream_id}"


async def load_stored() -> list[Upstream]:
    """Return the providers in the database, including disabled ones, in display order."""
    found = []
    for row in await repository.upstreams():
        config = msgspec.json.decode(row.config, type=dict[str, Any])
        if row.client_secret is not None:
            config["client_secret"] = vault.decrypt(row.client_secret, _context(row.id)).decode()
        config |= {"disabled": row.disabled_at is not None, "organization_id": row.organization_id}
        if (upstream := _known(row.id, config)) is not None:
            found.append(upstream)
    return found


def _known(upstream_id: str, config: dict[str, Any]) -> Upstream | None:
    """Return an upstream; None if this version does not know its kind or an option, as after a downgrade."""
    try:
        if config["kind"] in providers.KINDS:
            return msgspec.convert(config, Upstream)
        problem = "This version does not know its kind."
    except msgspec.ValidationError:
        problem = "This version does not know a value of its configuration."
    log.error("upstream_not_usable", path=upstream_id, reason=problem)
    return None


def without_secret(upstream: Upstream) -> dict[str, Any]:
    """Return a configuration without the client secret, for the API and the console."""
    config: dict[str, Any] = msgspec.to_builtins(upstream)
    del config["client_secret"]
    return config | {"redirect_uri": upstream.redirect_uri}


def _to_row(upstream: Upstream) -> tuple[str, bytes | None]:
    """Return the configuration as JSON without what has a column of its own, and the encrypted secret."""
    config, secret = without_secret(upstream), upstream.client_secret
    for name in ("redirect_uri", "organization_id", "disabled"):
        del config[name]
    sealed = vault.encrypt(secret.encode(), _context(upstream.id)) if secret else None
    return msgspec.json.encode(config).decode(), sealed


async def add(upstream: Upstream) -> bool:
    """Add a provider. Returns False if the id is taken.

    Raises:
        InvalidUpstreamError: a rule names a group, a role or an attribute that does not exist.
        UnknownOrganizationError: there is no such organization.
    """
    async with exclusive_change(TOPIC):
        if upstream.organization_id is not None:
            await organizations.keep(upstream.organization_id)
        upstream = msgspec.structs.replace(upstream, rules=await rules.resolve(upstream.rules))
        config, sealed = _to_row(upstream)
        if upstream.id in {known.id for known in from_settings(settings())} or not await repository.insert_upstream(
            upstream.id, config, sealed, upstream.organization_id, disabled=upstream.disabled
        ):
            return False
        await record("upstream_added", detail=_named(upstream))
    return True


def _named(upstream: Upstream) -> dict[str, str]:
    if upstream.organization_id is None:
        return {"upstream": upstream.id}
    return {"upstream": upstream.id, "organization_id": str(upstream.organization_id)}


async def update(upstream_id: str, expected: datetime | None = None, **changes: Any) -> Upstream | None:
    """Change a provider. Linked identities depend on its id, kind, issuer and organization, so these cannot change.

    Another server needs the secret again: otherwise an administrator could read the stored one there.

    Args:
        expected: the ``updated_at`` that the caller has read.
        changes: arguments of :func:`configure`; None resets a value to the default of its kind.

    Returns:
        the new configuration; None if there is no such provider, or it has changed since ``expected``.

    Raises:
        InvalidUpstreamError: the new configuration is invalid.
    """
    async with exclusive_change(TOPIC):
        known = next((known for known in await load_stored() if known.id == upstream_id), None)
        if known is None:
            return None
        upstream = configure(**msgspec.structs.asdict(known) | changes)
        if _fixed(known) != _fixed(upstream):
            raise InvalidUpstreamError(
                "Its id, its kind, its issuer and its organisation cannot be changed. Add another one."
            )
        if known.client_secret and "client_secret" not in changes and _destination(known) != _destination(upstream):
            raise InvalidUpstreamError("Enter the secret or the password too: it would be sent to another server.")
        upstream = msgspec.structs.replace(upstream, rules=await rules.resolve(upstream.rules, known.rules))
        if not await repository.update_upstream(upstream_id, *_to_row(upstream), expected):
            return None
        await record("upstream_updated", detail=_named(upstream))
    return upstream


def _fixed(upstream: Upstream) -> tuple[object, ...]:
    return upstream.id, upstream.kind, upstream.issuer, upstream.organization_id


def _destination(upstream: Upstream) -> list[list[str]]:
    # Forms send the lines of a certificate with other ends.
    return [upstream.options.get(name, "").split() for name in _DESTINATION]


async def delete(upstream_id: str, expected: datetime | None = None) -> bool:
    """Delete a provider; its identities stay, so that it can be added again. Returns whether it existed."""
    async with exclusive_change(TOPIC):
        if not await repository.delete_upstream(upstream_id, expected):
            return False
        await record("upstream_deleted", detail={"upstream": upstream_id})
    return True


async def reorder(upstream_ids: Sequence[str]) -> None:
    """Move providers to the front, in this order.

    Raises:
        InvalidUpstreamError: one of them is unknown. Nothing is changed.
    """
    async with exclusive_change(TOPIC):
        others = [known.id for known in await load_stored() if known.id not in upstream_ids]
        if await repository.reorder_upstreams([*upstream_ids, *others]) != len(upstream_ids) + len(others):
            raise InvalidUpstreamError("One of them does not exist, or is named twice.")
        await record("upstreams_ordered", detail={"upstreams": list(upstream_ids)})


async def disable(upstream_id: str) -> bool:
    """Disable sign-in with a provider. Returns whether this call changed it."""
    return await _set_state(repository.disable_upstream, upstream_id, "upstream_disabled")


async def enable(upstream_id: str) -> bool:
    """Enable sign-in with a provider. Returns whether this call changed it."""
    return await _set_state(repository.enable_upstream, upstream_id, "upstream_enabled")


async def _set_state(change: Callable[[str], Awaitable[bool]], upstream_id: str, event: str) -> bool:
    async with exclusive_change(TOPIC):
        if not await change(upstream_id):
            return False
        await record(event, detail={"upstream": upstream_id})
    return True


class Upstreams:
    """The enabled providers in memory, those of the settings first.

    Attributes:
        organizations: the organizations that have such a provider and are enabled, with their slugs.
    """

    def __init__(self) -> None:
        self._by_id: dict[str, Upstream] = {}
        self.organizations: dict[UUID, str] = {}

    async def load(self) -> None:
        """Reload all providers. If that fails, the loaded ones stay."""
        found = [one for one in (*from_settings(settings()), *await load_stored()) if not one.disabled]
        owners = {one.organization_id for one in found if one.organization_id is not None}
        enabled = await slugs_of_enabled_organizations(owners) if owners else {}
        self._by_id = {one.id: one for one in found if one.organization_id is None or one.organization_id in enabled}
        self.organizations = enabled

    def get(self, upstream_id: str) -> Upstream | None:
        return self._by_id.get(upstream_id)

    def allowed(self, only: tuple[str, ...] | None, organizations: Collection[UUID] = ()) -> list[Upstream]:
        """Return the providers with these ids. None: those of the whole server, and of these organizations."""
        if only is not None:
            return [upstream for upstream in self._by_id.values() if upstream.id in only]
        known = {None, *organizations}
        return [upstream for upstream in self._by_id.values() if upstream.organization_id in known]

    def offered(self, only: tuple[str, ...] | None, organizations: Collection[UUID] = ()) -> list[Upstream]:
        """Return those of :meth:`allowed` that users are sent to."""
        return [upstream for upstream in self.allowed(only, organizations) if providers.KINDS[upstream.kind].redirects]

    def directories(self, only: tuple[str, ...] | None) -> list[Upstream]:
        """Return those of :meth:`allowed` whose passwords users enter here."""
        return [upstream for upstream in self.allowed(only) if not providers.KINDS[upstream.kind].redirects]


upstreams = Upstreams()
