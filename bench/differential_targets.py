"""What `./just differential` asks about: real servers where there are any, and stand-ins that misbehave as no real one would."""

import gzip
import socket
import ssl
import threading

import peers


class Stubs:
    """Servers that say what no real server would; each on a port of its own."""

    def __init__(self):
        self.listeners = []

    def serve(self, talk):
        listener = socket.create_server(("127.0.0.1", 0), backlog=64)
        self.listeners.append(listener)
        threading.Thread(target=self._accept, args=(listener, talk), daemon=True).start()
        return listener.getsockname()[1]

    def fail_dns(self):
        """A name server that answers SERVFAIL to everything."""
        server = socket.socket(type=socket.SOCK_DGRAM)
        server.bind(("127.0.0.1", 0))
        self.listeners.append(server)

        def answer():
            while True:
                query, peer = server.recvfrom(4096)
                server.sendto(query[:2] + b"\x81\x82" + query[4:], peer)

        threading.Thread(target=answer, daemon=True).start()
        return server.getsockname()[1]

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
  location = /gzip { add_header Content-Encoding gzip; try_files /page.gz =404; }
  location = /bomb { add_header Content-Encoding gzip; try_files /bomb.gz =404; }
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
        own = peers.Issued(folder, "self-signed")
        peers.openssl(
            "req", "-x509", *peers.NEW_KEY, "-nodes", "-keyout", own.key, "-out", own.certificate, "-days", "90", "-subj",
            "/CN=localhost", "-addext", f"subjectAltName={','.join(here)}", "-addext", "basicConstraints=critical,CA:FALSE",
        )  # fmt: skip
        self.served["self-signed"] = own
        self.served["no intermediate"] = authority.issue("between", [], authority=True).issue("below", here)
        self.served["with intermediate"] = self._chained(authority, here)
        fresh = peers.Authority(folder, "fresh")
        self.served["old root crossed"] = self._crossed(fresh, past, here)
        self.fresh = fresh.certificate

    @staticmethod
    def _chained(authority, here):
        between = authority.issue("middle", [], authority=True)
        leaf = between.issue("chained", here)
        leaf.certificate.write_text(leaf.certificate.read_text() + between.certificate.read_text())
        return leaf

    @staticmethod
    def _crossed(fresh, past, here):
        """A leaf of a root that is trusted, sent with that root's certificate by an authority that has ended."""
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
        (root / "page.txt").write_text("the quick brown fox\n")
        (root / "page.gz").write_bytes(gzip.compress(b"the quick brown fox\n" * 20))
        (root / "large.txt").write_bytes(b"0123456789abcde\n" * (11 << 16))
        (root / "bomb.gz").write_bytes(gzip.compress(bytes(32 << 20)))
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
        more = ' local-zone: "test." nodefault\n local-zone: "refused.example." always_refuse\n'
        self.dns = programs.unbound("lapwing.test", ZONE, more)
        self.nobody = peers.free_port()
        # Bound, and never read.
        self.deaf = socket.socket(type=socket.SOCK_DGRAM)
        self.deaf.bind(("127.0.0.1", 0))
        self.broken = self.stubs.fail_dns()
