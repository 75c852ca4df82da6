"""A stock arq worker: arq_worker.py PORT QUEUE FUNCTION... Every run counts in `runs`, by job, and in `stock`."""

import asyncio
import sys

from arq.connections import RedisSettings
from arq.worker import Worker, func


async def run(ctx, **_):
    await ctx["redis"].hincrby("runs", ctx["job_id"], 1)
    await ctx["redis"].incr("stock")
    return "stock"


async def main(port, queue, *functions):
    worker = Worker(
        [func(run, name=name) for name in functions],
        redis_settings=RedisSettings(port=int(port)),
        queue_name=queue,
        poll_delay=0.02,
        max_jobs=20,
        allow_abort_jobs=True,
        handle_signals=False,
    )
    await worker.async_run()


asyncio.run(main(*sys.argv[1:]))
