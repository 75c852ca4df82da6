// Enqueues an uptime job from TypeScript, and prints its result.
//
//   npm install redis tsx
//   lapwing worker --config examples/queues/streams.toml &
//   npx tsx examples/clients/stream_client.mts https://example.com

import { createClient } from "redis";

const client = createClient({ url: process.env.REDIS_URL ?? "redis://127.0.0.1:6379/0" });
await client.connect();

const job = { websiteId: "site-1", url: process.argv[2] ?? "http://127.0.0.1:8080/", regionId: "eu-1" };
let last = (await client.xRevRange("uptime:results", "+", "-", { COUNT: 1 }))[0]?.id ?? "0";
await client.xAdd("uptime:jobs", "*", job);

// Others' results are passed over.
let result: Record<string, string> | undefined;
for (const end = Date.now() + 30_000; !result && Date.now() < end; ) {
  const read = await client.xRead({ key: "uptime:results", id: last }, { BLOCK: 5_000, COUNT: 100 });
  for (const { id, message } of read?.[0]?.messages ?? []) {
    last = id;
    if (message.websiteId === job.websiteId && message.regionId === job.regionId) result ??= message;
  }
}
console.log(result ? `${result.status} ${result.responseTimeMs} ms` : "no result within 30 s");
await client.close();
process.exitCode = result ? 0 : 1;
