"""The attributes of users and groups (RFC 7643 sections 3, 4 and 8.7), as one table for each.

Representations, filters, sorting, PATCH and the schema documents read these tables. Attributes that only the
specification has are in :data:`OTHERS`: they are accepted and not stored, because identity providers send them.
"""

from collections.abc import Mapping
from typing import Final

import msgspec

USER_SCHEMA: Final = "urn:ietf:params:scim:schemas:core:2.0:User"
GROUP_SCHEMA: Final = "urn:ietf:params:scim:schemas:core:2.0:Group"
#: What this server calls the only value that it stores of an attribute that may have several.
WORK: Final = "work"


class Attribute(msgspec.Struct, frozen=True, kw_only=True):
    """An attribute (RFC 7643 section 7).

    Attributes:
        sub: the sub-attributes of a complex one.
        follows: the value is that of another attribute. A request may name it, and then it must agree.
    """

    name: str
    description: str
    type: str = "string"
    multi: bool = False
    required: bool = False
    case_exact: bool = False
    mutability: str = "readWrite"
    returned: str = "default"
    uniqueness: str = "none"
    canonical: tuple[str, ...] = ()
    references: tuple[str, ...] = ()
    sub: "tuple[Attribute, ...]" = ()
    follows: bool = False

    def find(self, name: str) -> "Attribute | None":
        """Return a sub-attribute, whatever the case of its name."""
        return next((each for each in self.sub if each.name.lower() == name.lower()), None)

    @property
    def writable(self) -> bool:
        return self.mutability != "readOnly" or self.follows


class ResourceType(msgspec.Struct, frozen=True, kw_only=True):
    """A type of resources (RFC 7643 section 6)."""

    name: str
    endpoint: str
    description: str
    schema: str
    attributes: tuple[Attribute, ...]

    def find(self, name: str) -> Attribute | None:
        """Return an attribute, also one that all resources have, whatever the case of its name."""
        lowered = name.lower()
        return next((each for each in (*self.attributes, *COMMON) if each.name.lower() == lowered), None)

    def is_other(self, name: str) -> bool:
        """Return whether a request may name an attribute that this server does not have."""
        return name.lower() in OTHERS[self.name]


def _work(what: str) -> Attribute:
    return Attribute(
        name="type", description=f"Always {WORK}: other {what} are accepted and not stored.", canonical=(WORK,)
    )


_PRIMARY: Final = Attribute(name="primary", description="Always true.", type="boolean")

#: The attributes of every resource (RFC 7643 section 3.1).
COMMON: Final = (
    Attribute(
        name="id",
        description="The id of the resource, given by this server.",
        case_exact=True,
        mutability="readOnly",
        returned="always",
        uniqueness="server",
    ),
    Attribute(name="externalId", description="The id that the SCIM client gave the resource.", case_exact=True),
    Attribute(
        name="meta",
        description="Facts about the resource.",
        type="complex",
        mutability="readOnly",
        sub=(
            Attribute(name="resourceType", description="User or Group.", case_exact=True, mutability="readOnly"),
            Attribute(name="created", description="When it was created.", type="dateTime", mutability="readOnly"),
            Attribute(name="lastModified", description="When it was changed.", type="dateTime", mutability="readOnly"),
            Attribute(name="location", description="Its URL.", type="reference", mutability="readOnly"),
            Attribute(name="version", description="Its entity tag.", case_exact=True, mutability="readOnly"),
        ),
    ),
)

USER: Final = ResourceType(
    name="User",
    endpoint="/Users",
    description="A user.",
    schema=USER_SCHEMA,
    attributes=(
        Attribute(
            name="userName",
            description="The email address, which is also where mail is sent.",
            required=True,
            uniqueness="server",
        ),
        Attribute(
            name="name",
            description="The parts of the name.",
            type="complex",
            sub=(
                Attribute(name="formatted", description="The whole name. The same as displayName, which wins."),
                Attribute(name="familyName", description="The family name."),
                Attribute(name="givenName", description="The given name."),
                Attribute(name="middleName", description="The middle name."),
            ),
        ),
        Attribute(name="displayName", description="The whole name, as it is shown."),
        Attribute(name="nickName", description="The casual name."),
        Attribute(name="profileUrl", description="A page about the user.", type="reference", references=("external",)),
        Attribute(name="locale", description="The language of the user, such as en-US."),
        Attribute(name="timezone", description="The time zone, such as Europe/Berlin."),
        Attribute(
            name="active",
            description="Whether the user can sign in. False ends all sessions and tokens. A new user is active.",
            type="boolean",
            required=True,
        ),
        Attribute(
            name="emails",
            description="The userName. Change that; a request with another primary or work address is refused.",
            type="complex",
            multi=True,
            mutability="readOnly",
            follows=True,
            sub=(
                Attribute(name="value", description="The address.", mutability="readOnly"),
                _work("addresses"),
                _PRIMARY,
            ),
        ),
        Attribute(
            name="phoneNumbers",
            description="The phone number.",
            type="complex",
            multi=True,
            sub=(
                Attribute(name="value", description="The number in the form of E.164, such as +442079460000."),
                _work("numbers"),
                _PRIMARY,
            ),
        ),
        Attribute(
            name="addresses",
            description="The postal address.",
            type="complex",
            multi=True,
            sub=(
                Attribute(name="formatted", description="The whole address, as on a letter."),
                Attribute(name="streetAddress", description="The street, with the number of the house."),
                Attribute(name="locality", description="The city."),
                Attribute(name="region", description="The state or region."),
                Attribute(name="postalCode", description="The postal code."),
                Attribute(name="country", description="The country."),
                _work("addresses"),
                _PRIMARY,
            ),
        ),
        Attribute(
            name="groups",
            description="The groups of the user. To change them, change the members of the groups.",
            type="complex",
            multi=True,
            mutability="readOnly",
            sub=(
                Attribute(name="value", description="The id of the group.", case_exact=True, mutability="readOnly"),
                Attribute(
                    name="$ref",
                    description="The URL of the group.",
                    type="reference",
                    references=("Group",),
                    mutability="readOnly",
                ),
                Attribute(name="display", description="The name of the group.", mutability="readOnly"),
                Attribute(
                    name="type",
                    description="direct, or indirect: the user is in a group below it.",
                    canonical=("direct", "indirect"),
                    mutability="readOnly",
                ),
            ),
        ),
    ),
)

GROUP: Final = ResourceType(
    name="Group",
    endpoint="/Groups",
    description="A group.",
    schema=GROUP_SCHEMA,
    attributes=(
        Attribute(
            name="displayName",
            description="The name, unique whatever its case.",
            required=True,
            uniqueness="server",
        ),
        Attribute(
            name="members",
            description="The users in the group, and the groups directly below it.",
            type="complex",
            multi=True,
            sub=(
                Attribute(name="value", description="The id of the member.", case_exact=True, mutability="immutable"),
                Attribute(
                    name="$ref",
                    description="The URL of the member.",
                    type="reference",
                    references=("User", "Group"),
                    mutability="immutable",
                ),
                Attribute(
                    name="type", description="User or Group.", canonical=("User", "Group"), mutability="immutable"
                ),
            ),
        ),
    ),
)

TYPES: Final = (USER, GROUP)

#: Attributes of the specification that are accepted and not stored, by the name of the resource type: those of RFC 7643
#: section 4.1, and of the enterprise extension, which some clients send without its URN.
OTHERS: Mapping[str, frozenset[str]] = {
    "User": frozenset(
        name.lower()
        for name in (
            *("title", "userType", "preferredLanguage", "password", "ims", "photos", "entitlements", "roles"),
            *("x509Certificates", "employeeNumber", "costCenter", "organization", "division", "department", "manager"),
            "schemas",
        )
    ),
    "Group": frozenset({"schemas", "description"}),
}
#: Sub-attributes that are accepted and not stored, such as of the name.
OTHER_SUBS: Final = frozenset({"honorificprefix", "honorificsuffix", "display", "$ref", "primary", "type"})
