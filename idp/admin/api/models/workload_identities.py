"""Request and response bodies of the operations on workload identities."""

from datetime import datetime
from typing import Any
from uuid import UUID

from idp.admin.api.models.base import Sent, Shown


class WorkloadIdentity(Shown):
    """Tokens of a trusted issuer that authenticate a client. ``*`` in ``subject`` stands for one part of it.

    Without ``jwks`` and ``jwks_uri``, the discovery document of the issuer names its keys.
    """

    id: UUID
    client_id: str
    issuer: str
    subject: str
    audience: str
    jwks: dict[str, Any] | None
    jwks_uri: str | None
    single_use: bool
    created_at: datetime


class NewWorkloadIdentity(Sent):
    """The default ``audience`` is the issuer of this server. With ``single_use``, each token is accepted once."""

    client_id: str
    issuer: str
    subject: str
    audience: str | None = None
    jwks: dict[str, Any] | None = None
    jwks_uri: str | None = None
    single_use: bool = True
