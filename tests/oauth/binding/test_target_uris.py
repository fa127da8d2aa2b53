"""Comparison of ``htu`` (RFC 9449 section 4.3, RFC 3986 section 6.2)."""

import pytest

from idp.oauth.binding.target_uris import MAX_LENGTH, normalized, same

URL = "https://id.example.com/auth/token"


@pytest.mark.parametrize(
    "htu",
    [
        URL,
        "HTTPS://id.example.com/auth/token",
        "https://ID.Example.COM/auth/token",
        "https://id.example.com:443/auth/token",
        "https://id.example.com:0443/auth/token",
        "https://id.example.com:/auth/token",
        "https://id.example.com/auth/token?resource=x",
        "https://id.example.com/auth/token#fragment",
        "https://id.example.com/auth/token?a=b#c?d",
        "https://id.example.com/auth/%74oken",
        "https://id.example.com/a%75th/%74%6Fken",
        "https://id.example.com/auth/./token",
        "https://id.example.com/auth/x/../token",
        "https://id.example.com/../auth/token",
        "https://id.example.com/auth/%2e/token",
    ],
)
def test_the_same(htu: str) -> None:
    assert same(htu, URL)


@pytest.mark.parametrize(
    "htu",
    [
        "",
        "/auth/token",
        "//id.example.com/auth/token",
        "http://id.example.com/auth/token",
        "https://id.example.com:80/auth/token",
        "https://id.example.com:8443/auth/token",
        "https://id.example.com:443443/auth/token",
        "https://id.example.com:+443/auth/token",
        "https://id.example.com/auth/Token",
        "https://id.example.com/auth/token/",
        "https://id.example.com/auth//token",
        "https://id.example.com/auth%2Ftoken",
        "https://id.example.com/token",
        "https://id.example.com/auth/token;x",
        "https://id.example.com.evil.example/auth/token",
        "https://evil.example/auth/token",
        "https://user@id.example.com/auth/token",
        "https://user:password@id.example.com/auth/token",
        "https://evil.example\\@id.example.com/auth/token",
        "https://evil.example#@id.example.com/auth/token",
        "https:/id.example.com/auth/token",
        "https:id.example.com/auth/token",
        "https:\\\\id.example.com\\auth\\token",
        "https://id.example.com\\auth\\token",
        " https://id.example.com/auth/token",
        "https://id.example.com/auth/token ",
        "https://id.example.com/auth/token\n",
        "https://id.example.com/auth/token\0",
        "https://id.example.com/auth/tok\ten",
        "https://id.example.com/auth/%",
        "https://id.example.com/auth/%zz",
        "https://id.example.com./auth/token",
        "https://\u0131d.example.com/auth/token",
        "https://id.example.com/auth/to\u212aen",
        "https://id%2eexample.com/auth/token",
        "javascript://id.example.com/auth/token",
        "https://[::1/auth/token",
        "https://[::1]x/auth/token",
        URL + "?" + "x" * MAX_LENGTH,
    ],
)
def test_not_the_same(htu: str) -> None:
    assert not same(htu, URL)


@pytest.mark.parametrize(
    ("url", "normal"),
    [
        ("http://LOCALHOST:80", "http://localhost/"),
        ("http://localhost:8000/?x", "http://localhost:8000/"),
        ("http://[::1]:8000/token", "http://[::1]:8000/token"),
        ("https://x.example/a%2fb%7Ec", "https://x.example/a%2Fb~c"),
        ("https://x.example/a/b/..", "https://x.example/a/"),
        ("https://x.example/a/.", "https://x.example/a/"),
        ("https://x.example/..", "https://x.example/"),
    ],
)
def test_normal_form(url: str, normal: str) -> None:
    assert normalized(url) == normal
    assert normalized(normal) == normal
