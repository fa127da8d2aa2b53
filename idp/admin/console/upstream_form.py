"""The form of an upstream: converts its configuration to form fields and back."""

import json
from collections.abc import Collection, Mapping
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
_SECRETS = {"apple": "Private key from the provider, as PEM", "ldap": "Password of the bind DN"}
_CREATES = {"": "as IDP_REGISTRATION says", "yes": "always", "no": "never"}


def show_form(
    request: AdminRequest, path: str, kind: str, config: Mapping[str, Any] | None, error: str | None = None
) -> Response[str]:
    """Show the form: empty, with a configuration, or as posted with an error.

    Args:
        config: the configuration of the upstream to change; None for a new one.
    """
    new = config is None
    values = request.form if error else _as_text(config or KINDS[kind].DEFAULTS)
    checks = CHECKS if config is None or config.get("organization_id") else CHECKS.keys() - {"adds_members"}
    heading = f"Add {kind}" if config is None else f"Change {config['name']}"
    return render(
        request, "form", section=SECTION, heading=heading, fields=_fields(kind, values, checks, new=new), action=path,
        label="Save", back=f"{HOME}/{SECTION}" if new else path.rpartition("/")[0], error=error,
        status=400 if error else 200, version=version(request, (config or {}).get("updated_at")),
    )  # fmt: skip


def _fields(kind: str, values: Mapping[str, str], checks: Collection[str], *, new: bool) -> list[Field]:
    def field(name: str, label: str, kind: str = "text", help: str = "", **more: Any) -> Field:
        return Field(name, label, values.get(name, ""), kind, help, **more)

    usual = "Leave empty for the default of the provider."
    secret_help = "" if new else "Leave empty to keep the current value."
    key, directory = kind == "apple", kind == "ldap"
    found = [
        field("name", "Name that users see", help=usual),
        field("client_id", "Bind DN" if directory else "client_id at the provider", required=not directory),
        # A posted secret is never sent back.
        Field(
            "client_secret", _SECRETS.get(kind, "client_secret at the provider"), "", "lines" if key else "password",
            secret_help,
        ),
        *(
            field(f"option_{name}", label, "choice", choices=(("", "yes"), ("no", "no")))
            if name in SWITCHES
            else field(f"option_{name}", label, "lines" if name == "ca" else "text")
            for name, label in KINDS[kind].OPTIONS.items()
        ),
        *([] if directory else [field("scope", "Scopes", help=usual)]),
        field("creates_accounts", "Create accounts for unknown users", "choice", choices=tuple(_CREATES.items())),
    ]  # fmt: skip
    if kind == "github":
        found.append(field("organizations", "Organizations, one per line", "lines", "Users must be a member of one."))
    else:
        found += [
            field(
                "required_claims", "Required claims, one per line", "lines",
                "For example, hd=example.com or groups=staff,admins.",
            ),
            field("claims", "Claim mapping, one per line", "lines", "For example, given_name=profile.first."),
            *([] if directory else [field("mfa_acr", "The acr of a sign-in with two factors")]),
        ]  # fmt: skip
    found.append(
        field(
            "rules", "Rules, one per line", "lines",
            'What a claim gives, for example {"claim": "groups", "equals": "staff", "group": "Staff"}.',
        )
    )  # fmt: skip
    labels = CHECKS if not directory else {"trust_email": "Trust addresses of the domains"}
    found += [field(name, label, "check") for name, label in labels.items() if name in checks]
    if new:
        found.insert(0, Field("id", "Id, as in its redirect URI", values.get("id") or kind))
    if new and not directory:
        found.insert(2, field("issuer", "Issuer", help=usual))
        found.insert(
            3,
            field(
                "organization", "Organisation",
                help="Slug or id. Its verified domains lead to this upstream, which signs in their addresses only."
                " Leave empty for an upstream of the whole server. This cannot be changed later.",
            ),
        )  # fmt: skip
    return found


def _as_text(config: Mapping[str, Any]) -> dict[str, str]:
    values = {name: config.get(name) or "" for name in _TEXTS}
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
