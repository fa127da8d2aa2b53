"""How to mend a refusal: one sentence for support, by reason."""

from typing import Final

from idp.reasons import Reason

_ASK = "The client must send the user to a page: repeat the request without prompt=none."
_NEW_SIGN_IN = "Nothing to fix: the user signs in again."
_UPSTREAM = "See the step upstream_failed, and docs/upstreams.md for its reason."
_POLICY = "Change the access policy of the client (idp access show), or what the user has."
_ORGANIZATION = "The sign-in policy of the organisation asks for it: the user signs in again as it says."
_DOCUMENT = "The metadata document of the client is at fault: see docs/mcp.md and the log line client_document_refused."

HINTS: Final[dict[Reason, str]] = {
    Reason.MALFORMED: "The client sent something else than what it was given, or a damaged copy. Look at its code.",
    Reason.BAD_SIGNATURE: "It is signed by another key: of another server or environment, or not the registered key.",
    Reason.WRONG_TYPE: "The client sent another kind of token, such as an ID token instead of an access token.",
    Reason.WRONG_ISSUER: "iss names another server: the client mixes environments, or has the wrong client_id.",
    Reason.WRONG_AUDIENCE: "aud must name this server, as its issuer is written in the discovery document.",
    Reason.EXPIRED: "It was used too late. If it was new, compare the clocks of client and server.",
    Reason.NOT_YET_VALID: "It is from the future: the clock of the client is ahead. Use NTP there.",
    Reason.UNKNOWN: "The database does not know it: of another environment, deleted since, or never issued.",
    Reason.ROTATED: "The client used an old refresh token. It must store the newest one that it got.",
    Reason.REUSED: "It was used twice. Refresh tokens: store the newest, and share it between processes.",
    Reason.FAMILY_EXPIRED: "The sign-in has reached its refresh_token_family_lifetime. The user signs in again.",
    Reason.ISSUED_TOO_EARLY: "It is from before the not-before time, or too old. The user signs in again.",
    Reason.SESSION_ENDED: "The session ended, as the steps say. Tokens that outlive it need offline_access.",
    Reason.USER_DISABLED: "Enable the user (idp users enable), if they are to come back.",
    Reason.NOT_A_MEMBER: "Make the user a member of the organisation, or enable the organisation.",
    Reason.CLIENT_DISABLED: "Enable the client (idp clients enable), if it is to be used.",
    Reason.WRONG_CLIENT: "Another client got it. Each client uses only what it was given itself.",
    Reason.WRONG_REDIRECT_URI: "Register the URI exactly as the client sends it, or correct what the client sends.",
    Reason.PKCE_MISMATCH: "The client must send the code_verifier of the same authorization request, unchanged.",
    Reason.WRONG_KEY: "The client must prove the key that the token is bound to, and keep that key.",
    Reason.PROOF_MISSING: "Send a DPoP proof, or the TLS certificate through a trusted proxy.",
    Reason.NO_POLICY: "Add a policy of token exchange for this client (idp token-exchange add).",
    Reason.ADMINISTRATOR: "Administrators cannot be impersonated, and do not sign in this way.",
    Reason.WRONG_ACTOR: "The actor must be named in may_act of the subject token.",
    Reason.TOO_MANY_EXCHANGES: "The token was exchanged too often: exchange an earlier one.",
    Reason.PROOF_OF_ANOTHER_REQUEST: "htm and htu of the proof must be the method and the public URL of this request.",
    Reason.CHANGED_MEANWHILE: "It changed at that moment. Try again.",
    Reason.REVOKED: _NEW_SIGN_IN,
    Reason.REVOKED_BY_USER: _NEW_SIGN_IN,
    Reason.REVOKED_BY_CLIENT: "The client revoked it itself, and must not use it after that.",
    Reason.REVOKED_BY_ADMIN: _NEW_SIGN_IN,
    Reason.REVOKED_BY_INCIDENT: "An incident was contained (see the audit trail). The user signs in again.",
    Reason.REVOKED_FOR_REUSE: "An earlier reuse revoked the sign-in: fix how the client stores tokens.",
    Reason.REVOKED_BY_CREDENTIAL_CHANGE: _NEW_SIGN_IN,
    Reason.REVOKED_BY_NEWER_SIGN_IN: "Single-session mode: a newer sign-in of the user ended this one.",
    Reason.REVOKED_BY_RESTORE: _NEW_SIGN_IN,
    Reason.INVALID_REQUEST: "The client sends a request that breaks the protocol: the hint says where.",
    Reason.INVALID_METADATA: "The metadata of the client breaks a rule: the answer says which.",
    Reason.NOT_SUPPORTED: "This server does not have it, or it is switched off: see the discovery document.",
    Reason.GRANT_NOT_ALLOWED: "Register the grant or response type for the client.",
    Reason.SCOPE_NOT_ALLOWED: "Register the scope for the client, or let the client ask for less.",
    Reason.RESOURCE_NOT_ALLOWED: "Register the resource (idp resources), or correct what the client sends.",
    Reason.TOKEN_MISSING: "Send the access token in the header Authorization.",
    Reason.SCOPE_MISSING: "The client must ask for the scope, and be registered for it.",
    Reason.NONCE_NEEDED: "Nothing to fix: the client repeats the request with the nonce of the answer.",
    Reason.SIGN_IN_NEEDED: f"{_ASK} If there should be a session, see the step before.",
    Reason.CONSENT_NEEDED: f"{_ASK} Or let the client skip consent, if it is your own.",
    Reason.PAGE_NEEDED: _ASK,
    Reason.DENIED_BY_USER: "Nothing to fix: the user decided so, or closed the page.",
    Reason.NOT_DECIDED_YET: "Nothing to fix: the client polls until the user has decided.",
    Reason.POLLED_TOO_OFTEN: "The client must wait for the interval between two polls.",
    Reason.NO_ENCRYPTION_KEY: "Register a key for encryption in jwks or jwks_uri of the client.",
    Reason.OVERLOADED: "Try again. If it lasts, add workers: docs/performance.md.",
    Reason.NO_SIGNING_KEY: "Make a key of this algorithm: idp keys generate.",
    Reason.DATABASE_UNAVAILABLE: "Look for database_unavailable in the log, and at the database.",
    Reason.UNKNOWN_CLIENT: "Compare the client_id with idp clients list: of another environment, or deleted.",
    Reason.WRONG_SECRET: "Compare the secret of the client with what was issued, or set a new one.",
    Reason.NO_SECRET_SET: "Set a secret for the client (idp clients secret).",
    Reason.SECRET_EXPIRED: "Give the client its new secret (idp clients secret).",
    Reason.SECRET_NOT_SENT: "Send the secret, or register the client as public.",
    Reason.SECRET_NOT_EXPECTED: "Send no secret, or register the client with one.",
    Reason.WRONG_AUTH_METHOD: "Use the registered method, or change token_endpoint_auth_method of the client.",
    Reason.KEYS_UNAVAILABLE: "This server must reach the jwks_uri of the client. Try it from here.",
    Reason.UNKNOWN_WORKLOAD: "No rule fits the token, or several do: idp workloads list, docs/workload-identity.md.",
    Reason.UNTRUSTED_ISSUER: "Add the issuer (idp issuers, idp workloads), if it is to be trusted.",
    Reason.UNTRUSTED_CERTIFICATE: "Register this certificate, and let the proxy verify it.",
    Reason.DOCUMENT_NOT_ACCEPTED: _DOCUMENT,
    Reason.DOCUMENT_UNAVAILABLE: _DOCUMENT,
    Reason.DOCUMENT_INVALID: _DOCUMENT,
    Reason.NOT_IN_GROUP: _POLICY,
    Reason.NOT_IN_ORGANIZATION: _POLICY,
    Reason.WITHOUT_ROLE: _POLICY,
    Reason.WITHOUT_ATTRIBUTE: _POLICY,
    Reason.OUTSIDE_OF_NETWORK: _POLICY,
    Reason.OUTSIDE_OF_TIME: _POLICY,
    Reason.ACR_TOO_LOW: "The user must sign in with a second factor or a passkey.",
    Reason.WAY_NOT_ALLOWED: _ORGANIZATION,
    Reason.SESSION_TOO_OLD: _ORGANIZATION,
    Reason.SESSION_IDLE: _ORGANIZATION,
    Reason.DENIED_BY_TOKEN_HOOK: "The token hook of the client decided so: ask those who run it.",
    Reason.TOKEN_HOOK_FAILED: "The token hook gave no valid answer: idp token-hooks list, docs/token-hook.md.",
    Reason.UNKNOWN_USER: "There is no account with this address.",
    Reason.WRONG_PASSWORD: "The user can set a new password by the link on the page.",
    Reason.WRONG_CODE: "The code was wrong, used or too old. For an app with codes, compare the clock of the phone.",
    Reason.WRONG_PASSKEY: "The passkey is of another account or was deleted here. The user chooses another way.",
    Reason.INVALID_INPUT: "The user left a field empty, or entered something invalid.",
    Reason.TOO_MANY_TRIES: "Wait for the limit, or see docs/abuse.md.",
    Reason.ENFORCED_DOMAIN: "Users of this domain sign in at the provider of their organisation.",
    Reason.FLOW_EXPIRED: "The page was open for too long (IDP_FLOW_LIFETIME), or is a bookmark. Start again.",
    Reason.FLOW_FINISHED: "The sign-in was finished already: the Back button, or a second tab.",
    Reason.COOKIE_MISSING: (
        "The cookie flow.… did not come: cookies are blocked, the page is in a frame or app view of another site"
        " (SameSite), or the host is not that of the issuer."
    ),
    Reason.OTHER_BROWSER: "The link was opened in another browser or profile than the one that started.",
    Reason.UPSTREAM_FAILED: _UPSTREAM,
    Reason.UPSTREAM_UNAVAILABLE: _UPSTREAM,
    Reason.UPSTREAM_UNTRUSTED: _UPSTREAM,
    Reason.UPSTREAM_CANCELLED: "The user cancelled at the provider.",
    Reason.UPSTREAM_REFUSED: _UPSTREAM,
    Reason.WRONG_ORGANIZATION: "The account at the provider is not in an allowed organisation: idp upstreams show.",
    Reason.NOT_REAUTHENTICATED: "The provider did not sign the user in again, as max_age asks for.",
    Reason.DIRECTORY_ACCOUNT: "The account is disabled in its directory, or its password has expired there.",
    Reason.FOREIGN_ADDRESS: "The provider may sign in only addresses of its organisation's domains.",
    Reason.ORGANIZATION_UNAVAILABLE: "The organisation of the provider is disabled.",
}


def mend(reason: str | None, *, failed: bool) -> str:
    """Return how to mend a refusal; empty if nothing is known.

    Args:
        failed: the server failed.
    """
    if failed and reason is None:
        return "An error in this server: report it with the frames, and look for the id in the log."
    # A newer release may have written a reason that this one does not know.
    return HINTS[Reason(reason)] if reason in HINTS else ""
