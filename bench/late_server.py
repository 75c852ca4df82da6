"""A web server that keeps everybody waiting: late_server.py COUNT.

Prints its port; prints `held` once COUNT requests have come; answers all of them after a line on standard input.
"""

import asyncio
import sys


async def main(count):
    release, held = asyncio.Event(), 0

    async def serve(reader, writer):
        nonlocal held
        await reader.readuntil(b"\r\n\r\n")
        held += 1
        if held == count:
            print("held", flush=True)
        await release.wait()
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\nConnection: close\r\n\r\nok\n")
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0, backlog=65535)
    print(server.sockets[0].getsockname()[1], flush=True)
    await asyncio.get_running_loop().run_in_executor(None, sys.stdin.readline)
    release.set()
    async with server:
        await server.serve_forever()


asyncio.run(main(int(sys.argv[1])))
