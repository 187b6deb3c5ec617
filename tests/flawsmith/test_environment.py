"""Proxies and certificates that the environment names wrongly."""

from __future__ import annotations

import pytest

from flawsmith import AsyncFlawsmith, Flawsmith, InvalidParameterError

URL = "https://flawsmith.example"
VARIABLES = ("ALL_PROXY", "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "SSL_CERT_FILE", "SSL_CERT_DIR")


@pytest.fixture(autouse=True)
def bare(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in VARIABLES:
        for written in (name, name.lower()):
            monkeypatch.delenv(written, raising=False)


@pytest.mark.parametrize("client", [Flawsmith, AsyncFlawsmith])
@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("ALL_PROXY", "socks5://me:secret@127.0.0.1:1080"),
        ("https_proxy", "socks4://me:secret@127.0.0.1:1080"),
        ("HTTPS_PROXY", "http://me:secret/@proxy"),
        ("NO_PROXY", "localhost,[::1]"),
        ("no_proxy", "10.0.0.0/8,fe80::/10"),
        ("SSL_CERT_FILE", "/absent/ca.pem"),
    ],
)
def test_a_variable_that_cannot_be_used_is_named(
    client: type[Flawsmith | AsyncFlawsmith], variable: str, value: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HTTP_PROXY", "proxy.example:3128")  # which can be
    monkeypatch.setenv(variable, value)
    with pytest.raises(InvalidParameterError, match=rf"^{variable} in the environment .* unset it$") as refused:
        client(URL)
    assert "secret" not in str(refused.value)
    client("http://127.0.0.1:8080")  # reached without either


@pytest.mark.parametrize("key", ["Linie-3-Prüfung", "line 3", "a\nb", "x" * 256])
def test_an_idempotency_key_that_no_header_carries_is_not_sent(key: str) -> None:
    with Flawsmith("http://127.0.0.1:9") as client, pytest.raises(InvalidParameterError, match="idempotency_key"):
        client.retrain("scratch@1", idempotency_key=key)
