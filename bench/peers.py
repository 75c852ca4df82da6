"""Servers and certificates of a run's own, and the programs that stand beside Lapwing; for the scripts of this folder."""

import contextlib
import json
import os
import pathlib
import random
import shutil
import socket
import subprocess
import time
import urllib.request

PLUGINS = pathlib.Path("/usr/lib/nagios/plugins")
BLACKBOX = "prometheus-blackbox-exporter"


def free_port():
    """A port nobody has, by TCP or UDP; outside of the range that connections take theirs from, as a bench makes thousands."""
    while True:
        port = random.randrange(20_000, 32_000)
        with socket.socket() as stream, socket.socket(type=socket.SOCK_DGRAM) as datagrams, contextlib.suppress(OSError):
            stream.bind(("127.0.0.1", port))
            datagrams.bind(("127.0.0.1", port))
            return port


def program(name):
    """Where a program is, or `None`; servers are often where only root looks."""
    return shutil.which(name, path=os.environ["PATH"] + ":/usr/local/sbin:/usr/sbin:/sbin")


def needed(*names):
    """Ends the run where one of these programs is not there."""
    absent = [name for name in names if not program(name)]
    if absent:
        raise SystemExit(f"this cannot run without {', '.join(absent)}; `./just peers servers` installs what is missing")


def plugin(name):
    """Where a monitoring plugin is, or `None`."""
    return shutil.which(name, path=str(PLUGINS))


def missing(peers):
    """Tells which peers are not there, with the Debian packages that have them; `peers` is program: package."""
    absent = {name: package for name, package in peers.items() if not (program(name) or plugin(name))}
    for name, package in absent.items():
        print(f"without {name}, which is not there: `apt-get install --no-install-recommends {package}` adds it")
    return set(absent)


def until(what, ready, seconds=15):
    """Waits until `ready()` is true; a refused connection is a no."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        with contextlib.suppress(OSError):
            if ready():
                return
        time.sleep(0.02)
    raise SystemExit(f"{what} was not ready after {seconds} s")


def accepts(port):
    with socket.create_connection(("127.0.0.1", port), timeout=1):
        return True


class Programs:
    """Processes of the run; all are killed at its end."""

    def __init__(self, folder):
        self.folder = pathlib.Path(folder)
        self.running = []

    def __enter__(self):
        return self

    def __exit__(self, *_):
        for process in reversed(self.running):
            process.terminate()
        for process in self.running:
            try:
                process.wait(timeout=5)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()

    def start(self, *command, ready=None, **options):
        """Starts a program, its output in a file of the folder, and waits until it is ready."""
        name = pathlib.Path(command[0]).name
        log = self.folder / f"{name}.{len(self.running)}.log"
        with log.open("wb") as out:
            process = subprocess.Popen(command, cwd=self.folder, stdout=out, stderr=subprocess.STDOUT, **options)
        self.running.append(process)

        def alive_and_ready():
            if process.poll() is not None:
                raise SystemExit(f"{name} ended with {process.returncode}:\n{log.read_text()[-2000:]}")
            return ready is None or ready()

        until(name, alive_and_ready)
        return process

    def nginx(self, http, workers=1, ports=()):
        """nginx with these lines in its `http` block; ready when all `ports` accept."""
        (self.folder / "nginx").mkdir(exist_ok=True)
        # As root its worker would become another user, who may not read the folder.
        user = "user root;" if os.geteuid() == 0 else ""
        paths = "".join(
            f"{kind}_temp_path nginx/{kind};\n" for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
        )
        config = self.folder / "nginx.conf"
        config.write_text(
            f"daemon off; {user} worker_processes {workers}; pid nginx/pid; error_log stderr crit;\n"
            f"worker_rlimit_nofile 20000; events {{ worker_connections 16384; }}\n"
            f"http {{ access_log off; {paths}\n{http}\n}}\n"
        )
        return self.start(
            program("nginx"), "-p", str(self.folder), "-c", str(config), ready=lambda: all(map(accepts, ports))
        )

    def unbound(self, zone_name, zone, more=""):
        """unbound, the authority of one zone; gives its port."""
        port = free_port()
        (self.folder / "zone").write_text(zone)
        config = self.folder / "unbound.conf"
        config.write_text(
            f'server:\n interface: 127.0.0.1@{port}\n username: ""\n chroot: ""\n pidfile: "{self.folder}/unbound.pid"\n'
            f' directory: "{self.folder}"\n use-syslog: no\n verbosity: 0\n do-daemonize: no\n access-control: 127.0.0.0/8 allow\n'
            f" num-threads: 1\n{more}\n"
            f'remote-control:\n control-enable: no\nauth-zone:\n name: "{zone_name}"\n zonefile: "zone"\n'
            " for-downstream: yes\n for-upstream: no\n"
        )
        self.start(program("unbound"), "-d", "-c", str(config), ready=lambda: accepts(port))
        return port

    def blackbox(self, modules):
        """prometheus-blackbox-exporter with these modules; gives its port and process."""
        port, config = free_port(), self.folder / "blackbox.yml"
        # JSON is YAML.
        config.write_text(json.dumps({"modules": modules}))
        process = self.start(
            program(BLACKBOX),
            f"--config.file={config}",
            f"--web.listen-address=127.0.0.1:{port}",
            "--log.level=error",
            "--timeout-offset=0",
            ready=lambda: accepts(port),
        )
        return port, process


def fetch(url):
    with urllib.request.urlopen(url, timeout=30) as answer:
        return answer.read().decode()


class Issued:
    """A certificate and its key, in a folder."""

    def __init__(self, folder, name):
        self.folder, self.name = pathlib.Path(folder), name

    @property
    def certificate(self):
        return self.folder / f"{self.name}.pem"

    @property
    def key(self):
        return self.folder / f"{self.name}.key"

    def issue(self, name, subjects, days=90, at=None, authority=False):
        """A certificate below this one for these subjects (`DNS:…`, `IP:…`), begun `at` a date if one is given; one that may
        issue others, if asked for."""
        request, extensions = self.folder / f"{name}.csr", self.folder / f"{name}.ext"
        below = Issued(self.folder, name)
        openssl("req", *NEW_KEY, "-nodes", "-keyout", below.key, "-out", request, "-subj", f"/CN={name}")
        extensions.write_text(
            "basicConstraints=critical,CA:TRUE\nkeyUsage=critical,keyCertSign\n"
            if authority
            else f"subjectAltName={','.join(subjects)}\nbasicConstraints=CA:FALSE\nextendedKeyUsage=serverAuth\n"
        )
        openssl(
            "x509", "-req", "-in", request, "-CA", self.certificate, "-CAkey", self.key, "-CAcreateserial", "-days", str(days),
            "-out", below.certificate, "-extfile", extensions, at=at,
        )  # fmt: skip
        return below


class Authority(Issued):
    """A certificate authority, by openssl."""

    def __init__(self, folder, name, at=None):
        super().__init__(folder, name)
        extensions = ["-addext", "basicConstraints=critical,CA:TRUE", "-addext", "keyUsage=critical,keyCertSign,cRLSign"]
        openssl(
            "req", "-x509", *NEW_KEY, "-nodes", "-keyout", self.key, "-out", self.certificate, "-days", "3650",
            "-subj", f"/CN={name}", *extensions, at=at,
        )  # fmt: skip


NEW_KEY = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1"]


def openssl(*arguments, at=None):
    """At another time, with faketime."""
    clock = [program("faketime"), at] if at else []
    done = subprocess.run([*clock, program("openssl"), *map(str, arguments)], capture_output=True, text=True)
    if done.returncode != 0:
        raise SystemExit(f"openssl {arguments[0]}: {done.stderr}")
