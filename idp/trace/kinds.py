"""The kinds of steps: the fields that each may have, and one sentence for people.

A field that is not listed is never stored. No field may hold a password, code, token, secret, assertion or cookie.
"""

from typing import Final, NamedTuple


class Kind(NamedTuple):
    """A kind of steps.

    Attributes:
        sentence: what happened.
        fields: the names of its fields, in the order in which they are shown.
    """

    sentence: str
    fields: tuple[str, ...]


def _kind(sentence: str, fields: str = "") -> Kind:
    return Kind(sentence, tuple(fields.split()))


KINDS: Final[dict[str, Kind]] = {
    # Authorization requests
    "authorization_requested": _kind(
        "The client asked for an authorization.",
        "sent_by redirect_uri response_type response_mode scope prompt max_age acr_values resource pkce dpop_jkt"
        " login_hint id_token_hint organization idp_hint ui_locales claims authorization_details",
    ),
    "scope_left_out": _kind("The client is not registered for some of the scopes. They were left out.", "scope"),
    "redirect_uri_mismatch": _kind(
        "The redirect URI is not registered for the client. URIs are compared exactly.",
        "received nearest_registered differs_in registered_uris",
    ),
    "session_found": _kind("The browser has a session.", "acr amr age_seconds"),
    "no_session": _kind("The browser has no session.", "why"),
    "session_not_enough": _kind("The session is not enough for this request.", "why prompt max_age age_seconds"),
    "acr_not_reached": _kind("The session does not reach the requested acr.", "has requested essential"),
    "sign_in_needed": _kind("The browser was sent to the sign-in.", "acr required_acr max_age step_up upstream"),
    "attributes_needed": _kind("The client requires attributes that the user has not entered.", "attributes"),
    "access_denied": _kind("The access policy of the client does not allow it.", "condition"),
    "organization_decided": _kind("The user signs in for an organisation.", "organization_id"),
    "organization_needed": _kind("The user must choose an organisation, or sign in as it requires."),
    "consent_needed": _kind("The user must consent.", "why scope"),
    "consent_not_needed": _kind("No consent was asked for.", "why"),
    "consent_given": _kind("The user consented.", "scope"),
    "consent_denied": _kind("The user denied the consent."),
    "code_issued": _kind("An authorization code was issued.", "scope lifetime_seconds"),
    "approved": _kind("The user approved a request that its client polls for.", "grant_type"),
    "error_sent_to_client": _kind("The error was sent to the redirect URI of the client.", "error"),
    # Sign-ins
    "flow_started": _kind("A sign-in began.", "ways"),
    "step_taken": _kind("A step of the sign-in succeeded.", "step"),
    "step_refused": _kind("A step of the sign-in was refused.", "step reason"),
    "signed_in": _kind("The sign-in is complete.", "acr amr"),
    "sent_to_upstream": _kind("The browser was sent to an upstream provider.", "upstream max_age acr"),
    "came_from_upstream": _kind("The browser came back from an upstream provider.", "upstream error"),
    "upstream_failed": _kind("The sign-in at the upstream provider failed.", "upstream reason check"),
    # Token requests
    "client_authenticated": _kind("The client authenticated itself.", "auth_method"),
    "client_not_authenticated": _kind(
        "The client did not authenticate itself.",
        "used registered reason client_known secret_expires_at kid known_kids alg aud expected_aud clock_skew_seconds",
    ),
    "proof_refused": _kind("The DPoP proof was refused.", "problem sent expected method clock_skew_seconds nonce"),
    "code_examined": _kind(
        "The authorization code is known, and was compared with the request.",
        "issued_at expires_at used redirect_uri_sent redirect_uri_expected verifier pkce_used session_ended_because",
    ),
    "refresh_token_examined": _kind(
        "The refresh token is known, and was examined.",
        "issued_at expires_at rotated_at family_revoked_at family_revoked_because session_ended_at"
        " session_ended_because family_expires_at",
    ),
    "code_redeemed": _kind("The code was exchanged for tokens.", "scope refresh_token"),
    "scope_refused": _kind("A scope is not allowed.", "scope allowed"),
    "resource_refused": _kind("A resource is not allowed.", "resource allowed"),
    # Anything
    "unexpected_error": _kind("An error in this server.", "error frames"),
}
