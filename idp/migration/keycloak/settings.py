"""Settings of a realm, as settings of this server. They are suggested, not applied."""

import re
from typing import Any, Final

from idp.migration.models import Export

_SECONDS: Final = {
    "accessTokenLifespan": "IDP_ACCESS_TOKEN_LIFETIME",
    "ssoSessionIdleTimeout": "IDP_SESSION_IDLE_LIFETIME",
    "ssoSessionMaxLifespan": "IDP_SESSION_LIFETIME",
    "offlineSessionIdleTimeout": "IDP_REFRESH_TOKEN_LIFETIME",
    "accessCodeLifespan": "IDP_AUTHORIZATION_CODE_LIFETIME",
}
#: Lifetimes without a setting; 0: as long as the session.
_WITHOUT_SETTING: Final = (
    "clientSessionIdleTimeout",
    "clientSessionMaxLifespan",
    "clientOfflineSessionIdleTimeout",
    "clientOfflineSessionMaxLifespan",
    "ssoSessionIdleTimeoutRememberMe",
    "ssoSessionMaxLifespanRememberMe",
)


def suggest(export: Export, realm: dict[str, Any]) -> None:
    """Add suggestions.

    Args:
        realm: the members of the realm that are plain values or objects.
    """
    for name, setting in _SECONDS.items():
        if isinstance(realm.get(name), int) and realm[name] > 0:
            export.settings[setting] = str(realm[name])
    for name in _WITHOUT_SETTING:
        if isinstance(realm.get(name), int) and realm[name] > 0:
            export.skip("lifetimes", f"{name} of {realm[name]} seconds: there is no such setting here.")
    if realm.get("rememberMe") is False:
        export.change("remember me", "Sessions outlive the browser here, up to IDP_SESSION_IDLE_LIFETIME.")
    if realm.get("loginWithEmailAllowed") is False:
        export.change("sign-in", "Users sign in with their email address here, not with their user name.")
    if isinstance(realm.get("registrationAllowed"), bool):
        export.settings["IDP_REGISTRATION"] = "open" if realm["registrationAllowed"] else "closed"
    _mail(export, realm.get("smtpServer"))
    policy = str(realm.get("passwordPolicy") or "")
    if length := re.search(r"length\((\d+)\)", policy):
        export.change("password policy", f"length({length[1]}) is at least 8 here, and there is a minimum strength.")
    if "passwordHistory" in policy or "forceExpiredPasswordChange" in policy:
        export.skip("password policy", "Passwords neither expire here nor are old ones remembered (NIST SP 800-63B).")
    if realm.get("bruteForceProtected") is True:
        export.change("brute force detection", "Attempts are limited here in any case: docs/abuse.md.")
    for name in ("webAuthnPolicyRpId", "webAuthnPolicyPasswordlessRpId"):
        if realm.get(name):
            export.todo("passkeys", f"Passkeys of Keycloak are for {realm[name]}. Users add new ones here.")


def _mail(export: Export, smtp: Any) -> None:
    if not isinstance(smtp, dict) or not smtp.get("host"):
        return
    scheme = "smtps" if str(smtp.get("ssl")) == "true" else "smtp"
    user = f"{smtp['user']}:PASSWORD@" if smtp.get("user") else ""
    export.settings["IDP_SMTP_URL"] = f"{scheme}://{user}{smtp['host']}:{smtp.get('port') or 25}"
    if smtp.get("from"):
        export.settings["IDP_MAIL_FROM"] = str(smtp["from"])
