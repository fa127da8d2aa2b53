"""Every mail with its variables. The checks, samples, console, command line and documentation read this table."""

from collections.abc import Iterator
from typing import Any, Final

import msgspec

from idp.mail import brand


class Variable(msgspec.Struct, frozen=True):
    """A variable of templates.

    Attributes:
        meaning: as a phrase.
        example: its value in a preview. ``{issuer}`` is that of this server.
    """

    meaning: str
    example: str | int


class MailKind(msgspec.Struct, frozen=True):
    """A mail.

    Attributes:
        purpose: when it is sent.
        variables: the names of its variables, besides those of :data:`COMMON`.
        optional: those of them that may be None.
    """

    purpose: str
    variables: tuple[str, ...] = ()
    optional: frozenset[str] = frozenset()

    @property
    def proofs(self) -> tuple[str, ...]:
        """The variables without which the mail has no use: both parts must show them."""
        return tuple(name for name in self.variables if name in ("code", "link"))


#: The variables of every mail.
COMMON: Final = {
    "name": Variable("the name of the recipient, or the address if there is none", "Ada Lovelace"),
    "product_name": Variable("the name of this server", "idp"),
    "issuer": Variable("the URL of this server", "{issuer}"),
    "when": Variable("the time at which the mail is made, in UTC", "7 May 2027, 09:30 UTC"),
    "lang": Variable("the language of the mail", "en"),
    "dir": Variable("the direction of its script, ltr or rtl", "ltr"),
    "brand": Variable(f"the brand: {', '.join(f'brand.{name}' for name in brand.FIELDS)}", "an object"),
}
VARIABLES: Final = {
    "code": Variable("the code to type", "284713"),
    "link": Variable("the link to open", "{issuer}/example?token=sample"),
    "minutes": Variable("the minutes for which code and link are valid", 10),
    "days": Variable("the days for which the link is valid", 7),
    "client_name": Variable("the name of the application, or none", "Northwind"),
    "email": Variable("the new address, of which only a part is shown", "a…@example.com"),
    "upstream": Variable("the name of the other provider", "Google"),
    "organization": Variable("the name of the organisation", "Acme Ltd"),
    "inviter": Variable("the name of the person who invites, or none", "Grace Hopper"),
    "passkey": Variable("the name of the passkey", "iCloud Keychain"),
    "browser": Variable("the browser and its system", "Firefox on Windows"),
    "place": Variable("the place of the sign-in, or its network address", "Lisbon, Portugal"),
    "left": Variable("the number of recovery codes that are left", 9),
}
_CODE = ("code", "link", "minutes")
KINDS: Final = {
    "account_deleted": MailKind("The account was deleted."),
    "account_locked": MailKind("Many wrong passwords were entered. The link lifts the lock.", ("link",)),
    "already_registered": MailKind("Someone tried to create an account with an address that has one."),
    "approval_request": MailKind(
        "An application asks for approval (CIBA).", ("client_name", "link", "minutes"), frozenset({"client_name"})
    ),
    "data_exported": MailKind("All data of the account was downloaded."),
    "email_change_confirm": MailKind("Confirms a new address of an account.", _CODE),
    "email_changed": MailKind("To the old address: the account has a new one.", ("email",)),
    "identity_linked": MailKind("An account at another provider was connected.", ("upstream",)),
    "identity_unlinked": MailKind("An account at another provider was disconnected.", ("upstream",)),
    "invitation": MailKind("An invitation to create an account.", ("link", "days")),
    "new_browser": MailKind(
        "A sign-in from a browser that was not known. The link ends it.", ("link", "browser", "place")
    ),
    "organization_invitation": MailKind(
        "An invitation into an organisation.", ("organization", "inviter", "link", "days"), frozenset({"inviter"})
    ),
    "passkey_added": MailKind("A passkey was added.", ("passkey",), frozenset({"passkey"})),
    "passkey_removed": MailKind("A passkey was removed.", ("passkey",), frozenset({"passkey"})),
    "password_changed": MailKind("The password was changed."),
    "password_elsewhere": MailKind("A reset was asked for, but the password is that of a directory.", ("upstream",)),
    "recovery_code_used": MailKind("A recovery code was used.", ("left",)),
    "recovery_codes_made": MailKind("New recovery codes were made."),
    "reset_password": MailKind(
        "The link to choose a new password. Without a code if an administrator sent it.", _CODE, frozenset({"code"})
    ),
    "sign_in_code": MailKind("Signs in by a code or a link.", _CODE),
    "signed_out_for_safety": MailKind(
        "A refresh token was used twice, and the application was signed out.",
        ("client_name",),
        frozenset({"client_name"}),
    ),
    "test": MailKind("The test mail of an administrator."),
    "totp_disabled": MailKind("The authenticator app was removed."),
    "totp_enabled": MailKind("An authenticator app was set up."),
    "two_step_off": MailKind("A second step is no longer asked for."),
    "two_step_on": MailKind("A second step is asked for from now on."),
    "verify_email": MailKind("Confirms the address of a new account.", _CODE),
    "welcome": MailKind("To a new user."),
}


def variables_of(kind: MailKind) -> dict[str, Variable]:
    """Return the variables that the templates of a mail may use."""
    return {name: VARIABLES[name] for name in kind.variables} | COMMON


def names_of(template: str) -> frozenset[str]:
    """Return the names of the variables that the templates of a mail may use."""
    return frozenset(variables_of(KINDS[template]))


def sample(template: str, issuer: str, **values: Any) -> dict[str, Any]:
    """Return example values of the variables that :func:`idp.mail.outbox.queue` is given for a mail.

    Args:
        values: in place of examples.
    """
    kind = KINDS[template]
    found = {name: VARIABLES[name].example for name in kind.variables} | {"name": COMMON["name"].example}
    shown = {
        name: value.replace("{issuer}", issuer) if isinstance(value, str) else value for name, value in found.items()
    }
    return shown | {name: value for name, value in values.items() if name in shown}


def samples(template: str, issuer: str, **values: Any) -> Iterator[dict[str, Any]]:
    """Return example values with everything, and then without each value that may be missing."""
    whole = sample(template, issuer, **values)
    yield whole
    yield whole | {"name": None}
    yield from (whole | {name: None} for name in sorted(KINDS[template].optional))
