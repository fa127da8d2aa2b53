"""The form fields of client metadata, made from the table of its members."""

from collections.abc import Iterable, Mapping
from typing import Any

import msgspec

from idp.admin.console.client_choices import choices_of
from idp.admin.console.components import Field, checked
from idp.oauth.clients.members import MEMBERS, SECTIONS, Kind, Member, is_optional, kind_of
from idp.oauth.clients.metadata import FIXED, invalid_metadata
from idp.oauth.clients.profiles import requirements

HELP = {
    "client_name": "Users see it when they sign in and consent.",
    "redirect_uris": "Exactly as the application sends them, one per line.",
    "post_logout_redirect_uris": "Where users may return to after signing out, one per line.",
    "contacts": "Addresses or pages of the operators, one per line.",
    "request_uris": "One per line.",
    "scope": "Separated by spaces.",
    "client_uri": "Users find it on their account page.",
    "policy_uri": "The consent page links to it.",
    "tos_uri": "The consent page links to it.",
    "grant_types": "The ways to get tokens. Each kind of application begins with those that it needs.",
    "upstreams": "Other providers that users may sign in with. None checked: all.",
    "default_acr_values": "Users must reach one of these levels. None checked: as the request says.",
    "authorization_challenge": "For your own app only: it asks for passwords and codes on its own screens and sends"
    " them to this server, so users never see the pages of this server. It sees their passwords.",
    "require_pkce": "Leave it on unless its library sends none: oauth2-proxy, django-allauth, mozilla-django-oidc, "
    "passport and Spring by default. Without a secret it is always required.",
    "refresh_token_cookie": "For an app on the same site as this server. Scripts cannot read the cookie. Without it,"
    " the response has the refresh token, and the app must keep it safe itself.",
    "scope_claims_in_id_token": "For libraries that never call userinfo, such as Auth.js, express-openid-connect, "
    "react-oidc-context and kube-apiserver. Otherwise they do not learn the names of users.",
    "profile": "A profile sets the values that it requires and forbids others.",
    "jwks": "A JSON object with a list of keys, without private members.",
    "token_endpoint_auth_method": "How it proves who it is at the token endpoint.",
}
#: What the form of a registered client says in addition.
HELP_OF_CHANGE = {
    "token_endpoint_auth_method": "A client that becomes public (none) loses its secret, and all its tokens are"
    " revoked. One that is no longer public needs a new secret before it can authenticate.",
}
#: Members with a form of their own.
_ELSEWHERE = ("logo_uri",)
#: The members of the form, by section. Those that cannot be changed are left out.
NAMES = [
    name
    for section in SECTIONS
    for name, each in MEMBERS.items()
    if each.section == section and name not in (*FIXED, *_ELSEWHERE)
]


def fields(
    names: Iterable[str], values: Mapping[str, Any], reasons: Mapping[str, str] | None = None, *, sections: bool = True
) -> list[Field]:
    """Return a field for each member.

    Args:
        values: the values to show. Text of a form stands for what could not be read.
        reasons: why a member cannot have another value now. None: the profile is still to be chosen.
    """
    found = [_field(name, values[name], (reasons or {}).get(name, ""), sections=sections) for name in names]
    return found if reasons is None else [_within(field, values.get("profile")) for field in found]


def read(form: Mapping[str, str], names: Iterable[str], stored: Mapping[str, Any]) -> dict[str, Any]:
    """Return the members that a form has. Text that is no number or no JSON stays text, which registration refuses.

    Args:
        stored: the values of members without a field.
    """
    return {name: _read(name, form, stored) for name in names}


def check_readable(entered: Mapping[str, Any]) -> None:
    """Refuse text that could not be read.

    Raises:
        OAuthError: ``invalid_client_metadata``.
    """
    for name, value in entered.items():
        if isinstance(value, str) and kind_of(name) in (Kind.NUMBER, Kind.OBJECT):
            raise invalid_metadata(f"{name} must be {'a number' if kind_of(name) is Kind.NUMBER else 'a JSON object'}.")


def _field(name: str, value: Any, reason: str, *, sections: bool) -> Field:
    member, kind = MEMBERS[name], kind_of(name)
    text = (
        (sections and HELP_OF_CHANGE.get(name))
        or HELP.get(name)
        or ("" if member.section == SECTIONS[0] or _repeats(member) else member.help)
    )
    section = member.section if sections else ""
    found = Field(name, member.label, help=f"{text} {reason}".strip(), section=section, member=True)
    match kind:
        case Kind.FLAG:
            return found._replace(kind="check", value="on" if value else "")
        case Kind.LIST if (offered := choices_of(name)) is not None:
            return _boxes(found, offered, value or ())
        case Kind.LIST:
            return found._replace(kind="lines", value="\n".join(value or ()))
        case Kind.OBJECT:
            shown = value if isinstance(value, str) or value is None else _json(value)
            return found._replace(kind="lines", value=shown or "")
        case Kind.NUMBER:
            return found._replace(kind="number", value="" if value is None else str(value))
    offered = choices_of(name)
    if offered is None:
        return found._replace(value=value or "")
    choices = [("", "Not set"), *offered] if is_optional(name) else offered
    return found._replace(kind="choice", value=value or "", choices=choices)


def _boxes(field: Field, offered: list[tuple[str, str]], values: Iterable[str]) -> Field:
    """Return a field with a box for each value. One that is set but not offered can be kept or removed."""
    known = {value for value, _label in offered}
    others = [(value, f"{value} (not available)") for value in values if value not in known]
    return field._replace(kind="choices", value="\n".join(values), choices=[*offered, *others])


def _within(field: Field, profile: str | None) -> Field:
    """Return a choice with the values that the profile of the client forbids, and the reason."""
    required = requirements(profile).get(field.name)
    if required is None or field.kind != "choice":
        return field
    forbidden = [value for value, _label in field.choices if not required.allows(value or None)]
    choices = [
        (value, f"{label} (not with {profile})" if value in forbidden else label) for value, label in field.choices
    ]
    text = f"{field.help} The profile {profile} requires {required.words}."
    return field._replace(choices=choices, unavailable=forbidden, help=text if forbidden else field.help)


def _repeats(member: Member) -> bool:
    """Return whether the help says no more than the label."""
    return member.help.rstrip(".") == member.label


def _read(name: str, form: Mapping[str, str], stored: Mapping[str, Any]) -> Any:
    kind, text = kind_of(name), form.get(name, "").strip()
    if kind is Kind.FLAG:
        return name in form
    if kind is Kind.LIST and choices_of(name) is not None:
        return checked(form, name) or (None if is_optional(name) else ())
    if kind is Kind.LIST:
        lines = tuple(line.strip() for line in text.splitlines() if line.strip())
        return lines or (None if is_optional(name) else ())
    if not text:
        # A choice without an empty value always has one.
        return None if is_optional(name) else stored[name] if MEMBERS[name].choices else ""
    if kind is Kind.NUMBER:
        return int(text) if text.isascii() and text.isdigit() and len(text) < 16 else text
    return _decoded(text) if kind is Kind.OBJECT else text


def _decoded(text: str) -> Any:
    try:
        return msgspec.json.decode(text, type=dict[str, Any])
    except (msgspec.MsgspecError, UnicodeError):
        return text


def _json(value: Any) -> str:
    return msgspec.json.format(msgspec.json.encode(value), indent=2).decode()
