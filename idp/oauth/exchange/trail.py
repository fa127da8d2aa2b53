"""Audit events of token exchange: every exchange with both parties, and refusals within the limit of events."""

from collections.abc import Sequence
from typing import Any

import msgspec

from idp.audit import unauthenticated_limit
from idp.audit.buffer import token_issued
from idp.audit.events import note
from idp.errors import OAuthError
from idp.oauth.clients.models import Client
from idp.oauth.exchange.actors import Actor
from idp.oauth.exchange.models import ExchangePolicy
from idp.oauth.exchange.parties import Party

#: Length to which a requested scope or resource is cut.
_MAX_LENGTH = 500


class Attempt(msgspec.Struct, kw_only=True):
    """What is known of a request so far."""

    client: Client
    grant_type: str
    resource: Sequence[str] = ()
    scope: Sequence[str] = ()
    subject: Party | None = None
    actor: Actor | None = None
    policy: ExchangePolicy | None = None

    def issued(self, jti: str) -> None:
        """Record the exchange."""
        subject = self.subject
        family_id = subject.family_id if subject else None
        token_issued(
            self.grant_type,
            self.client.client_id,
            jti,
            user_id=subject.user_id if subject else None,
            session_id=subject.session_id if subject else None,
            family_id=family_id,
        )
        self._note("token_exchanged", jti=jti, subject_jti=str(subject.claims["jti"]) if subject else None)

    def refused(self, error: OAuthError) -> None:
        """Record that it was refused."""
        key = unauthenticated_limit.limit_key(self.client.client_id)
        self._note("token_exchange_refused", key, reason=error.reason)

    def _note(self, event: str, limit_key: str | None = None, **more: Any) -> None:
        subject, policy = self.subject, self.policy
        detail = more | {
            "subject_client": subject.client.client_id if subject else None,
            "actor": self.actor,
            "mode": policy.mode if policy else None,
            "policy": str(policy.id) if policy else None,
            "resource": " ".join(self.resource)[:_MAX_LENGTH],
            "scope": " ".join(self.scope)[:_MAX_LENGTH],
            "family_id": str(subject.family_id) if subject and subject.family_id else None,
        }
        note(
            event,
            outcome="success" if limit_key is None else "failure",
            user_id=subject.user_id if subject else None,
            client_id=self.client.client_id,
            session_id=subject.session_id if subject else None,
            detail={name: value for name, value in detail.items() if value},
            limit_key=limit_key,
        )
