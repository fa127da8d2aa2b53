"""Every page renders with the values of its handler, escapes them, and complies with the strict CSP."""

import re
from dataclasses import dataclass, fields, is_dataclass, replace
from datetime import UTC, datetime
from enum import StrEnum
from html.parser import HTMLParser
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import jinja2
import msgspec
import pytest

from idp.accounts.attributes import declaration, forms
from idp.accounts.attributes.models import Type
from idp.accounts.profile_choices import Zone
from idp.branding.models import LINKS as KINDS_OF_LINKS
from idp.branding.models import Brand, Link
from idp.infra.templates import Templates, Theme, templates_path, web_url
from tests.support.mails import MAILS

HOSTILE = '"><svg onload=alert(1)>'


LINKS = tuple(Link(kind, f"https://acme.example/{kind}", "organization", "Acme Ltd") for kind in KINDS_OF_LINKS)
BRAND = Brand(
    name="Acme Ltd",
    owner="organization",
    title="Welcome to Acme",
    stylesheet="/branding/styles/c-8a1c4a_.css",
    logo_uri="https://acme.example/logo.png",
    dark_logo_uri=f"/branding/pictures/{'a' * 64}",
    favicon_uri=f"/branding/pictures/{'b' * 64}",
    links=LINKS,
)


@dataclass(frozen=True)
class MailBrand:
    """The values of a mail, which has them as a dict."""

    name: str = "Acme Ltd"
    logo_uri: str | None = "https://acme.example/logo.png"
    color: str | None = "#8a1c4a"
    dark_color: str | None = "#cda0b5"
    on_color: str = "#ffffff"
    on_dark_color: str = "#101c22"
    help_uri: str | None = "https://acme.example/help"
    support_uri: str | None = "https://acme.example/contact"
    privacy_uri: str | None = "https://acme.example/privacy"
    terms_uri: str | None = "https://acme.example/terms"
    imprint_uri: str | None = "https://acme.example/imprint"


@dataclass(frozen=True)
class Client:
    client_name: str = "Northwind"
    client_uri: str | None = "https://northwind.example"
    logo_uri: str | None = "https://northwind.example/logo.svg"
    policy_uri: str | None = "https://northwind.example/privacy"
    tos_uri: str | None = "https://northwind.example/terms"
    organization: str | None = "Acme Ltd"


@dataclass(frozen=True)
class User:
    email: str = "ada@example.com"
    name: str | None = "Ada Lovelace"


@dataclass(frozen=True)
class OwnEvent:
    words: str = "Signed in to Northwind"
    by: str = "by an administrator"
    place: str = "Leeuwarden, NL"
    device: str = "Firefox on Linux"
    at: datetime = datetime(2025, 1, 2, tzinfo=UTC)
    exact: str = "2 January 2025, 00:00:00"


@dataclass(frozen=True)
class Start:
    client_name: str = "Northwind"
    logo_uri: str | None = "https://northwind.example/logo.svg"
    start_uri: str = "https://northwind.example/login?iss=https%3A%2F%2Fid.example"


@dataclass(frozen=True)
class Scope:
    name: str = "profile"
    title: str = "See your profile"
    description: str = "Your name, picture and language."
    values: tuple[tuple[str, str], ...] = (("Full name", "Ada Lovelace"), ("Birthday", "1815-12-10"))
    code: str = "orders:read"


@dataclass(frozen=True)
class Organization:
    id: str = "01a22c86-99d2-7bf7-a03a-80c8a1eee5a5"
    slug: str = "acme"
    name: str = "Acme Ltd"
    roles: tuple[str, ...] = ("editor", "reader")


@dataclass(frozen=True)
class Member:
    user_id: str = "0198c1d2"
    email: str = "ada@example.com"
    name: str | None = "Ada Lovelace"
    admin: bool = True
    created_at: datetime = datetime(2025, 1, 2, tzinfo=UTC)
    membership_disabled_at: datetime | None = None


@dataclass(frozen=True)
class RoleIn:
    id: str = "01a22c86"
    name: str = "editor"
    description: str = "Changes articles"


@dataclass(frozen=True)
class DomainOf:
    id: str = "01a22c87"
    domain: str = "acme.example"
    verified_at: datetime | None = datetime(2025, 1, 2, tzinfo=UTC)
    missing_since: datetime | None = datetime(2025, 1, 3, tzinfo=UTC)


@dataclass(frozen=True)
class FormField:
    name: str = "name"
    label: str = "Name"
    value: str = ""
    kind: str = "text"
    hint: str = "Short."
    choices: tuple[tuple[str, str], ...] = ()
    required: bool = True
    ltr: bool = False
    max_length: int = 100
    group: str = ""


@dataclass(frozen=True)
class InvitationOf:
    id: str = "01a22c88"
    email: str = "carol@example.com"
    admin: bool = True
    sent_at: datetime = datetime(2025, 1, 2, tzinfo=UTC)
    expires_at: datetime = datetime(2025, 1, 9, tzinfo=UTC)
    ended_at: datetime | None = None


@dataclass(frozen=True)
class TokenOf:
    id: str = "01a22c89"
    name: str = "Entra ID"
    writes: bool = True
    expires_at: datetime = datetime(2026, 1, 2, tzinfo=UTC)
    old_expires_at: datetime | None = datetime(2025, 1, 9, tzinfo=UTC)
    last_used_at: datetime | None = datetime(2025, 1, 3, tzinfo=UTC)
    created_at: datetime = datetime(2025, 1, 2, tzinfo=UTC)


@dataclass(frozen=True)
class StateOf:
    label: str = "open"
    mood: str = "good"
    open: bool = True


@dataclass(frozen=True)
class Listed:
    """An invitation in the list."""

    invitation: InvitationOf = InvitationOf()
    state: StateOf = StateOf()
    roles: tuple[str, ...] = ("editor", "reader")


@dataclass(frozen=True)
class Happened:
    at: datetime = datetime(2025, 1, 2, tzinfo=UTC)
    words: str = "Role editor was created"
    by: str | None = "ada@example.com"


@dataclass(frozen=True)
class Document:
    host: str = "northwind.example"
    first_seen: datetime | None = datetime(2025, 1, 2, tzinfo=UTC)
    local: str | None = "127.0.0.1"
    changes: tuple[str, ...] = ("The name. It was Southwind before.",)


@dataclass(frozen=True)
class Detail:
    title: str = "Make a payment"
    sentence: str = "12 EUR"
    facts: tuple[tuple[str, str], ...] = (("amount", "12"),)


def attribute_fields() -> list[forms.Field]:
    """A field of every kind."""
    declared = [
        {"type": "string", "multivalued": True}, {"type": "choice", "multivalued": True, "choices": ["red", "blue"]},
        *({"type": kind, "choices": ["red", "blue"] if kind is Type.CHOICE else []} for kind in Type),
    ]  # fmt: skip
    checked = [
        declaration.check({"name": f"a{number}", "label": {"default": f"Attribute {number}"}} | one)
        for number, one in enumerate(declared)
    ]
    found = forms.fields(checked, {"a0": ["x", "y"], "a1": ["blue"], "a3": 7, "a9": "blue"}, required=["a2"])
    assert {field.kind for field in found} == set(forms.Kind)
    return found


@dataclass(frozen=True)
class Token:
    title: str
    verified: bool = True
    note: str = "For the application: who signed in, and when."
    header: str = '{\n  "alg": "RS256",\n  "kid": "2b6f",\n  "typ": "JWT"\n}'
    claims: str = '{\n  "iss": "http://localhost:8000",\n  "sub": "0198c1d2"\n}'
    raw: str = "eyJhbGciOiJSUzI1NiIsImtpZCI6IjJiNmYifQ." + "abcDEF123_-" * 40


@dataclass(frozen=True)
class Values:
    """A value for every claim."""

    text: str = "Ada"

    def __getitem__(self, name: str) -> str:
        return self.text


@dataclass(frozen=True)
class Registration:
    email: str = ""
    name: str | None = None
    invited_email: str | None = None


@dataclass(frozen=True)
class Invited:
    email: str = "ada@example.com"
    name: str | None = "Ada"


@dataclass(frozen=True)
class Offered:
    """An invitation into an organization."""

    id: str = "01a22c86-99d2-7bf7-a03a-80c8a1eee5a5"
    organization_name: str = "Acme"
    slug: str = "acme"
    email: str = "ada@example.com"
    inviter: str | None = "Bob"
    admin: bool = True
    sent_at: datetime = datetime(2026, 1, 1, tzinfo=UTC)


@dataclass(frozen=True)
class Owner(User):
    email_verified: bool = True
    password_hash: str | None = "hash"
    created_at: datetime = datetime(2025, 1, 2, tzinfo=UTC)
    password_changed_at: datetime | None = datetime(2025, 1, 2, tzinfo=UTC)
    two_step: bool = True


@dataclass(frozen=True)
class Key:
    id: str = "0198c1d2"
    name: str = "Phone"
    created_at: datetime = datetime(2025, 1, 2, tzinfo=UTC)
    last_used_at: datetime | None = None


@dataclass(frozen=True)
class SignedIn:
    id: str = "0198c1d2"
    device: str = "Firefox on Windows"
    place: str = "Lisbon, Portugal"
    last_seen_at: datetime = datetime(2025, 1, 2, tzinfo=UTC)
    auth_time: datetime = datetime(2025, 1, 2, tzinfo=UTC)
    this_one: bool = False


@dataclass(frozen=True)
class App(Client):
    client_id: str = "northwind"
    path: str = "/account/apps/northwind"
    scopes: tuple[str, ...] = ("See your profile",)
    services: tuple[tuple[str, tuple[str, ...]], ...] = (("Orders", ("read", "write")),)
    granted_at: datetime = datetime(2025, 1, 2, tzinfo=UTC)
    last_used_at: datetime | None = None


@dataclass(frozen=True)
class Asking(Client):
    path: str = "/account/requests/01a22c86-99d2-7bf7-a03a-80c8a1eee5a5"
    binding_message: str | None = "W4SCT"
    place: str = "Lisbon, Portugal"
    created_at: datetime = datetime(2025, 1, 2, tzinfo=UTC)


@dataclass(frozen=True)
class Upstream:
    id: str = "google"
    name: str = "Google"
    href: str = "/account/upstreams/google/link?csrf_token=token"
    icons: tuple[str, ...] = ("oidc", "google")


@dataclass(frozen=True)
class Identity:
    id: str = "0198c1d2"
    upstream_id: str = "acme"
    name: str = "Acme"
    email: str | None = "ada@acme.example"
    last_used_at: datetime = datetime(2025, 1, 2, tzinfo=UTC)
    fixed: bool = False


#: The server draws the picture, so the page contains it unescaped.
SETUP = SimpleNamespace(
    secret="ABCDEFGH",
    uri="otpauth://totp/idp:ada?secret=ABCDEFGH",
    qr_svg='<svg viewBox="0 0 9 9"><path d="M0 0"/></svg>',
)

#: The context of every step of a sign-in.
STEP: dict[str, Any] = {
    "path": "/login/f1",
    "csrf_token": "token",
    "client": Client(),
    "username": "ada@example.com",
    "name": "",
    "error": "The email or the password is not right.",
    "token": None,
    "cancel": True,
    "order": ["passkey", "password", "upstream", "email_code", "registration"],
    "others": ["password", "email_code", "passkey", "upstream", "registration", "totp", "recovery_code"],
    "upstreams": [Upstream(), Upstream("github", "GitHub")],
    "directories": [],
    "not_fresh": ["Google"],
    "linking": None,
    "may_trust": True,
    "reauthenticate": False,
    "mails": True,
    "created": False,
}
#: The context of every page of the account.
ACCOUNT: dict[str, Any] = {
    "section": "security",
    "csrf_token": "token",
    "user": Owner(),
    "asks": True,
    "in_organizations": True,
    "error": None,
    "done": "Saved.",
}

#: The context of every page of an organization.
ORGANIZATION: dict[str, Any] = {
    "section": "members",
    "csrf_token": "token",
    "user": Owner(),
    "organization": Organization(),
    "path": "/organization/acme",
    "error": None,
    "done": "Saved.",
}

WAY_OUT = [("Back to Northwind", "https://northwind.example"), ("Start page", "/")]
MAIL = {
    "name": "Ada",
    "issuer": "https://id.example.com",
    "when": "23 November 2025, 05:10 UTC",
    "brand": MailBrand(),
}

#: Every page with a full context.
PAGES: dict[str, dict[str, Any]] = {
    "password.html": STEP | {"passkey_options": "{}"},
    "address.html": STEP | {"passkey_options": "{}"},
    "email_code.html": STEP | {"sent_to": "ada@example.com"},
    "passkey.html": STEP | {"passkey_options": "{}"},
    "registration.html": STEP | {"registration": Registration(), "sent_to": None, "attributes": [], "wrong": ""},
    "attributes.html": STEP | {"attributes": attribute_fields(), "wrong": "attributes.a2"},
    "upstream.html": STEP | {"identity": Identity(), "sent_to": None},
    "totp.html": STEP,
    "recovery_code.html": STEP,
    "enrol.html": STEP | {"setup": SETUP, "passkey_options": "{}", "may_skip": True},
    "recovery_codes.html": {"codes": ["abcde-fghjk"], "next": "/admin"},
    "forgot.html": STEP | {"sent_to": "ada@example.com"},
    "reset.html": {"token": "abc", "username": "ada@example.com", "error": "Too short."},
    "password_reset.html": {"login": "/login"},
    "invitation.html": {"token": "abc", "invited": Invited()},
    "organization_invitation.html": {
        "action": "/invitation/organization",
        "token": "abc",
        "csrf_token": "token",
        "offer": Offered(),
        "user": User(),
        "accepts": False,
        "declined": False,
    },
    "account/organizations.html": ACCOUNT
    | {"organizations": [Organization()], "managed": {Organization.id}, "invitations": [Offered()]},
    "unlock.html": {"token": "abc", "done": False},
    "not_me.html": {"token": "abc"},
    "code_elsewhere.html": {"code": "123456"},
    "account_deleted.html": {},
    "account/profile.html": ACCOUNT
    | {
        "values": Values(),
        "full_birthday": True,
        "today": "2026-12-01",
        "spoken": [("pt-PT", "Portuguese (Portugal)")],
        "zones": [("", [Zone("UTC", "UTC")]), ("Europe", [Zone("Europe/Lisbon", "Lisbon (UTC+0)")])],
        "uploaded": False,
        "errors": {"name": "No.", "zoneinfo": "No.", "file": "No."},
        "error": "No.",
        "attributes": attribute_fields(),
        "facts": [forms.Fact("Cost centre", "C-17")],
        "groups": ("Engineering", "Backend"),
    },
    "account/security.html": ACCOUNT
    | {
        "passkeys": [Key(), Key(id="2", last_used_at=Key.created_at)],
        "identities": [Identity(), Identity(id="2", email=None)],
        "upstreams": [Upstream()],
        "directory": None,
        "totp": True,
        "codes_left": 3,
        "factors": True,
    },
    "account/password.html": ACCOUNT | {"elsewhere": False},
    "account/email.html": ACCOUNT
    | {"action": "/account/email", "entered": "", "sent_to": "b@example.com", "token": None},
    "account/passkey.html": ACCOUNT | {"action": "/account/passkeys", "passkey_options": "{}"},
    "account/totp.html": ACCOUNT | {"action": "/account/totp", "setup": SETUP},
    "account/recovery_codes.html": ACCOUNT | {"codes": ["abcde-fghjk"]},
    "account/ask.html": ACCOUNT
    | {
        "undo": "You can do it again.",
        "heading": "Sure?",
        "text": "It goes.",
        "label": "Yes",
        "action": "/account/two-step",
        "fields": {"two_step": "off"},
        "back": "/account/security",
    },
    "account/sessions.html": ACCOUNT | {"sessions": [SignedIn(), SignedIn(id="2", this_one=True)], "ended": []},
    "account/activity.html": ACCOUNT
    | {
        "events": [OwnEvent(), OwnEvent(by="", place="", device="")],
        "first": True,
        "next": "/account/activity?cursor=x",
    },
    "account/apps.html": ACCOUNT | {"apps": [App()], "mine": [Start(), Start("Southwind", None)]},
    "account/requests.html": ACCOUNT | {"requests": [Asking(), Asking(binding_message=None, place="")]},
    "account/data.html": ACCOUNT,
    "organization/members.html": ORGANIZATION
    | {
        "members": [Member(), Member(name=None, admin=False, membership_disabled_at=datetime(2025, 3, 4, tzinfo=UTC))],
        "search": "ad",
        "next": "/organization/acme?cursor=x",
    },
    "organization/member.html": ORGANIZATION
    | {"member": Member(membership_disabled_at=datetime(2025, 3, 4, tzinfo=UTC)), "roles": [RoleIn()], "own": False},
    "organization/invitations.html": ORGANIZATION
    | {"invitations": [Listed(), Listed(roles=())], "only_open": False, "sends": True, "next": None},
    "organization/invitation.html": ORGANIZATION
    | {
        "invitation": InvitationOf(),
        "state": StateOf(),
        "roles": ["editor"],
        "inviter": Member(),
        "member": Member(name=None),
        "sends": True,
    },
    "organization/scim_tokens.html": ORGANIZATION
    | {"tokens": [TokenOf(), TokenOf(writes=False, last_used_at=None)], "url": "/scim/v2", "on": False, "next": None},
    "organization/scim_token.html": ORGANIZATION
    | {"token": TokenOf(), "url": "/scim/v2", "on": True, "secret": "s3cret"},
    "organization/roles.html": ORGANIZATION | {"roles": [RoleIn(), RoleIn(description="")], "next": None},
    "organization/role.html": ORGANIZATION
    | {"role": RoleIn(), "contained": [RoleIn(id="2", name="reader")], "holders": [Member()], "next": None},
    "organization/domains.html": ORGANIZATION
    | {"domains": [DomainOf(), DomainOf(verified_at=None), DomainOf(missing_since=None)], "next": None},
    "organization/domain.html": ORGANIZATION
    | {
        "domain": DomainOf(missing_since=None),
        "record_name": "_idp-challenge.acme.example",
        "record_type": "TXT",
        "record_value": "idp-domain-verification=Zl2",
    },
    "organization/events.html": ORGANIZATION
    | {
        "events": [
            Happened(),
            Happened(words="The organisation was created", by=None),
        ],
        "next": None,
    },
    "organization/form.html": ORGANIZATION
    | {
        "heading": "New role",
        "intro": "A role.",
        "fields": [
            FormField(),
            FormField("role", "Role", kind="choice", choices=(("1", "editor"),), required=False),
            FormField("emails", "Addresses", kind="lines", ltr=True),
            FormField("one", "One", kind="check", group="Several"),
            FormField("two", "Two", "on", kind="check", group="Several"),
            FormField("admin", "Manages it", kind="check"),
        ],
        "problems": {"ada@example.com": "Is a member."},
        "label": "Create",
        "action": "/organization/acme/roles/add",
        "back": "/organization/acme/roles",
        "version": "2025-01-02T00:00:00+00:00",
    },
    "organization/ask.html": ORGANIZATION
    | {
        "heading": "Remove this member?",
        "facts": {"Email address": "ada@example.com"},
        "text": "They lose it.",
        "label": "Remove",
        "action": "/organization/acme/members/1/remove",
        "fields": {"admin": "on"},
        "danger": True,
        "back": "/organization/acme",
    },
    "access_denied.html": {
        "action": "/access/f1",
        "csrf_token": "token",
        "client": Client(),
        "contacts": [("help@northwind.example", "mailto:help@northwind.example"), ("extension 4711", None)],
        "user": User(),
        "back": "back",
        "may_switch": True,
    },
    "consent.html": {
        "action": "/consent/f1",
        "csrf_token": "token",
        "client": Client(),
        "user": User(),
        "scopes": [
            Scope(),
            Scope("email", "See your email address", "And whether it is confirmed."),
            Scope("offline_access", "Stay signed in", "Also while you are not there."),
        ],
        "claims": ["Birthday", "Phone number"],
        "details": [],
        "document": None,
        "claimed_name": "Northwind",
        "unchecked": False,
        "destination": "You then return to northwind.example.",
        "lasting": "Until you remove it.",
        "site": "northwind.example",
        "resources": ["Northwind Orders API"],
    },
    "organization.html": {
        "action": "/authorize/f1/organization",
        "csrf_token": "token",
        "client": Client(),
        "user": User(),
        "organizations": [Organization(), Organization(slug="northwind", name="Northwind")],
        "lost": False,
    },
    "device.html": {
        "action": "/device",
        "csrf_token": "token",
        "user_code": "BCDF-GHJK",
        "user": User(),
        "error": None,
    },
    "device_confirm.html": {
        "action": "/device/confirm",
        "csrf_token": "token",
        "client": Client(),
        "unchecked": True,
        "user_code": "BCDF-GHJK",
        "place": "Lisbon, Portugal",
        "ip_address": "203.0.113.7",
        "started_at": Key.created_at,
        "user": User(),
    },
    "device_done.html": {"approved": True},
    "approve.html": {
        "action": "/account/requests/01a22c86-99d2-7bf7-a03a-80c8a1eee5a5",
        "csrf_token": "token",
        "client": Client(),
        "user": User(),
        "unchecked": True,
        "binding_message": "W4SCT",
        "created_at": datetime(2025, 1, 2, tzinfo=UTC),
        "place": "Lisbon, Portugal",
        "scopes": [Scope()],
        "claims": [],
        "details": [],
        "lasting": "Until you remove it.",
        "resources": [],
        "organizations": [],
    },
    "error.html": {
        "status": 400,
        "title": "This sign-in link does not work",
        "message": "The application asked to send you to an address that it has not registered.",
        "error": "invalid_request",
        "developer": [("Sent", "https://northwind.example/cb")],
        "way_out": WAY_OUT,
        "request_id": "0198c1d2-7a40-7c3e-9d2f-52b2b4a1e0aa",
    },
    "flow_gone.html": {
        "status": 400,
        "error": None,
        "title": "This sign-in has expired",
        "message": "It was open for too long. Go back to the application and begin again.",
        "developer": [("Sent", "https://northwind.example/cb")],
        "way_out": WAY_OUT,
    },
    "logout.html": {
        "action": "/logout",
        "csrf_token": "token",
        "hidden": {"id_token_hint": "a.b.c", "state": "xyz"},
        "user": User(),
        "client": Client(),
    },
    "logged_out.html": {"client": Client(), "way_out": WAY_OUT, "frames": [], "onward": None},
    "form_post.html": {
        "redirect_uri": "https://northwind.example/cb",
        "fields": {"code": "abc", "state": "xyz"},
        "nonce": "bm9uY2U",
    },
    "continue.html": {"location": "https://northwind.example/bye?state=a&b=c"},
    "home.html": {"user": User()},
    "dev/start.html": {
        "issuer": "http://localhost:8000",
        "endpoints": [
            (
                "Discovery",
                "http://localhost:8000/.well-known/openid-configuration",
                "What this server can do; most libraries need only this.",
            ),
            ("Keys", "http://localhost:8000/jwks", "The public keys that tokens are signed with."),
            (
                "Authorize",
                "http://localhost:8000/authorize",
                "Where a sign-in begins.",
            ),
            ("Token", "http://localhost:8000/token", "Where it redeems the code."),
        ],
        "demo_user": "ada@example.com",
        "demo_password": "correct horse battery staple",
        "commands": [
            (
                "Read the discovery document",
                "curl -s http://localhost:8000/.well-known/openid-configuration",
            ),
            (
                "Get a token for a machine",
                "curl -s -u service:secret -d grant_type=client_credentials http://localhost:8000/token",
            ),
        ],
    },
    "dev/demo.html": {
        "signed_in": True,
        "issuer": "http://localhost:8000",
        "client_id": "demo",
        "steps": [
            ("Discovery", "The application read the discovery document of the provider."),
            (
                "Request",
                "It sent your browser to the provider with a PKCE challenge.",
            ),
            ("Code", "You signed in, and the browser came back with a code."),
            ("Tokens", "The code and the PKCE verifier were redeemed at the token endpoint."),
        ],
        "tokens": [
            Token("ID token"),
            Token("Access token", note="For the API."),
            Token("Refresh token", verified=False, note="For the provider alone."),
        ],
        "userinfo": '{\n  "sub": "0198c1d2",\n  "email": "ada@example.com"\n}',
        "csrf_token": "token",
        "refresh_count": 2,
        "error": "The provider said access_denied.",
    },
    "dev/mail.html": {
        "messages": [
            ("7", "ada@example.com", "Your password was changed", "23 Nov 2025, 05:10"),
            ("6", "ada@example.com", "Welcome to idp", "23 Nov 2025, 05:03"),
        ],
    },
    "dev/message.html": {
        "subject": "Welcome to idp",
        "headers": [
            ("From", "idp <no-reply@localhost>"),
            ("To", "ada@example.com"),
            ("Date", "Sun, 23 Nov 2025 05:03:11 +0000"),
        ],
        "text": "Hello Ada,\n\nyour account is ready. See https://id.example.com/ for more.\n",
        "html": True,
        "scheme": "light",
        "url": "/dev/mail/7",
    },
    **{f"mail/{name}.html": MAIL | context for name, context in MAILS.items()},
}
for _context in PAGES.values():
    if _context and "brand" not in _context:
        _context["brand"] = BRAND

#: The same page in another state.
VARIANTS: list[tuple[str, dict[str, Any]]] = [
    ("password.html", {"client": None, "error": None, "username": None, "cancel": False, "others": []}),
    ("password.html", {"error": None, "reauthenticate": True}),
    ("password.html", {"error": None, "created": True, "mails": False}),
    ("password.html", {"client": None, "error": None, "reauthenticate": True}),
    ("password.html", {"client": Client("Northwind", None, None, None, None)}),
    ("password.html", {"upstreams": [], "linking": Identity()}),
    ("password.html", {"directories": [Upstream("staff", "Staff")], "error": None}),
    ("address.html", {"client": None, "error": None, "username": None, "cancel": False, "others": []}),
    ("address.html", {"reauthenticate": True, "upstreams": []}),
    ("address.html", {"directories": [Upstream("staff", "Staff")], "error": None}),
    ("address.html", {"client": None, "reauthenticate": True}),
    ("upstream.html", {"identity": None}),
    ("upstream.html", {"sent_to": "ada@example.com"}),
    ("upstream.html", {"token": "abc", "error": None}),
    ("email_code.html", {"sent_to": None}),
    ("email_code.html", {"token": "abc", "error": None}),
    ("registration.html", {"sent_to": "ada@example.com", "client": None}),
    ("registration.html", {"token": "abc", "error": None}),
    ("registration.html", {"attributes": attribute_fields(), "wrong": "attributes.a1"}),
    ("attributes.html", {"client": None, "error": None, "wrong": ""}),
    ("enrol.html", {"setup": None, "may_skip": False, "client": None}),
    ("forgot.html", {"sent_to": None}),
    ("unlock.html", {"done": True}),
    (
        "account/security.html",
        {
            "passkeys": [],
            "identities": [],
            "upstreams": [],
            "totp": False,
            "codes_left": 0,
            "user": Owner(None, "x", False, None, None, False),
        },
    ),
    (
        "account/security.html",
        {
            "directory": Upstream("staff", "Staff"),
            "identities": [Identity(fixed=True)],
            "user": Owner(password_hash=None),
        },
    ),
    ("account/security.html", {"codes_left": 1, "user": Owner(password_changed_at=None)}),
    ("account/password.html", {"elsewhere": True}),
    ("account/profile.html", {"wrong": "attributes.a1"}),
    ("account/profile.html", {"wrong": "attributes.a0", "facts": []}),
    ("account/profile.html", {"attributes": [], "error": None, "wrong": ""}),
    ("account/profile.html", {"attributes": [], "facts": []}),
    ("account/profile.html", {"groups": ()}),
    ("account/email.html", {"sent_to": None, "error": "No."}),
    ("account/email.html", {"token": "abc"}),
    ("account/activity.html", {"events": [], "next": None}),
    ("account/apps.html", {"apps": [], "mine": []}),
    ("account/data.html", {"error": "No.", "done": None}),
    ("access_denied.html", {"contacts": [], "may_switch": False, "request_id": ""}),
    ("consent.html", {"resources": [], "user": User(name=None)}),
    ("consent.html", {"unchecked": True, "site": ""}),
    ("consent.html", {"scopes": [Scope(values=(), description="", code="")]}),
    ("consent.html", {"document": Document(), "details": [Detail()]}),
    ("consent.html", {"document": Document(first_seen=None, local=None, changes=())}),
    ("consent.html", {"scopes": [], "claims": [], "resources": ["Orders", "Stock"]}),
    ("error.html", {"error": None, "developer": [], "request_id": "", "way_out": []}),
    ("logout.html", {"hidden": {}, "user": None, "client": None}),
    ("organization.html", {"lost": True}),
    ("organization_invitation.html", {"user": None, "offer": Offered(inviter=None, admin=False)}),
    ("organization_invitation.html", {"accepts": True}),
    ("organization_invitation.html", {"declined": True}),
    (
        "account/organizations.html",
        {"organizations": [], "managed": set(), "invitations": [Offered(inviter=None, admin=False)]},
    ),
    ("organization.html", {"organizations": []}),
    ("approve.html", {"organizations": [Organization(), Organization(slug="northwind", name="Northwind")]}),
    ("device.html", {"error": "This code is not right."}),
    ("device.html", {"user_code": ""}),
    ("device_confirm.html", {"unchecked": False, "place": "203.0.113.7"}),
    ("device_done.html", {"approved": False}),
    ("logged_out.html", {"client": None, "way_out": []}),
    ("logged_out.html", {"frames": ["https://northwind.example/out?iss=a&sid=b", "https://shop.example/out"]}),
    (
        "logged_out.html",
        {"frames": ["https://shop.example/out"], "onward": "https://northwind.example/bye?state=a&b=c"},
    ),
    ("home.html", {"user": None}),
    ("dev/start.html", {"commands": [], "demo_password": None}),
    ("dev/demo.html", {"signed_in": False, "tokens": [], "userinfo": None, "error": None}),
    ("dev/mail.html", {"messages": []}),
]

CASES = [*PAGES.items(), *((name, PAGES[name] | changes) for name, changes in VARIANTS)]

IDS = {
    "password.html": {
        "username",
        "password",
        "login-submit",
        "login-cancel",
        "email-code-send",
        "passkey-get",
        "register",
    },
    "address.html": {"username", "address-submit", "login-cancel", "passkey-get", "register", "use-password"},
    "email_code.html": {"code", "code-submit", "code-resend"},
    "registration.html": {"username", "name", "new-password", "register-submit"},
    "attributes.html": {"attributes-submit", "login-cancel"},
    "upstream.html": {"username", "upstream-send"},
    "totp.html": {"code", "totp-submit", "trust_device"},
    "recovery_code.html": {"code", "recovery-submit"},
    "enrol.html": {"totp-confirm", "passkey-create", "enrol-skip"},
    "recovery_codes.html": {"recovery-codes", "codes-kept"},
    "account/ask.html": {"ask-confirm"},
    "forgot.html": {"code", "new-password", "reset-submit"},
    "reset.html": {"new-password", "reset-submit"},
    "access_denied.html": {"access-denied", "access-back"},
    "consent.html": {"consent-allow", "consent-deny"},
    "device.html": {"user_code", "device-submit"},
    "device_confirm.html": {"device-confirm", "device-deny", "device-warning"},
    "error.html": {"oidc-error"},
    "logout.html": {"logout-confirm", "logout-cancel"},
    "logged_out.html": {"logout-done"},
    "dev/demo.html": {
        "demo-refresh",
        "demo-logout",
        "demo-id-token",
        "demo-access-token",
        "demo-userinfo",
        "demo-refresh-count",
    },
}

every_page = pytest.mark.parametrize(
    ("name", "context"), CASES, ids=[f"{number}-{name}" for number, (name, _) in enumerate(CASES)]
)

VOID = {"br", "hr", "img", "input", "link", "meta", "source"}


class Elements(HTMLParser):
    """Every element of a page, and whether each was closed correctly."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.feed(html)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        assert len({name for name, _ in attrs}) == len(attrs), f"<{tag}> repeats an attribute"
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.elements if name == tag]

    @property
    def ids(self) -> list[str]:
        return [value for _, attributes in self.elements if (value := attributes.get("id"))]

    def by_id(self, id: str) -> dict[str, str | None]:
        (found,) = [attributes for _, attributes in self.elements if attributes.get("id") == id]
        return found


def poison(value: Any) -> Any:
    """The same value with every string in it hostile, except those of an enumeration."""
    if isinstance(value, StrEnum):
        return value
    if isinstance(value, str):
        return HOSTILE
    if isinstance(value, list | tuple):
        return type(value)(poison(item) for item in value)
    if isinstance(value, dict):
        return {poison(key): poison(item) for key, item in value.items()}
    if isinstance(value, msgspec.Struct):
        return msgspec.structs.replace(
            value, **{name: poison(item) for name, item in msgspec.structs.asdict(value).items()}
        )
    if is_dataclass(value) and not isinstance(value, type):
        names = [field.name for field in fields(value)]
        return replace(value, **{name: poison(getattr(value, name)) for name in names})
    return value


@pytest.fixture(scope="module")
def pages() -> Templates:
    return Templates(Theme())


def test_every_template_is_covered() -> None:
    frames = {"base.html", "parts.html", "signin.html", "account/frame.html", "dev/frame.html", "mail/base.html"}
    frames |= {"organization/frame.html", "organization/lists.html", "first.html", "providers.html"}
    frames |= {"mail/custom.html", "mail/parts.html"}
    root = templates_path()
    shipped = {path.relative_to(root).as_posix() for path in root.rglob("*.html")}
    # Pages of the console show plain values, and are tested with it. The frame of session management shows nothing.
    frames |= {"check_session.html"}
    shipped = {name for name in shipped if not name.startswith("admin/")}
    assert shipped - frames == set(PAGES)


@every_page
def test_page_is_well_formed(pages: Templates, name: str, context: dict[str, Any]) -> None:
    page = Elements(pages.render(name, **context))
    assert len(page.ids) == len(set(page.ids))
    assert page.all("html") == [{"lang": "en", "dir": "ltr"}]
    assert len(page.all("main")) == 1
    assert len(page.all("h1")) == (0 if name == "form_post.html" else 1)
    assert all(image.get("alt") is not None for image in page.all("img"))
    labelled = {label["for"] for label in page.all("label")}
    fields = [*page.all("input"), *page.all("select"), *page.all("textarea")]
    visible = {field.get("id") for field in fields if field.get("type") != "hidden" and "hidden" not in field}
    assert visible == labelled
    for _, attributes in page.elements:
        for reference in ("aria-labelledby", "aria-describedby"):
            assert set((attributes.get(reference) or "").split()) <= set(page.ids)


def _scripts(name: str, context: dict[str, Any]) -> list[str]:
    """Return the files that a page has: help for its fields, passkeys, and what copies codes and keys."""
    in_flow, has_setup = "others" in context, context.get("setup") is not None
    files = ["passkey.js"] if "passkey_options" in context else []
    new_password = name == "reset.html" or (name == "account/password.html" and not context["elsewhere"])
    files += ["fields.js"] if in_flow or new_password or name == "account/totp.html" else []
    files += ["picture.js"] if "uploaded" in context else []
    return [*files, "copy.js"] if has_setup or name.endswith("recovery_codes.html") else files


@every_page
def test_page_keeps_to_the_content_security_policy(pages: Templates, name: str, context: dict[str, Any]) -> None:
    page = Elements(pages.render(name, **context))
    mail, form_post = name.startswith("mail/"), name == "form_post.html"
    ours = [{"src": pages.static_url(file), "defer": None} for file in _scripts(name, context)]
    if "others" in context:
        # A page of the sign-in also watches for other tabs.
        waits = {"data-waits": None} if context.get("sent_to") else {}
        ours.append({"src": pages.static_url("tab.js"), "defer": None} | waits)
    if context.get("onward"):
        # It must run before the frames load.
        ours = [{"src": pages.static_url("logged_out.js")}]
    found = sorted(page.all("script"), key=lambda one: one.get("src") or "")
    assert found == ([{"nonce": "bm9uY2U"}] if form_post else sorted(ours, key=lambda one: one["src"] or ""))
    assert len(page.all("style")) == (1 if mail else 0)
    for _, attributes in page.elements:
        assert not any(attribute.startswith("on") for attribute in attributes)
        # Mail programs read styles on tags only.
        assert mail or "style" not in attributes


@every_page
def test_hostile_values_are_escaped(name: str, context: dict[str, Any]) -> None:
    context = {key: poison(value) for key, value in context.items()}
    html = Templates(Theme(HOSTILE, HOSTILE)).render(name, **context | {"request_id": HOSTILE})
    assert "<svg onload" not in html
    for _, attributes in Elements(html).elements:
        assert "onload" not in attributes


@every_page
def test_registered_links_cannot_run_script(pages: Templates, name: str, context: dict[str, Any]) -> None:
    link = "javascript:alert(1)"
    context = dict(context)
    if context.get("client"):
        context["client"] = Client("Northwind", link, link, link, link)
    if isinstance(context.get("brand"), Brand):
        links = tuple(msgspec.structs.replace(each, uri=link) for each in LINKS)
        context["brand"] = msgspec.structs.replace(BRAND, logo_uri=link, dark_logo_uri=None, links=links)
    if "way_out" in context:
        context["way_out"] = [("Back", link)]
    assert "javascript:" not in pages.render(name, **context)


@pytest.mark.parametrize("name", IDS)
def test_stable_ids(pages: Templates, name: str) -> None:
    page = Elements(pages.render(name, **PAGES[name]))
    assert IDS[name] <= set(page.ids)


def test_demo_offers_sign_in_when_signed_out(pages: Templates) -> None:
    context = PAGES["dev/demo.html"] | {"signed_in": False}
    assert Elements(pages.render("dev/demo.html", **context)).by_id("demo-login")["href"] == "/demo/login"


@pytest.mark.parametrize("name", [name for name, context in PAGES.items() if context])
def test_missing_values_are_errors(pages: Templates, name: str) -> None:
    with pytest.raises(jinja2.UndefinedError):
        pages.render(name)


def test_login_fields(pages: Templates) -> None:
    page = Elements(pages.render("password.html", **PAGES["password.html"]))
    username, password = page.by_id("username"), page.by_id("password")
    # The browser offers passkeys in the suggestions for this field.
    assert (username["type"], username["autocomplete"]) == ("email", "username webauthn")
    assert (password["type"], password["autocomplete"]) == ("password", "current-password")
    assert username["value"] == "ada@example.com"
    assert "value" not in password
    for field in username, password:
        assert field["aria-invalid"] == "true"
        assert field["aria-describedby"] == "form-error"
    assert {"name": "csrf_token", "type": "hidden", "value": "token"} in page.all("input")
    # Enter submits by the first button, which must be the one that signs in.
    first, second = [button for button in page.all("button") if "form" not in button and "hidden" not in button][:2]
    assert first["id"] == "login-submit"
    assert (second["id"], second["formaction"], second["value"]) == ("email-code-send", "/login/f1/email_code", "send")
    assert "formnovalidate" in second


def test_login_without_error_marks_nothing_invalid(pages: Templates) -> None:
    html = pages.render("password.html", **PAGES["password.html"] | {"error": None, "cancel": False})
    assert "aria-invalid" not in html
    assert 'class="notice" role="alert"' not in html
    assert "login-cancel" not in html


def test_login_shows_the_metadata_of_the_client(pages: Templates) -> None:
    page = Elements(pages.render("password.html", **PAGES["password.html"]))
    links = {link["href"] for link in page.all("a")}
    assert {"https://northwind.example/privacy", "https://northwind.example/terms"} <= links
    assert "https://northwind.example/logo.svg" in {image["src"] for image in page.all("img")}


def test_request_id_stands_on_error_pages_only(pages: Templates) -> None:
    for name, context in PAGES.items():
        html = pages.render(name, **context | {"request_id": "the-request"})
        assert ("the-request" in html) == (name in ("error.html", "flow_gone.html", "access_denied.html")), name


def test_direction_and_language(pages: Templates) -> None:
    html = pages.render("password.html", **PAGES["password.html"], lang="ar", dir="rtl")
    assert '<html lang="ar" dir="rtl">' in html


def test_since_names_a_date() -> None:
    """A time that was less than a week ago is written as "8 minutes ago", which "since" does not go with."""
    texts = [path.read_text() for path in templates_path().rglob("*.html") if "mail" not in path.parts]
    found = [
        match for text in texts for match in re.findall(r"{% trans when=(\w+)\([^)]*\) %}[^{]*\bsince {{ when }}", text)
    ]
    assert len(found) >= 6
    assert set(found) == {"day"}


def test_style_is_logical() -> None:
    """A rule with left or right would be wrong in a right-to-left language."""
    css = (templates_path() / "static" / "idp.css").read_text(encoding="utf-8")
    css = re.sub(r"/\*.*?\*/", "", css, flags=re.DOTALL)
    assert re.findall(r"(?:margin|padding|border|inset)-(?:left|right)|(?<![\w-])(?:left|right):", css) == []


@pytest.mark.parametrize("name", [name for name in PAGES if name.startswith("mail/")])
def test_plain_mail(pages: Templates, name: str) -> None:
    context = PAGES[name] | {"name": "Ada O'Brien <&>"}
    text = pages.render(name.replace(".html", ".txt"), **context)
    assert text.startswith("Hello Ada O'Brien <&>,\n\n")
    assert "https://id.example.com" in text
    assert "\n\n\n" not in text
    assert not re.search(r"[{}]|^ ", text, flags=re.MULTILINE)


def test_static_urls_change_with_content(tmp_path: Path) -> None:
    (tmp_path / "static").mkdir()
    (tmp_path / "static" / "idp.css").write_text("body {}")
    shipped, own = Templates(Theme()), Templates(Theme(), overrides=tmp_path)
    assert re.fullmatch(r"/static/idp\.css\?v=[0-9a-f]{8}", shipped.static_url("idp.css"))
    assert shipped.static_url("idp.css") != own.static_url("idp.css")
    assert shipped.static_url("pico.min.css") == own.static_url("pico.min.css")
    assert shipped.assets["idp.css"].etag != own.assets["idp.css"].etag


def test_asset_headers(pages: Templates) -> None:
    asset = pages.assets["idp.css"]
    assert asset.media_type == "text/css; charset=utf-8"
    assert re.fullmatch(r'"[0-9a-f]{32}"', asset.etag)
    immutable = "public, max-age=31536000, immutable"
    assert asset.headers(asset.version) == {"Cache-Control": immutable, "ETag": asset.etag}
    assert asset.headers(None)["Cache-Control"] == "public, max-age=3600"
    assert asset.headers("00000000")["Cache-Control"] == "no-cache"


def test_only_known_types_are_assets(tmp_path: Path) -> None:
    static = tmp_path / "static"
    (static / "fonts").mkdir(parents=True)
    (static / "fonts" / "own.woff2").write_bytes(b"font")
    (static / "notes.txt").write_text("not for the public")
    (tmp_path / "secret.css").write_text("outside")
    assets = Templates(Theme(), overrides=tmp_path).assets
    assert "fonts/own.woff2" in assets
    assert not {"notes.txt", "secret.css", "../secret.css"} & set(assets)


def test_operator_override_wins(tmp_path: Path) -> None:
    (tmp_path / "home.html").write_text("{{ product_name }} of our own")
    (tmp_path / "static").mkdir()
    (tmp_path / "static" / "theme.css").write_text(":root:not([data-theme]) { --accent: #444 }")
    pages = Templates(Theme("Acme ID"), overrides=tmp_path)
    assert pages.render("home.html") == "Acme ID of our own"
    assert "/static/theme.css?v=" in pages.render("password.html", **PAGES["password.html"])
    assert "theme.css" not in Templates(Theme()).render("password.html", **PAGES["password.html"])


def test_template_that_does_not_compile_stops_the_start(tmp_path: Path) -> None:
    (tmp_path / "home.html").write_text("{% if %}")
    with pytest.raises(jinja2.TemplateSyntaxError):
        Templates(Theme(), overrides=tmp_path)


def test_shipped_templates_are_compiled_when_a_page_needs_them() -> None:
    """Most workers never show most pages, and the compiled ones take 7 MiB."""
    pages = Templates(Theme())
    cache = pages._environment.cache
    assert cache is not None
    assert not list(cache.values())
    pages.render("password.html", **PAGES["password.html"])
    assert "password.html" in {template.name for template in cache.values()}


def test_folder_of_the_operator_must_exist(tmp_path: Path) -> None:
    with pytest.raises(NotADirectoryError):
        Templates(Theme(), overrides=tmp_path / "misspelt")
    assert Templates(Theme(), overrides=tmp_path).assets == Templates(Theme()).assets


@pytest.mark.parametrize("value", ["https://a.example", "HTTP://a.example", "/", "/login?x=1"])
def test_web_url_keeps(value: str) -> None:
    assert web_url(value) == value


@pytest.mark.parametrize("value", [None, "", "javascript:alert(1)", "data:text/html,x", "//a.example", "/\\a.example"])
def test_web_url_drops(value: str | None) -> None:
    assert web_url(value) is None
