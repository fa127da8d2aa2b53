"""Every mail with the values of its templates."""

from typing import Any

LINK = "https://id.example.com/x?token=abc"
CODE = {"code": "123456", "link": LINK, "minutes": 10}
MAILS: dict[str, dict[str, Any]] = {
    "account_deleted": {},
    "account_locked": {"link": LINK},
    "already_registered": {},
    "approval_request": {"client_name": "Shop", "link": LINK, "minutes": 5},
    "data_exported": {},
    "email_change_confirm": CODE,
    "email_changed": {"email": "n…@example.com"},
    "identity_linked": {"upstream": "Google"},
    "identity_unlinked": {"upstream": "Google"},
    "invitation": {"link": LINK, "days": 7},
    "new_browser": {"link": LINK, "browser": "Firefox on Windows", "place": "Lisbon, Portugal"},
    "organization_invitation": {"organization": "Acme", "inviter": "Ada", "link": LINK, "days": 7},
    "passkey_added": {"passkey": "iCloud Keychain"},
    "passkey_removed": {"passkey": ""},
    "password_changed": {},
    "recovery_code_used": {"left": 1},
    "recovery_codes_made": {},
    "password_elsewhere": {"upstream": "Example staff"},
    "reset_password": CODE,
    "sign_in_code": CODE,
    "signed_out_for_safety": {"client_name": "Shop"},
    "test": {},
    "totp_disabled": {},
    "totp_enabled": {},
    "two_step_off": {},
    "two_step_on": {},
    "verify_email": CODE,
    "welcome": {},
}
