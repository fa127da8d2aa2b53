"""The scopes and claims of OpenID Connect Core section 5, and the words for them."""

from collections.abc import Collection, Iterable, Mapping

import msgspec

from idp.infra.i18n import gettext as _

#: The standard scopes, each with the claims about the user that it asks for (section 5.4).
STANDARD_SCOPES: Mapping[str, tuple[str, ...]] = {
    "openid": (),
    "profile": (
        "name",
        "family_name",
        "given_name",
        "middle_name",
        "nickname",
        "preferred_username",
        "profile",
        "picture",
        "website",
        "gender",
        "birthdate",
        "zoneinfo",
        "locale",
        "updated_at",
    ),
    "email": ("email", "email_verified"),
    "address": ("address",),
    "phone": ("phone_number", "phone_number_verified"),
    "offline_access": (),
}

#: The scope that each claim about the user belongs to. What is said of a user is in this table, or is not said.
SCOPE_OF_CLAIM: Mapping[str, str] = {claim: scope for scope, claims in STANDARD_SCOPES.items() for claim in claims}

#: Every claim that a client may find in an ID token or at userinfo.
CLAIMS = (
    "sub",
    "iss",
    "auth_time",
    "acr",
    "amr",
    "sid",
    *SCOPE_OF_CLAIM,
)


class ScopeDescription(msgspec.Struct, frozen=True):
    """How the consent page puts a scope into words, after `It will be able to`."""

    name: str
    title: str
    description: str = ""


def _descriptions() -> Mapping[str, tuple[str, ...]]:
    return {
        "openid": (_("Recognise you when you come back"),),
        "profile": (_("See your profile"), _("Your name, picture, birthday, language and the like.")),
        "email": (_("See your email address"),),
        "address": (_("See your postal address"),),
        "phone": (_("See your phone number"),),
        "offline_access": (_("Keep this access while you are away"), _("Until you or the application end it.")),
    }


def describe(scope: str) -> ScopeDescription:
    """The words for a scope. One that a resource server brought speaks by its name."""
    return ScopeDescription(scope, *_descriptions().get(scope, (scope,)))


def _claim_names() -> Mapping[str, str]:
    return {
        "name": _("Full name"),
        "family_name": _("Family name"),
        "given_name": _("First name"),
        "middle_name": _("Middle name"),
        "nickname": _("Nickname"),
        "preferred_username": _("Name to be shown"),
        "profile": _("Profile page"),
        "picture": _("Picture"),
        "website": _("Website"),
        "gender": _("Gender"),
        "birthdate": _("Birthday"),
        "zoneinfo": _("Time zone"),
        "locale": _("Language"),
        "updated_at": _("When your profile last changed"),
        "email": _("Email address"),
        "email_verified": _("Whether your email address is confirmed"),
        "address": _("Postal address"),
        "phone_number": _("Phone number"),
        "phone_number_verified": _("Whether your phone number is confirmed"),
    }


def describe_claim(claim: str) -> str:
    """The words for a claim that a client asks for by name."""
    return _claim_names()[claim]


def claims_of_scopes(scopes: Iterable[str]) -> list[str]:
    """The claims that scopes ask for (section 5.4)."""
    return [claim for scope in scopes for claim in STANDARD_SCOPES.get(scope, ())]


def visible_claims(names: Iterable[str], scopes: Collection[str]) -> list[str]:
    """Those of the claims asked for by name that belong to one of the scopes."""
    return [name for name in names if SCOPE_OF_CLAIM.get(name) in scopes]
