"""Extensions of users (RFC 7643 section 3.3): the attributes that the operator declared, those that support may see.

An attribute with the name of one of the enterprise extension is there. All others are in an extension of our own. The
declarations are those in memory; a change of a value reads them again (:mod:`idp.accounts.attributes`).
"""

from collections.abc import Collection, Mapping
from functools import lru_cache
from typing import Any, Final

import msgspec

from idp.accounts.attributes.models import Audience, Type
from idp.accounts.attributes.models import StoredAttribute as Declared
from idp.accounts.attributes.registry import attributes
from idp.scim.attributes import USER, Attribute, ResourceType

OWN_SCHEMA: Final = "urn:ietf:params:scim:schemas:extension:idp:2.0:User"
ENTERPRISE_SCHEMA: Final = "urn:ietf:params:scim:schemas:extension:enterprise:2.0:User"
#: Who a SCIM client is for the declarations.
AUDIENCE: Final = Audience.SUPPORT
#: The names of declared attributes, by those of the enterprise extension (RFC 7643 section 4.3).
ENTERPRISE: Mapping[str, str] = {
    "employeeNumber": "employee_number",
    "costCenter": "cost_center",
    "organization": "organization",
    "division": "division",
    "department": "department",
}
_TYPES: Mapping[Type, str] = {Type.INTEGER: "integer", Type.NUMBER: "decimal", Type.BOOLEAN: "boolean"}


class Extension(msgspec.Struct, frozen=True):
    """An extension, with its attributes and the declared ones that have their values."""

    schema: str
    name: str
    named: Mapping[str, tuple[Attribute, Declared]]

    @property
    def attributes(self) -> Collection[tuple[Attribute, Declared]]:
        return self.named.values()

    def find(self, name: str) -> tuple[Attribute, Declared] | None:
        """Return an attribute, whatever the case of its name."""
        return self.named.get(name.lower())


def extensions(resource: ResourceType = USER) -> Collection[Extension]:
    """Return the extensions of a type of resources that have attributes."""
    return _extensions(attributes.generation).values() if resource is USER else ()


# Clients choose how many names a request looks for.
@lru_cache(maxsize=1)
def _extensions(generation: int) -> dict[str, Extension]:
    """Return the extensions of users of a generation of the declarations, by their URN in lower case."""
    declared = {each.name: each for each in attributes.visible(AUDIENCE)}
    enterprise = {
        name: declared.pop(stored)
        for name, stored in ENTERPRISE.items()
        if stored in declared and not declared[stored].multivalued
    }
    found = ((ENTERPRISE_SCHEMA, "Enterprise user", enterprise), (OWN_SCHEMA, "Attributes of idp", declared))
    return {
        schema.lower(): Extension(
            schema, title, {name.lower(): (_attribute(name, each), each) for name, each in names.items()}
        )
        for schema, title, names in found
        if names
    }


def extension(resource: ResourceType, schema: str) -> Extension | None:
    """Return an extension that has attributes, whatever the case of its URN."""
    return _extensions(attributes.generation).get(schema.lower()) if resource is USER else None


def _attribute(name: str, declared: Declared) -> Attribute:
    return Attribute(
        name=name,
        description=declared.text("en"),
        type=_TYPES.get(declared.type, "string"),
        multi=declared.multivalued,
        mutability="readWrite" if declared.is_editable(AUDIENCE) else "readOnly",
        canonical=declared.choices,
    )


def documents(values: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """Return the extensions of a user, by their URN.

    Args:
        values: by the names of declared attributes.
    """
    return {
        each.schema: shown
        for each in (extensions() if values else ())
        if (shown := {one.name: values[stored.name] for one, stored in each.attributes if stored.name in values})
    }


def changes(before: Mapping[str, Any], after: Mapping[str, Any]) -> dict[str, Any]:
    """Return the values that differ between two documents of a user, by the names of declared attributes."""
    found = {}
    for each in extensions():
        was, wanted = before.get(each.schema) or {}, after.get(each.schema) or {}
        for one, stored in each.attributes:
            if was.get(one.name) != wanted.get(one.name):
                found[stored.name] = wanted.get(one.name)
    return found
