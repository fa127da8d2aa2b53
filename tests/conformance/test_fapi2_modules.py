"""The modules of the plans for FAPI 2.0 (Final), each of which a test of this folder names in its docstring.

To see which: ``grep -n NAME tests/conformance/test_fapi2*.py``. The names lack ``fapi2-security-profile-final-``. With
mutual TLS a plan has fewer of them, and none of its own.
"""

import ast
import re
from pathlib import Path

import pytest


def _names(text: str) -> list[str]:
    return text.split()


SECURITY_PROFILE = _names("""
discovery-end-point-verification happy-flow user-rejects-authentication
ensure-authorization-request-without-state-success ensure-authorization-request-without-nonce-success
ensure-authorization-request-with-64-char-nonce-success ensure-other-scope-order-succeeds
test-claims-parameter-identity-claims access-token-type-header-case-sensitivity check-dpop-proof-nbf-exp
ensure-dpopproof-with-iat-10seconds-before-succeeds ensure-dpopproof-with-iat-10seconds-after-succeeds
ensure-mismatched-dpop-jkt-fails ensure-token-endpoint-fails-with-mismatched-dpop-proof-jkt
ensure-token-endpoint-fails-with-mismatched-dpop-jkt ensure-dpopproof-at-par-endpoint-binding-success
ensure-dpop-auth-code-binding-success ensure-different-nonce-inside-and-outside-request-object
ensure-different-state-inside-and-outside-request-object ensure-authorization-request-with-long-nonce
ensure-authorization-request-with-long-state state-only-outside-request-object-not-used
ensure-request-object-without-redirect-uri-fails plain-fapi-tolerate-unregistered-redirect-uri
ensure-unsigned-authorization-request-without-using-par-fails ensure-redirect-uri-in-authorization-request
ensure-response-type-code-idtoken-fails ensure-response-type-token-fails ensure-client-id-in-token-endpoint
ensure-holder-of-key-required ensure-authorization-code-is-bound-to-client
attempt-reuse-authorization-code-after-one-second ensure-token-endpoint-fails-with-expired-auth-code
ensure-signed-client-assertion-with-RS256-fails ensure-client-assertion-in-token-endpoint
ensure-client-assertion-with-exp-is-5-minutes-in-past-fails ensure-client-assertion-with-wrong-aud-fails
ensure-client-assertion-with-no-sub-fails dpop-negative-tests refresh-token
par-ensure-reused-request-uri-prior-to-auth-completion-succeeds par-attempt-reuse-request_uri
par-attempt-to-use-expired-request_uri par-ensure-jwt-client-assertions-nbf-8-seconds-in-the-future-is-accepted
par-ensure-jwt-client-assertions-nbf-over-60-seconds-in-the-future-fails
par-attempt-to-use-request_uri-for-different-client par-authorization-request-containing-request_uri-form-param
par-attempt-invalid-http-method par-ensure-pkce-required ensure-pkce-code-verifier-required
incorrect-pkce-code-verifier-rejected par-plain-pkce-rejected par-without-duplicate-parameters
par-test-array-as-audience-fails par-test-par-endpoint-url-as-audience-fails
par-test-token-endpoint-url-as-audience-fails
""")
#: Beyond those of the security profile.
MESSAGE_SIGNING = _names("""
happy-flow user-rejects-authentication state-only-outside-request-object-not-used
ensure-different-nonce-inside-and-outside-request-object ensure-different-state-inside-and-outside-request-object
ensure-unsigned-authorization-request-without-using-par-fails ensure-request-object-with-multiple-aud-succeeds
ensure-request-object-with-nbf-8-seconds-in-the-future-is-accepted ensure-request-object-without-exp-fails
ensure-request-object-without-nbf-fails ensure-expired-request-object-fails ensure-request-object-with-bad-aud-fails
ensure-request-object-with-exp-over-60-fails ensure-request-object-with-nbf-over-60-fails
ensure-signed-request-object-with-RS256-fails ensure-request-object-signature-algorithm-is-not-none
ensure-request-object-with-invalid-signature-fails ensure-matching-key-in-authorization-request
ensure-unsigned-request-at-par-endpoint-fails par-authorization-request-containing-request_uri
""")
CLIENT_CREDENTIALS = _names("""
discovery-end-point-verification happy-flow access-token-type-header-case-sensitivity check-dpop-proof-nbf-exp
ensure-dpopproof-with-iat-10seconds-before-succeeds ensure-dpopproof-with-iat-10seconds-after-succeeds
ensure-client-id-in-token-endpoint ensure-holder-of-key-required ensure-signed-client-assertion-with-RS256-fails
ensure-client-assertion-in-token-endpoint ensure-client-assertion-with-exp-is-5-minutes-in-past-fails
ensure-client-assertion-with-wrong-aud-fails ensure-client-assertion-with-no-sub-fails dpop-negative-tests
""")
PLANS = {
    "test_fapi2.py": SECURITY_PROFILE,
    "test_fapi2_message_signing.py": MESSAGE_SIGNING,
    "test_fapi2_client_credentials.py": CLIENT_CREDENTIALS,
}


@pytest.mark.parametrize("name", PLANS)
def test_every_module_is_named(name: str) -> None:
    tree = ast.parse((Path(__file__).parent / name).read_text(encoding="utf-8"))
    tests = (node for node in ast.walk(tree) if isinstance(node, ast.Module | ast.AsyncFunctionDef | ast.FunctionDef))
    named = {word for node in tests for word in re.findall(r"[\w-]+", ast.get_docstring(node) or "")}
    assert set(PLANS[name]) - named == set()


def test_the_plans_are_whole() -> None:
    """The number of modules that the plans have with private_key_jwt and DPoP."""
    assert len(set(SECURITY_PROFILE)) == 56
    assert len({*SECURITY_PROFILE, *MESSAGE_SIGNING}) == 70
    assert len(set(CLIENT_CREDENTIALS)) == 14
