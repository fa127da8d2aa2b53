"""The form of an upstream: converts its configuration to form fields and back."""

import json
from collections.abc import Callable, Collection, Iterator, Mapping
from typing import Any

from litestar import Response

from idp.admin.console.components import Field, version
from idp.admin.console.screen import HOME, AdminRequest, render
from idp.federation.errors import InvalidUpstreamError
from idp.federation.providers import KINDS
from idp.federation.providers.oidc import SWITCHES

SECTION = "upstreams"
CHECKS = {
    "trust_email": "Trust verified email addresses",
    "keep_tokens": "Keep tokens of the provider, encrypted",
    "logout": "Signing out here signs out there too",
    "adds_members": "Users become members of the organisation of the upstream",
}
_TEXTS = ("id", "name", "issuer", "client_id", "scope", "mfa_acr")
_SECRETS = {"apple": "Private key", "ldap": "Password of the bind DN"}
_CREATES = {"": "as IDP_REGISTRATION says", "yes": "always", "no": "never"}
#: Sections that are closed at first.
_ACCOUNTS, _CLAIMS, _PROTOCOL = "Accounts", "Claims and rules", "Protocol"


def show_form(
    request: AdminRequest,
    path: str,
    kind: str,
    config: Mapping[str, Any],
    error: str | None = None,
    *,
    guide: Mapping[str, Any] | None = None,
) -> Response[str]:
    """Show the form: with a configuration, or as posted with an error.

    Args:
        config: the configuration of the upstream to change, or that a new one begins with.
        guide: of a new one: what the page shows of its guide.
    """
    values = request.form if error else _as_text(config)
    new = guide is not None
    checks = CHECKS if new or config.get("organization_id") else CHECKS.keys() - {"adds_members"}
    heading = f"Add {guide['label']}" if guide is not None else f"Change {config['name']}"
    return render(
        request, "upstream_form", section=SECTION, heading=heading, fields=_fields(kind, values, checks, new=new),
        action=path, label="Save, disabled" if new else "Save", guide=guide,
        back=f"{HOME}/{SECTION}/new" if new else path.rpartition("/")[0], error=error,
        status=400 if error else 200, version=version(request, config.get("updated_at")),
    )  # fmt: skip


def _fields(kind: str, values: Mapping[str, str], checks: Collection[str], *, new: bool) -> list[Field]:
    def field(name: str, label: str, kind: str = "text", help: str = "", **more: Any) -> Field:
        return Field(name, label, values.get(name, ""), kind, help, **more)

    directory = kind == "ldap"
    found = [*_first(field, kind, new=new), *_options(field, kind)]
    found += _accounts(field, kind, checks, new=new) + _claims(field, kind)
    if not directory:
        found.append(field("scope", "Scopes", help="Separated by spaces.", section=_PROTOCOL))
        found += [
            field(name, label, "check", section=_PROTOCOL) for name, label in CHECKS.items() if name in _OF_TOKENS
        ]
    # Sections keep together what has the same.
    return sorted(found, key=lambda each: ("", _ACCOUNTS, _CLAIMS, _PROTOCOL).index(each.section))


_OF_TOKENS = ("keep_tokens", "logout")


def _first(field: Callable[..., Field], kind: str, *, new: bool) -> Iterator[Field]:
    """Yield what every upstream has, and cannot do without."""
    directory, defaults = kind == "ldap", KINDS[kind].DEFAULTS
    if new:
        yield field(
            "id", "Id", help="Lower-case letters, digits and hyphens. The redirect URI contains it.", required=True
        )
    yield field("name", "Name", help="Users see it on the button.", required=True)
    if new and not directory:
        # Microsoft, GitHub and others have one that is usual.
        named = "Leave it unless the steps above say otherwise." if "issuer" in defaults else "An https URL."
        yield field("issuer", "Issuer", "url", f"{named} It cannot be changed later.", required=True)
    yield field("client_id", "Bind DN" if directory else "Client id", required=not directory)
    # A posted secret is never sent back.
    yield Field(
        "client_secret", _SECRETS.get(kind, "Client secret"), "", "lines" if kind == "apple" else "password",
        "The whole file, as PEM." if new and kind == "apple" else "" if new else "Leave empty to keep it.",
    )  # fmt: skip


def _options(field: Callable[..., Field], kind: str) -> Iterator[Field]:
    for name, label in KINDS[kind].OPTIONS.items():
        if name in SWITCHES:
            yield field(f"option_{name}", label, "choice", choices=(("", "yes"), ("no", "no")), section=_PROTOCOL)
        else:
            section = _PROTOCOL if name in ("metadata_url", "api") else ""
            yield field(f"option_{name}", label, "lines" if name == "ca" else "text", section=section)


def _accounts(field: Callable[..., Field], kind: str, checks: Collection[str], *, new: bool) -> list[Field]:
    found = [
        field(
            "creates_accounts", "Create accounts for unknown users", "choice", choices=tuple(_CREATES.items()),
            section=_ACCOUNTS,
        )
    ]  # fmt: skip
    labels = CHECKS if kind != "ldap" else {"trust_email": "Trust addresses of its domains"}
    hints = {"trust_email": "Only if it verifies every address. Otherwise users prove their address by a code."}
    found += [
        field(name, label, "check", hints.get(name, ""), section=_ACCOUNTS)
        for name, label in labels.items()
        if name in checks and name not in _OF_TOKENS
    ]
    if new and kind != "ldap":
        found.append(
            field(
                "organization", "Organisation", section=_ACCOUNTS,
                help="Slug or id. Its verified domains lead to this upstream, which signs in their addresses only."
                " Leave empty for the whole server. It cannot be changed later.",
            )
        )  # fmt: skip
    return found


def _claims(field: Callable[..., Field], kind: str) -> list[Field]:
    if kind == "github":
        found = [field("organizations", "Organizations", "lines", "One per line. Users must be a member of one.")]
    else:
        found = [
            field(
                "required_claims", "Required claims", "lines",
                "One per line, such as hd=example.com or groups=staff,admins. Other users are refused.",
            ),
            field(
                "claims", "Claim mapping", "lines",
                "One per line: our claim = the path of its claim, such as given_name=profile.first.",
            ),
        ]  # fmt: skip
        if kind != "ldap":
            found.append(
                field("mfa_acr", "MFA acr value", help="The acr in its ID tokens that means two factors were used.")
            )
    found.append(
        field(
            "rules", "Rules", "lines",
            'One per line: what a claim gives, such as {"claim": "groups", "equals": "staff", "group": "Staff"}.',
        )
    )  # fmt: skip
    return [each._replace(section=_CLAIMS) for each in found]


def _as_text(config: Mapping[str, Any]) -> dict[str, str]:
    values = {name: config.get(name) or "" for name in _TEXTS} | {"organization": ""}
    values |= {name: "on" for name in CHECKS if config.get(name)}
    values |= {f"option_{name}": value for name, value in config.get("options", {}).items()}
    values["creates_accounts"] = {None: "", True: "yes", False: "no"}[config.get("creates_accounts")]
    values["organizations"] = "\n".join(config.get("organizations", ()))
    required = config.get("required_claims", {}).items()
    values["required_claims"] = "\n".join(f"{name}={','.join(allowed)}" for name, allowed in required)
    values["claims"] = "\n".join(f"{name}={path}" for name, path in config.get("claims", {}).items())
    values["rules"] = "\n".join(json.dumps(rule, ensure_ascii=False) for rule in config.get("rules", ()))
    return values


def configuration(form: Mapping[str, str], kind: str) -> dict[str, Any]:
    """Return the form as arguments of :func:`idp.federation.registry.configure`. Empty fields are None.

    Raises:
        InvalidUpstreamError: a line is malformed.
    """
    entered = {name: value.strip() for name, value in form.items()}
    values: dict[str, Any] = {name: entered.get(name) or None for name in _TEXTS if name in entered}
    values |= {name: name in form for name in CHECKS}
    options = {name: entered.get(f"option_{name}", "") for name in KINDS[kind].OPTIONS}
    values["options"] = {name: value for name, value in options.items() if value}
    values["creates_accounts"] = {"yes": True, "no": False}.get(entered.get("creates_accounts", ""))
    values["organizations"] = tuple(entered.get("organizations", "").split())
    required = _pairs(entered.get("required_claims", ""))
    values["required_claims"] = {
        name: tuple(filter(None, (each.strip() for each in allowed.split(",")))) for name, allowed in required.items()
    }
    values["claims"] = _pairs(entered.get("claims", ""))
    values["rules"] = tuple(_rule(line) for line in entered.get("rules", "").splitlines() if line.strip())
    return values | ({"client_secret": entered["client_secret"]} if entered.get("client_secret") else {})


def _rule(line: str) -> Any:
    try:
        return json.loads(line)
    except (ValueError, RecursionError) as error:
        raise InvalidUpstreamError("Write each rule on one line, as a JSON object.") from error


def _pairs(text: str) -> dict[str, str]:
    pairs = [line.partition("=") for line in text.splitlines() if line.strip()]
    if any(not (name.strip() and sign and value.strip()) for name, sign, value in pairs):
        raise InvalidUpstreamError("Write each claim on one line, as name=value.")
    return {name.strip(): value.strip() for name, _, value in pairs}
