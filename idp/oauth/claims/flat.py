"""Sources as flat fields: the options of the command line and the fields of forms."""

from collections.abc import Mapping
from typing import Any

import msgspec

from idp.oauth.claims.registration import InvalidClaimMappingError
from idp.oauth.claims.sources import SOURCES, Source

#: By kind of source: each of its fields by the name of the option or of the field of the form.
FIELDS: dict[str, dict[str, str]] = {
    "groups": {"prefix": "prefix", "strip_prefix": "strip_prefix", "groups": "names"},
    "roles": {"roles_of": "of", "roles_client": "client_id"},
    "organization": {"organization_member": "member"},
    "attribute": {"attribute": "name"},
    "profile": {"profile_claim": "claim"},
    "constant": {"value": "value"},
}
assert FIELDS.keys() == SOURCES.keys()  # noqa: S101 -- what a source is made of, each can be entered


def source_of(kind: str, given: Mapping[str, Any]) -> dict[str, Any]:
    """Return a source as JSON.

    Args:
        given: values by the name of the option or field. Empty ones are left out.

    Raises:
        InvalidClaimMappingError: a value belongs to another kind of source.
    """
    values = {name: value for name, value in given.items() if value}
    for name in values:
        if name not in FIELDS[kind]:
            raise InvalidClaimMappingError(f"A source of the kind {kind} has no {name}.")
    return {"kind": kind} | {FIELDS[kind][name]: value for name, value in values.items()}


def summary(source: Source) -> str:
    """Return a source as one line: its kind, and the fields that do not have their default."""
    parts = [source.kind]
    for name, field in FIELDS[source.kind].items():
        value = getattr(source, field)
        if value == next(each.default for each in msgspec.structs.fields(source) if each.name == field):
            continue
        shown = " ".join(value) if isinstance(value, tuple) else value
        parts.append(name if value is True else f"{name}={shown}")
    return ", ".join(parts)
