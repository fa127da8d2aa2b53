"""Event types of CAEP 1.0 and RISC 1.0, and which events of the audit trail they are."""

from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import Any, Final, NamedTuple

import msgspec

from idp.accounts.attributes.registry import attributes
from idp.audit.repository.feed import FedEvent

_CAEP: Final = "https://schemas.openid.net/secevent/caep/event-type/"
_RISC: Final = "https://schemas.openid.net/secevent/risc/event-type/"
_SSF: Final = "https://schemas.openid.net/secevent/ssf/event-type/"

SESSION_REVOKED: Final = f"{_CAEP}session-revoked"
CREDENTIAL_CHANGE: Final = f"{_CAEP}credential-change"
TOKEN_CLAIMS_CHANGE: Final = f"{_CAEP}token-claims-change"
ACCOUNT_DISABLED: Final = f"{_RISC}account-disabled"
ACCOUNT_ENABLED: Final = f"{_RISC}account-enabled"
ACCOUNT_PURGED: Final = f"{_RISC}account-purged"
IDENTIFIER_CHANGED: Final = f"{_RISC}identifier-changed"
RECOVERY_ACTIVATED: Final = f"{_RISC}recovery-activated"
#: Sent on every stream (Shared Signals Framework sections 8.1.4 and 8.1.5).
VERIFICATION: Final = f"{_SSF}verification"
STREAM_UPDATED: Final = f"{_SSF}stream-updated"

#: What receivers may request.
SUPPORTED: Final = (
    SESSION_REVOKED, CREDENTIAL_CHANGE, TOKEN_CLAIMS_CHANGE, ACCOUNT_DISABLED, ACCOUNT_ENABLED, ACCOUNT_PURGED,
    IDENTIFIER_CHANGED, RECOVERY_ACTIVATED,
)  # fmt: skip


class Signal(NamedTuple):
    """A security event.

    Attributes:
        claims: those of its type.
        scopes: of :data:`TOKEN_CLAIMS_CHANGE`: the scopes whose claims may have changed.
        email: of :data:`IDENTIFIER_CHANGED`: the address that it is about. Otherwise it is about a user.
    """

    type: str
    claims: Mapping[str, Any] = MappingProxyType({})
    scopes: tuple[str, ...] = ()
    email: str | None = None


def _credential(kind: str, change: str) -> Signal:
    return Signal(CREDENTIAL_CHANGE, {"credential_type": kind, "change_type": change})


_SIGNALS: Final[dict[str, tuple[Signal, ...]]] = {
    "session_ended": (Signal(SESSION_REVOKED),),
    "password_changed": (_credential("password", "update"),),
    "passkey_added": (_credential("fido2-platform", "create"),),
    "passkey_removed": (_credential("fido2-platform", "delete"),),
    "totp_enabled": (_credential("app", "create"),),
    "totp_disabled": (_credential("app", "delete"),),
    "user_disabled": (Signal(ACCOUNT_DISABLED),),
    "user_enabled": (Signal(ACCOUNT_ENABLED),),
    "user_deleted": (Signal(ACCOUNT_PURGED),),
    "password_reset_requested": (Signal(RECOVERY_ACTIVATED),),
    "email_changed": (Signal(TOKEN_CLAIMS_CHANGE, scopes=("email",)), Signal(IDENTIFIER_CHANGED)),
    "email_verified": (Signal(TOKEN_CLAIMS_CHANGE, scopes=("email",)),),
    "profile_changed": (Signal(TOKEN_CLAIMS_CHANGE, scopes=("profile", "address", "phone")),),
    # The scopes are those of the attributes.
    "attributes_changed": (Signal(TOKEN_CLAIMS_CHANGE),),
    # Roles follow from groups.
    "group_member_added": (Signal(TOKEN_CLAIMS_CHANGE, scopes=("groups", "roles")),),
    "group_member_removed": (Signal(TOKEN_CLAIMS_CHANGE, scopes=("groups", "roles")),),
    "user_role_granted": (Signal(TOKEN_CLAIMS_CHANGE, scopes=("roles",)),),
    "user_role_revoked": (Signal(TOKEN_CLAIMS_CHANGE, scopes=("roles",)),),
}
#: The kinds of events of the audit trail that are signals.
KINDS: Final = frozenset(_SIGNALS)
#: What initiated an event, by its reason (CAEP section 2). Otherwise an administrator, or the user.
_INITIATORS: Final = {"single_session": "policy", "database_restored": "system"}


def signals_of(event: FedEvent) -> list[Signal]:
    """Return what an event of the audit trail is for receivers, with the claims that its type has besides."""
    if event.user_id is None or event.outcome != "success":
        return []
    detail = msgspec.json.decode(event.detail)
    signals = _SIGNALS.get(event.event, ())
    if event.event == "attributes_changed":
        scopes = _scopes_of(detail.get("attributes", ()))
        signals = tuple(signal._replace(scopes=scopes) for signal in signals if scopes)
    return [
        _completed(signal, event, detail.get("reason"))
        for signal in signals
        if signal.type != IDENTIFIER_CHANGED or event.private
    ]


def _scopes_of(names: Iterable[str]) -> tuple[str, ...]:
    """Return the scopes with which attributes are released."""
    found = (attributes.get(name) for name in names)
    return tuple(dict.fromkeys(one.scope for one in found if one is not None and one.scope is not None))


def _completed(signal: Signal, event: FedEvent, reason: str | None) -> Signal:
    """CAEP section 2, RISC sections 2.3 and 2.5."""
    if signal.type == IDENTIFIER_CHANGED:
        return signal._replace(email=event.private["before"], claims={"new-value": event.private["after"]})
    more: dict[str, Any] = {}
    if signal.type.startswith(_CAEP):
        who = _INITIATORS.get(reason or "", "admin" if event.actor else "user")
        more = {"event_timestamp": int(event.at.timestamp()), "initiating_entity": who}
    elif signal.type == ACCOUNT_DISABLED and reason == "user_contained":
        more = {"reason": "hijacking"}
    return signal._replace(claims={**more, **signal.claims})
