"""Registers every table and the migrations with Piccolo."""

from pathlib import Path

from piccolo.conf.apps import AppConfig

from idp.accounts.attributes.tables import AttributeJob, AttributeRow, UserAttribute
from idp.accounts.tables import AdminRole, EmailProof, Invitation, User, UserEmail, UserPicture
from idp.admin.bulk.tables import BulkChunk, BulkError, BulkItem, BulkJob
from idp.admin.tables import IdempotentAnswer, Setup
from idp.audit.tables import Activity, AuditCheckpoint, AuditEvent, AuditExport, EventFeed, EventFeedKind
from idp.branding.tables import BrandingPicture, BrandingVersion
from idp.delivery.tables import Delivery, DeliveryStream
from idp.directory.tables import (
    DirectoryDeletion,
    GroupMember,
    GroupRole,
    GroupRow,
    OrganizationDomain,
    OrganizationInvitation,
    OrganizationMember,
    OrganizationRow,
    RoleContained,
    RoleRow,
    UserRole,
)
from idp.events.tables import EventStreamRow, EventStreamSubject, WebhookRow
from idp.federation.tables import Identity, UpstreamAttempt, UpstreamRow, UpstreamSubject
from idp.infra.db.tables import Revision, TransactionLock
from idp.infra.tables import Throttle
from idp.keys.tables import DatabaseMark, JwksFetch, RootKey, SigningKeyRow
from idp.mail.tables import Mail
from idp.mail.templates.tables import MailTemplate
from idp.oauth.access_policies.tables import (
    AccessPolicyAttribute,
    AccessPolicyGroup,
    AccessPolicyOrganization,
    AccessPolicyRole,
    AccessPolicyRow,
)
from idp.oauth.ciba.tables import BackchannelRequest
from idp.oauth.claims.tables import ClaimMappingRow
from idp.oauth.clients.dynamic.tables import ClientRegistration, InitialAccessToken
from idp.oauth.clients.tables import ClientDocument, ClientLogo, ClientRow, ResourceServerRow
from idp.oauth.clients.workloads.tables import WorkloadIdentityRow
from idp.oauth.details.tables import DetailsTypeRow
from idp.oauth.device.tables import DeviceAuthorization
from idp.oauth.exchange.tables import ExchangePolicyRow
from idp.oauth.id_jag.tables import IdJagPolicyRow
from idp.oauth.issuers.tables import TrustedIssuerClient, TrustedIssuerRow
from idp.oauth.replay.tables import UsedJWT
from idp.oauth.status.tables import Tombstone
from idp.oauth.tables import (
    AssertedFamily,
    AuthorizationCode,
    AuthorizationRequestRow,
    Consent,
    NotBefore,
    PushedRequest,
    RefreshToken,
    RevokedAccessToken,
    SessionClient,
    TokenFamily,
)
from idp.oauth.token_hook.tables import TokenHookRow
from idp.provisioning.tables import (
    ProvisionedGroup,
    ProvisionedMember,
    ProvisionedUser,
    ProvisioningDrift,
    ProvisioningJobRow,
    ProvisioningTargetRow,
)
from idp.scim.tables import ScimGroup, ScimMember, ScimRole, ScimToken, ScimUser
from idp.signin.tables import (
    Device,
    DeviceToken,
    Flow,
    Passkey,
    PasskeyCredential,
    RecoveryCode,
    Session,
    Totp,
    UpstreamSession,
    UpstreamSid,
)
from idp.trace.tables import Trace

# Every table is in one of these groups. On Citus, `idp db distribute` places it by its group (docs/scaling.md).

#: Rows of users: distributed by the user, whose rows are on one server. Users first.
BY_USER = (
    User,
    AdminRole,
    AssertedFamily,
    AuthorizationCode,
    BackchannelRequest,
    Consent,
    Device,
    GroupMember,
    Identity,
    OrganizationMember,
    Passkey,
    RecoveryCode,
    RefreshToken,
    ScimMember,
    ScimUser,
    Session,
    SessionClient,
    TokenFamily,
    Totp,
    UpstreamSession,
    UserAttribute,
    UserPicture,
    UserRole,
)

#: Small, and read together with rows of users: a copy on every server.
REFERENCE = (
    AttributeJob,
    AttributeRow,
    ClientRow,
    GroupRole,
    GroupRow,
    OrganizationDomain,
    OrganizationRow,
    RevokedAccessToken,
    RoleContained,
    RoleRow,
    TrustedIssuerRow,
)

#: Found before the user is known, read in the order of time, queues, or configuration that servers keep in memory.
ON_COORDINATOR = (
    AccessPolicyAttribute,
    AccessPolicyGroup,
    AccessPolicyOrganization,
    AccessPolicyRole,
    AccessPolicyRow,
    Activity,
    AuditCheckpoint,
    AuditEvent,
    AuditExport,
    AuthorizationRequestRow,
    BrandingPicture,
    BrandingVersion,
    BulkChunk,
    BulkError,
    BulkItem,
    BulkJob,
    ClaimMappingRow,
    ClientDocument,
    ClientLogo,
    ClientRegistration,
    DatabaseMark,
    Delivery,
    DeliveryStream,
    DetailsTypeRow,
    DeviceAuthorization,
    DeviceToken,
    DirectoryDeletion,
    EmailProof,
    EventFeed,
    EventFeedKind,
    EventStreamRow,
    EventStreamSubject,
    ExchangePolicyRow,
    Flow,
    IdJagPolicyRow,
    IdempotentAnswer,
    InitialAccessToken,
    Invitation,
    JwksFetch,
    Mail,
    MailTemplate,
    NotBefore,
    OrganizationInvitation,
    PasskeyCredential,
    ProvisionedGroup,
    ProvisionedMember,
    ProvisionedUser,
    ProvisioningDrift,
    ProvisioningJobRow,
    ProvisioningTargetRow,
    PushedRequest,
    ResourceServerRow,
    Revision,
    RootKey,
    ScimGroup,
    ScimRole,
    ScimToken,
    Setup,
    SigningKeyRow,
    Throttle,
    TokenHookRow,
    Tombstone,
    Trace,
    TransactionLock,
    TrustedIssuerClient,
    UpstreamAttempt,
    UpstreamRow,
    UpstreamSid,
    UpstreamSubject,
    UsedJWT,
    UserEmail,
    WebhookRow,
    WorkloadIdentityRow,
)

APP_CONFIG = AppConfig(
    app_name="idp",
    migrations_folder_path=Path(__file__).parent / "infra" / "db" / "migrations",
    table_classes=[*BY_USER, *REFERENCE, *ON_COORDINATOR],
)
