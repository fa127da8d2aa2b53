"""Registers every table and the migrations with Piccolo."""

from pathlib import Path

from piccolo.conf.apps import AppConfig

from idp.accounts.tables import EmailProof, Invitation, User
from idp.audit.tables import AuditEvent
from idp.db.tables import Revision
from idp.federation.tables import Attempt, Identity, UpstreamRow
from idp.keys.tables import SigningKeyRow
from idp.mail.tables import Mail
from idp.oauth.clients.tables import ClientRow, ResourceServerRow
from idp.oauth.tables import (
    AuthorizationCode,
    AuthorizationRequestRow,
    Consent,
    RefreshToken,
    RevokedAccessToken,
    TokenFamily,
)
from idp.signin.tables import Device, Flow, Passkey, RecoveryCode, Session, Totp
from idp.web.tables import Throttle

APP_CONFIG = AppConfig(
    app_name="idp",
    migrations_folder_path=Path(__file__).parent / "db" / "migrations",
    table_classes=[
        Attempt,
        AuditEvent,
        AuthorizationCode,
        AuthorizationRequestRow,
        ClientRow,
        Consent,
        Device,
        EmailProof,
        Flow,
        Identity,
        Invitation,
        Mail,
        Passkey,
        RecoveryCode,
        RefreshToken,
        ResourceServerRow,
        Revision,
        RevokedAccessToken,
        Session,
        SigningKeyRow,
        Throttle,
        TokenFamily,
        Totp,
        UpstreamRow,
        User,
    ],
)
