from __future__ import annotations

import pytest

from pointsman.cli.flags import Selector, controller_url, header_field, namespace, since, timeout


class TestTimeout:
    @pytest.mark.parametrize(
        ("text", "seconds"),
        [("90s", 90), ("10m", 600), ("2h", 7200), ("0.5s", 0.5), ("250ms", 0.25), ("5", 5), ("0", 0), ("24h", 86400)],
    )
    def test_durations(self, text: str, seconds: float) -> None:
        assert timeout(text) == seconds

    @pytest.mark.parametrize("text", ["", "s", "-1s", "1d", "25h", "1 s", "1.s", "1e3", "²s", "10mm", "nan"])
    def test_no_durations(self, text: str) -> None:
        with pytest.raises(ValueError, match=r"must be a duration like 90s, 10m or 2h"):
            timeout(text)


class TestSince:
    @pytest.mark.parametrize(
        ("text", "sent"),
        [("10m", "10m"), ("90", "90s"), ("2h", "2h"), ("2026-11-25T10:00:00Z", "2026-11-25T10:00:00Z")],
    )
    def test_times(self, text: str, sent: str) -> None:
        assert since(text) == sent

    @pytest.mark.parametrize("text", ["", "now", "0", "-5m", "2026-11-25", "2026-13-25T10:00:00Z"])
    def test_no_times(self, text: str) -> None:
        with pytest.raises(ValueError, match=r"must be a duration like .* or a timestamp like"):
            since(text)


class TestSelector:
    LABELS = {"pr": "123", "team": "web"}

    @pytest.mark.parametrize(
        ("text", "matches"),
        [
            ("pr=123", True),
            ("pr==123", True),
            ("pr=12", False),
            ("pr", True),
            ("missing", False),
            ("!missing", True),
            ("!pr", False),
            ("pr!=123", False),
            ("pr!=1", True),
            ("missing!=1", True),
            ("pr=123,team=web", True),
            ("pr=123, team=api", False),
        ],
    )
    def test_labels(self, text: str, matches: bool) -> None:
        assert Selector(text).matches(self.LABELS) is matches

    def test_an_object_without_labels(self) -> None:
        assert not Selector("pr").matches(None)
        assert Selector("!pr").matches(None)

    @pytest.mark.parametrize("text", ["", "=", "=1", "a,,b", "a b=1"])
    def test_no_labels(self, text: str) -> None:
        with pytest.raises(ValueError, match="must be labels"):
            Selector(text)


@pytest.mark.parametrize("url", ["http://127.0.0.1:16030", "https://controller.example/pointsman/", "http://[::1]:1"])
def test_urls(url: str) -> None:
    assert controller_url(url) == url


@pytest.mark.parametrize(
    "url", ["127.0.0.1:16030", "ftp://x", "http://", "http://u:p@x", "http://x?y", "http://x:0x", "http://x:99999", ""]
)
def test_no_urls(url: str) -> None:
    with pytest.raises(ValueError):
        controller_url(url)


def test_namespaces_and_fields() -> None:
    assert namespace("hotrod-1") == "hotrod-1"
    with pytest.raises(ValueError, match="first and last alphanumeric"):
        namespace("Hotrod")
    assert header_field("baggage:  a=b ") == (b"baggage", b"a=b")
    for text in ("baggage", "a b: c", "a: b\r\nc: d"):
        with pytest.raises(ValueError):
            header_field(text)
