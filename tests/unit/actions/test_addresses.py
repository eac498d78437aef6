"""The address policy: what a flow may make this server connect to."""

from __future__ import annotations

import ipaddress
import socket

import pytest

from flows_engine.actions.addresses import AddressPolicy, Allowed, is_public, parse_target

FORBIDDEN_ADDRESSES = [
    "127.0.0.1",
    "127.255.255.254",
    "0.0.0.0",
    "0.1.2.3",
    "10.0.0.1",
    "172.16.0.1",
    "172.31.255.255",
    "192.168.1.1",
    "169.254.169.254",  # metadata of most clouds
    "169.254.170.2",  # credentials of container tasks
    "100.64.0.1",
    "100.100.100.200",  # metadata in the shared range
    "168.63.129.16",  # a platform's internal server
    "192.0.0.192",  # metadata in the protocol range
    "192.0.2.1",
    "192.88.99.1",
    "198.18.0.1",
    "198.51.100.1",
    "203.0.113.1",
    "224.0.0.1",
    "240.0.0.1",
    "255.255.255.255",
    "::",
    "::1",
    "::127.0.0.1",
    "::8.8.8.8",
    "::ffff:127.0.0.1",
    "::ffff:169.254.169.254",
    "::ffff:10.0.0.1",
    "2002:7f00:1::",  # 6to4 of 127.0.0.1
    "2002:a9fe:a9fe::1",  # 6to4 of 169.254.169.254
    "64:ff9b::7f00:1",  # NAT64 of 127.0.0.1
    "64:ff9b::a9fe:a9fe",
    "64:ff9b:1::808:808",  # NAT64 for local use
    "2001:0:4136:e378:8000:63bf:3fff:fdd2",  # Teredo
    "2606:4700::5efe:7f00:1",  # ISATAP of 127.0.0.1
    "2606:4700::200:5efe:a00:1",
    "fe80::1",
    "fe80::1%eth0",
    "fec0::1",
    "fc00::1",
    "fd00:ec2::254",
    "ff02::1",
    "2001:db8::1",
    "3fff::1",
    "100::1",
    "5f00::1",
    "4000::1",
]


@pytest.mark.parametrize("address", FORBIDDEN_ADDRESSES)
def test_an_address_that_is_or_holds_something_internal_is_not_public(address: str) -> None:
    assert not is_public(address)


@pytest.mark.parametrize(
    "address", ["8.8.8.8", "100.63.255.255", "100.128.0.1", "::ffff:8.8.8.8", "2606:4700::1111", "64:ff9b::808:808"]
)
def test_an_address_of_the_internet_is_public(address: str) -> None:
    assert is_public(address)


@pytest.mark.parametrize("address", FORBIDDEN_ADDRESSES)
def test_a_name_with_one_forbidden_address_among_public_ones_is_refused(address: str) -> None:
    target = parse_target("https://mixed.example/x")

    reason = AddressPolicy().refusal(target, ["8.8.8.8", address, "1.1.1.1"])

    assert reason is not None
    assert "mixed.example" in reason
    assert address not in reason  # the inside of a network is not told to the author of a flow


@pytest.mark.parametrize(
    "host",
    [
        "127.0.0.1",
        "127.1",
        "127.0.1",
        "2130706433",
        "0x7f000001",
        "0x7f.1",
        "0x7F.0x0.0x0.0x1",
        "017700000001",
        "0177.0.0.1",
        "0177.0x0.0.01",
        "0",
        "0.0.0.0",
        "[::1]",
        "[::]",
        "[0:0:0:0:0:0:0:1]",
        "[::ffff:127.0.0.1]",
        "[::ffff:7f00:1]",
        "2852039166",  # 169.254.169.254
        "0xa9fea9fe",
        "[fe80::1]",
        "[64:ff9b::7f00:1]",
    ],
)
def test_every_spelling_of_an_internal_address_is_refused_by_what_it_resolves_to(host: str) -> None:
    target = parse_target(f"https://{host}/run")
    found = socket.getaddrinfo(target.host, 443, type=socket.SOCK_STREAM, flags=socket.AI_NUMERICHOST)

    assert AddressPolicy().refusal(target, [str(entry[4][0]) for entry in found])


@pytest.mark.parametrize(
    ("url", "broken_rule"),
    [
        ("http:///x", "no host"),
        ("ftp://example.org/", "must begin with https://"),
        ("file:///etc/passwd", "must begin with https://"),
        ("javascript:alert(1)", "must begin with https://"),
        ("//example.org/x", "must begin with https://"),
        ("example.org/x", "must begin with https://"),
        ("", "a space, a control character"),
        ("https://user:secret@example.org/", "user name or password"),
        ("https://example.org@127.0.0.1/", "user name or password"),
        ("https://example.org/\r\nX-Evil: 1", "a space, a control character"),
        ("https://exa\tmple.org/", "a space, a control character"),
        ("https://example.org\\@127.0.0.1/", "a space, a control character"),
        ("https://①②⑦.⓪.⓪.①/", "outside ASCII"),
        ("https://127。0。0。1/", "outside ASCII"),
        ("https://ехample.org/", "outside ASCII"),
        ("https://127.0.0.1%00.example.org/", "not a host name"),
        ("https://%31%32%37.0.0.1/", "not a host name"),
        ("https://a..b/", "not a host name"),
        ("https://-x.example/", "not a host name"),
        ("https://" + "a." * 140 + "b/", "not a host name"),
        ("https://[fe80::1%25eth0]/", "zone"),
        ("https://[::1/", "cannot be read"),
        ("https://[zz::1]/", "IP"),
        ("https://example.org:0/", "port 0"),
        ("https://example.org:99999/", "cannot be read"),
        ("https://example.org:x/", "cannot be read"),
        ("https://example.org/#part", "fragment"),
        ("https://example.org/a/../b", "segments"),
        ("https://example.org/a/%2E%2e/b", "segments"),
        ("https://example.org/" + "x" * 3000, "the limit is 2048"),
    ],
)
def test_a_url_that_is_not_plainly_https_to_a_host_names_the_rule_it_breaks(url: str, broken_rule: str) -> None:
    with pytest.raises(ValueError, match=broken_rule.replace("(", r"\(")):
        parse_target(url)


@pytest.mark.parametrize(
    ("url", "authority", "request_target"),
    [
        ("https://Example.ORG", "example.org", "/"),
        ("https://example.org.:443/a/b?c=d", "example.org", "/a/b?c=d"),
        ("https://example.org:8443/a%20b", "example.org:8443", "/a%20b"),
        ("http://[2001:DB8::0:1]:80/", "[2001:db8::1]", "/"),
        ("https://xn--bcher-kva.example/", "xn--bcher-kva.example", "/"),
    ],
)
def test_a_url_is_taken_apart_into_one_normal_form(url: str, authority: str, request_target: str) -> None:
    target = parse_target(url)

    assert (target.authority, target.request_target) == (authority, request_target)


@pytest.mark.parametrize(
    ("url", "addresses", "allowed"),
    [
        ("https://public.example/", ["8.8.8.8"], True),
        ("https://public.example:8443/", ["8.8.8.8"], False),
        ("http://public.example/", ["8.8.8.8"], False),
        ("https://public.example/", [], False),
        ("https://public.example/", ["nonsense"], False),
        ("http://provider.internal:8080/", ["10.0.0.9"], True),
        ("https://provider.internal:8080/", ["10.0.0.9"], True),
        ("https://provider.internal./", ["10.0.0.9"], False),
        ("http://provider.internal:8081/", ["10.0.0.9"], False),
        ("http://provider.internal:8080/", ["169.254.169.254"], False),
        ("http://provider.internal:8080/", ["64:ff9b::a9fe:a9fe"], False),
        ("http://x.provider.internal:8080/", ["10.0.0.9"], False),
        ("http://any.example:9000/", ["10.7.1.1"], True),
        ("http://any.example:9000/", ["10.7.1.1", "10.8.1.1"], False),
        ("http://any.example:9000/", ["::ffff:10.7.1.1"], True),
        ("http://any.example:9001/", ["10.7.1.1"], False),
        ("http://[fd12::7]:9000/", ["fd12::7"], True),
        ("http://plain.internal/", ["10.0.0.1"], True),
        ("https://plain.internal/", ["10.0.0.1"], True),
        ("https://plain.internal:444/", ["10.0.0.1"], False),
        ("http://127.0.0.1:5001/", ["127.0.0.1"], True),
        ("http://localhost:5001/", ["127.0.0.1", "::1"], True),
        ("http://localhost:5432/", ["127.0.0.1"], False),
        ("https://mine.example/", ["93.184.216.34"], False),
        ("https://mine.example/", ["64:ff9b::5db8:d822"], False),
    ],
)
def test_the_operators_list_opens_exactly_its_hosts_networks_and_ports(
    url: str, addresses: list[str], allowed: bool
) -> None:
    entries = ("Provider.Internal:8080", "10.7.0.0/16:9000", "[fd12::/16]:9000", "plain.internal")
    policy = AddressPolicy(
        allowed=tuple(Allowed.parse(entry) for entry in entries),
        own_ports=frozenset({5001}),
        own_addresses=frozenset({ipaddress.ip_address("93.184.216.34")}),
    )

    assert (policy.refusal(parse_target(url), addresses) is None) == allowed


def test_plain_http_to_public_hosts_can_be_opened_without_opening_anything_else() -> None:
    policy = AddressPolicy(plain_http=True)

    assert policy.refusal(parse_target("http://public.example/"), ["8.8.8.8"]) is None
    assert policy.refusal(parse_target("http://public.example:22/"), ["8.8.8.8"])
    assert policy.refusal(parse_target("http://public.example/"), ["10.0.0.1"])


@pytest.mark.parametrize(
    "entry",
    ["", ":80", "host:", "host:0", "host:65536", "host:http", "10.1.2.3/8:80", "2130706433:80", "0x7f.1", "a b"],
)
def test_an_entry_of_the_operators_list_that_makes_no_sense_is_named(entry: str) -> None:
    with pytest.raises(ValueError, match=r"is not host|not a port|neither a host"):
        Allowed.parse(entry)


def test_a_refusal_tells_the_kind_of_address_and_what_would_be_right() -> None:
    reason = AddressPolicy().refusal(parse_target("https://localhost/x"), ["127.0.0.1"])

    assert reason == "localhost is at a loopback address, and localhost:443 is not on the operator's list"
