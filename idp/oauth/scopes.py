"""The scopes and claims of OpenID Connect Core section 5, with their descriptions for people."""

from collections.abc import Collection, Iterable, Mapping

import msgspec

from idp.accounts.attributes.registry import attributes
from idp.accounts.claims import CLAIMS_BY_SCOPE, DIRECTORY_CLAIMS
from idp.infra.i18n import gettext as _
from idp.infra.i18n import locale

#: A request may name the organization in this scope, as ``organization:acme``.
ORGANIZATION = "organization"

#: The standard scopes, each with the claims about the user that it requests (section 5.4).
STANDARD_SCOPES: Mapping[str, tuple[str, ...]] = {
    "openid": (), **CLAIMS_BY_SCOPE, **DIRECTORY_CLAIMS, "offline_access": (),
}  # fmt: skip

#: Those that a client may have which no administrator registered, unless one allows more.
SELF_SERVICE_SCOPES = tuple(scope for scope in STANDARD_SCOPES if scope not in DIRECTORY_CLAIMS)

#: The scope of each claim about the user. No other claims about the user are released.
SCOPE_OF_CLAIM: Mapping[str, str] = {claim: scope for scope, claims in STANDARD_SCOPES.items() for claim in claims}

#: Every claim that a client may find in an ID token or at userinfo.
CLAIMS = ("sub", "iss", "auth_time", "acr", "amr", "sid", *SCOPE_OF_CLAIM)


class ScopeDescription(msgspec.Struct, frozen=True):
    """The text of a scope on the consent page, after `It will be able to`.

    Attributes:
        values: what the client sees of this user with it: labels and values.
        code: its name, if the text does not come from us.
    """

    name: str
    title: str
    description: str = ""
    values: tuple[tuple[str, str], ...] = ()
    code: str = ""


def _descriptions() -> Mapping[str, tuple[str, ...]]:
    return {
        "openid": (_("Recognise you when you come back"),),
        "profile": (_("See your profile"), _("Your name, picture, birthday, language and so on.")),
        "email": (_("See your email address"),),
        "address": (_("See your postal address"),),
        "phone": (_("See your phone number"),),
        "groups": (_("See your groups"), _("Your groups here, such as teams and departments.")),
        "roles": (_("See your roles"), _("What you may do here and in this application.")),
        "organization": (_("See your organisation"), _("The organisation you sign in for, and your roles there.")),
        "offline_access": (_("Keep this access while you are away"), _("Until you or the application end it.")),
    }


def describe(scope: str, values: tuple[tuple[str, str], ...] = ()) -> ScopeDescription:
    """Return the text of a scope. A scope of a resource server is shown by its name.

    Attributes that are released with the scope are named. The general text stays beside the values of the user, because
    the client also sees what the user enters later.
    """
    labels = _labels(scope)
    if labels and scope not in STANDARD_SCOPES:
        return ScopeDescription(scope, _("See these details about you: %(labels)s", labels=labels))
    title, *texts = _descriptions().get(scope, (scope,))
    return ScopeDescription(scope, title, " ".join(filter(None, (*texts, also_released(scope)))), values)


def also_released(scope: str) -> str:
    """Return a sentence about the attributes that are released with a scope that has a text of its own, or nothing."""
    labels = _labels(scope)
    return _("Also these details about you: %(labels)s.", labels=labels) if labels else ""


def _labels(scope: str) -> str:
    return ", ".join(one.text(locale.get()) for one in attributes.released([scope]))


def _claim_names() -> Mapping[str, str]:
    return {
        "name": _("Full name"),
        "family_name": _("Family name"),
        "given_name": _("First name"),
        "middle_name": _("Middle name"),
        "nickname": _("Nickname"),
        "preferred_username": _("Display name"),
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
        "groups": _("Groups"),
        "roles": _("Roles"),
        "organization": _("Organisation"),
    }


def describe_claim(claim: str) -> str:
    """Return the text of a claim that a client requests by name."""
    return _claim_names()[claim]


def claims_of_scopes(scopes: Iterable[str]) -> list[str]:
    """Return the claims that scopes request (section 5.4)."""
    return [claim for scope in scopes for claim in STANDARD_SCOPES.get(scope, ())]


def visible_claims(names: Iterable[str], scopes: Collection[str]) -> list[str]:
    """Return those of the claims that belong to one of the scopes."""
    return [name for name in names if SCOPE_OF_CLAIM.get(name) in scopes]
