"""The scopes and claims of OpenID Connect Core section 5, and the words for them."""

from collections.abc import Mapping

import msgspec

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


_DESCRIPTIONS = {
    scope.name: scope
    for scope in (
        ScopeDescription("openid", "Recognise you when you come back"),
        ScopeDescription("profile", "See your profile", "Your name, picture, birthday, language and the like."),
        ScopeDescription("email", "See your email address"),
        ScopeDescription("address", "See your postal address"),
        ScopeDescription("phone", "See your phone number"),
        ScopeDescription(
            "offline_access",
            "Keep this access while you are away",
            "Until you or the application end it.",
        ),
    )
}


def describe(scope: str) -> ScopeDescription:
    """The words for a scope. One that a resource server brought speaks by its name."""
    return _DESCRIPTIONS.get(scope) or ScopeDescription(scope, scope)
