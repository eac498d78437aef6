"""Remote providers over real sockets: every way of misbehaving has one answer, in bounded time and memory."""

from __future__ import annotations

import datetime as dt
import ipaddress
import ssl
import threading
import time
import tracemalloc
from collections.abc import Iterator
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from flows_engine.actions.addresses import AddressPolicy, Allowed
from flows_engine.actions.answers import Answer, Errand, Gone, Refused, Reported, Unknown
from flows_engine.actions.guarded_http import Failing, GuardedHttp, NoAnswerError
from flows_engine.actions.http import HttpActionClient
from schemas.action import Status
from schemas.errors import ServiceError
from schemas.principals import Caller
from tests.fakes.clock import VirtualClock
from tests.fakes.flaky_provider import ACTION_ID, FlakyProvider, answer, document

CALLER = Caller(identity_id="11111111-1111-4111-8111-111111111111", username="ada@example.org")
REQUEST = '{"request_id":"r-1","body":{"text":"caf\u00e9",  "n":1.0}}'


class TokenDrawer:
    """Hands out ``stale``, and ``fresh`` when asked for a fresh one."""

    def __init__(self, stale: str = "stale", fresh: str = "fresh") -> None:
        self.stale, self.fresh = stale, fresh
        self.asked: list[bool] = []

    def __call__(self, errand: Errand, *, fresh: bool = False) -> str:
        self.asked.append(fresh)
        return self.fresh if fresh else self.stale


@pytest.fixture(scope="module")
def provider() -> Iterator[FlakyProvider]:
    with FlakyProvider() as running:
        yield running


def guarded(provider: FlakyProvider, *, deadline_s: float = 5.0, tls: ssl.SSLContext | None = None) -> GuardedHttp:
    allowed = (Allowed.parse(f"127.0.0.0/8:{provider.port}"), Allowed.parse(f"localhost:{provider.port}"))
    return GuardedHttp(AddressPolicy(allowed=allowed), deadline_s=deadline_s, tls=tls)


def client(provider: FlakyProvider, *, tokens: TokenDrawer | None = None, deadline_s: float = 5.0) -> HttpActionClient:
    return HttpActionClient(guarded(provider, deadline_s=deadline_s), tokens or TokenDrawer(), VirtualClock())


def errand(url: str, scope: str | None = "urn:scope:own") -> Errand:
    return Errand(url=url, scope=scope, caller=CALLER, flow_id="f", run_id="r")


def start(provider: FlakyProvider, mode: str, **options: float) -> Answer:
    return client(provider, **options).start(errand(provider.url(mode)), REQUEST, waiter="")  # type: ignore[arg-type]  # only deadline_s


def words(given: Answer) -> str:
    match given:
        case Reported(status):
            return status.status.value
        case Refused(cause):
            return cause
        case Unknown(reason) | Gone(reason):
            return reason


ANSWERS_TO_START: list[tuple[str, type, str]] = [
    ("sync", Reported, "SUCCEEDED"),
    ("async", Reported, "ACTIVE"),
    ("inactive", Reported, "INACTIVE"),
    ("failed", Reported, "FAILED"),
    ("byte-order-mark", Reported, "ACTIVE"),
    ("chunked", Reported, "ACTIVE"),
    ("sets-cookie", Reported, "ACTIVE"),
    ("odd-action-id", Reported, "ACTIVE"),
    *((str(code), Refused, "not to my liking") for code in (400, 401, 403, 404, 405, 406, 410, 413, 415, 418, 422)),
    ("400-text", Refused, "answered 400 Bad Request: line one line [31mtwo"),
    ("400-html", Refused, "answered 400 Bad Request"),
    ("400-long", Refused, '"code":"BadActionRequest"'),
    ("409", Refused, "REQUEST_CONFLICT"),
    ("500", Unknown, "500 Internal Server Error"),
    ("503", Unknown, "503 Service Unavailable"),
    ("599", Unknown, "599"),
    ("408", Unknown, "408 Request Timeout"),
    ("429-1", Unknown, "429 Too Many Requests"),
    ("html", Unknown, "with text/html, not application/json"),
    ("no-type", Unknown, "no content type"),
    ("wrong-type", Unknown, "with text/plain, not application/json"),
    ("empty", Unknown, "is empty"),
    ("204", Unknown, "204 No Content"),
    ("206", Unknown, "206 Partial Content"),
    ("103", Unknown, "103 Early Hints"),
    ("truncated", Unknown, "40 bytes are missing"),
    ("cut-json", Unknown, "is not JSON"),
    ("cut-chunk", Unknown, "broke off in the middle"),
    ("bad-chunk", Unknown, "broke off in the middle"),
    ("bad-length", Unknown, "announced a body of '-5' bytes"),
    ("duplicate-keys", Unknown, "the key 'status' appears twice"),
    ("nan", Unknown, "NaN is not a JSON number"),
    ("huge-integer", Unknown, "does not fit 64 bits"),
    ("deep", Unknown, "nested more than 64 levels"),
    ("lone-surrogate", Unknown, "lone surrogate"),
    ("not-utf8", Unknown, "not UTF-8"),
    ("list", Unknown, "not a JSON object"),
    ("10-mb", Unknown, "sent more than"),
    ("10-gb", Unknown, "sent more than"),
    ("endless-chunks", Unknown, "sent more than"),
    ("endless-continue", Unknown, "sent more than"),
    ("5000-headers", Unknown, "not HTTP: got more than 100 headers"),
    ("long-header", Unknown, "more than 65536 bytes when reading header line"),
    ("gzip", Unknown, "in the coding 'gzip'"),
    ("closes", Unknown, "closed the connection without an answer"),
    ("reset", Unknown, "cut the connection: connection reset by peer"),
    ("not-http", Unknown, "not HTTP"),
    ("redirect", Unknown, "a redirect to http://169.254.169.254/latest/meta-data: redirects are not followed"),
    ("redirect-307", Unknown, "redirects are not followed"),
    ("unknown-status", Unknown, "status must be one of ACTIVE, INACTIVE, SUCCEEDED, FAILED, not 'PENDING'"),
    ("ended", Unknown, "status must be one of"),
    ("no-action-id", Unknown, "action_id must be text"),
    ("number-action-id", Unknown, "action_id must be text"),
    ("long-action-id", Unknown, "the limit is"),
    ("dots-action-id", Unknown, "cannot be part of a URL"),
]


@pytest.mark.parametrize(("mode", "kind", "text"), ANSWERS_TO_START, ids=[case[0] for case in ANSWERS_TO_START])
def test_each_behaviour_of_a_provider_at_start_has_one_answer(
    provider: FlakyProvider, mode: str, kind: type, text: str
) -> None:
    given = start(provider, mode)

    assert type(given) is kind
    assert text in words(given)
    assert len(words(given).encode()) <= 2048


@pytest.mark.parametrize("mode", ["slow-headers", "slow-body", "silent"])
def test_a_provider_that_dawdles_meets_the_total_deadline(provider: FlakyProvider, mode: str) -> None:
    began = time.monotonic()

    given = start(provider, mode, deadline_s=0.3)

    assert given == Unknown("127.0.0.1 gave no complete answer within 0.3 s")
    assert time.monotonic() - began < 1.0


@pytest.mark.parametrize("mode", ["10-mb", "10-gb", "endless-chunks", "endless-continue", "long-action-id", "deep"])
def test_no_answer_takes_more_memory_than_a_few_times_the_cap(provider: FlakyProvider, mode: str) -> None:
    start(provider, mode)  # what the first call allocates for ever is not the question
    tracemalloc.start()
    try:
        start(provider, mode)
        peak_bytes = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()

    assert peak_bytes < 20_000_000


@pytest.mark.parametrize(
    ("mode", "seconds"),
    [("503", 7.0), ("429-1", 1.0), ("429-huge", 900.0), ("429-date", 120.0), ("429-past", 0.0), ("429-junk", None)],
)
def test_retry_after_is_honoured_up_to_a_quarter_of_an_hour(
    provider: FlakyProvider, mode: str, seconds: float | None
) -> None:
    given = start(provider, mode)

    assert isinstance(given, Unknown)
    assert given.retry_after_s == seconds


@pytest.mark.parametrize(
    ("mode", "consent"),
    [
        ("consent", "urn:scope:transfer[*urn:scope:data_access]"),
        ("consent-parameters", "urn:scope:needed"),
        ("consent-unnamed", "urn:scope:own"),
        ("403", None),
        ("400", None),
    ],
)
def test_a_missing_consent_is_named(provider: FlakyProvider, mode: str, consent: str | None) -> None:
    given = start(provider, mode)

    assert isinstance(given, Refused)
    assert given.consent == consent


ANSWERS_TO_STATUS: list[tuple[str, type]] = [
    ("async", Reported),
    ("404", Gone),
    ("410", Gone),
    ("400", Unknown),
    ("409", Unknown),
    ("401", Refused),
    ("consent", Refused),
    ("500", Unknown),
    ("html", Unknown),
    ("redirect", Unknown),
    ("odd-action-id", Unknown),
]


@pytest.mark.parametrize(("mode", "kind"), ANSWERS_TO_STATUS)
def test_each_answer_to_a_poll_has_one_meaning(provider: FlakyProvider, mode: str, kind: type) -> None:
    given = client(provider).status(errand(provider.url(mode)), ACTION_ID)

    assert type(given) is kind


@pytest.mark.parametrize("operation", ["cancel", "resume", "release"])
@pytest.mark.parametrize(("mode", "kind"), [("sync", Reported), ("409", Refused), ("404", Gone), ("503", Unknown)])
def test_each_answer_to_a_wish_about_an_action_has_one_meaning(
    provider: FlakyProvider, operation: str, mode: str, kind: type
) -> None:
    given = getattr(client(provider), operation)(errand(provider.url(mode)), ACTION_ID)

    assert type(given) is kind
    assert (provider.seen[-1].method, provider.seen[-1].path) == ("POST", f"/{mode}/{ACTION_ID}/{operation}")


def test_an_action_id_that_changes_between_polls_is_not_believed(provider: FlakyProvider) -> None:
    asking, where = client(provider), errand(provider.url("id-changes"))

    begun, polled = asking.start(where, REQUEST, waiter=""), asking.status(where, ACTION_ID)

    assert isinstance(begun, Reported)
    assert isinstance(polled, Unknown)
    assert "for another action" in polled.reason


def test_an_action_that_the_provider_forgets_is_gone(provider: FlakyProvider) -> None:
    asking, where = client(provider), errand(provider.url("forgets"))

    assert isinstance(asking.start(where, REQUEST, waiter=""), Reported)
    assert isinstance(asking.status(where, ACTION_ID), Gone)


def test_a_finished_action_that_comes_back_to_life_is_reported_as_the_provider_says(provider: FlakyProvider) -> None:
    asking, where = client(provider), errand(provider.url("revives"))

    answers = [asking.start(where, REQUEST, waiter=""), asking.status(where, ACTION_ID)]

    assert [words(one) for one in answers] == ["SUCCEEDED", "ACTIVE"]


def test_the_same_request_can_be_repeated_until_its_answer_is_known(provider: FlakyProvider) -> None:
    answers = [start(provider, "recovers") for _ in range(3)]

    assert [type(one) for one in answers] == [Unknown, Unknown, Reported]
    assert {one.body for one in provider.seen if one.mode == "recovers"} == {REQUEST.encode()}


def test_the_request_is_sent_byte_for_byte_and_with_nothing_of_the_surroundings(
    provider: FlakyProvider, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for name in ("http_proxy", "https_proxy", "all_proxy", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    netrc = tmp_path / "netrc"
    netrc.write_text("default login root password secret\n")
    monkeypatch.setenv("NETRC", str(netrc))

    asking, where = client(provider), errand(provider.url("sets-cookie") + "/")
    asking.start(where, REQUEST, waiter="")
    asking.start(where, REQUEST, waiter="")

    request = provider.seen[-1]
    assert (request.method, request.path, request.body) == ("POST", "/sets-cookie/run", REQUEST.encode())
    assert dict(request.headers) == {
        "host": f"127.0.0.1:{provider.port}",
        "accept": "application/json",
        "accept-encoding": "identity",
        "authorization": "Bearer stale",
        "connection": "close",
        "content-length": str(len(REQUEST.encode())),
        "content-type": "application/json",
        "user-agent": "flows-engine",
    }


def test_an_action_id_is_percent_encoded_in_paths(provider: FlakyProvider) -> None:
    client(provider).cancel(errand(provider.url("odd-action-id") + "?zone=7"), "a/b?c#d é")

    assert provider.seen[-1].path == "/odd-action-id/a%2Fb%3Fc%23d%20%C3%A9/cancel?zone=7"


def test_a_token_that_is_turned_down_is_replaced_once(provider: FlakyProvider) -> None:
    tokens = TokenDrawer()

    given = client(provider, tokens=tokens).start(errand(provider.url("fresh-token")), REQUEST, waiter="")

    assert isinstance(given, Reported)
    assert tokens.asked == [False, True]


def test_a_token_that_stays_turned_down_is_a_refusal_after_two_requests(provider: FlakyProvider) -> None:
    before = len(provider.seen)

    given = client(provider).start(errand(provider.url("401")), REQUEST, waiter="")

    assert isinstance(given, Refused)
    assert [one.headers["authorization"] for one in provider.seen[before:]] == ["Bearer stale", "Bearer fresh"]


def test_without_a_token_the_provider_is_asked_without_credentials(provider: FlakyProvider) -> None:
    tokens = TokenDrawer(stale="")

    client(provider, tokens=tokens).start(errand(provider.url("401")), REQUEST, waiter="")

    assert "authorization" not in provider.seen[-1].headers
    assert tokens.asked == [False]


@pytest.mark.parametrize(("status", "kind"), [(403, Refused), (500, Unknown)])
def test_a_token_that_cannot_be_had_is_an_answer_and_nothing_is_sent(
    provider: FlakyProvider, status: int, kind: type
) -> None:
    def no_token(errand: Errand, *, fresh: bool = False) -> str:
        parameters = {"required_scopes": ["urn:scope:needed"]}
        raise ServiceError(status, "CONSENT_REQUIRED", "no consent", extra={"authorization_parameters": parameters})

    before = len(provider.seen)
    asking = HttpActionClient(guarded(provider), no_token, VirtualClock())

    given = asking.start(errand(provider.url("sync")), REQUEST, waiter="")

    assert type(given) is kind
    assert getattr(given, "consent", "urn:scope:needed") == "urn:scope:needed"
    assert len(provider.seen) == before


def test_a_token_with_a_line_break_is_not_sent_and_not_shown(provider: FlakyProvider) -> None:
    tokens = TokenDrawer(stale="secret\r\nX-Evil: 1")

    given = client(provider, tokens=tokens).start(errand(provider.url("sync")), REQUEST, waiter="")

    assert given == Refused("127.0.0.1 was not asked: the request header Authorization is not plain text")


def test_nothing_connects_to_an_address_outside_the_list(provider: FlakyProvider) -> None:
    before = len(provider.seen)
    asking = HttpActionClient(GuardedHttp(AddressPolicy()), TokenDrawer(), VirtualClock())

    answers = [
        asking.start(errand(f"https://{host}:{provider.port}/sync"), REQUEST, waiter="")
        for host in ("127.0.0.1", "localhost", "2130706433", "0x7f.1", "017700000001", "127.1", "[::1]", "0.0.0.0")
    ]

    assert all(isinstance(one, Refused) and one.cause.startswith("ADDRESS_NOT_ALLOWED") for one in answers)
    assert len(provider.seen) == before


def test_the_checked_address_is_the_one_that_is_connected_to(provider: FlakyProvider) -> None:
    lookups: list[str] = []

    def rebinding(host: str, port: int) -> list[str]:
        lookups.append(host)
        return ["127.0.0.1"] if len(lookups) == 1 else ["169.254.169.254"]

    policy = AddressPolicy(allowed=(Allowed.parse(f"provider.internal:{provider.port}"),))
    asking = HttpActionClient(GuardedHttp(policy, resolve=rebinding), TokenDrawer(), VirtualClock())

    given = asking.start(errand(provider.url("sync", host="provider.internal")), REQUEST, waiter="")

    assert isinstance(given, Reported)
    assert lookups == ["provider.internal"]
    assert provider.seen[-1].headers["host"] == f"provider.internal:{provider.port}"


def test_a_second_address_is_tried_when_the_first_takes_no_connection(provider: FlakyProvider) -> None:
    policy = AddressPolicy(allowed=(Allowed.parse(f"two.internal:{provider.port}"),))
    http = GuardedHttp(policy, resolve=lambda host, port: ["127.9.9.9", "127.0.0.1"])

    assert http.request("GET", provider.url("sync", host="two.internal")).status == 200


def test_a_name_that_does_not_resolve_is_unknown_and_retried() -> None:
    def nowhere(host: str, port: int) -> list[str]:
        raise OSError(-2, "Name or service not known")

    asking = HttpActionClient(GuardedHttp(AddressPolicy(), resolve=nowhere), TokenDrawer(), VirtualClock())

    given = asking.start(errand("https://nowhere.example/x"), REQUEST, waiter="")

    assert given == Unknown("the host name nowhere.example does not resolve: name or service not known")


def test_a_resolver_that_hangs_costs_the_connect_time_at_most() -> None:

    release = threading.Event()

    def hanging(host: str, port: int) -> list[str]:
        release.wait(10)
        return []

    http = GuardedHttp(AddressPolicy(), resolve=hanging, connect_s=0.1)
    with pytest.raises(NoAnswerError) as caught:
        http.request("GET", "https://slow.example/")
    release.set()

    assert caught.value.kind is Failing.UNRESOLVED
    assert not caught.value.may_have_reached


def test_a_port_where_nobody_listens_is_unknown_and_surely_not_reached() -> None:
    with FlakyProvider() as gone:
        port = gone.port
    http = GuardedHttp(AddressPolicy(own_ports=frozenset({port})))

    with pytest.raises(NoAnswerError) as caught:
        http.request("GET", f"http://127.0.0.1:{port}/")

    assert caught.value.reason == f"127.0.0.1 port {port} cannot be connected to: connection refused"
    assert not caught.value.may_have_reached


def test_a_cut_after_sending_may_have_reached_the_provider(provider: FlakyProvider) -> None:
    with pytest.raises(NoAnswerError) as caught:
        guarded(provider).request("POST", provider.url("reset"), body=b"{}")

    assert caught.value.may_have_reached


def test_an_answer_that_names_two_lengths_uses_neither_silently(provider: FlakyProvider) -> None:
    raw = answer(document()).replace(b"\r\n\r\n", b"\r\nContent-Length: 9999\r\n\r\n", 1)
    provider.modes["two-lengths"] = lambda visit: visit.send(raw)

    given = start(provider, "two-lengths")

    assert isinstance(given, Unknown)
    assert "announced a body of" in given.reason


# TLS


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("tls"))


class Authority:
    """A certificate authority for tests."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.key = ec.generate_private_key(ec.SECP256R1())
        self.name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "test authority")])
        self.certificate = self._signed(self.name, self.key, None, dt.timedelta(days=1))

    def trusting(self) -> ssl.SSLContext:
        context = ssl.create_default_context()
        context.load_verify_locations(cadata=self.certificate.public_bytes(serialization.Encoding.PEM).decode())
        return context

    def serving(self, host: str, *, valid: dt.timedelta = dt.timedelta(days=1)) -> ssl.SSLContext:
        key = ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, host)])
        certificate = self._signed(subject, key, host, valid)
        file = self.folder / f"{host}{valid.days}.pem"
        file.write_bytes(
            key.private_bytes(
                serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
            )
            + certificate.public_bytes(serialization.Encoding.PEM)
        )
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(file)
        return context

    def _signed(
        self, subject: x509.Name, key: ec.EllipticCurvePrivateKey, host: str | None, valid: dt.timedelta
    ) -> x509.Certificate:
        now = dt.datetime.now(dt.UTC)
        builder = (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(self.name)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - dt.timedelta(days=3))
            .not_valid_after(now + valid)
            .add_extension(x509.BasicConstraints(ca=host is None, path_length=None), critical=True)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
            .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(self.key.public_key()), critical=False)
        )
        if host is None:
            usage = x509.KeyUsage(False, False, False, False, False, True, True, False, False)  # signs certificates
            builder = builder.add_extension(usage, critical=True)
        else:
            is_name = not host[0].isdigit()
            name = x509.DNSName(host) if is_name else x509.IPAddress(ipaddress.ip_address(host))
            builder = builder.add_extension(x509.SubjectAlternativeName([name]), critical=False)
        return builder.sign(self.key, hashes.SHA256())


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1"])
def test_tls_is_checked_against_the_name_in_the_url(authority: Authority, host: str) -> None:
    with FlakyProvider(tls=authority.serving(host)) as provider:
        http = guarded(provider, tls=authority.trusting())

        assert http.request("GET", provider.url("sync", host=host)).status == 200


def test_tls_server_name_is_that_of_the_url_although_an_address_is_connected_to(authority: Authority) -> None:
    asked_for: list[str | None] = []
    serving = authority.serving("provider.example")
    serving.sni_callback = lambda _socket, name, _context: asked_for.append(name)  # type: ignore[assignment,func-returns-value]  # stubs want an int or None
    with FlakyProvider(tls=serving) as provider:
        policy = AddressPolicy(allowed=(Allowed.parse(f"provider.example:{provider.port}"),))
        http = GuardedHttp(policy, resolve=lambda host, port: ["127.0.0.1"], tls=authority.trusting())
        http.request("GET", provider.url("sync", host="provider.example."))

    assert asked_for == ["provider.example"]


@pytest.mark.parametrize(
    ("host", "valid_days", "text"),
    [("other.example", 1, "Hostname mismatch"), ("localhost", -1, "certificate has expired")],
)
def test_a_wrong_certificate_ends_the_request_before_anything_is_sent(
    authority: Authority, host: str, valid_days: int, text: str
) -> None:
    with FlakyProvider(tls=authority.serving(host, valid=dt.timedelta(days=valid_days))) as provider:
        asking = HttpActionClient(guarded(provider, tls=authority.trusting()), TokenDrawer(), VirtualClock())
        given = asking.start(errand(provider.url("sync", host="localhost")), REQUEST, waiter="")

    assert isinstance(given, Unknown)
    assert text in given.reason
    assert provider.seen == []


def test_a_certificate_of_an_unknown_authority_is_not_accepted(authority: Authority) -> None:
    with (
        FlakyProvider(tls=authority.serving("localhost")) as provider,
        pytest.raises(NoAnswerError, match="TLS certificate of localhost is not valid") as caught,
    ):
        guarded(provider).request("GET", provider.url("sync", host="localhost"))

    assert not caught.value.may_have_reached


def test_a_server_without_tls_behind_https_is_unreachable(provider: FlakyProvider) -> None:
    with pytest.raises(NoAnswerError, match="no TLS connection") as caught:
        guarded(provider, deadline_s=0.5).request("GET", provider.url("sync").replace("http:", "https:"))

    assert caught.value.kind is Failing.UNREACHABLE


def test_dawdling_over_tls_meets_the_total_deadline(authority: Authority) -> None:
    with FlakyProvider(tls=authority.serving("localhost")) as provider:
        http = guarded(provider, tls=authority.trusting(), deadline_s=0.4)
        began = time.monotonic()
        with pytest.raises(NoAnswerError, match="no complete answer"):
            http.request("GET", provider.url("slow-body", host="localhost"))

    assert time.monotonic() - began < 1.0


def test_a_status_document_is_kept_whole(provider: FlakyProvider) -> None:
    given = start(provider, "sync")

    assert isinstance(given, Reported)
    assert not given.pushes
    assert given.status.status is Status.SUCCEEDED
    assert given.status.details == {"echo": {"request_id": "r-1", "body": {"text": "caf\u00e9", "n": 1.0}}}
