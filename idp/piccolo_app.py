"""Registers every table and the migrations with Piccolo."""

from pathlib import Path

from piccolo.conf.apps import AppConfig

from idp.accounts.tables import User
from idp.audit.tables import AuditEvent
from idp.db.tables import Revision
from idp.keys.tables import SigningKeyRow
from idp.oauth.clients.tables import ClientRow, ResourceServerRow
from idp.oauth.tables import (
    AuthorizationCode,
    AuthorizationRequestRow,
    Consent,
    RefreshToken,
    RevokedAccessToken,
    TokenFamily,
)
from idp.signin.tables import Flow, Session

APP_CONFIG = AppConfig(
    app_name="idp",
    migrations_folder_path=Path(__file__).parent / "db" / "migrations",
    table_classes=[
        AuditEvent,
        AuthorizationCode,
        AuthorizationRequestRow,
        ClientRow,
        Consent,
        Flow,
        RefreshToken,
        ResourceServerRow,
        Revision,
        RevokedAccessToken,
        Session,
        SigningKeyRow,
        TokenFamily,
        User,
    ],
)
