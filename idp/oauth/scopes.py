"""The scopes and claims of OpenID Connect Core section 5, and the words for them."""

from collections.abc import Mapping

import msgspec

from idp.web.i18n import gettext as _

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

#: Every claim that a client may find in an ID token or at userinfo.
CLAIMS = (
    "sub",
    "iss",
    "auth_time",
    "acr",
    "amr",
    "sid",
    *(claim for claims in STANDARD_SCOPES.values() for claim in claims),
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
