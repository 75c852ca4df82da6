"""How many no-op tasks a second each queue dialect does, and what one costs: beside a stock arq worker, in one run.

Called by `./just bench-queue`; needs the Python packages that the queue's tests install. Every figure is of one worker
process and one Redis without persistence, both started here. Tasks are laid out first and become visible at once;
the clock and the processor time (user and system, of the worker and of Redis) run from then until the last is done.
"""

import argparse
import asyncio
import json
import os
import pathlib
import pickle
import subprocess
import sys
import tempfile
import time
import uuid

import redis as redis_py
from peers import free_port

TICK = os.sysconf("SC_CLK_TCK")
HERE = pathlib.Path(__file__).resolve().parent


class Redis:
    """A server of the run's own."""

    def __init__(self, folder):
        self.port = free_port()
        self.process = subprocess.Popen(
            ["redis-server", "--port", str(self.port), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"],
            cwd=folder,
            stdout=subprocess.DEVNULL,
        )
        self.client = redis_py.Redis(port=self.port)
        for _ in range(200):
            try:
                self.client.ping()
                return
            except redis_py.ConnectionError:
                time.sleep(0.02)
        raise SystemExit("redis-server did not start")

    def stop(self):
        self.process.kill()
        self.process.wait()


def cpu(pid):
    """Processor time of a process so far, in seconds."""
    fields = pathlib.Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / TICK


def varint(number):
    out = bytearray()
    while number > 0x7F:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    out.append(number)
    return bytes(out)


def text(field, value):
    value = value if isinstance(value, bytes) else value.encode()
    return varint(field << 3 | 2) + varint(len(value)) + value


class Dialect:
    """How tasks are laid out, made visible and counted."""

    def judge(self, client, count):
        """Ends the run if a result is wrong; those of no-ops cannot be."""


class Asynq(Dialect):
    """Peekaping's checks; each result becomes a task of its own, on the ingester's queue."""

    name = "asynq"
    config = 'dialect = "asynq"\nname = "healthcheck"\nload_test = true\n'
    # What is checked, and how; of each task.
    kind, check, timeout = "noop", {}, 16

    def lay_out(self, client, count):
        now = time.strftime("%Y-%m-%dT%H:%M:%S.000Z", time.gmtime())
        pipe = client.pipeline(transaction=False)
        for number in range(count):
            payload = {"monitor_id": f"m{number}", "monitor_name": "m", "monitor_type": self.kind, "interval": 3600}
            payload |= {"timeout": self.timeout, "config": json.dumps(self.check), "scheduled_at": now}
            ident = f"healthcheck:m{number}"
            message = text(1, "monitor:healthcheck") + text(2, json.dumps(payload)) + text(3, ident)
            message += text(4, "healthcheck") + varint(8 << 3) + varint(self.timeout)
            fields = {"msg": message, "state": "pending", "pending_since": time.time_ns()}
            pipe.hset("asynq:{healthcheck}:t:" + ident, mapping=fields)
            pipe.lpush("asynq:{healthcheck}:laid-out", ident)
            if number % 5000 == 4999:
                pipe.execute()
        pipe.execute()

    def start(self, client):
        client.rename("asynq:{healthcheck}:laid-out", "asynq:{healthcheck}:pending")

    def left(self, client):
        return client.llen("asynq:{healthcheck}:pending") + client.llen("asynq:{healthcheck}:active")


class Streams(Dialect):
    """Lapwing's own; results go to a stream."""

    name = "streams"
    config = 'dialect = "streams"\nname = "lapwing:tasks"\nload_test = true\nkeep_result = "0s"\n'

    def lay_out(self, client, count):
        client.set("{lapwing:tasks}:paused", 1)
        pipe = client.pipeline(transaction=False)
        for number in range(count):
            pipe.xadd("lapwing:tasks", {"task": '{"kind":"noop"}'})
            if number % 5000 == 4999:
                pipe.execute()
        pipe.execute()

    def start(self, client):
        client.delete("{lapwing:tasks}:paused")

    def left(self, client):
        return client.xlen("lapwing:tasks")


class Arq(Dialect):
    """Jobs as a stock client pickles them; results are kept."""

    name = "arq"
    queue = "arq:queue:bench"
    config = f'dialect = "arq"\nname = "{queue}"\nload_test = true\nkeep_result = "1h"\n'

    def lay_out(self, client, count):
        now = int(time.time() * 1000)
        pipe = client.pipeline(transaction=False)
        for _ in range(count):
            ident = uuid.uuid4().hex
            job = {"t": None, "f": "noop", "a": (), "k": {}, "et": now}
            pipe.psetex(f"arq:job:{ident}", 86_400_000, pickle.dumps(job))
            pipe.zadd("arq:laid-out", {ident: now})
            if len(pipe) > 5000:
                pipe.execute()
        pipe.execute()

    def start(self, client):
        client.rename("arq:laid-out", self.queue)

    def left(self, client):
        return client.zcard(self.queue)


def lapwing(binary, dialect, folder, port, jobs):
    settings = pathlib.Path(folder) / "queues.toml"
    settings.write_text(f"[[queues]]\n{dialect.config}max_jobs = {jobs}\n")
    environment = {"REDIS_URL": f"redis://127.0.0.1:{port}/0", "LAPWING_ADMIN_LISTEN": "127.0.0.1:0"}
    environment |= {"LOG_LEVEL": "warn", "HOME": folder, "PATH": os.environ["PATH"]}
    return subprocess.Popen([binary, "worker", "--settings", settings], env=environment)


def stock_arq(folder, port, jobs, poll):
    environment = dict(os.environ, REDIS_PORT=str(port), MAX_JOBS=str(jobs), POLL=str(poll), QUEUE=Arq.queue)
    return subprocess.Popen([sys.executable, HERE / "stock_arq_worker.py"], env=environment)


def measure(dialect, count, start_worker, folder, proxy=None):
    server = Redis(folder)
    relay, port = None, server.port
    if proxy:
        relay = subprocess.Popen([proxy, str(server.port), "2"], stdout=subprocess.PIPE, text=True)
        port = int(relay.stdout.readline().rsplit(":", 1)[1].split("/")[0])
    worker = start_worker(port)
    try:
        time.sleep(2.0)
        dialect.lay_out(server.client, count)
        time.sleep(1.5)
        before, redis_before, start = cpu(worker.pid), cpu(server.process.pid), time.monotonic()
        dialect.start(server.client)
        while dialect.left(server.client) > 0:
            if worker.poll() is not None:
                raise SystemExit(f"the worker of {dialect.name} ended with {worker.returncode}")
            if time.monotonic() - start > 180:
                raise SystemExit(f"{dialect.name}: {dialect.left(server.client)} tasks were left after three minutes")
            time.sleep(0.01)
        took = time.monotonic() - start
        worker_us = (cpu(worker.pid) - before) / count * 1e6
        redis_us = (cpu(server.process.pid) - redis_before) / count * 1e6
        dialect.judge(server.client, count)
        return count / took, worker_us, redis_us
    finally:
        for process in filter(None, [worker, relay]):
            process.kill()
            process.wait()
        server.stop()


def idle(dialect, binary, folder, seconds=5):
    """What a worker with nothing to do asks of Redis, in round trips a second: what scripts call there is none."""
    server = Redis(folder)
    worker = lapwing(binary, dialect, folder, server.port, 256)
    try:
        time.sleep(3)
        asked = lambda: server.client.info("stats")["total_reads_processed"]
        before = asked()
        time.sleep(seconds)
        # Less the question itself.
        return (asked() - before - 1) / seconds
    finally:
        worker.kill()
        worker.wait()
        server.stop()


async def latency(dialect, binary, folder, rate=1000, seconds=5):
    """From when a job is enqueued until it begins, in milliseconds: arq, whose results say both."""
    from arq import create_pool
    from arq.connections import RedisSettings

    server = Redis(folder)
    worker = lapwing(binary, dialect, folder, server.port, 256)
    try:
        pool = await create_pool(RedisSettings(port=server.port), default_queue_name=Arq.queue)
        await asyncio.sleep(2)
        jobs, start = [], time.monotonic()
        for number in range(rate * seconds):
            jobs.append(asyncio.create_task(pool.enqueue_job("noop")))
            if (ahead := start + (number + 1) / rate - time.monotonic()) > 0:
                await asyncio.sleep(ahead)
        jobs = await asyncio.gather(*jobs)
        waits = []
        for job in jobs:
            await job.result(timeout=20, poll_delay=0.02)
            info = await job.result_info()
            waits.append((info.start_time - info.enqueue_time).total_seconds() * 1000)
        waits.sort()
        return waits[len(waits) // 2], waits[int(len(waits) * 0.99)]
    finally:
        worker.kill()
        worker.wait()
        server.stop()


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--lapwing", required=True, help="the worker's binary")
    parser.add_argument("--proxy", help="the binary that holds answers back: PORT MILLISECONDS, prints its URL")
    parser.add_argument("--tasks", type=int, default=100_000)
    parser.add_argument("--only", help="asynq, streams or arq")
    args = parser.parse_args()
    row = "{:34} {:>10} {:>16} {:>15}"
    print(row.format("", "tasks/s", "worker µs/task", "Redis µs/task"))
    with tempfile.TemporaryDirectory() as folder:
        peers = {}
        if args.only in (None, "arq"):
            for jobs, poll in ((10, 0.5), (128, 0.01)):
                count = 2000 if poll > 0.1 else 20_000
                seen = measure(Arq(), count, lambda port: stock_arq(folder, port, jobs, poll), folder)
                peers[poll] = seen
                print(row.format(f"stock arq, {jobs} jobs, poll {poll} s", *(f"{of:,.1f}" for of in seen)))
        for dialect in (Asynq(), Streams(), Arq()):
            if args.only not in (None, dialect.name):
                continue
            start = lambda port: lapwing(args.lapwing, dialect, folder, port, 1024)
            seen = measure(dialect, args.tasks, start, folder)
            print(row.format(f"lapwing, {dialect.name}", *(f"{of:,.1f}" for of in seen)))
            if dialect.name == "arq":
                print(f"    {seen[0] / peers[0.01][0]:.1f} times the tuned stock worker, {seen[0] / peers[0.5][0]:.0f} times the stock one")
            if args.proxy:
                seen = measure(dialect, args.tasks // 2, start, folder, args.proxy)
                print(row.format(f"lapwing, {dialect.name}, 2 ms away", *(f"{of:,.1f}" for of in seen)))
            print(f"    idle: {idle(dialect, args.lapwing, folder):.1f} round trips a second (aim: 5)")
        if args.only in (None, "arq"):
            p50, p99 = asyncio.run(latency(Arq(), args.lapwing, folder))
            print(f"arq, 1,000 a second: begun after {p50:.1f} ms p50, {p99:.1f} ms p99")


if __name__ == "__main__":
    main()
