"""What audit events are called on the page of the user they concern."""

from collections.abc import Mapping
from typing import Final

#: Marks a text for translation.
N_: Final = str

#: A sentence by event and outcome. Events that are not here are not shown.
SENTENCES: Final[Mapping[tuple[str, str], str]] = {
    ("sign_in", "success"): N_("Signed in"),
    ("sign_in", "restarted"): N_("This browser stayed signed in"),
    ("sign_in", "failure"): N_("Failed attempt to sign in"),
    ("sign_in", "denied"): N_("Attempt to sign in refused, after too many others"),
    ("sign_out", "success"): N_("Signed out"),
    ("signed_out_everywhere", "success"): N_("Signed out everywhere"),
    ("account_locked", "denied"): N_("Sign-in locked after too many failed attempts"),
    ("account_unlocked", "success"): N_("Sign-in unlocked"),
    ("passkey_cloned", "denied"): N_("Passkey refused, because it may have been copied"),
    ("user_created", "success"): N_("Account created"),
    ("user_disabled", "success"): N_("Account disabled"),
    ("user_enabled", "success"): N_("Account enabled"),
    ("user_contained", "success"): N_("Everything signed out, for your safety"),
    ("profile_changed", "success"): N_("Profile changed"),
    ("attributes_changed", "success"): N_("Profile changed"),
    ("email_changed", "success"): N_("Email address changed"),
    ("email_verified", "success"): N_("Email address confirmed"),
    ("password_reset_requested", "success"): N_("New password requested"),
    ("password_changed", "success"): N_("Password changed"),
    ("passkey_added", "success"): N_("Passkey added"),
    ("passkey_removed", "success"): N_("Passkey removed"),
    ("totp_enabled", "success"): N_("Authenticator app set up"),
    ("totp_disabled", "success"): N_("Authenticator app removed"),
    ("recovery_codes_made", "success"): N_("New recovery codes created"),
    ("two_step_on", "success"): N_("Second step switched on"),
    ("two_step_off", "success"): N_("Second step switched off"),
    ("factors_removed", "success"): N_("Second factors removed"),
    ("identity_linked", "success"): N_("Account at another provider connected"),
    ("identity_unlinked", "success"): N_("Account at another provider disconnected"),
    ("group_member_added", "success"): N_("Added to a group"),
    ("group_member_removed", "success"): N_("Removed from a group"),
    ("user_role_granted", "success"): N_("Role given"),
    ("user_role_revoked", "success"): N_("Role taken away"),
    ("admin_role_granted", "success"): N_("Administrator rights given"),
    ("admin_role_revoked", "success"): N_("Administrator rights taken away"),
    ("organization_member_added", "success"): N_("Added to the organisation %(organization)s"),
    ("organization_member_removed", "success"): N_("Removed from the organisation %(organization)s"),
    ("organization_member_disabled", "success"): N_("Membership of %(organization)s disabled"),
    ("organization_member_enabled", "success"): N_("Membership of %(organization)s enabled"),
    ("organization_admin_granted", "success"): N_("Management of %(organization)s given"),
    ("organization_admin_revoked", "success"): N_("Management of %(organization)s taken away"),
    ("organization_invitation_accepted", "success"): N_("Invitation to %(organization)s accepted"),
    ("organization_invitation_declined", "success"): N_("Invitation to %(organization)s declined"),
    ("consent", "success"): N_("Access allowed: %(app)s"),
    ("consent", "denied"): N_("Access denied: %(app)s"),
    ("consent_withdrawn", "success"): N_("Access removed: %(app)s"),
    ("device_authorization", "success"): N_("Sign-in on a device allowed: %(app)s"),
    ("device_authorization", "denied"): N_("Sign-in on a device denied: %(app)s"),
    ("backchannel_decision", "success"): N_("Request allowed: %(app)s"),
    ("backchannel_decision", "denied"): N_("Request denied: %(app)s"),
    ("data_exported", "success"): N_("Personal data downloaded"),
}
#: The kinds of events that are shown.
SHOWN: Final = tuple(dict.fromkeys(event for event, _ in SENTENCES))
