"""How an authorization response reaches the client: the response modes, listed once.

OAuth 2.0 Multiple Response Types section 2.1, Form Post Response Mode, JARM section 2.3.
"""

from typing import Final

#: The ways through the browser: in the query or the fragment of the redirect URI, or by POST.
WAYS: Final = ("query", "fragment", "form_post")
#: A mode that ends in ``.jwt`` sends one signed JWT; ``jwt`` chooses the way by the response type.
RESPONSE_MODES: Final = (*WAYS, "jwt", *(f"{way}.jwt" for way in WAYS))


def default_way(response_type: str) -> str:
    """Return the default mode of a response type. Tokens are never in a query, which servers log."""
    return "fragment" if set(response_type.split()) & {"token", "id_token"} else "query"


def effective(response_type: str, response_mode: str | None) -> str:
    """Return the mode of a response, :data:`RESPONSE_MODES` without ``jwt``.

    An unknown mode is that of the refusal: the default. Nor does a refusal get into the query if a token could not.
    """
    default = default_way(response_type)
    mode = response_mode if response_mode in RESPONSE_MODES else default
    if mode == "jwt":
        mode = f"{default}.jwt"
    return mode if allowed(response_type, mode) else mode.replace("query", default)


def allowed(response_type: str, response_mode: str) -> bool:
    """Return whether a known mode may carry the response (Multiple Response Types section 5, JARM section 2.3.1)."""
    return not response_mode.startswith("query") or default_way(response_type) == "query"
