"""What `./just differential` compares: the targets, the cases, and the differences that are meant to be."""

import gzip
import socket
import ssl
import threading
from dataclasses import dataclass, field

import peers

# What is meant to differ; docs/semantics.md has the same keys, with the reasons for readers.
DIFFERENCES = {
    "redirect-without-location": "a 3xx that leads nowhere is an answer like any other, and judged by the accepted codes",
    "redirect-limit": "the limit is `max_redirects` (10 follow); blackbox stops before its tenth, check_http at 15",
    "redirect-not-followed": "check_http looks at the first answer, and takes a redirect for a success",
    "plugin-trusts-anybody": "check_http and check_tcp encrypt, and neither verify the chain nor the name",
    "plugin-trusts-starttls": "check_smtp does not verify the certificate after STARTTLS",
    "old-root": "the dates of a root that was named as trusted do not count, as in most browsers; Go has them count",
    "weak-certificate": "rustls refuses keys and signatures that Go or OpenSSL still take",
    "expiring": "a certificate about to end is degraded; blackbox has only a metric for it",
    "body-cap": "a body larger than `max_body_bytes` is down where the body is looked at, and not read where it is not",
    "body-not-needed": "a body that nothing looks at is not read, so that what is wrong with it is not seen",
    "decompression": "bodies are decoded for the assertions; a plugin looks at the bytes as they were sent",
    "header-case": "check_http compares header lines as text, with case",
    "status-line": "check_http takes a 404 for a warning, which counts as not good",
    "any-dns-answer": "an answer without the records asked for is down; blackbox and dig look at the response code alone",
    "dns-cname": "records at the end of a CNAME count; check_dig wants the name it asked about in the answer",
    "first-bytes": "check_tcp without `-s` and `-e` does not read; a mismatch is its warning",
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


class Stubs:
    """Servers that say what no real server would; each on a port of its own."""

    def __init__(self):
        self.listeners = []

    def serve(self, talk):
        listener = socket.create_server(("127.0.0.1", 0), backlog=64)
        self.listeners.append(listener)
        threading.Thread(target=self._accept, args=(listener, talk), daemon=True).start()
        return listener.getsockname()[1]

    def _accept(self, listener, talk):
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            threading.Thread(target=self._hold, args=(connection, talk), daemon=True).start()

    @staticmethod
    def _hold(connection, talk):
        connection.settimeout(10)
        try:
            talk(connection)
        except (OSError, ValueError):
            pass
        finally:
            connection.close()


def says(answer):
    """Waits for a request's head, says this, and closes."""

    def talk(connection):
        heard = b""
        while b"\r\n\r\n" not in heard:
            more = connection.recv(65536)
            if not more:
                return
            heard += more
        connection.sendall(answer)

    return talk


def banner(text):
    """Says this at once, then listens until the peer goes."""

    def talk(connection):
        connection.sendall(text)
        while connection.recv(4096):
            pass

    return talk


def silent(connection):
    while connection.recv(65536):
        pass


def closes(_connection):
    pass


def ping_pong(connection):
    while line := connection.recv(1024):
        connection.sendall(b"+PONG\r\n" if line.strip() == b"PING" else b"-ERR unknown command\r\n")


def smtp(certificate):
    """An SMTP server that can STARTTLS, and nothing else."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate.certificate, certificate.key)

    def talk(connection):
        connection.sendall(b"220 mail.lapwing.test ESMTP\r\n")
        lines = connection.makefile("rb")
        while line := lines.readline():
            word = line.strip().upper().split(b" ")[0]
            if word == b"EHLO":
                secure = isinstance(connection, ssl.SSLSocket)
                connection.sendall(b"250 mail\r\n" if secure else b"250-mail\r\n250 STARTTLS\r\n")
            elif word == b"STARTTLS":
                connection.sendall(b"220 go ahead\r\n")
                connection = context.wrap_socket(connection, server_side=True)
                lines = connection.makefile("rb")
            elif word == b"QUIT":
                connection.sendall(b"221 bye\r\n")
                break
            else:
                connection.sendall(b"250 fine\r\n")
        connection.close()

    return talk


ZONE = """$ORIGIN lapwing.test.
$TTL 300
@ SOA ns1 admin 7 3600 900 604800 60
@ NS ns1
@ MX 10 mail
@ TXT "v=spf1 -all"
ns1 A 127.0.0.1
mail A 192.0.2.25
www A 192.0.2.1
www AAAA 2001:db8::1
alias CNAME www
dangling CNAME nowhere
""" + "".join(f'big TXT "{number} {"x" * 100}"\n' for number in range(40))

HTTP = """
server {
  listen 127.0.0.1:PORT;
  default_type text/plain;
  root ROOT;
  location = /ok { add_header X-Build "build-42"; return 200 "the quick brown fox\\n"; }
  location = /empty { return 204; }
  location = /404 { return 404 "nothing\\n"; }
  location = /500 { return 500 "broken\\n"; }
  location = /503 { return 503 "busy\\n"; }
  location = /301 { return 301 /ok; }
  location = /302 { return 302 /ok; }
  location = /303 { return 303 /ok; }
  location = /307 { return 307 /ok; }
  location = /308 { return 308 /ok; }
  location = /to-404 { return 302 /404; }
  location = /loop { return 302 /loop; }
  location = /to-tls { return 302 https://127.0.0.1:SECURE/; }
  location = /head-only { if ($request_method != HEAD) { return 405; } return 200 "ok\\n"; }
  location = /auth { auth_basic "here"; auth_basic_user_file ROOT/users; try_files /page.txt =404; }
  location = /virtual { if ($http_host != "shop.example") { return 421; } return 200 "shop\\n"; }
  location = /gzip { gzip on; gzip_types *; gzip_min_length 1; try_files /page.txt =404; }
  location = /not-gzip { add_header Content-Encoding gzip; return 200 "this is no gzip\\n"; }
  CHAIN
}
"""


def chain(length):
    """Locations with as many redirects to /ok as their number says."""
    hops = (f"location = /chain/{number} {{ return 302 /chain/{number - 1}; }}" for number in range(2, length + 1))
    return "location = /chain/1 { return 302 /ok; }\n" + "\n".join(hops)


class Certificates:
    """Good and bad ones, by name: (certificate, key) and what a client trusts."""

    def __init__(self, folder):
        here = ["DNS:localhost", "IP:127.0.0.1"]
        authority = peers.Authority(folder, "authority")
        stranger = peers.Authority(folder, "stranger")
        past = peers.Authority(folder, "past", at="1999-01-01 12:00:00")
        self.trusted = authority.certificate
        self.served = {
            "good": authority.issue("good", here),
            "expired": authority.issue("expired", here, days=30, at="2024-01-01 12:00:00"),
            "not yet valid": authority.issue("future", here, days=30, at="2090-01-01 12:00:00"),
            "another name": authority.issue("another", ["DNS:shop.example"]),
            "unknown authority": stranger.issue("unknown", here),
            "expiring": authority.issue("expiring", here, days=5),
            "expired root": past.issue("old-root", here),
        }
        self.past = past.certificate
        own = peers.Authority(folder, "self-signed")
        peers.openssl(
            "req", "-x509", *peers.NEW_KEY, "-nodes", "-keyout", own.key, "-out", own.certificate, "-days", "90", "-subj",
            "/CN=localhost", "-addext", f"subjectAltName={','.join(here)}", "-addext", "basicConstraints=critical,CA:FALSE",
        )  # fmt: skip
        self.served["self-signed"] = own
        # Below an authority of the old times that has another certificate, by the new one: what a change of roots looks like.
        self.served["no intermediate"] = authority.issue("between", [], authority=True).issue("below", here)
        below = self.served["with intermediate"] = self._chained(authority, folder, here)
        crossed = self._crossed(folder, past, here)
        self.served["old root crossed"] = crossed
        self.fresh = peers.pathlib.Path(folder) / "fresh.pem"
        assert below and self.fresh.exists()

    @staticmethod
    def _chained(authority, folder, here):
        between = authority.issue("middle", [], authority=True)
        leaf = between.issue("chained", here)
        leaf.certificate.write_text(leaf.certificate.read_text() + between.certificate.read_text())
        return leaf

    @staticmethod
    def _crossed(folder, past, here):
        """A leaf of a root that is trusted, sent with that root's certificate by an authority that has ended: chains as they
        were when a well-known root ended in 2021."""
        fresh = peers.Authority(folder, "fresh")
        leaf = fresh.issue("crossed", here)
        request, cross = fresh.folder / "cross.csr", fresh.folder / "cross.pem"
        extensions = fresh.folder / "cross.ext"
        extensions.write_text("basicConstraints=critical,CA:TRUE\nkeyUsage=critical,keyCertSign,cRLSign\n")
        peers.openssl("req", "-new", "-key", fresh.key, "-out", request, "-subj", "/CN=fresh")
        peers.openssl(
            "x509", "-req", "-in", request, "-CA", past.certificate, "-CAkey", past.key, "-CAcreateserial", "-days", "3650",
            "-out", cross, "-extfile", extensions, at="1999-06-01 12:00:00",
        )  # fmt: skip
        leaf.certificate.write_text(leaf.certificate.read_text() + cross.read_text())
        return leaf


class Targets:
    """Everything there is to ask."""

    def __init__(self, folder, programs):
        root = programs.folder / "root"
        root.mkdir()
        (root / "page.txt").write_text("the quick brown fox\n" * 20)
        (root / "large.txt").write_bytes(b"0123456789abcde\n" * (11 << 16))
        (root / "bomb.txt").write_bytes(gzip.compress(bytes(32 << 20)))
        (root / "users").write_text("jo:{PLAIN}secret\n")
        self.certificates = Certificates(folder)
        self.stubs = Stubs()
        self.http = peers.free_port()
        self.tls = {name: peers.free_port() for name in [*self.certificates.served, "TLS 1.2"]}
        served = self.certificates.served | {"TLS 1.2": self.certificates.served["good"]}
        servers = [HTTP.replace("CHAIN", chain(20)).replace("PORT", str(self.http)).replace("ROOT", str(root))]
        servers = [servers[0].replace("SECURE", str(self.tls["good"]))]
        for name, port in self.tls.items():
            versions = "TLSv1.2" if name == "TLS 1.2" else "TLSv1.2 TLSv1.3"
            servers.append(
                f"server {{ listen 127.0.0.1:{port} ssl; ssl_protocols {versions}; ssl_certificate {served[name].certificate};\n"
                f'ssl_certificate_key {served[name].key}; location / {{ return 200 "ok\\n"; }} }}'
            )
        programs.nginx("\n".join(servers), ports=(self.http, *self.tls.values()))
        more = ' local-zone: "test." nodefault\n local-zone: "refused.example." always_refuse\n do-not-query-localhost: no\n'
        forward = 'forward-zone:\n name: "."\n forward-addr: 127.0.0.1@9\n'
        self.dns = programs.unbound("lapwing.test", ZONE, more + forward)
        self.nobody = peers.free_port()
        # Bound, and never read.
        self.deaf = socket.socket(type=socket.SOCK_DGRAM)
        self.deaf.bind(("127.0.0.1", 0))


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
    follow = ("-f", "follow")
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
    yield http(at, "302, as configured by default", "/to-404", "down http_status", differs={"plugin": "redirect-not-followed"})
    yield http(at, "redirect loop", "/loop", "down too_many_redirects", plugin=follow)
    for hops in (9, 10, 11, 15):
        ours = "up" if hops <= 10 else "down too_many_redirects"
        yield http(at, f"{hops} redirects", f"/chain/{hops}", ours, plugin=follow)
    trust = {"tls_ca": at.certificates.trusted.read_text()}
    yield http(at, "redirect to https", "/to-tls", "up", trust, {"tls_config": {"ca_file": str(at.certificates.trusted)}}, follow)
    yield http(at, "redirect to https, not trusted", "/to-tls", "down tls_certificate", plugin=follow)
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
    yield http(at, "header, other case", "/ok", "up", rule("build"), header("build"), ("-d", "x-build: build-42"))
    yield http(at, "Host of our own", "/virtual", "up", {"headers": {"Host": "shop.example"}}, {"headers": {"Host": "shop.example"}},
        ("-H", "shop.example", "-k", "Host: shop.example"))  # fmt: skip
    yield http(at, "HEAD", "/head-only", "up", {"method": "HEAD"}, {"method": "HEAD"}, ("-j", "HEAD"))
    yield http(at, "GET where HEAD is wanted", "/head-only", "down http_status")
    yield http(at, "HEAD has no body to match", "/ok", "down assertion_failed", {"method": "HEAD", "body_must_match": ["fox"]},
        {"method": "HEAD"} | body, ("-j", "HEAD", "-r", "fox"))  # fmt: skip
    auth = {"authMethod": "basic", "basic_auth_user": "jo"}
    yield http(at, "basic auth", "/auth", "up", auth | {"basic_auth_pass": "secret"},
        {"basic_auth": {"username": "jo", "password": "secret"}}, ("-a", "jo:secret"))  # fmt: skip
    yield http(at, "basic auth, wrong password", "/auth", "down http_status", auth | {"basic_auth_pass": "Secret"},
        {"basic_auth": {"username": "jo", "password": "Secret"}}, ("-a", "jo:Secret"))  # fmt: skip
    yield http(at, "basic auth, none given", "/auth", "down http_status")
    zipped = {"compression": "gzip", "headers": {"Accept-Encoding": "gzip"}}
    ask = ("-k", "Accept-Encoding: gzip", "-r", "quick.*fox")
    yield http(at, "gzip body matches", "/gzip", "up", {"body_must_match": ["quick.*fox"]}, zipped | body, ask)
    yield http(at, "gzip that is none", "/not-gzip", "down body_invalid", {"body_must_match": ["gzip"]},
        zipped | {"fail_if_body_not_matches_regexp": ["gzip"]}, ("-r", "gzip"))  # fmt: skip
    yield http(at, "gzip that is none, body not needed", "/not-gzip", "up", module=zipped)
    large = {"fail_if_body_not_matches_regexp": ["fox"], "body_size_limit": "10MB"}
    yield http(at, "body too large", "/large.txt", "down body_too_large", {"body_must_match": ["^0123"]},
        large | {"fail_if_body_not_matches_regexp": ["^0123"]}, ("-m", "1:10485760", "-r", "0123"))  # fmt: skip
    yield http(at, "body too large, not needed", "/large.txt", "up", module={"body_size_limit": "10MB"}, plugin=("-N",))
    yield http(at, "large body within the limit", "/large.txt", "up", {"body_must_match": ["^0123"], "max_body_bytes": 20_000_000},
        {"fail_if_body_not_matches_regexp": ["^0123"]}, ("-r", "0123"))  # fmt: skip
    yield http(at, "wrong version", "/ok", "down version_mismatch", {"http_version": "2"}, {"valid_http_versions": ["HTTP/2.0"]},
        ("-e", "HTTP/2"))  # fmt: skip


def odd_http_cases(at):
    stub = lambda answer: at.stubs.serve(says(answer))
    ok = b"HTTP/1.1 200 OK\r\n"
    odd = [
        ("no reason phrase", ok.replace(b" OK", b"") + b"Content-Length: 2\r\n\r\nok", "up", {}),
        ("HTTP/1.0, body ends with the connection", b"HTTP/1.0 200 OK\r\n\r\nok", "up", {}),
        ("redirect without Location", b"HTTP/1.1 302 Found\r\nContent-Length: 0\r\n\r\n", "down http_status", {}),
        ("another protocol's banner", b"SSH-2.0-OpenSSH_9.2\r\n", "down protocol_error", {}),
        ("closed without an answer", b"", "down connection_closed", {}),
        ("cut in the head", ok + b"Content-Le", "down connection_closed", {}),
        ("header line of 1 MiB", ok + b"X: " + b"x" * (1 << 20) + b"\r\nContent-Length: 2\r\n\r\nok", "down protocol_error", {}),
        ("body shorter than announced", ok + b"Content-Length: 99\r\n\r\nfox", "down connection_closed", {"keyword": "fox"}),
        ("body shorter than announced, not needed", ok + b"Content-Length: 99\r\n\r\nfox", "up", {}),
        ("broken chunks", ok + b"Transfer-Encoding: chunked\r\n\r\nzz\r\nfox\r\n", "down protocol_error", {"keyword": "fox"}),
        ("status 999", b"HTTP/1.1 999 Odd\r\nContent-Length: 0\r\n\r\n", "down http_status", {}),
    ]
    for name, answer, ours, config in odd:
        kind = "http-keyword" if config else "http"
        module = {"fail_if_body_not_matches_regexp": ["fox"]} if config else {}
        plugin = ("-s", "fox") if config else ("-f", "follow")
        yield http(at, name, "/", ours, config, module, plugin, kind=kind, port=stub(answer))
    yield http(at, "refused", "/", "down connection_refused", port=at.nobody)
    yield http(at, "silent server", "/", "down response_timeout", port=at.stubs.serve(silent))


def tls_cases(at):
    trusted = at.certificates.trusted
    expected = {
        "good": "up",
        "with intermediate": "up",
        "expired": "down tls_certificate",
        "not yet valid": "down tls_certificate",
        "another name": "down tls_certificate",
        "self-signed": "down tls_certificate",
        "unknown authority": "down tls_certificate",
        "no intermediate": "down tls_certificate",
        "expiring": "up",
        "TLS 1.2": "up",
        "expired root": "up",
        "old root crossed": "up",
    }
    roots = {"expired root": at.certificates.past, "old root crossed": at.certificates.fresh}

    def case(name, ours, certificate, config=None, module=None, plugin=()):
        port, root = at.tls[certificate], roots.get(certificate, trusted)
        url = f"https://127.0.0.1:{port}/"
        checked = {"tls_config": {"ca_file": str(root)} | (module or {}), "fail_if_not_ssl": True}
        return Case(
            f"https: {name}", "http", {"url": url, "tls_ca": root.read_text(), **(config or {})}, ours,
            ({"prober": "http", "http": IP4 | checked}, url),
            ["check_http", "-I", "127.0.0.1", "-p", port, "-S", *plugin],
        )  # fmt: skip

    for name, ours in expected.items():
        yield case(name, ours, name)
    for name in ("expired", "another name", "self-signed"):
        yield case(f"{name}, errors ignored", "up", name, {"ignore_tls_errors": True}, {"insecure_skip_verify": True})
    yield case("certificate's name asked for", "up", "another name", {"server_name": "shop.example"}, {"server_name": "shop.example"})
    yield case("TLS 1.3 wanted of a TLS 1.2 server", "down tls_failed", "TLS 1.2", {"min_tls_version": "1.3"}, {"min_version": "TLS13"})
    yield case("expiring, watched", "degraded certificate_expiring", "expiring", {"cert_expiry_warn_days": 14}, plugin=("-C", "14"))
    yield case("good, watched", "up", "good", {"cert_expiry_warn_days": 14}, plugin=("-C", "14"))
    url = f"https://127.0.0.1:{at.http}/ok"
    yield Case("https: server without TLS", "http", {"url": url}, "down tls_failed", ({"prober": "http", "http": IP4}, url),
        ["check_http", "-I", "127.0.0.1", "-p", at.http, "-S"])  # fmt: skip
    silence = at.stubs.serve(silent)
    url = f"https://127.0.0.1:{silence}/"
    yield Case("https: silent server", "http", {"url": url}, "down tls_timeout", ({"prober": "http", "http": IP4}, url),
        ["check_http", "-I", "127.0.0.1", "-p", silence, "-S"])  # fmt: skip


def dns_cases(at):
    def case(name, host, record, ours, config=None, module=None, expect=None, port=None, plugin=()):
        port = port or at.dns
        query = {"query_name": host, "query_type": record, **IP4, **(module or {})}
        command = ["check_dig", "-H", "127.0.0.1", "-p", port, "-l", host, "-T", record, *plugin]
        command += ["-a", expect] if expect else []
        return Case(
            f"dns: {name}", "dns", {"host": host, "resolver_server": "127.0.0.1", "port": port, "resolve_type": record, **(config or {})},
            ours, ({"prober": "dns", "dns": query}, f"127.0.0.1:{port}"), command,
        )  # fmt: skip

    answer = lambda pattern: {"validate_answer_rrs": {"fail_if_none_matches_regexp": [pattern]}}
    yield case("A", "www.lapwing.test", "A", "up")
    yield case("AAAA", "www.lapwing.test", "AAAA", "up")
    yield case("MX", "lapwing.test", "MX", "up")
    yield case("A, the one wanted", "www.lapwing.test", "A", "up", {"records_contain": ["192.0.2.1"]}, answer("192\\.0\\.2\\.1"), "192.0.2.1")
    yield case("A, another wanted", "www.lapwing.test", "A", "down assertion_failed", {"records_contain": ["192.0.2.9"]},
        answer("192\\.0\\.2\\.9"), "192.0.2.9")  # fmt: skip
    yield case("A by CNAME", "alias.lapwing.test", "A", "up", {"records_contain": ["192.0.2.1"]}, answer("192\\.0\\.2\\.1"), "192.0.2.1")
    yield case("CNAME", "alias.lapwing.test", "CNAME", "up", expect="www.lapwing.test")
    yield case("CNAME that leads nowhere", "dangling.lapwing.test", "A", "down dns_not_found")
    yield case("no record of the type", "mail.lapwing.test", "AAAA", "down dns_not_found")
    yield case("no record of the type, allowed", "mail.lapwing.test", "AAAA", "up", {"allow_empty": True})
    yield case("NXDOMAIN", "missing.lapwing.test", "A", "down dns_not_found")
    yield case("NXDOMAIN, expected", "missing.lapwing.test", "A", "up", {"expected_rcode": "NXDOMAIN"}, {"valid_rcodes": ["NXDOMAIN"]})
    yield case("REFUSED", "www.refused.example", "A", "down dns_failed")
    yield case("SERVFAIL", "www.shop.example", "A", "down dns_failed")
    yield case("larger than a datagram", "big.lapwing.test", "TXT", "up")
    yield case("by TCP", "www.lapwing.test", "A", "up", {"transport": "tcp"}, {"transport_protocol": "tcp"}, plugin=("-A", "+tcp"))
    yield case("nobody listens", "www.lapwing.test", "A", "down connection_refused", port=at.nobody)
    yield case("silent server", "www.lapwing.test", "A", "down dns_timeout", port=at.deaf.getsockname()[1])


def tcp_cases(at):
    def case(name, port, ours, steps=None, module=None, plugin=(), config=None):
        asked = {"host": "127.0.0.1", "port": port, **(config or {})} | ({"steps": steps} if steps else {})
        return Case(
            f"tcp: {name}", "tcp", asked, ours, ({"prober": "tcp", "tcp": IP4 | (module or {})}, f"127.0.0.1:{port}"),
            ["check_tcp", "-H", "127.0.0.1", "-p", port, *plugin] if plugin is not None else None,
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
    yield case("banner without a line end", at.stubs.serve(banner(b"220 ready")), "up", *expect("^220 "), ("-e", "220 "))
    yield case("no banner", quiet, "down response_timeout", *expect("^220 "), ("-e", "220 "))
    yield case("closes before its banner", at.stubs.serve(closes), "down connection_closed", *expect("^220 "), ("-e", "220 "))
    port = at.stubs.serve(ping_pong)
    yield case("question and answer", port, "up", [{"send": "PING\r\n"}, {"expect": "PONG"}],
        say({"send": "PING\r"}, {"expect": "PONG"}), ("-E", "-s", "PING\\r\\n", "-e", "+PONG"))  # fmt: skip
    yield case("question and another answer", port, "down assertion_failed", [{"send": "PANG\r\n"}, {"expect": "^\\+PONG"}],
        say({"send": "PANG\r"}, {"expect": "^\\+PONG"}), ("-E", "-s", "PANG\\r\\n", "-e", "+PONG"))  # fmt: skip
    for name, certificate, ours in (
        ("STARTTLS", "good", "up"),
        ("STARTTLS, expired", "expired", "down tls_certificate"),
        ("STARTTLS, another name", "another name", "down tls_certificate"),
    ):
        port = at.stubs.serve(smtp(at.certificates.served[certificate]))
        steps = [{"expect": "^220 "}, {"send": "EHLO probe\r\n"}, {"expect": "250 STARTTLS"}, {"send": "STARTTLS\r\n"}, {"expect": "220 "}, "starttls"]
        module = say({"expect": "^220 "}, {"send": "EHLO probe\r"}, {"expect": "^250[ -]STARTTLS"}, {"send": "STARTTLS\r"},
            {"expect": "^220 "}, {"starttls": True}) | {"tls_config": {"ca_file": str(at.certificates.trusted)}}  # fmt: skip
        found = case(name, port, ours, steps, module, None, {"tls_ca": at.certificates.trusted.read_text()})
        found.plugin = ["check_smtp", "-H", "127.0.0.1", "-p", port, "-S"]
        yield found


def ping_cases():
    command = ["check_ping", "-H", "127.0.0.1", "-p", 1, "-w", "1000,50%", "-c", "2000,90%"]
    yield Case("ping: loopback", "ping", {"host": "127.0.0.1"}, "up", ({"prober": "icmp", "icmp": IP4}, "127.0.0.1"), command)
