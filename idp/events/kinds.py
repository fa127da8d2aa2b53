"""The kinds of events of the audit trail: those that webhooks may subscribe to, which say what users did, or what was
decided about users, clients and keys; and all others, which only :data:`ALL` includes.
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
    "client_contained", "client_branding_set", "client_secret_rotated", "access_policy_set", "access_policy_removed",
    "resource_server_registered", "resource_server_updated", "resource_server_deleted",
    "upstream_added", "upstream_updated", "upstream_disabled", "upstream_enabled", "upstream_deleted",
    "upstream_contained",
    "key_published", "key_activated", "key_revoked", "key_destroyed",
    "admin_role_granted", "admin_role_revoked", "not_before_set", "database_restored",
)  # fmt: skip

#: Events that only those see who read the whole trail: no subscription names them.
OTHERS: Final = (
    # Attempts that failed, which are many.
    "access_denied", "access_token_refused", "client_authentication", "directory_check_stopped",
    "events_left_out", "provisioning_incomplete",
    "token_exchange_refused", "token_refused", "upstream_failed", "user_code",
    # Uses of tokens, which are many.
    "access_token_revoked", "assertion_accepted", "id_jag_issued", "passkey_count_fell", "token_exchanged",
    "token_issued",
    # What is told in another way.
    "client_admin_role_set", "upstream_logout",
    # Configuration of this server.
    "attribute_declared", "attribute_deleted", "attribute_updated",
    "authorization_details_type_deleted", "authorization_details_type_registered",
    "authorization_details_type_updated", "branding_set",
    "claim_mapping_added", "claim_mapping_removed", "client_document_changed", "client_kept", "client_secret_ended",
    "configuration_applied",
    "id_jag_policy_added", "id_jag_policy_removed", "initial_access_token_created",
    "initial_access_token_deleted",
    "mail_template_reset", "mail_template_set", "mail_test_sent",
    "master_key_added", "master_key_removed", "registration_token_rotated", "scim_token_created",
    "scim_token_deleted", "scim_token_rotated", "token_exchange_policy_added",
    "token_exchange_policy_removed", "trusted_issuer_added", "trusted_issuer_removed", "trusted_issuer_updated",
    "upstream_tested", "upstreams_ordered", "workload_identity_added",
    "workload_identity_removed",
    # Acts on many users, which have an event for each.
    "bulk_job_cancelled", "bulk_job_created", "bulk_job_finished", "bulk_job_resumed",
    # Reading by administrators.
    "audit_exported", "data_exported", "key_exported", "subject_identified", "trace_read", "users_exported",
    "user_invitation_revoked",
    # The trail and the deliveries themselves.
    "audit_rows_deleted", "delivery_replayed", "event_stream_created", "event_stream_deleted",
    "event_stream_status_set", "event_stream_updated", "webhook_added", "webhook_disabled", "webhook_enabled",
    "token_hook_added", "token_hook_disabled", "token_hook_enabled", "token_hook_failed", "token_hook_paused",
    "token_hook_removed", "token_hook_resumed", "token_hook_secret_rotated", "token_hook_updated",
    "provisioning_job_finished", "provisioning_job_started",
    "provisioning_job_stopped", "provisioning_target_created", "provisioning_target_deleted",
    "provisioning_target_disabled", "provisioning_target_enabled", "provisioning_target_failing",
    "provisioning_target_token_set", "provisioning_target_updated", "provisioning_target_works",
    "webhook_removed", "webhook_secret_rotated", "webhook_updated",
)  # fmt: skip

__all__ = ["ALL", "KINDS", "OTHERS"]
