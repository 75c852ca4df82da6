"""A stock arq client that does as it is told: one command a line in, one answer a line out, both JSON.

arq_client.py PORT QUEUE SERIALIZER
"""

import asyncio
import collections
import datetime
import decimal
import json
import os
import sys

from arq import create_pool
from arq.connections import RedisSettings
from arq.jobs import Job

from serializers import SERIALIZERS


class Evil:
    """Unpickling it makes a file."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.system, (f"touch {self.path}",)


# What JSON does not have.
ODD = {
    "bytes": b"x",
    "set": {1},
    "datetime": datetime.datetime(2026, 4, 11),
    "decimal": decimal.Decimal("1.5"),
    "nan": float("nan"),
    "huge": 2**70,
    "negative": -(2**64),
    "keys": {1: 2},
    "ordered": collections.OrderedDict(a=1),
}


async def main(port, queue, serializer):
    dumps, loads = SERIALIZERS[serializer]
    pool = await create_pool(
        RedisSettings(port=int(port)), default_queue_name=queue, job_serializer=dumps, job_deserializer=loads
    )

    def job(command):
        return Job(command["id"], pool, _queue_name=queue, _deserializer=loads)

    async def enqueue(command):
        made = await pool.enqueue_job(
            command["function"], *command.get("args", []), **command.get("kwargs", {}), **command.get("options", {})
        )
        return made and made.job_id

    async def enqueue_many(command):
        many = [pool.enqueue_job(command["function"], **command["kwargs"]) for _ in range(command["count"])]
        return len([made for made in await asyncio.gather(*many) if made])

    async def enqueue_odd(command):
        value = Evil(command["path"]) if "path" in command else ODD[command["odd"]]
        made = await pool.enqueue_job(command["function"], host="h", options={"deep": [0, value]})
        return made.job_id

    async def result(command):
        try:
            return {"value": await job(command).result(timeout=20, poll_delay=0.02)}
        except BaseException as error:
            kind = type(error)
            return {"raised": f"{kind.__module__}.{kind.__qualname__}", "text": str(error)}

    async def info(command):
        found = await job(command).result_info()
        return found and {
            "try": found.job_try,
            "function": found.function,
            "args": list(found.args),
            "kwargs": found.kwargs,
            "success": found.success,
            "queue": found.queue_name,
            "id": found.job_id,
            "ran_ms": (found.finish_time - found.start_time).total_seconds() * 1000,
            "waited_ms": (found.start_time - found.enqueue_time).total_seconds() * 1000,
        }

    async def status(command):
        return (await job(command).status()).value

    async def abort(command):
        return await job(command).abort(timeout=10, poll_delay=0.02)

    commands = {f.__name__: f for f in (enqueue, enqueue_many, enqueue_odd, result, info, status, abort)}
    loop = asyncio.get_running_loop()
    while line := await loop.run_in_executor(None, sys.stdin.readline):
        command = json.loads(line)
        print(json.dumps(await commands[command["do"]](command)), flush=True)


asyncio.run(main(*sys.argv[1:]))
