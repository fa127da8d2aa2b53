"""The fields of a target as people write and read them: names instead of ids, and a mapping as lines."""

from collections.abc import Iterable, Mapping
from typing import Any
from uuid import UUID

from idp.directory.repository.groups import names_of_groups
from idp.directory.repository.organizations import organization_by_id
from idp.errors import ValidationError
from idp.oauth.access_policies.texts import read_groups, read_organizations
from idp.provisioning.models import Target
from idp.provisioning.repository import targets
from idp.provisioning.targets import UnknownTargetError


async def read(texts: Mapping[str, Any]) -> dict[str, Any]:
    """Return the values of fields.

    Args:
        texts: by field. Groups and the mapping are lists of texts; the organization is a slug. None: not given.

    Raises:
        ValidationError: there is no such group or organization, or a line of the mapping is malformed.
    """
    values = {name: value for name, value in texts.items() if value is not None}
    for name in ("groups", "pushed_groups"):
        if name in values:
            values[name] = [str(each) for each in await read_groups(values[name])]
    if slug := values.pop("organization", None):
        (organization,) = await read_organizations([slug])
        values["organization_id"] = str(organization)
    if "mapping" in values:
        values["mapping"] = _mapping(values["mapping"])
    return values


def _mapping(lines: Iterable[str]) -> dict[str, str]:
    found: dict[str, str] = {}
    for line in lines:
        path, equals, source = line.partition("=")
        if not equals or path.strip() in found:
            raise ValidationError("The mapping has one line ATTRIBUTE=SOURCE for each attribute.")
        found[path.strip()] = source.strip()
    return found


def write_mapping(mapping: Mapping[str, str]) -> list[str]:
    """Return a mapping as :func:`read` reads it."""
    return [f"{path}={source}" for path, source in mapping.items()]


async def named_target(name_or_id: str) -> Target:
    """Return the target with this name or id.

    Raises:
        UnknownTargetError: there is none.
    """
    found = await targets.target_by_name(name_or_id) if "\0" not in name_or_id else None
    if found is None:
        try:
            found = await targets.target(UUID(name_or_id))
        except ValueError as error:
            raise UnknownTargetError from error
    if found is None:
        raise UnknownTargetError
    return found


async def written(target: Target) -> dict[str, Any]:
    """Return the fields as :func:`read` reads them. A group that is gone is its id."""
    names = await names_of_groups({*target.groups, *target.pushed_groups})
    organization = await organization_by_id(target.organization_id) if target.organization_id else None
    return {
        "name": target.name,
        "base_url": target.base_url,
        "users": target.users.value,
        "groups": [names.get(each, str(each)) for each in target.groups],
        "organization": organization.slug if organization is not None else "",
        "client_id": target.client_id or "",
        "pushed_groups": [names.get(each, str(each)) for each in target.pushed_groups],
        "mapping": write_mapping(target.mapping),
        "match": target.match.value,
        "removal": target.removal.value,
        "mends": target.mends,
    }
