"""The method ``workload_identity``: a token of a trusted issuer as assertion (RFC 7521 section 4.2).

It is told from an assertion of the client itself by ``iss``, which is not ``sub``.
"""

from datetime import UTC, datetime

from idp.errors import InvalidClientError, Refused
from idp.keys import jose
from idp.oauth.clients import issuer_keys
from idp.oauth.clients.authentication import assertions
from idp.oauth.clients.authentication.assertions import Assertion
from idp.oauth.clients.authentication.credentials import Credentials, Failure, Sent
from idp.oauth.clients.authentication.private_key_jwt import algorithms_of
from idp.oauth.clients.client_keys import KeysUnavailableError
from idp.oauth.clients.models import Client
from idp.oauth.clients.registry import registry
from idp.oauth.clients.workloads.models import WorkloadIdentity
from idp.oauth.replay.service import MAX_JTI_LENGTH, use_once
from idp.reasons import Reason
from idp.settings import settings

#: Allowed values of ``typ``: JWT, or that of JWT-SVIDs.
TYPES = ("jwt", "jose")


def workload_identity(sent: Sent) -> Credentials | None:
    """Read an assertion of a trusted issuer.

    Raises:
        InvalidClientError: no client has a rule for it.
    """
    assertion = assertions.read(sent)
    if assertion is None or not registry.trusts(assertion):
        return None
    rule = _rule(assertion, sent.form.get("client_id"))

    async def verify(client: Client | None) -> Failure | None:
        try:
            claims = await issuer_keys.verify(rule, assertion.token, algorithms_of(client), TYPES)
        except jose.InvalidJWTError as error:
            return Failure(error.reason, f"the token of the workload: {error.description.rstrip('.')}")
        except KeysUnavailableError as error:
            return Failure(Reason.KEYS_UNAVAILABLE, f"the keys of {rule.issuer}: {error.description.rstrip('.')}")
        if client is None:
            return Failure(Reason.UNKNOWN_CLIENT, "unknown client")
        return await _check(claims, rule)

    return Credentials(rule.client_id, verify)


def _rule(assertion: Assertion, client_id: str | None) -> WorkloadIdentity:
    """Return the rule for a token. If several clients have one, the request must name its client."""
    rules = [
        rule
        for rule in registry.workload_identities(assertion.issuer)
        if client_id in (None, rule.client_id) and rule.fits(assertion.subject, assertion.audience)
    ]
    if len({rule.client_id for rule in rules}) == 1:
        return rules[0]
    several = "several clients have a rule for the token, so that client_id is needed"
    problem = several if rules else "no rule has the subject and the audience of the token, which must have only one"
    raise InvalidClientError(hint=f"Client authentication failed: {problem}.", refused=Refused(Reason.UNKNOWN_WORKLOAD))


async def _check(claims: jose.Claims, rule: WorkloadIdentity) -> Failure | None:
    """Check the times of a verified token, and use it up if the rule says so."""
    try:
        jose.check_times(claims, jose.MAX_AHEAD, fractions=True)
    except jose.InvalidJWTError as error:
        return Failure(error.reason, f"the token of the workload: {error.description.rstrip('.')}")
    if jose.lives_longer(claims, settings().workload_token_lifetime + jose.MAX_AHEAD):
        return Failure(Reason.MALFORMED, "the token is valid for longer than IDP_WORKLOAD_TOKEN_LIFETIME")
    if not rule.single_use:
        return None
    jti = claims.get("jti")
    if not isinstance(jti, str) or not 1 <= len(jti) <= MAX_JTI_LENGTH:
        return Failure(Reason.MALFORMED, "the rule is for single use, and its jti is missing or too long")
    expires_at = datetime.fromtimestamp(claims["exp"] + jose.LEEWAY, UTC)
    if await use_once("workload", rule.issuer, jti, expires_at):
        return None
    return Failure(Reason.REUSED, "the token was used before, or is valid for longer than an hour")
