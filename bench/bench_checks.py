"""What a check costs: Lapwing's whole worker path beside prometheus-blackbox-exporter and monitoring-plugins, in one run.

Called by `./just bench-checks`; needs nginx, unbound, redis-server, openssl, wrk, and the Python packages that the queue's tests
install. Peers that are not there are told and left out. All on the loopback, all on the same servers, a new connection (and
TLS handshake, verified) for every check:

  lapwing    one worker, fed by Redis as Peekaping feeds it: task decoded, probe, result encoded and enqueued;
  blackbox   its /probe endpoint, asked by wrk over connections that are kept, so many at once; each answer is looked at;
  plugin     fork and exec of check_http, check_tcp, check_dig (check_dns takes no port) and check_ping; four at once;
  limit      the least that can be done: wrk with `Connection: close` against the same nginx; it verifies nothing.

Processor time is user and system of the prober's processes alone. Every result must be up, or the run fails.
"""

import argparse
import json
import os
import pathlib
import resource
import subprocess
import sys
import tempfile
import time

import bench_queue
import peers
from bench_queue import cpu

HERE = pathlib.Path(__file__).resolve().parent
# The most of blackbox's processor time that a check of ours may take.
AIMS = {"http": 0.2, "https": 0.6, "tcp": 0.3}
ROW = "{:8} {:10} {:>10} {:>12} {:>12}  {}"

WRK = """
local threads = {}
function setup(thread) table.insert(threads, thread) end
function init() wrong = 0 end
function response(_, _, body)
  if not body:find("probe_success 1", 1, true) then wrong = wrong + 1 end
end
function done(summary)
  local sum = 0
  for _, thread in ipairs(threads) do sum = sum + thread:get("wrong") end
  local errors = summary.errors
  local failed = errors.connect + errors.read + errors.write + errors.status + errors.timeout
  io.write(string.format('\\n{"requests": %d, "us": %d, "wrong": %d, "failed": %d}\\n', summary.requests, summary.duration, sum, failed))
end
"""


class Checks(bench_queue.Asynq):
    """Peekaping's tasks of one kind."""

    def __init__(self, kind, check, timeout=16):
        self.kind, self.check, self.timeout = kind, check, timeout

    def judge(self, client, count):
        """Fails unless all results say that the target is up."""
        pipe = client.pipeline(transaction=False)
        for ident in client.lrange("asynq:{ingester}:pending", 0, -1):
            pipe.hget(b"asynq:{ingester}:t:" + ident, "msg")
        results = pipe.execute()
        wrong = [result for result in results if b'"status":1,' not in result]
        if len(results) != count or wrong:
            raise SystemExit(f"{self.kind}: {len(results)} results of {count}, {len(wrong)} not up: {wrong[:1]}")


class Kind:
    """One kind of check: how each prober is told what to do."""

    def __init__(self, name, kind, check, module, target, plugin):
        self.name, self.kind, self.check = name, kind, check
        self.module, self.target, self.plugin = module, target, plugin


def kinds(nginx, tls, ca, dns):
    here, url, secure = "127.0.0.1", f"http://127.0.0.1:{nginx}/", f"https://127.0.0.1:{tls}/"
    ip4 = {"preferred_ip_protocol": "ip4"}
    trust = {"tls_config": {"ca_file": str(ca)}, "fail_if_not_ssl": True}
    query = {"query_name": "www.lapwing.test", "query_type": "A", **ip4}
    return [
        Kind("http", "http", {"url": url}, {"prober": "http", "http": ip4}, url, ["check_http", "-I", here, "-p", nginx]),
        Kind(
            "https", "http", {"url": secure, "tls_ca": ca.read_text()},
            {"prober": "http", "http": ip4 | trust}, secure, ["check_http", "-I", here, "-p", tls, "-S"],
        ),
        Kind(
            "tcp", "tcp", {"host": here, "port": nginx},
            {"prober": "tcp", "tcp": ip4}, f"{here}:{nginx}", ["check_tcp", "-H", here, "-p", nginx],
        ),
        Kind(
            "dns", "dns", {"host": "www.lapwing.test", "resolver_server": here, "port": dns, "resolve_type": "A"},
            {"prober": "dns", "dns": query}, f"{here}:{dns}",
            ["check_dig", "-H", here, "-p", dns, "-l", "www.lapwing.test", "-a", "192.0.2.1"],
        ),
        Kind(
            "ping", "ping", {"host": here}, {"prober": "icmp", "icmp": ip4}, here,
            ["check_ping", "-H", here, "-p", 1, "-w", "1000,50%", "-c", "2000,90%"],
        ),
    ]  # fmt: skip


def children():
    """Processor time of the children that have ended, in seconds."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def wrk(url, seconds, connections, *more, script=None):
    """Rate, requests, and wrk's own processor time a request in µs; `script` looks at the answers."""
    before = children()
    command = ["wrk", "-t1", f"-c{connections}", f"-d{seconds}s", "--timeout", "20s", *more]
    if script:
        command += ["-s", script]
    done = subprocess.run([*command, url], capture_output=True, text=True, check=True)
    used = children() - before
    if script:
        said = json.loads(done.stdout.strip().splitlines()[-1])
        if said["wrong"] or said["failed"] or not said["requests"]:
            raise SystemExit(f"{url}: {said['wrong']} probes were no success, {said['failed']} had no answer: {done.stdout}")
        return said["requests"] / (said["us"] / 1e6), said["requests"], None
    fields = dict(line.split(":", 1) for line in done.stdout.splitlines() if line.count(":") == 1)
    requests = int(next(line.split()[0] for line in done.stdout.splitlines() if " requests in " in line))
    for fault in ("Socket errors", "Non-2xx or 3xx responses"):
        if fault in fields:
            print(f"    wrk: {fault}: {fields[fault].strip()}")
    return float(fields["Requests/sec"]), requests, used / requests * 1e6


def of_lapwing(binary, kind, count, jobs, folder):
    start = lambda port: bench_queue.lapwing(binary, dialect, folder, port, jobs)
    dialect = Checks(kind.kind, kind.check)
    return bench_queue.measure(dialect, count, start, folder)[:2]


def of_blackbox(port, process, kind, seconds, jobs, script):
    url = f"http://127.0.0.1:{port}/probe?module={kind.name}&target={kind.target}"
    wrk(url, 1, jobs, script=script)
    before = cpu(process.pid)
    rate, requests, _ = wrk(url, seconds, jobs, script=script)
    return rate, (cpu(process.pid) - before) / requests * 1e6


def of_plugin(command, count, at_once=4):
    words = [peers.plugin(command[0]), *map(str, command[1:])]
    before, start, running = children(), time.monotonic(), set()

    def end_one():
        pid, status = os.wait()
        running.discard(pid)
        if status:
            raise SystemExit(f"`{' '.join(words)}` ended with {os.waitstatus_to_exitcode(status)}")

    quiet = [(os.POSIX_SPAWN_OPEN, 1, "/dev/null", os.O_WRONLY, 0)]
    for _ in range(count):
        if len(running) == at_once:
            end_one()
        running.add(os.posix_spawn(words[0], words, dict(os.environ, LC_ALL="C"), file_actions=quiet))
    while running:
        end_one()
    took = time.monotonic() - start
    return count / took, (children() - before) / count * 1e6


def memory(pid, field="VmRSS"):
    """In MB."""
    lines = pathlib.Path(f"/proc/{pid}/status").read_text().splitlines()
    return int(next(line.split()[1] for line in lines if line.startswith(f"{field}:"))) * 1024 / 1e6


def in_flight(binary, count, folder):
    """Memory of a worker with so many checks in flight: before, then, and at most; in MB."""
    late = subprocess.Popen(
        [sys.executable, HERE / "late_server.py", str(count)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    server, worker = bench_queue.Redis(folder), None
    try:
        dialect = Checks("http", {"url": f"http://127.0.0.1:{late.stdout.readline().strip()}/"}, timeout=120)
        worker = bench_queue.lapwing(binary, dialect, folder, server.port, count)
        time.sleep(2)
        before = memory(worker.pid)
        dialect.lay_out(server.client, count)
        dialect.start(server.client)
        if late.stdout.readline().strip() != "held":
            raise SystemExit("the late server ended")
        held = memory(worker.pid)
        late.stdin.write("\n")
        late.stdin.flush()
        peers.until("the last result", lambda: dialect.left(server.client) == 0, 60)
        dialect.judge(server.client, count)
        return before, held, memory(worker.pid, "VmHWM")
    finally:
        for process in filter(None, [worker, late]):
            process.kill()
            process.wait()
        server.stop()


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--lapwing", required=True, help="the worker's binary")
    parser.add_argument("--tasks", type=int, default=20_000, help="of ours, for each kind")
    parser.add_argument("--plugin-runs", type=int, default=400)
    parser.add_argument("--seconds", type=int, default=5, help="of blackbox and of wrk, for each kind")
    parser.add_argument("--jobs", type=int, default=64, help="checks at once, ours and blackbox's")
    parser.add_argument("--in-flight", type=int, default=10_000)
    parser.add_argument("--only", help="http, https, tcp, dns, ping, limit or memory")
    args = parser.parse_args()
    wanted = lambda part: args.only in (None, part)
    # A connection is a file.
    most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    peers.needed("nginx", "unbound", "openssl", "redis-server")
    packages = {peers.BLACKBOX: peers.BLACKBOX, "wrk": "wrk", "check_ping": "monitoring-plugins-basic iputils-ping"}
    packages |= {"check_http": "monitoring-plugins-basic", "check_tcp": "monitoring-plugins-basic"}
    absent = peers.missing(packages | {"check_dig": "monitoring-plugins-standard bind9-dnsutils"})
    with tempfile.TemporaryDirectory() as folder, peers.Programs(folder) as programs:
        authority = peers.Authority(folder, "authority")
        leaf = authority.issue("leaf", ["DNS:localhost", "IP:127.0.0.1"])
        plain, tls = peers.free_port(), peers.free_port()
        # No session is resumed by anybody.
        programs.nginx(
            "ssl_session_cache off; ssl_session_tickets off;\n"
            f"server {{ listen 127.0.0.1:{plain} backlog=4096; listen 127.0.0.1:{tls} ssl backlog=4096;\n"
            f'ssl_certificate {leaf.certificate}; ssl_certificate_key {leaf.key}; location / {{ return 200 "ok\\n"; }} }}',
            ports=(plain, tls),
        )
        zone = "$TTL 300\n@ SOA ns1 admin 7 3600 900 604800 60\n@ NS ns1\nns1 A 127.0.0.1\nwww A 192.0.2.1\n"
        dns = programs.unbound("lapwing.test", zone, ' local-zone: "test." nodefault')
        every = kinds(plain, tls, authority.certificate, dns)
        script = programs.folder / "answers.lua"
        script.write_text(WRK)
        by_blackbox = not absent & {peers.BLACKBOX, "wrk"}
        if by_blackbox:
            port, blackbox = programs.blackbox({kind.name: kind.module for kind in every})
        print(ROW.format("kind", "prober", "checks/s", "CPU µs", "of blackbox", ""), flush=True)

        def show(name, prober, seen, of=None, note=""):
            ratio = f"{seen[1] / of[1]:.2f}" if of else ""
            print(ROW.format(name, prober, f"{seen[0]:,.0f}", f"{seen[1]:,.0f}", ratio, note), flush=True)

        for kind in filter(lambda kind: wanted(kind.name), every):
            theirs = None
            if by_blackbox:
                theirs = of_blackbox(port, blackbox, kind, args.seconds, args.jobs, script)
                show(kind.name, "blackbox", theirs)
            if kind.plugin[0] not in absent:
                show(kind.name, kind.plugin[0], of_plugin(kind.plugin, args.plugin_runs), theirs)
            ours = of_lapwing(args.lapwing, kind, args.tasks, args.jobs, folder)
            aim = AIMS.get(kind.name)
            show(kind.name, "lapwing", ours, theirs, f"(aim: {aim})" if aim and theirs else "")
        if wanted("limit") and "wrk" not in absent:
            for name, url in ("http", f"http://127.0.0.1:{plain}/"), ("https", f"https://127.0.0.1:{tls}/"):
                rate, _, used = wrk(url, args.seconds, args.jobs, "-H", "Connection: close")
                show(name, "wrk, limit", (rate, used))
        if wanted("memory"):
            before, held, peak = in_flight(args.lapwing, args.in_flight, folder)
            print(
                f"{args.in_flight:,} http checks in flight: {held:,.0f} MB resident ({before:,.0f} before, {peak:,.0f} at most; aim: 400), "
                f"{(held - before) * 1000 / args.in_flight:.1f} KB a check"
            )


if __name__ == "__main__":
    main()
