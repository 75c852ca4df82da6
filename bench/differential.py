"""Lapwing beside prometheus-blackbox-exporter and monitoring-plugins, on the same targets: do they agree?

Called by `./just differential`; needs nginx, unbound, openssl, faketime and the two peers. Everything runs on the loopback. Each
case says what ours must be, so that all three being wrong is seen as well. A difference is a bug, or it is one of those that
differential_cases.py lists and docs/semantics.md explains; the run fails at any other, and at a listed one that is none.
"""

import argparse
import concurrent.futures
import json
import os
import pathlib
import re
import subprocess
import sys
import tempfile
import urllib.parse

import peers
from differential_cases import DIFFERENCES, cases
from differential_targets import Targets

# Seconds that a check may take.
LIMIT = 5
GOOD = {"up", "success", "OK"}
UNKNOWN = {"unknown", "UNKNOWN"}
WORDS = ["OK", "WARNING", "CRITICAL", "UNKNOWN"]
SEMANTICS = pathlib.Path(__file__).resolve().parent.parent / "docs/semantics.md"


def of_lapwing(binary, case):
    command = [binary, "check", case.kind, "--config", json.dumps(case.config), "--timeout", f"{LIMIT}s", "--json"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    try:
        seen = json.loads(done.stdout)
    except ValueError:
        return "no result", done.stderr.strip()
    return " ".join(filter(None, [seen["status"], seen.get("reason")])), seen.get("message", "")


def of_blackbox(port, module, target):
    query = urllib.parse.urlencode({"module": module, "target": target, "debug": "true"})
    text = peers.fetch(f"http://127.0.0.1:{port}/probe?{query}")
    word = "success" if re.search(r"^probe_success 1$", text, re.M) else "failure"
    faults = re.findall(r'level=error .*?msg="?(.*)', text.split("Metrics that would have been returned")[0])
    return word, " / ".join(faults)


def of_plugin(command):
    path = peers.plugin(command[0])
    done = subprocess.run(
        [path, *map(str, command[1:]), "-t", str(LIMIT)],
        capture_output=True, text=True, errors="replace", timeout=60, env=dict(os.environ, LC_ALL="C"), check=False,
    )  # fmt: skip
    word = WORDS[done.returncode] if 0 <= done.returncode < 4 else f"exit {done.returncode}"
    return word, done.stdout.strip().splitlines()[0] if done.stdout.strip() else done.stderr.strip()


def meaning(word):
    """Good, not good, or nothing said of the target."""
    word = word.split(" ")[0]
    return "good" if word in GOOD else "unknown" if word in UNKNOWN else "not good"


class Verdict:
    """What all said to one case, and what is wrong with that."""

    def __init__(self, case, seen):
        self.case, self.seen, self.faults = case, seen, []
        ours = seen["lapwing"][0]
        if ours != case.ours:
            self.faults.append(f"expected `{case.ours}`")
        for prober in ("blackbox", "plugin"):
            if prober not in seen:
                continue
            listed = case.differs.get(prober)
            differs = meaning(seen[prober][0]) != meaning(ours)
            if differs and not listed:
                self.faults.append(f"{prober} differs, and it is not listed")
            if listed and not differs:
                self.faults.append(f"{prober} does not differ: `{listed}` is listed in vain")

    def row(self):
        word = lambda prober: self.seen.get(prober, ("-",))[0]
        keys = sorted(set(self.case.differs.values()))
        agree = "NO" if self.faults else ", ".join(keys) if keys else "yes"
        return f"{self.case.name:46} {word('lapwing'):34} {word('blackbox'):9} {word('plugin'):9} {agree}"

    def details(self):
        said = "".join(f"\n      {prober}: {word}: {text}" for prober, (word, text) in self.seen.items())
        return f"    {self.case.name}: {'; '.join(self.faults)}{said}"


def undocumented():
    """Keys of differences that docs/semantics.md does not have, and rows of it that are no keys."""
    told = set(re.findall(r"^\| `([a-z-]+)` \|", SEMANTICS.read_text().partition("\n## Beside others")[2], re.M))
    return sorted(told ^ set(DIFFERENCES))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--lapwing", required=True, help="the binary")
    parser.add_argument("--only", default="", help="cases whose name holds this")
    parser.add_argument("--verbose", action="store_true", help="what everybody said, of every case")
    args = parser.parse_args()
    standard = "monitoring-plugins-basic"
    packages = {peers.BLACKBOX: peers.BLACKBOX, "check_http": standard, "check_tcp": standard, "check_smtp": standard}
    packages |= {"check_ping": f"{standard} iputils-ping", "check_dig": "monitoring-plugins-standard bind9-dnsutils"}
    peers.needed("nginx", "unbound", "openssl", "faketime")
    absent = peers.missing(packages)
    with tempfile.TemporaryDirectory() as folder, peers.Programs(folder) as programs:
        targets = Targets(folder, programs)
        every = [case for case in cases(targets) if args.only in case.name]
        modules = {f"case-{number}": case.blackbox[0] | {"timeout": f"{LIMIT}s"} for number, case in enumerate(every)}
        port = None if peers.BLACKBOX in absent else programs.blackbox(modules)[0]

        def ask(numbered):
            number, case = numbered
            seen = {"lapwing": of_lapwing(args.lapwing, case)}
            if port:
                seen["blackbox"] = of_blackbox(port, f"case-{number}", case.blackbox[1])
            if case.plugin and case.plugin[0] not in absent:
                seen["plugin"] = of_plugin(case.plugin)
            return Verdict(case, seen)

        print(f"{'case':46} {'lapwing':34} {'blackbox':9} {'plugin':9} agree?")
        faulty, count, compared = [], 0, 0
        with concurrent.futures.ThreadPoolExecutor(4) as pool:
            for verdict in pool.map(ask, enumerate(every)):
                count, compared = count + 1, compared + len(verdict.seen) - 1
                print(verdict.row(), flush=True)
                if args.verbose:
                    print(verdict.details())
                if verdict.faults:
                    faulty.append(verdict)
    used = {key for case in every for key in case.differs.values()}
    for key in sorted(used):
        print(f"    {key}: {DIFFERENCES[key]}")
    meant = sum(bool(case.differs) for case in every)
    print(f"{count} cases, {compared} answers of others; {meant} cases differ as they are meant to, {len(faulty)} are at fault")
    for verdict in faulty:
        print(verdict.details())
    lost = undocumented()
    if lost:
        print(f"not in both DIFFERENCES and docs/semantics.md: {', '.join(lost)}")
    idle = set() if args.only else set(DIFFERENCES) - used
    if idle:
        print(f"listed, and of no case: {', '.join(sorted(idle))}")
    sys.exit(1 if faulty or lost or idle else 0)


if __name__ == "__main__":
    main()
