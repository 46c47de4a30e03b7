"""The preview gateway through a real router: which hosts lead where, what arrives there, and who is let in."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlencode

import grpc
import pytest

from tests.support import grpc_service
from tests.support.client import Client, Response, ask, connected, get
from tests.support.grpc_service import GrpcServer
from tests.support.origin import Origin, RawOrigin, running, says
from tests.support.previews import BEARER, DOMAIN, HOST, LOGIN, TOKEN, UPGRADE, document, preview
from tests.support.proxy import KEY, WORKLOAD, Proxy, route, run_router
from tests.support.waiting import until
from tests.support.websocket import EchoOrigin


@pytest.fixture
def open_router(tmp_path: Path, baseline: Origin, sandbox: Origin) -> Iterator[Proxy]:
    flags = ("--preview-auth", "off", "--decision-header", "--key-header", "x-key", "--gone-key", "baseline")
    with run_router(tmp_path, document(baseline.port, sandbox.port), flags=flags) as router:
        yield router


@pytest.fixture
def router(tmp_path: Path, baseline: Origin, sandbox: Origin) -> Iterator[Proxy]:
    """One that lets in whoever has the token, or comes from loopback with the header."""
    tokens = tmp_path / "tokens"
    tokens.write_text(f"# of the team\n{TOKEN}\nanother-token-of-it\n")
    flags = ("--preview-token-file", str(tokens), "--preview-auth-header", "X-User", "--preview-auth-from", "127.0.0.2")
    with run_router(tmp_path, document(baseline.port, sandbox.port), flags=(*flags, "--decision-header")) as router:
        yield router


class TestHosts:
    @pytest.mark.parametrize(
        ("host", "status", "origin", "decision"),
        [
            (HOST, 200, "sandbox", "sandbox=local-location; reason=route"),
            (f"WEB--{KEY.upper()}.Preview.Example.:8443", 200, "sandbox", "sandbox=local-location; reason=route"),
            (f"api-v2--{KEY}.{DOMAIN}", 200, "sandbox", "sandbox=local-location; reason=route"),
            (f"web--live.{DOMAIN}", 200, "baseline", "baseline; reason=not_forked"),
            (f"web--special.{DOMAIN}", 200, "baseline", "baseline; reason=not_forked"),
            (f"other--{KEY}.{DOMAIN}", 200, "baseline", "baseline; reason=not_forked"),
            (f"web--gone.{DOMAIN}", 424, "", "none; reason=gone_key"),
            (f"other--gone.{DOMAIN}", 424, "", "none; reason=gone_key"),
            (f"web--unknown.{DOMAIN}", 424, "", "none; reason=unknown_key"),
            (f"other--unknown.{DOMAIN}", 424, "", "none; reason=unknown_key"),
            (f"none--gone.{DOMAIN}", 424, "", "none; reason=gone_key"),  # as where an endpoint went with its sandbox
            (f"none--{KEY}.{DOMAIN}", 421, "", "none; reason=unknown_preview"),
            (f"port--{KEY}.{DOMAIN}", 421, "", "none; reason=unknown_preview"),
            (f"xn--{KEY}.{DOMAIN}", 421, "", "none; reason=unknown_preview"),
            (f"web.{DOMAIN}", 421, "", "none; reason=unknown_preview"),
            (f"a.web--{KEY}.{DOMAIN}", 421, "", "none; reason=unknown_host"),
            (DOMAIN, 421, "", "none; reason=unknown_host"),
            ("elsewhere", 421, "", "none; reason=unknown_host"),
        ],
    )
    def test_where_they_lead(self, open_router: Proxy, host: str, status: int, origin: str, decision: str) -> None:
        response = ask(open_router.port, get(host=host))
        assert (response.status, response.origin, response.decision) == (status, origin, decision)

    def test_absolute_form(self, open_router: Proxy, sandbox: Origin) -> None:
        assert ask(open_router.port, get(f"http://{HOST}/a?b", host=HOST)).origin == "sandbox"
        assert sandbox.requests[-1].target == b"/a?b"
        assert sandbox.requests[-1].values(b"host") == [b"location.hotrod.svc"]

    @pytest.mark.parametrize("destinations", [[9], []])
    def test_a_dead_sandbox_is_never_the_baseline(
        self, tmp_path: Path, baseline: Origin, destinations: list[int]
    ) -> None:
        """Whatever the policy for tagged requests: nobody who looks at a page sees a decision header."""
        flags = ("--preview-auth", "off", "--decision-header", "--on-sandbox-failure", "baseline")
        table = {**document(baseline.port, 9), "routes": [route(KEY, destinations)]}
        reason = "sandbox_unreachable" if destinations else "no_destination"
        with run_router(tmp_path, table, flags=flags) as router:
            response = ask(router.port, get(host=HOST))
            assert (response.status, response.decision) == (503, f"sandbox=local-location; reason={reason}")
            tagged = ask(router.port, get("/", f"baggage: sd-routing-key={KEY}"))
            assert (tagged.origin, tagged.decision) == ("baseline", f"baseline; reason={reason}")

    def test_by_the_table_in_force(self, open_router: Proxy, baseline: Origin, sandbox: Origin) -> None:
        document_2 = document(baseline.port, sandbox.port, version="2", previews=[preview("new", ("location", 80))])
        open_router.set_table(document_2)
        assert ask(open_router.port, get(host=f"new--{KEY}.{DOMAIN}")).origin == "sandbox"
        assert ask(open_router.port, get(host=HOST)).status == 421
        open_router.set_table(
            {**document_2, "version": "3", "routes": [], "previews": [preview("web", ("location", 80))]}
        )
        assert ask(open_router.port, get(host=HOST)).decision == "none; reason=gone_key"


class TestHead:
    def test_what_a_sandbox_gets(self, open_router: Proxy, sandbox: Origin) -> None:
        lines = (
            "Accept: */*",
            "baggage: a=1, sd-sandbox=other",
            "X-Key: other",
            "x-forwarded-for: 6.6.6.6",
            "X-Forwarded-Host: evil.test",
            "x-forwarded-proto: ftp",
            "forwarded: for=6.6.6.6",
            "baggage: sd-routing-key=other,b=2",
            "tracestate: v=1,sd-routing-key=other",
        )
        assert ask(open_router.port, get("/", *lines, host=HOST)).origin == "sandbox"
        assert sandbox.requests[-1].fields == [
            (b"Host", b"location.hotrod.svc"),
            (b"Accept", b"*/*"),
            (b"baggage", f"a=1,b=2,sd-routing-key={KEY}".encode()),
            (b"tracestate", f"sd-routing-key={KEY},v=1".encode()),
            (b"X-Forwarded-For", b"127.0.0.1"),
            (b"X-Forwarded-Host", HOST.encode()),
            (b"X-Forwarded-Proto", b"http"),
            (b"pointsman-hop", WORKLOAD.encode()),
        ]

    def test_where_no_service_decides_nothing_marks_it(self, open_router: Proxy, baseline: Origin) -> None:
        ask(open_router.port, get("/", host=f"other--{KEY}.{DOMAIN}"))
        request = baseline.requests[-1]
        assert request.values(b"host") == [f"127.0.0.1:{baseline.port}".encode()]
        assert request.values(b"baggage") == [f"sd-routing-key={KEY}".encode()]
        assert request.values(b"pointsman-hop") == []

    def test_a_baseline_of_a_service_is_marked(self, open_router: Proxy, baseline: Origin) -> None:
        ask(open_router.port, get("/", host=f"web--live.{DOMAIN}"))
        assert baseline.requests[-1].values(b"pointsman-hop") == [f"{WORKLOAD};baseline".encode()]

    def test_forwarded_is_said_once(self, tmp_path: Path, baseline: Origin, sandbox: Origin) -> None:
        flags = ("--preview-auth", "off", "--forwarded", "append", "--preview-scheme", "https")
        with run_router(tmp_path, document(baseline.port, sandbox.port), flags=flags) as router:
            ask(router.port, get("/", "x-forwarded-for: 6.6.6.6", host=HOST))
        assert sandbox.requests[-1].values(b"x-forwarded-for") == [b"127.0.0.1"]
        assert sandbox.requests[-1].values(b"x-forwarded-proto") == [b"https"]

    def test_cookies_of_an_interim_answer_too(self, tmp_path: Path, baseline: Origin) -> None:
        """Whatever a browser does with them."""
        early = b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\nSet-Cookie: a=b; Domain=preview.example\r\n\r\n"
        origin = RawOrigin(says(early + b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"))
        table = document(baseline.port, origin.port)
        with (
            running(origin),
            run_router(tmp_path, table, flags=("--preview-auth", "off")) as router,
            connected(router.port) as client,
        ):
            client.send(get(host=HOST))
            received = b""
            while b"\r\n\r\nok" not in received:
                piece = client.socket.recv(4096)
                assert piece
                received += piece
        assert received.startswith(b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\nSet-Cookie: a=b\r\n\r\nHTTP/1.1 200 OK")

    def test_cookies_of_a_preview_stay_at_its_host(self, tmp_path: Path, baseline: Origin) -> None:
        cookies = [
            ("Set-Cookie", "a=b; Domain=preview.example; Path=/"),
            ("Set-Cookie", "pointsman-preview=planted; Path=/"),
            ("set-cookie", "c=d;domain=.preview.example"),
            ("set-cookie", "e=domain; HttpOnly"),
        ]
        tokens = tmp_path / "tokens"
        tokens.write_text(TOKEN)
        origin = Origin("sandbox", lambda _: (200, cookies, b""))
        flags = ("--preview-token-file", str(tokens))
        with running(origin), run_router(tmp_path, document(baseline.port, origin.port), flags=flags) as router:
            response = ask(router.port, get("/", BEARER, host=HOST))
            assert [value for name, value in response.fields if name.lower() == b"set-cookie"] == [
                b"a=b; Path=/",
                b"c=d",
                b"e=domain; HttpOnly",
            ]
            service_response = ask(router.port, get("/", f"baggage: sd-routing-key={KEY}", host="location"))
            assert len([name for name, _ in service_response.fields if name.lower() == b"set-cookie"]) == 4


def post(router: Proxy, *lines: str, host: str = HOST, **fields: str) -> Response:
    body = urlencode(fields)
    lines = ("Content-Type: application/x-www-form-urlencoded", f"Content-Length: {len(body)}", *lines)
    return ask(router.port, get(LOGIN, *lines, method="POST", host=host) + body.encode())


def cookie_of(response: Response) -> str:
    return response.value("set-cookie").partition(";")[0]


class TestAuthentication:
    def test_nobody_without(self, router: Proxy, baseline: Origin, sandbox: Origin) -> None:
        response = ask(router.port, get(host=HOST))
        assert (response.status, response.origin) == (401, "")
        assert response.value("www-authenticate").startswith("Bearer")
        assert response.value("cache-control") == "no-store"
        assert response.value("proxy-status").startswith("pointsman; error=http_request_denied")
        assert response.decision == "none; reason=preview_not_authenticated"
        assert baseline.requests == sandbox.requests == []

    @pytest.mark.parametrize("host", [f"none--{KEY}.{DOMAIN}", f"web--gone.{DOMAIN}", f"web--unknown.{DOMAIN}"])
    def test_nothing_of_the_table_is_told_before(self, router: Proxy, host: str) -> None:
        assert ask(router.port, get(host=host)).status == 401
        assert ask(router.port, get("/", BEARER, host=host)).status in (421, 424)

    @pytest.mark.parametrize(
        "line",
        [
            "Authorization: Bearer wrong-token-of-it",
            f"Authorization: Basic {TOKEN}",
            f"Cookie: pointsman-preview={TOKEN}",
            "Cookie: pointsman-preview=9999999999.00",
            "X-User: me",  # from another place
        ],
    )
    def test_nobody_with_what_is_wrong(self, router: Proxy, line: str) -> None:
        assert ask(router.port, get("/", line, host=HOST)).status == 401
        assert ask(router.port, get(f"/?token={TOKEN}", line, host=HOST)).status == 401

    def test_bearer(self, router: Proxy, sandbox: Origin) -> None:
        lines = (BEARER, "Authorization: Bearer of-the-application")
        assert ask(router.port, get("/", *lines, host=HOST)).origin == "sandbox"
        assert sandbox.requests[-1].values(b"authorization") == [b"Bearer of-the-application"]

    def test_the_header_of_a_proxy(self, tmp_path: Path, baseline: Origin, sandbox: Origin) -> None:
        flags = ("--preview-auth-header", "X-User", "--preview-auth-from", "127.0.0.0/8")
        with run_router(tmp_path, document(baseline.port, sandbox.port), flags=flags) as router:
            assert ask(router.port, get("/", "x-user: me", host=HOST)).origin == "sandbox"
            assert sandbox.requests[-1].values(b"x-user") == []
            assert ask(router.port, get("/", "x-user: ", host=HOST)).status == 401
            # without tokens there is no form, and its path is the application's
            page = ask(router.port, get("/", "Accept: text/html", host=HOST))
            assert (page.status, b"<form" in page.body) == (401, False)
            assert ask(router.port, get(LOGIN, "x-user: me", host=HOST)).origin == "sandbox"

    def test_a_header_from_elsewhere_goes_no_further(self, router: Proxy, sandbox: Origin) -> None:
        assert ask(router.port, get("/", BEARER, "X-User: admin", host=HOST)).origin == "sandbox"
        assert sandbox.requests[-1].values(b"x-user") == []

    def test_each_request_by_itself(self, router: Proxy) -> None:
        with connected(router.port) as client:
            assert client.ask(get("/", BEARER, host=HOST)).status == 200
            assert client.ask(get("/", host=HOST)).status == 401
            both = get("/", host=HOST) + get("/", BEARER, host=HOST)
            client.send(both)
            assert [client.read().status, client.read().status] == [401, 200]
            assert client.ask(get("/", host="location")).status == 200  # no preview

    def test_hosts_of_services_are_not_asked(self, router: Proxy) -> None:
        assert ask(router.port, get("/", host="location")).origin == "baseline"

    def test_tokens_come_and_go(self, router: Proxy, tmp_path: Path) -> None:
        cookie = cookie_of(post(router, token=TOKEN))
        assert ask(router.port, get("/", f"Cookie: {cookie}", host=HOST)).status == 200
        (tmp_path / "tokens").write_text("yet-another-token-of-it\n")
        until(lambda: ask(router.port, get("/", BEARER, host=HOST)).status == 401, within_s=10)
        assert ask(router.port, get("/", "Authorization: Bearer yet-another-token-of-it", host=HOST)).status == 200
        assert ask(router.port, get("/", f"Cookie: {cookie}", host=HOST)).status == 401
        (tmp_path / "tokens").write_text("short\n")
        until(lambda: any("the old content stays in force" in line for line in router.lines), within_s=10)
        assert ask(router.port, get("/", "Authorization: Bearer yet-another-token-of-it", host=HOST)).status == 200
        assert not any("short" in line or "token-of-it" in line for line in router.lines)

    def test_nobody_can_be_let_in(self, tmp_path: Path, baseline: Origin, sandbox: Origin) -> None:
        with run_router(tmp_path, document(baseline.port, sandbox.port)) as router:
            assert ask(router.port, get("/", BEARER, host=HOST)).status == 401
            assert ask(router.port, get(LOGIN, "Accept: text/html", host=HOST)).status == 401
            said = [line for line in router.lines if "nobody can be let in" in line]
            assert len(said) == 1
            router.set_table(document(baseline.port, sandbox.port, version="2"))
            assert [line for line in router.lines if "nobody can be let in" in line] == said


class TestLogin:
    def test_a_browser_gets_the_form_and_comes_back(self, router: Proxy, sandbox: Origin) -> None:
        response = ask(router.port, get("/a?b=c", "Accept: text/html", host=HOST))
        assert response.status == 401
        assert response.value("content-type") == "text/html; charset=utf-8"
        assert "form-action 'self'" in response.value("content-security-policy")
        text = response.body.decode()
        assert f'action="{LOGIN}"' in text
        match = re.search(r'name=to value="([^"]*)"', text)
        assert match is not None
        assert match[1] == "/a?b=c"
        answer = post(router, f"Origin: http://{HOST}", token=f" {TOKEN}\n", to=match[1])
        assert (answer.status, answer.value("location"), answer.body) == (303, "/a?b=c", b"")
        assert re.fullmatch(
            r"pointsman-preview=[0-9]+\.[0-9a-f]{16}\.[0-9a-f]{64}; Path=/; Max-Age=43200; HttpOnly; SameSite=Lax",
            answer.value("set-cookie"),
        )
        line = f"Cookie: theme=dark; {cookie_of(answer)}; lang=en"
        assert ask(router.port, get("/a?b=c", line, host=HOST)).origin == "sandbox"
        assert sandbox.requests[-1].values(b"cookie") == [b"theme=dark; lang=en"]
        # at another preview it opens nothing, whoever brought it there
        assert ask(router.port, get("/", line, host=f"api-v2--{KEY}.{DOMAIN}")).status == 401

    def test_the_forms_own_page(self, router: Proxy) -> None:
        response = ask(router.port, get(LOGIN, host=HOST))
        assert (response.status, b"<form" in response.body) == (200, True)
        head = ask(router.port, get(LOGIN, method="HEAD", host=HOST), method="HEAD")
        assert (head.status, head.body) == (200, b"")
        assert ask(router.port, get(LOGIN, method="DELETE", host=HOST)).status == 405

    def test_a_wrong_token(self, router: Proxy) -> None:
        response = post(router, token="wrong-token-of-it", to="/x")
        assert (response.status, response.value("set-cookie")) == (401, "")
        assert b'value="/x"' in response.body
        assert b"wrong-token" not in response.body

    @pytest.mark.parametrize("to", ["//evil.test", "https://evil.test/", "/\\evil.test", "/\t/evil.test", "/a\r\nX: y"])
    def test_it_leads_nowhere_else(self, router: Proxy, to: str) -> None:
        assert post(router, token=TOKEN, to=to).value("location") == "/"

    @pytest.mark.parametrize(
        "line",
        [
            "Origin: https://evil.test",
            f"Origin: http://web--live.{DOMAIN}",
            "Origin: null",
            "Sec-Fetch-Site: cross-site",
        ],
    )
    def test_posted_from_another_page(self, router: Proxy, line: str) -> None:
        response = post(router, line, token=TOKEN)
        assert (response.status, response.value("set-cookie")) == (403, "")

    def test_what_is_no_form(self, router: Proxy) -> None:
        with connected(router.port) as client:
            client.send(get(LOGIN, "Content-Length: 17000", method="POST", host=HOST), b"x" * 17000)
            assert client.read("POST").status == 413
        for body in (b"", b"token"):
            head = get(LOGIN, f"Content-Length: {len(body)}", method="POST", host=HOST)
            assert ask(router.port, head + body).status == 400
        chunked = get(
            LOGIN,
            "Transfer-Encoding: chunked",
            "Content-Type: application/x-www-form-urlencoded",
            method="POST",
            host=HOST,
        )
        pieces = "".join(f"1\r\n{letter}\r\n" for letter in f"token={TOKEN}").encode() + b"0\r\n\r\n"
        with connected(router.port) as client:
            assert client.ask(chunked + pieces, method="POST").status == 303
            assert client.ask(get("/", BEARER, host=HOST)).status == 200  # the connection goes on

    def test_behind_https(self, tmp_path: Path, baseline: Origin, sandbox: Origin) -> None:
        tokens = tmp_path / "tokens"
        tokens.write_text(TOKEN)
        flags = ("--preview-token-file", str(tokens), "--preview-scheme", "https", "--preview-session", "60")
        with run_router(tmp_path, document(baseline.port, sandbox.port), flags=flags) as router:
            assert post(router, f"Origin: http://{HOST}", token=TOKEN).status == 403
            answer = post(router, f"Origin: https://{HOST}", token=TOKEN)
            assert answer.value("set-cookie").startswith("__Host-pointsman-preview=")
            assert answer.value("set-cookie").endswith("; Path=/; Max-Age=60; HttpOnly; SameSite=Lax; Secure")
            assert ask(router.port, get("/", f"Cookie: {cookie_of(answer)}", host=HOST)).status == 200
            # one that another preview's page set for the whole domain has no such prefix
            tossed = cookie_of(answer).removeprefix("__Host-")
            assert ask(router.port, get("/", f"Cookie: {tossed}", host=HOST)).status == 401


def opened(client: Client, *lines: str, host: str = HOST) -> int:
    """The status of a handshake."""
    client.send(get("/ws", *UPGRADE, *lines, host=host))
    received = b""
    while b"\r\n\r\n" not in received:
        data = client.socket.recv(65536)
        assert data, received
        received += data
    return int(received.split()[1])


class TestWebSocket:
    @pytest.fixture
    def echo(self) -> Iterator[EchoOrigin]:
        origin = EchoOrigin("sandbox")
        with running(origin):
            yield origin

    @pytest.fixture
    def echoing(self, tmp_path: Path, baseline: Origin, echo: EchoOrigin) -> Iterator[Proxy]:
        tokens = tmp_path / "tokens"
        tokens.write_text(TOKEN)
        flags = ("--preview-token-file", str(tokens), "--drain-timeout", "1")
        with run_router(tmp_path, document(baseline.port, echo.port), flags=flags) as router:
            yield router

    @pytest.mark.parametrize(
        ("origin", "status"),
        [
            (None, 101),
            (f"http://{HOST}", 101),
            (f"https://api-v2--{KEY}.{DOMAIN}:8443", 101),
            (f"http://web--live.{DOMAIN}", 403),
            (f"http://{HOST}.evil.test", 403),
            ("https://evil.test", 403),
            ("null", 403),
        ],
    )
    def test_a_page_of_another_site_gets_none(self, echoing: Proxy, origin: str | None, status: int) -> None:
        lines = [f"Cookie: {cookie_of(post(echoing, token=TOKEN))}"]
        if origin is not None:
            lines.append(f"Origin: {origin}")
        with connected(echoing.port) as client:
            assert opened(client, *lines) == status

    def test_a_token_in_a_field_no_page_can_send(self, echoing: Proxy, echo: EchoOrigin) -> None:
        with connected(echoing.port) as client:
            assert opened(client, BEARER, "Origin: https://tool.test") == 101
        assert "authorization" not in echo.requests[-1].headers

    def test_nobody_without(self, echoing: Proxy, echo: EchoOrigin) -> None:
        with connected(echoing.port) as client:
            client.send(get("/ws", *UPGRADE, "Accept: text/html", host=HOST))
            response = client.read()
            assert (response.status, b"<form" in response.body) == (401, False)
        assert echo.requests == []

    @pytest.mark.parametrize("endpoint", ["web", "other"])
    def test_it_ends_with_its_key(self, echoing: Proxy, baseline: Origin, echo: EchoOrigin, endpoint: str) -> None:
        previews = [preview("web", ("location", 80)), preview("other", ("127.0.0.1", echo.port))]
        echoing.set_table(document(baseline.port, echo.port, version="2", previews=previews))
        with connected(echoing.port) as client:
            assert opened(client, BEARER, host=f"{endpoint}--{KEY}.{DOMAIN}") == 101
            echoing.set_table(document(baseline.port, echo.port, version="3", previews=previews))
            client.send(b"\x81\x80\0\0\0\0")  # an empty message, masked
            assert client.socket.recv(100) == b"\x81\0"
            echoing.set_table({**document(baseline.port, echo.port, version="4", previews=previews), "routes": []})
            with pytest.raises(ConnectionResetError):
                client.socket.recv(100)


def test_grpc(tmp_path: Path) -> None:
    servers = [GrpcServer("baseline"), GrpcServer("sandbox")]
    tokens = tmp_path / "tokens"
    tokens.write_text(TOKEN)
    with grpc_service.serving(*servers):
        ports = [server.port for server in servers]
        flags = ("--preview-token-file", str(tokens))
        with (
            run_router(tmp_path, document(*ports), flags=flags) as router,
            grpc_service.connected(router.port, ("grpc.default_authority", HOST)) as channel,
        ):
            shut = grpc_service.ask(channel, b"hello")
            assert shut.code is grpc.StatusCode.UNAUTHENTICATED
            answer = grpc_service.ask(channel, b"hello", (("authorization", f"Bearer {TOKEN}"), ("x", "y")))
            assert (answer.code, answer.origin) == (grpc.StatusCode.OK, "sandbox")
            call = servers[1].calls[-1]
            assert call.values("baggage") == [f"sd-routing-key={KEY}"]
            assert (call.values("authorization"), call.values("x")) == ([], ["y"])
        with (
            run_router(tmp_path, document(*ports), flags=("--preview-auth", "off")) as router,
            grpc_service.connected(router.port, ("grpc.default_authority", f"web--gone.{DOMAIN}")) as channel,
        ):
            assert grpc_service.ask(channel, b"hello").code is grpc.StatusCode.FAILED_PRECONDITION


class TestExplain:
    def explain(self, router: Proxy, host: str, *lines: str) -> str:
        status, body = router.page("/explain?format=text", "POST", get("/", *lines, host=host))
        assert status == 200
        return body.decode()

    def test_a_preview(self, router: Proxy) -> None:
        """Without authentication: explain is the operator's."""
        text = self.explain(router, HOST, "baggage: sd-routing-key=other,a=b")
        assert "forwarded to sandbox local-location (route: " in text
        assert f"baggage: sd-routing-key={KEY}  [decides" in text
        assert "other" not in text
        assert "forwarded to baseline (not_forked: " in self.explain(router, f"other--{KEY}.{DOMAIN}")

    @pytest.mark.parametrize(
        ("host", "reason"),
        [
            (f"web--gone.{DOMAIN}", "gone_key"),
            (f"web--nobody.{DOMAIN}", "unknown_key"),
            (f"web.{DOMAIN}", "unknown_preview"),
        ],
    )
    def test_none(self, router: Proxy, host: str, reason: str) -> None:
        status = 421 if reason == "unknown_preview" else 424
        assert f"answered with {status} ({reason}: " in self.explain(router, host)
