"""GitHub (OAuth 2.0; https://docs.github.com/apps/oauth-apps) and GitHub Enterprise Server."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from typing import TYPE_CHECKING, Any, ClassVar
from urllib.parse import quote

import msgspec
from authlib.common.errors import AuthlibBaseError

from idp.federation import claims_mapping, credentials, rules
from idp.federation.errors import (
    MALFORMED,
    AccessDeniedError,
    InvalidUpstreamError,
    NotInAllowedOrganizationError,
    SignInCancelledError,
    UntrustedResponseError,
    UpstreamUnavailableError,
)
from idp.federation.models import AuthorizationRequest, Finding, Upstream, UserInfo
from idp.federation.providers.base import SECONDS, Provider, oauth_client
from idp.infra import foreign_json, outbound

if TYPE_CHECKING:
    from authlib.integrations.httpx_client import AsyncOAuth2Client

CLOUD = "https://github.com"
HEADERS = {"Accept": "application/vnd.github+json", "X-GitHub-Api-Version": "2022-11-28", "User-Agent": "idp"}
#: The claims that rules can read: the organizations of the user, and the teams as ``organization/team``.
ORGANIZATIONS, TEAMS = "organizations", "teams"
#: Pages of 100 that are read of each.
MAX_PAGES = 5
CLAIMS = {
    "name": "name",
    "preferred_username": "login",
    "picture": "avatar_url",
    "profile": "html_url",
    "website": "blog",
}


class GitHub(Provider):
    """GitHub has no ID tokens. The user is fetched from its API with the new access token."""

    DEFAULTS: ClassVar[dict[str, Any]] = {
        "name": "GitHub",
        "issuer": CLOUD,
        "scope": "read:user user:email",
        # Only verified addresses are used.
        "trust_email": True,
    }
    OPTIONS: ClassVar[dict[str, str]] = {"api": "URL of its API, if it is not the default"}
    reauthenticates = False
    redirects = True

    def check(self, upstream: Upstream) -> None:
        if upstream.required_claims:
            raise InvalidUpstreamError("GitHub has no claims to require. Use organizations instead.")
        if unknown := {rule.claim for rule in upstream.rules} - {ORGANIZATIONS, TEAMS}:
            raise InvalidUpstreamError(
                f"GitHub has no claims {', '.join(sorted(unknown))}, only organizations and teams."
            )

    async def authorization_url(self, upstream: Upstream, request: AuthorizationRequest) -> str:
        async with _client(upstream) as client:
            url, _ = client.create_authorization_url(
                f"{upstream.issuer}/login/oauth/authorize",
                state=request.state,
                code_verifier=request.code_verifier,
                **({"login": request.login_hint} if request.login_hint else {}),
                **({"prompt": "select_account"} if request.select_account else {}),
            )
        return str(url)

    async def identify(self, upstream: Upstream, request: AuthorizationRequest, parameters: dict[str, str]) -> UserInfo:
        if parameters.get("iss", upstream.issuer) not in (upstream.issuer, f"{upstream.issuer}/login/oauth"):
            raise UntrustedResponseError("The response is another issuer's.")
        if parameters.get("error") == "access_denied":
            raise SignInCancelledError("The user did not continue.")
        if "error" in parameters or "code" not in parameters:
            raise AccessDeniedError("The provider sent an error.")
        try:
            async with asyncio.timeout(SECONDS), _client(upstream) as client:
                tokens = await client.fetch_token(
                    f"{upstream.issuer}/login/oauth/access_token",
                    code=parameters["code"],
                    code_verifier=request.code_verifier,
                    headers={"Accept": "application/json", "User-Agent": "idp"},
                )
                return await self._person(upstream, client, dict(tokens))
        except AuthlibBaseError as error:
            raise AccessDeniedError("The provider would not redeem the code.") from error
        except (TimeoutError, *MALFORMED) as error:
            raise UpstreamUnavailableError(
                f"The provider does not answer as it should. {outbound.cause(error)}"
            ) from error

    async def _person(self, upstream: Upstream, client: "AsyncOAuth2Client", tokens: dict[str, Any]) -> UserInfo:
        user = await self._get(upstream, client, "/user")
        number = user["id"]
        if type(number) is not int:
            raise UntrustedResponseError("The provider does not say who the person is.")
        if upstream.organizations and not await self._is_member(upstream, client):
            raise NotInAllowedOrganizationError("The person is not of those who may sign in.")
        proved = rules.read(upstream.rules, await self._memberships(upstream, client), complete=False)
        emails = await self._emails(upstream, client)
        # The public address of the profile may be unverified, so it is ignored.
        verified = [entry for entry in emails if entry["verified"] is True]
        chosen = next((entry["email"] for entry in verified if entry["primary"] is True), None)
        user["email"] = chosen
        email = claims_mapping.find_email(upstream, user)
        return UserInfo(
            upstream.issuer,
            str(number),
            email,
            claims_mapping.is_verified_address(upstream, user) and upstream.trust_email,
            claims_mapping.map_claims(upstream, user, CLAIMS),
            tokens=tokens,
            proved=proved,
        )

    async def _is_member(self, upstream: Upstream, client: "AsyncOAuth2Client") -> bool:
        for organization in upstream.organizations:
            response = await client.get(
                f"{_api(upstream)}/user/memberships/orgs/{quote(organization, safe='')}", headers=HEADERS
            )
            if response.status_code == 200 and foreign_json.decode(response.content)["state"] == "active":
                return True
            if response.status_code not in (200, 403, 404):
                response.raise_for_status()
        return False

    async def _memberships(self, upstream: Upstream, client: "AsyncOAuth2Client") -> dict[str, list[str]]:
        """Return the claims that rules read. Those that cannot be read completely are left out."""
        wanted, found = {rule.claim for rule in upstream.rules}, {}
        if ORGANIZATIONS in wanted:
            entries = await self._all(upstream, client, "/user/memberships/orgs?state=active&")
            found[ORGANIZATIONS] = entries and [entry["organization"]["login"] for entry in entries]
        if TEAMS in wanted:
            entries = await self._all(upstream, client, "/user/teams?")
            found[TEAMS] = entries and [f"{entry['organization']['login']}/{entry['slug']}" for entry in entries]
        return {name: values for name, values in found.items() if values is not None}

    async def _all(self, upstream: Upstream, client: "AsyncOAuth2Client", path: str) -> list[Any] | None:
        """Return a list of all pages, or None if there are more, or if the app may not read it."""
        found: list[Any] = []
        for page in range(1, MAX_PAGES + 1):
            response = await client.get(f"{_api(upstream)}{path}per_page=100&page={page}", headers=HEADERS)
            if response.status_code in (403, 404):
                return None
            response.raise_for_status()
            entries = foreign_json.decode(response.content)
            found += entries
            if len(entries) < 100:
                return found
        return None

    async def _emails(self, upstream: Upstream, client: "AsyncOAuth2Client") -> Any:
        """Return the addresses, or none if the app may not read them. The user then verifies one by our mail."""
        response = await client.get(f"{_api(upstream)}/user/emails", headers=HEADERS)
        if (
            response.status_code in (403, 404)
            and "retry-after" not in response.headers
            and not _limited(response.headers)
        ):
            return []
        response.raise_for_status()
        return foreign_json.decode(response.content)

    async def _get(self, upstream: Upstream, client: "AsyncOAuth2Client", path: str) -> Any:
        response = await client.get(f"{_api(upstream)}{path}", headers=HEADERS)
        response.raise_for_status()
        return foreign_json.decode(response.content)

    async def sign_out_url(self, upstream: Upstream, back: str) -> str | None:
        """GitHub has no logout endpoint."""
        return None

    async def test(self, upstream: Upstream) -> AsyncIterator[Finding]:
        try:
            await outbound.get(f"{_api(upstream)}/meta", HEADERS, max_bytes=outbound.MAX_BYTES)
        except outbound.CallFailed as error:
            raise UpstreamUnavailableError(f"The API does not answer. {outbound.cause(error)}") from error
        yield Finding(f"The API at {_api(upstream)} answers.")
        yield Finding(f"Users are sent to {upstream.issuer}/login/oauth/authorize.")
        async with _client(upstream) as client:
            yield await credentials.check(client, f"{upstream.issuer}/login/oauth/access_token")


def _client(upstream: Upstream) -> "AsyncOAuth2Client":
    if (upstream.organizations or upstream.rules) and "read:org" not in upstream.scope.split():
        upstream = msgspec.structs.replace(upstream, scope=f"{upstream.scope} read:org")
    return oauth_client(upstream, upstream.client_secret, "client_secret_post")


def _limited(headers: Mapping[str, str]) -> bool:
    """Return whether a 403 is caused by GitHub's rate limit."""
    return headers.get("x-ratelimit-remaining") == "0"


def _api(upstream: Upstream) -> str:
    if "api" in upstream.options:
        return upstream.options["api"].rstrip("/")
    return "https://api.github.com" if upstream.issuer == CLOUD else f"{upstream.issuer}/api/v3"


PROVIDER = GitHub()
