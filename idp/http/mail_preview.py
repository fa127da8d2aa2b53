"""The HTML of a mail as a document for a sandboxed frame. Nothing in it runs, and it sees no cookie of ours."""

from litestar import MediaType, Response

LIGHT, DARK = "light", "dark"
_DARK_QUERY = "(prefers-color-scheme: dark)"
#: Links open in another tab, outside of the sandbox. Pictures are those of the mail.
_POLICY = (
    "default-src 'none'; style-src 'unsafe-inline'; img-src 'self' http: https: data:; form-action 'none';"
    " base-uri 'none'; frame-ancestors 'self'; sandbox allow-popups allow-popups-to-escape-sandbox"
)


def framed_mail(html: str, scheme: str = LIGHT) -> Response[str]:
    """Return the HTML of a mail as it looks in light or dark mode, whatever the mode of this browser."""
    shown = html.replace(_DARK_QUERY, "all" if scheme == DARK else "not all")
    shown = shown.replace("<head>", '<head><base target="_blank">', 1)
    headers = {
        "Cache-Control": "no-store",
        "Content-Security-Policy": _POLICY,
        "X-Frame-Options": "SAMEORIGIN",
        "Referrer-Policy": "no-referrer",
    }
    return Response(shown, media_type=MediaType.HTML, headers=headers)
