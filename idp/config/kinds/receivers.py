"""Receivers of requests: webhooks, token hooks and provisioning targets."""

from collections.abc import Collection
from contextlib import suppress
from typing import Any, ClassVar

import msgspec
from msgspec import structs

from idp.config import references
from idp.config.errors import UnknownNameError
from idp.config.kinds.base import KindWithSecret, Reference, plain, without
from idp.config.kinds.lookups import group_named, group_names, organization_named, registered_clients, slugs
from idp.delivery.standard_webhooks import key_of
from idp.directory import names
from idp.events import webhooks
from idp.events.models import Webhook
from idp.events.repository import lock_webhooks
from idp.events.repository import webhooks as stored_webhooks
from idp.oauth.claims.models import Place
from idp.oauth.clients.registration import TOPIC
from idp.oauth.token_hook import registration as hooks
from idp.oauth.token_hook.models import LoadedHook, TokenHook
from idp.oauth.token_hook.repository import hooks as stored_hooks
from idp.provisioning import mapping, targets
from idp.provisioning.models import Match, Removal, Target, Users
from idp.provisioning.repository.targets import lock_targets, target_by_name
from idp.provisioning.repository.targets import targets as stored_targets

_RECORD = ("id", "old_secret_until", "disabled_at", "created_at", "updated_at")
_SECRET: Any = {"secret": (Reference | None, None), "disabled": (bool, False)}


class Webhooks(KindWithSecret):
    """Webhooks, named by their URL and their description."""

    section = "webhooks"
    model: ClassVar[Any] = without(
        Webhook, "WebhookEntry", *_RECORD,
        description=(str, ""), kinds=tuple[str, ...], whole=(bool, False), **_SECRET,
    )  # fmt: skip
    key = ("url", "description")
    secret = "secret"

    async def lock_rows(self) -> None:
        await lock_webhooks()

    def label(self, entry: Any) -> str:
        return f"{entry.url} ({entry.description})" if entry.description else str(entry.url)

    async def read(self) -> list[Any]:
        return [
            self.model(
                url=one.url, description=one.description, kinds=tuple(one.kinds), whole=one.whole,
                secret=Reference(), disabled=one.disabled_at is not None,
            )
            for one in await stored_webhooks()
        ]  # fmt: skip

    def normal(self, entry: Any, named: Collection[str]) -> Any:
        webhooks.check(entry.url, entry.description, entry.kinds)
        return structs.replace(entry, kinds=tuple(sorted(set(entry.kinds))))

    async def _stored(self, entry: Any) -> Webhook:
        key = self.identity(entry)
        return next(one for one in await stored_webhooks() if (one.url, one.description) == key)

    async def create(self, entry: Any, secret: str | None) -> None:
        webhook_id, _ = await webhooks.add(
            entry.url, entry.kinds, description=entry.description, whole=entry.whole, secret=secret
        )
        if entry.disabled:
            await webhooks.set_enabled(webhook_id, False)

    async def update(self, before: Any, after: Any, changed: Collection[str]) -> None:
        stored = await self._stored(after)
        values = {name: getattr(after, name) for name in changed if name != "disabled"}
        if values:
            await webhooks.update(stored.id, **values)
        if "disabled" in changed:
            await webhooks.set_enabled(stored.id, not after.disabled)

    async def delete(self, entry: Any) -> None:
        await webhooks.remove((await self._stored(entry)).id)

    def check_secret(self, entry: Any, secret: str) -> None:
        key_of(secret)

    async def has_secret(self, entry: Any, secret: str) -> bool:
        return await webhooks.has_secret((await self._stored(entry)).id, secret)

    async def set_secret(self, entry: Any, secret: str) -> None:
        await webhooks.rotate_secret((await self._stored(entry)).id, secret)

    async def losses(self, entry: Any) -> str:
        return "Deliveries that wait are given up."


class TokenHooks(KindWithSecret):
    """URLs that are asked before tokens are issued. Without a client: for every client without one of its own."""

    section = "token_hooks"
    model: ClassVar[Any] = without(
        TokenHook, "TokenHookEntry", *_RECORD,
        client_id=(str | None, None), places=(tuple[Place, ...], hooks.DEFAULT_PLACES), fail_open=(bool, False),
        **_SECRET,
    )  # fmt: skip
    key = ("client_id",)
    secret = "secret"
    topics = (TOPIC,)

    def label(self, entry: Any) -> str:
        return entry.client_id or "(every client)"

    async def read(self) -> list[Any]:
        known = {*await registered_clients(), None}
        return [
            self.model(
                client_id=one.client_id, url=one.url, places=one.places, fail_open=one.fail_open,
                secret=Reference(), disabled=one.disabled_at is not None,
            )
            for one in await stored_hooks()
            if one.client_id in known
        ]  # fmt: skip

    def normal(self, entry: Any, named: Collection[str]) -> Any:
        return structs.replace(entry, places=tuple(map(Place, hooks.checked(entry.url, entry.places))))

    async def _stored(self, entry: Any) -> LoadedHook:
        return next(one for one in await stored_hooks() if one.client_id == entry.client_id)

    async def create(self, entry: Any, secret: str | None) -> None:
        hook_id, _ = await hooks.add(
            entry.client_id, entry.url, places=entry.places, fail_open=entry.fail_open, secret=secret
        )
        if entry.disabled:
            await hooks.set_enabled(hook_id, False)

    async def update(self, before: Any, after: Any, changed: Collection[str]) -> None:
        stored = await self._stored(after)
        values = {name: getattr(after, name) for name in changed if name != "disabled"}
        if values:
            await hooks.update(stored.id, **values)
        if "disabled" in changed:
            await hooks.set_enabled(stored.id, not after.disabled)

    async def delete(self, entry: Any) -> None:
        await hooks.remove((await self._stored(entry)).id)

    def check_secret(self, entry: Any, secret: str) -> None:
        key_of(secret)

    async def has_secret(self, entry: Any, secret: str) -> bool:
        return hooks.has_secret(await self._stored(entry), secret)

    async def set_secret(self, entry: Any, secret: str) -> None:
        await hooks.rotate_secret((await self._stored(entry)).id, secret)

    async def losses(self, entry: Any) -> str:
        return "Tokens are issued without being asked about."


class ProvisioningTargets(KindWithSecret):
    """Applications that get users over SCIM. One that is created is enabled, unless it says disabled."""

    section = "provisioning_targets"
    model: ClassVar[Any] = without(
        Target, "ProvisioningTargetEntry",
        "id", "organization_id", "features", "features_at", "failing_since", "failing_reason", "disabled_at",
        "created_at", "updated_at",
        users=(Users, Users.ALL), groups=(tuple[str, ...], ()), organization=(str | None, None),
        client_id=(str | None, None), pushed_groups=(tuple[str, ...], ()),
        mapping=(dict[str, str], msgspec.field(default_factory=lambda: dict(mapping.DEFAULT))),
        match=(Match, Match.USER_NAME),
        removal=(Removal, Removal.DEACTIVATE), mends=(bool, False),
        token=(Reference | None, None), disabled=(bool, False),
    )  # fmt: skip
    key = ("name",)
    secret = "token"

    async def lock_rows(self) -> None:
        await lock_targets()

    async def read(self) -> list[Any]:
        groups, owners = await group_names(), await slugs()
        return [
            self.model(
                **{name: getattr(one, name) for name in ("name", "base_url", "users", "client_id", "match")},
                **{name: getattr(one, name) for name in ("removal", "mends")},
                mapping=dict(one.mapping),
                groups=tuple(sorted(groups[key] for key in one.groups if key in groups)),
                pushed_groups=tuple(sorted(groups[key] for key in one.pushed_groups if key in groups)),
                organization=owners.get(one.organization_id) if one.organization_id is not None else None,
                token=Reference(),
                disabled=one.disabled_at is not None,
            )
            for one in await stored_targets()
        ]

    def normal(self, entry: Any, named: Collection[str]) -> Any:
        lists = {name: tuple(sorted(set(getattr(entry, name)))) for name in ("groups", "pushed_groups")}
        return structs.replace(entry, name=names.checked(entry.name), base_url=entry.base_url.rstrip("/"), **lists)

    async def _values(self, entry: Any, changed: Collection[str]) -> dict[str, Any]:
        """Return fields as the service takes them, with ids."""
        values = {name: plain(getattr(entry, name)) for name in changed if name not in ("token", "disabled")}
        for name in {"groups", "pushed_groups"} & values.keys():
            values[name] = [str((await group_named(group)).id) for group in values[name]]
        if "organization" in values:
            slug = values.pop("organization")
            values["organization_id"] = str((await organization_named(slug)).id) if slug is not None else None
        return values

    async def _stored(self, entry: Any) -> Target:
        found = await target_by_name(entry.name)
        if found is None:
            raise targets.UnknownTargetError
        return found

    async def create(self, entry: Any, secret: str | None) -> None:
        values = await self._values(entry, entry.__struct_fields__)
        target_id = await targets.create(token=secret or "", **values)
        if not entry.disabled:
            await targets.set_enabled(target_id, True)

    async def update(self, before: Any, after: Any, changed: Collection[str]) -> None:
        stored, values = await self._stored(after), await self._values(after, changed)
        token = None
        # Another URL needs the token, which the file has.
        if "base_url" in changed and after.token is not None:
            with suppress(UnknownNameError):
                token = references.resolve(after.token)
        if values:
            await targets.update(stored.id, values, token)
        if "disabled" in changed:
            await targets.set_enabled(stored.id, not after.disabled)

    async def delete(self, entry: Any) -> None:
        await targets.delete((await self._stored(entry)).id)

    def check_secret(self, entry: Any, secret: str) -> None:
        targets.check_token(secret)

    async def has_secret(self, entry: Any, secret: str) -> bool:
        return await targets.has_token((await self._stored(entry)).id, secret)

    async def set_secret(self, entry: Any, secret: str) -> None:
        # With another URL it is set already.
        if not await self.has_secret(entry, secret):
            await targets.set_token((await self._stored(entry)).id, secret)

    async def losses(self, entry: Any) -> str:
        return "Deliveries that wait are given up. What it was sent stays there."
