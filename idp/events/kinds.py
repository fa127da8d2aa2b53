"""The kinds of events that webhooks may subscribe to: those of the audit trail that say what users did, or what was
decided about users, clients and keys. All others are in :data:`ALL`.

tests/audit/test_kinds.py lists those that are not here, and fails for a new event that is in neither list.
"""

from typing import Final

from idp.audit.repository.feed import ALL

#: Each kind by its name in the audit trail.
KINDS: Final = (
    "sign_in", "sign_out", "signed_out_everywhere", "session_ended", "account_locked", "account_unlocked",
    "passkey_cloned",
    "user_created", "user_invited", "users_imported", "user_disabled", "user_enabled", "user_deleted",
    "user_contained", "account_voided", "profile_changed", "attributes_changed", "email_changed",
    "email_verified", "password_reset_requested", "password_changed",
    "passkey_added", "passkey_removed", "totp_enabled", "totp_disabled", "recovery_codes_made", "two_step_on",
    "two_step_off", "factors_removed", "identity_linked", "identity_unlinked",
    "group_created", "group_updated", "group_deleted", "group_member_added", "group_member_removed",
    "group_role_granted", "group_role_revoked", "role_created", "role_updated", "role_deleted",
    "role_contained_added", "role_contained_removed", "user_role_granted", "user_role_revoked",
    "organization_created", "organization_updated", "organization_disabled", "organization_enabled",
    "organization_deleted", "organization_member_added", "organization_member_removed",
    "organization_member_disabled", "organization_member_enabled",
    "organization_admin_granted", "organization_admin_revoked",
    "organization_policy_set", "organization_branding_set",
    "organization_invitation_created", "organization_invitation_resent", "organization_invitation_accepted",
    "organization_invitation_declined", "organization_invitation_revoked",
    "organization_domain_claimed", "organization_domain_verified", "organization_domain_enforced",
    "organization_domain_released", "organization_domain_removed", "organization_domain_missing",
    "organization_domain_lost",
    "consent", "consent_withdrawn", "token_family_revoked", "device_authorization", "backchannel_request",
    "backchannel_decision",
    "client_registered", "client_updated", "client_disabled", "client_enabled", "client_expired", "client_deleted",
    "client_contained", "client_secret_rotated", "access_policy_set", "access_policy_removed",
    "resource_server_registered", "resource_server_updated", "resource_server_deleted",
    "upstream_added", "upstream_updated", "upstream_disabled", "upstream_enabled", "upstream_deleted",
    "upstream_contained",
    "key_published", "key_activated", "key_revoked", "key_destroyed",
    "admin_role_granted", "admin_role_revoked", "not_before_set", "database_restored",
)  # fmt: skip

__all__ = ["ALL", "KINDS"]
