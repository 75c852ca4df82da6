"""What `./just differential` asks, and the differences that are meant to be."""

from dataclasses import dataclass, field

from differential_targets import banner, closes, ping_pong, says, silent, smtp

# What is meant to differ; docs/semantics.md has the same keys, with the reasons for readers.
DIFFERENCES = {
    "redirect-not-followed": "check_http does not follow by default, and takes a redirect for a success",
    "redirect-limit": "10 redirects are followed unless `max_redirects` says otherwise; check_http follows 15",
    "plugin-trusts-anybody": "check_http, check_tcp and check_smtp encrypt, and verify neither the chain nor the name",
    "plugin-takes-broken-answers": "check_http does not mind an answer that is cut off or wrongly encoded",
    "plugin-unknown": "check_http says UNKNOWN of what the target did",
    "head-limit": "a head that is larger than a client needs to take is down",
    "body-not-needed": "a body that no condition looks at is not read, and nothing is said of it",
    "decompression": "conditions see the decoded body; check_http looks at the bytes as they were sent",
    "header-case": "check_http compares header lines as text, with case",
    "old-root": "the dates of a root that is trusted do not count; Go has them count",
    "expiring": "a certificate about to end is degraded, where that is watched; blackbox has only a metric for it",
    "dns-without-records": "NOERROR without the records asked for is down unless allowed",
    "dig-wants-records": "check_dig cannot be told that no record is what is wanted",
    "head-without-body": "a condition on the body of an answer to HEAD is refused at set-up; the others call the target down",
    "lines": "`expect` looks at bytes as they come; blackbox waits for a line end",
}


@dataclass
class Case:
    """One question to all three."""

    name: str
    kind: str
    config: dict
    # Status and reason that ours must be.
    ours: str
    # A module of blackbox and its target.
    blackbox: tuple | None = None
    # Command line of a plugin.
    plugin: list | None = None
    # prober: key of the difference
    differs: dict = field(default_factory=dict)


def cases(at):
    """All of them."""
    return [*http_cases(at), *odd_http_cases(at), *tls_cases(at), *dns_cases(at), *tcp_cases(at), *ping_cases()]


IP4 = {"preferred_ip_protocol": "ip4"}


def http(at, name, path, ours, config=None, module=None, plugin=(), differs=None, kind="http", port=None):
    port = port or at.http
    url = f"http://127.0.0.1:{port}{path}"
    command = ["check_http", "-I", "127.0.0.1", "-p", port, "-u", path, *plugin] if plugin is not None else None
    module = {"prober": "http", "http": IP4 | (module or {})}
    return Case(f"http: {name}", kind, {"url": url, **(config or {})}, ours, (module, url), command, differs or {})


def http_cases(at):
    body = {"fail_if_body_not_matches_regexp": ["quick.*fox"]}
    not_body = {"fail_if_body_matches_regexp": ["quick.*fox"]}
    rule = lambda pattern: {"header_must_match": [{"header": "x-build", "pattern": pattern}]}
    header = lambda pattern: {"fail_if_header_not_matches": [{"header": "X-Build", "regexp": pattern}]}
    follow = ("-f", "follow", "--max-redirs=10")
    anybody = {"plugin": "plugin-trusts-anybody"}
    yield http(at, "200", "/ok", "up")
    yield http(at, "204", "/empty", "up")
    yield http(at, "404", "/404", "down http_status")
    yield http(at, "500", "/500", "down http_status")
    yield http(at, "503", "/503", "down http_status")
    yield http(at, "404, accepted", "/404", "up", {"accepted_statuscodes": ["404"]}, {"valid_status_codes": [404]}, ("-e", "404"))
    yield http(
        at, "200, only 404 accepted", "/ok", "down http_status", {"accepted_statuscodes": ["404"]},
        {"valid_status_codes": [404]}, ("-e", "404"),
    )  # fmt: skip
    for code in (301, 302, 303, 307, 308):
        yield http(at, f"{code}", f"/{code}", "up", plugin=follow)
    yield http(at, "302 to 404", "/to-404", "down http_status", plugin=follow)
    none = {"max_redirects": 0}
    stay = {"follow_redirects": False}
    yield http(at, "302, not followed", "/302", "down http_status", none, stay, ("-f", "critical"))
    yield http(
        at, "302, not followed, accepted", "/302", "up", none | {"accepted_statuscodes": ["3XX"]},
        stay | {"valid_status_codes": [302]}, ("-e", "302"),
    )  # fmt: skip
    yield http(at, "302 to 404, default settings", "/to-404", "down http_status", differs={"plugin": "redirect-not-followed"})
    yield http(at, "redirect loop", "/loop", "down too_many_redirects", plugin=follow)
    for hops in (9, 10, 11):
        ours = "up" if hops <= 10 else "down too_many_redirects"
        yield http(at, f"{hops} redirects", f"/chain/{hops}", ours, plugin=follow)
    yield http(at, "15 redirects, default settings", "/chain/15", "down too_many_redirects", plugin=("-f", "follow"),
        differs={"plugin": "redirect-limit"})  # fmt: skip
    trust = {"tls_ca": at.certificates.trusted.read_text()}
    yield http(at, "redirect to https", "/to-tls", "up", trust, {"tls_config": {"ca_file": str(at.certificates.trusted)}}, follow)
    yield http(at, "redirect to https, not trusted", "/to-tls", "down tls_certificate", plugin=follow, differs=anybody)
    yield http(at, "body matches", "/ok", "up", {"body_must_match": ["quick.*fox"]}, body, ("-r", "quick.*fox"))
    yield http(at, "body does not match", "/404", "down assertion_failed",
        {"body_must_match": ["quick.*fox"], "accepted_statuscodes": ["404"]}, body | {"valid_status_codes": [404]},
        ("-e", "404", "-r", "quick.*fox"))  # fmt: skip
    yield http(
        at, "body must not match", "/ok", "down assertion_failed", {"body_must_not_match": ["quick.*fox"]}, not_body,
        ("-r", "quick.*fox", "--invert-regex"),
    )  # fmt: skip
    yield http(at, "keyword", "/ok", "up", {"keyword": "brown fox"}, body, ("-s", "brown fox"), kind="http-keyword")
    yield http(
        at, "keyword, other case", "/ok", "down assertion_failed", {"keyword": "Brown Fox"},
        {"fail_if_body_not_matches_regexp": ["Brown Fox"]}, ("-s", "Brown Fox"), kind="http-keyword",
    )  # fmt: skip
    yield http(
        at, "keyword must not be there", "/ok", "down assertion_failed", {"keyword": "brown fox", "invert_keyword": True},
        not_body, ("-r", "brown fox", "--invert-regex"), kind="http-keyword",
    )  # fmt: skip
    yield http(at, "header matches", "/ok", "up", rule("^build-[0-9]+$"), header("^build-[0-9]+$"), ("-d", "X-Build: build-42"))
    yield http(at, "header does not match", "/ok", "down assertion_failed", rule("^release"), header("^release"), ("-d", "X-Build: release"))
    yield http(at, "header missing", "/empty", "down assertion_failed", rule("."), header("."), ("-d", "X-Build:"))
    yield http(at, "header, other case", "/ok", "up", rule("build"), header("build"), ("-d", "x-build: build-42"),
        {"plugin": "header-case"})  # fmt: skip
    yield http(at, "Host of our own", "/virtual", "up", {"headers": {"Host": "shop.example"}}, {"headers": {"Host": "shop.example"}},
        ("-H", "shop.example", "-k", "Host: shop.example"))  # fmt: skip
    yield http(at, "HEAD", "/head-only", "up", {"method": "HEAD"}, {"method": "HEAD"}, ("-j", "HEAD"))
    yield http(at, "GET where HEAD is wanted", "/head-only", "down http_status")
    yield http(at, "HEAD has no body to match", "/ok", "unknown invalid_config", {"method": "HEAD", "body_must_match": ["fox"]},
        {"method": "HEAD"} | body, ("-j", "HEAD", "-r", "fox"), dict.fromkeys(("blackbox", "plugin"), "head-without-body"))  # fmt: skip
    auth = {"authMethod": "basic", "basic_auth_user": "jo"}
    yield http(at, "basic auth", "/auth", "up", auth | {"basic_auth_pass": "secret"},
        {"basic_auth": {"username": "jo", "password": "secret"}}, ("-a", "jo:secret"))  # fmt: skip
    yield http(at, "basic auth, wrong password", "/auth", "down http_status", auth | {"basic_auth_pass": "Secret"},
        {"basic_auth": {"username": "jo", "password": "Secret"}}, ("-a", "jo:Secret"))  # fmt: skip
    yield http(at, "basic auth, none given", "/auth", "down http_status")
    zipped = {"compression": "gzip", "headers": {"Accept-Encoding": "gzip"}}
    ask = ("-k", "Accept-Encoding: gzip", "-r", "quick.*fox")
    yield http(at, "gzip body matches", "/gzip", "up", {"body_must_match": ["quick.*fox"]}, zipped | body, ask,
        {"plugin": "decompression"})  # fmt: skip
    yield http(at, "gzip that is none", "/not-gzip", "down body_invalid", {"body_must_match": ["gzip"]},
        zipped | {"fail_if_body_not_matches_regexp": ["gzip"]}, ("-r", "gzip"), {"plugin": "plugin-takes-broken-answers"})  # fmt: skip
    yield http(at, "gzip that is none, body not needed", "/not-gzip", "up", module=zipped,
        differs={"blackbox": "body-not-needed"})  # fmt: skip
    large = {"body_size_limit": "10MB"}
    yield http(at, "gzip bomb", "/bomb", "down body_too_large", {"body_must_not_match": ["fox"]},
        zipped | large | {"fail_if_body_matches_regexp": ["fox"]}, None)  # fmt: skip
    yield http(at, "body too large", "/large.txt", "down body_too_large", {"body_must_match": ["^0123"]},
        large | {"fail_if_body_not_matches_regexp": ["^0123"]}, ("-m", "1:10485760", "-r", "0123"))  # fmt: skip
    yield http(at, "body too large, not needed", "/large.txt", "up", module=large, plugin=("-N",),
        differs={"blackbox": "body-not-needed"})  # fmt: skip
    yield http(at, "large body within the limit", "/large.txt", "up", {"body_must_match": ["^0123"], "max_body_bytes": 20_000_000},
        {"fail_if_body_not_matches_regexp": ["^0123"]}, ("-r", "0123"))  # fmt: skip


def odd_http_cases(at):
    stub = lambda answer: at.stubs.serve(says(answer))
    ok = b"HTTP/1.1 200 OK\r\n"
    broken, unknown = {"plugin": "plugin-takes-broken-answers"}, {"plugin": "plugin-unknown"}
    fox = {"keyword": "fox"}
    odd = [
        ("no reason phrase", ok.replace(b" OK", b"") + b"Content-Length: 2\r\n\r\nok", "up", {}, {}),
        ("HTTP/1.0, body ends with the connection", b"HTTP/1.0 200 OK\r\n\r\nok", "up", {}, {}),
        ("redirect without Location", b"HTTP/1.1 302 Found\r\nContent-Length: 0\r\n\r\n", "down http_status", {}, unknown),
        ("another protocol's banner", b"SSH-2.0-OpenSSH_9.2\r\n", "down protocol_error", {}, {}),
        ("closed without an answer", b"", "down connection_closed", {}, {}),
        ("cut in the head", ok + b"Content-Le", "down connection_closed", {}, broken),
        (
            "header line of 1 MiB", ok + b"X: " + b"x" * (1 << 20) + b"\r\nContent-Length: 2\r\n\r\nok", "down protocol_error",
            {}, {"blackbox": "head-limit", "plugin": "head-limit"},
        ),
        ("body cut short", ok + b"Content-Length: 99\r\n\r\nfox", "down connection_closed", fox, broken),
        ("body cut short, read all the same", ok + b"Content-Length: 99\r\n\r\nfox", "down connection_closed", {"body_must_match": [""]}, broken),
        ("body cut short, not needed", ok + b"Content-Length: 99\r\n\r\nfox", "up", {}, {"blackbox": "body-not-needed"}),
        ("broken chunks", ok + b"Transfer-Encoding: chunked\r\n\r\nzz\r\nfox\r\n", "down protocol_error", fox, unknown),
        ("status 999", b"HTTP/1.1 999 Odd\r\nContent-Length: 0\r\n\r\n", "down http_status", {}, {}),
    ]  # fmt: skip
    for name, answer, ours, config, differs in odd:
        kind = "http-keyword" if "keyword" in config else "http"
        module = {"fail_if_body_not_matches_regexp": ["fox"]} if config else {}
        plugin = ("-s", "fox") if config else ("-f", "follow")
        yield http(at, name, "/", ours, config, module, plugin, differs, kind, stub(answer))
    yield http(at, "refused", "/", "down connection_refused", port=at.nobody)
    yield http(at, "silent server", "/", "down response_timeout", port=at.stubs.serve(silent))


def tls_cases(at):
    roots = {"expired root": at.certificates.past, "old root crossed": at.certificates.fresh}
    anybody, refused = {"plugin": "plugin-trusts-anybody"}, "down tls_certificate"

    def trusts(certificate):
        root = roots.get(certificate, at.certificates.trusted)
        return {"tls_ca": root.read_text()}, {"ca_file": str(root)}

    def case(name, ours, certificate, config=None, module=None, plugin=(), differs=None, more=None):
        port = at.tls[certificate]
        url, (trust, checked) = f"https://127.0.0.1:{port}/", trusts(certificate)
        module = {"tls_config": checked | (module or {}), "fail_if_not_ssl": True, **(more or {})}
        command = ["check_http", "-I", "127.0.0.1", "-p", port, "-S", *plugin] if plugin is not None else None
        asked = {"url": url, **trust, **(config or {})}
        return Case(f"https: {name}", "http", asked, ours, ({"prober": "http", "http": IP4 | module}, url), command, differs or {})

    def handshake(name, ours, certificate, plugin=(), differs=None):
        port, (trust, checked) = at.tls[certificate], trusts(certificate)
        module = {"prober": "tcp", "tcp": IP4 | {"tls": True, "tls_config": checked}}
        command = ["check_tcp", "-H", "127.0.0.1", "-p", port, "-S", *plugin]
        asked = {"host": "127.0.0.1", "port": port, **trust}
        return Case(f"tls: {name}", "tls", asked, ours, (module, f"127.0.0.1:{port}"), command, differs or {})

    for name in ("good", "with intermediate", "TLS 1.2", "expiring", "old root crossed"):
        yield case(name, "up", name)
    yield case("expired root", "up", "expired root", differs={"blackbox": "old-root"})
    for name in ("expired", "not yet valid", "another name", "self-signed", "unknown authority", "no intermediate"):
        yield case(name, refused, name, differs=anybody)
        yield handshake(name, refused, name, differs=anybody)
    for name in ("expired", "another name", "self-signed"):
        yield case(f"{name}, errors ignored", "up", name, {"ignore_tls_errors": True}, {"insecure_skip_verify": True})
    shop = {"server_name": "shop.example"}
    yield case("certificate's name asked for", "up", "another name", shop, shop)
    yield case("TLS 1.3 wanted of TLS 1.2", "down tls_failed", "TLS 1.2", {"min_tls_version": "1.3"}, {"min_version": "TLS13"}, None)
    yield case("HTTP/2 wanted of HTTP/1.1", "down version_mismatch", "good", {"http_version": "2"}, plugin=("-e", "HTTP/2"),
        more={"valid_http_versions": ["HTTP/2.0"]})  # fmt: skip
    watched, metric = {"cert_expiry_warn_days": 14}, {"blackbox": "expiring"}
    yield case("good, watched", "up", "good", watched, plugin=("-C", "14"))
    yield case("expiring, watched", "degraded certificate_expiring", "expiring", watched, plugin=("-C", "14"), differs=metric)
    yield case("expired, watched", refused, "expired", watched, plugin=("-C", "14"))
    yield handshake("good", "up", "good", ("-D", "14"))
    yield handshake("expiring", "degraded certificate_expiring", "expiring", ("-D", "14"), metric)
    yield handshake("expired, watched", refused, "expired", ("-D", "14"))
    for name, port, ours in (
        ("server without TLS", at.http, "down tls_failed"),
        ("silent server", at.stubs.serve(silent), "down tls_timeout"),
    ):
        url = f"https://127.0.0.1:{port}/"
        module, command = {"prober": "http", "http": IP4}, ["check_http", "-I", "127.0.0.1", "-p", port, "-S"]
        yield Case(f"https: {name}", "http", {"url": url}, ours, (module, url), command)


def dns_cases(at):
    def case(name, host, record, ours, config=None, module=None, expect=None, port=None, plugin=(), differs=None):
        port = port or at.dns
        query = {"query_name": host, "query_type": record, **IP4, **(module or {})}
        command = ["check_dig", "-H", "127.0.0.1", "-p", port, "-l", host, "-T", record, *plugin]
        command += ["-a", expect] if expect else []
        return Case(
            f"dns: {name}", "dns", {"host": host, "resolver_server": "127.0.0.1", "port": port, "resolve_type": record, **(config or {})},
            ours, ({"prober": "dns", "dns": query}, f"127.0.0.1:{port}"), command, differs or {},
        )  # fmt: skip

    empty, dig = {"blackbox": "dns-without-records"}, {"plugin": "dig-wants-records"}
    answer = lambda pattern: {"validate_answer_rrs": {"fail_if_none_matches_regexp": [pattern]}}
    yield case("A", "www.lapwing.test", "A", "up")
    yield case("AAAA", "www.lapwing.test", "AAAA", "up")
    yield case("MX", "lapwing.test", "MX", "up")
    yield case("A, the one wanted", "www.lapwing.test", "A", "up", {"records_contain": ["192.0.2.1"]}, answer("192\\.0\\.2\\.1"), "192.0.2.1")
    yield case("A, another wanted", "www.lapwing.test", "A", "down assertion_failed", {"records_contain": ["192.0.2.9"]},
        answer("192\\.0\\.2\\.9"), "192.0.2.9")  # fmt: skip
    yield case("A by CNAME", "alias.lapwing.test", "A", "up", {"records_contain": ["192.0.2.1"]}, answer("192\\.0\\.2\\.1"), "192.0.2.1")
    yield case("CNAME", "alias.lapwing.test", "CNAME", "up", expect="www.lapwing.test")
    yield case("CNAME that leads nowhere", "dangling.lapwing.test", "A", "down dns_not_found",
        differs=empty | {"plugin": "dns-without-records"})  # fmt: skip
    yield case("no record of the type", "mail.lapwing.test", "AAAA", "down dns_not_found", differs=empty)
    yield case("no record of the type, allowed", "mail.lapwing.test", "AAAA", "up", {"allow_empty": True}, differs=dig)
    yield case("NXDOMAIN", "missing.lapwing.test", "A", "down dns_not_found")
    yield case("NXDOMAIN, expected", "missing.lapwing.test", "A", "up", {"expected_rcode": "NXDOMAIN"}, {"valid_rcodes": ["NXDOMAIN"]},
        differs=dig)  # fmt: skip
    yield case("REFUSED", "www.refused.example", "A", "down dns_failed")
    yield case("SERVFAIL", "www.lapwing.test", "A", "down dns_failed", port=at.broken)
    yield case("larger than a datagram", "big.lapwing.test", "TXT", "up")
    yield case("by TCP", "www.lapwing.test", "A", "up", {"transport": "tcp"}, {"transport_protocol": "tcp"}, plugin=("-A", "+tcp"))
    yield case("nobody listens", "www.lapwing.test", "A", "down connection_refused", port=at.nobody)
    yield case("silent server", "www.lapwing.test", "A", "down dns_timeout", port=at.deaf.getsockname()[1])


def tcp_cases(at):
    def case(name, port, ours, steps=None, module=None, plugin=(), config=None, differs=None):
        asked = {"host": "127.0.0.1", "port": port, **(config or {})} | ({"steps": steps} if steps else {})
        return Case(
            f"tcp: {name}", "tcp", asked, ours, ({"prober": "tcp", "tcp": IP4 | (module or {})}, f"127.0.0.1:{port}"),
            ["check_tcp", "-H", "127.0.0.1", "-p", port, *plugin], differs or {},
        )  # fmt: skip

    ready, quiet = at.stubs.serve(banner(b"220 mail.lapwing.test ESMTP\r\n")), at.stubs.serve(silent)
    say = lambda *steps: {"query_response": list(steps)}
    expect = lambda pattern: ([{"expect": pattern}], say({"expect": pattern}))
    yield case("open", ready, "up")
    yield case("open, silent", quiet, "up")
    yield case("closes at once", at.stubs.serve(closes), "up")
    yield case("refused", at.nobody, "down connection_refused")
    yield case("banner", ready, "up", *expect("^220 .*ESMTP"), ("-e", "220 "))
    yield case("another banner", at.stubs.serve(banner(b"554 go away\r\n")), "down assertion_failed", *expect("^220 "), ("-e", "220 "))
    yield case("banner and goodbye", at.stubs.serve(lambda connection: connection.sendall(b"554 go away\r\n")),
        "down assertion_failed", *expect("^220 "), ("-e", "220 "))  # fmt: skip
    yield case("banner without a line end", at.stubs.serve(banner(b"220 ready")), "up", *expect("^220 "), ("-e", "220 "),
        differs={"blackbox": "lines"})  # fmt: skip
    yield case("no banner", quiet, "down response_timeout", *expect("^220 "), ("-e", "220 "))
    yield case("closes before its banner", at.stubs.serve(closes), "down connection_closed", *expect("^220 "), ("-e", "220 "))
    port = at.stubs.serve(ping_pong)
    yield case("question and answer", port, "up", [{"send": "PING\r\n"}, {"expect": "PONG"}],
        say({"send": "PING\r"}, {"expect": "PONG"}), ("-E", "-s", "PING\\r\\n", "-e", "+PONG"))  # fmt: skip
    yield case("question and another answer", port, "down assertion_failed", [{"send": "PANG\r\n"}, {"expect": "^\\+PONG"}],
        say({"send": "PANG\r"}, {"expect": "^\\+PONG"}), ("-E", "-s", "PANG\\r\\n", "-e", "+PONG"))  # fmt: skip
    line = "[ -].*\r\n$"
    steps = [{"expect": f"^220{line}"}, {"send": "EHLO probe\r\n"}, {"expect": "250[ -]STARTTLS\r\n"}, {"send": "STARTTLS\r\n"},
        {"expect": f"^220{line}"}, "starttls", {"send": "EHLO probe\r\n"}, {"expect": "^250 "}]  # fmt: skip
    talk = say({"expect": "^220 "}, {"send": "EHLO probe\r"}, {"expect": "^250[ -]STARTTLS"}, {"send": "STARTTLS\r"},
        {"expect": "^220 "}, {"starttls": True}, {"send": "EHLO probe\r"}, {"expect": "^250 "})  # fmt: skip
    trust, checked = {"tls_ca": at.certificates.trusted.read_text()}, {"tls_config": {"ca_file": str(at.certificates.trusted)}}
    for certificate in ("good", "expired", "another name"):
        port, good = at.stubs.serve(smtp(at.certificates.served[certificate])), certificate == "good"
        ours = "up" if good else "down tls_certificate"
        asked = case(f"STARTTLS, {certificate}", port, ours, steps, talk | checked, config=trust)
        asked.plugin = ["check_smtp", "-H", "127.0.0.1", "-p", port, "-S"]
        asked.differs = {} if good else {"plugin": "plugin-trusts-anybody"}
        yield asked


def ping_cases():
    command = ["check_ping", "-H", "127.0.0.1", "-p", 1, "-w", "1000,50%", "-c", "2000,90%"]
    yield Case("ping: loopback", "ping", {"host": "127.0.0.1"}, "up", ({"prober": "icmp", "icmp": IP4}, "127.0.0.1"), command)
