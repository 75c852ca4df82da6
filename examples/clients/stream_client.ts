// Enqueues an uptime job from TypeScript, and prints the next result.
//
//   npm install redis
//   lapwing worker --config examples/queues/streams.toml &
//   npx tsx examples/clients/stream_client.ts https://example.com

import { createClient } from "redis";

const client = createClient({ url: process.env.REDIS_URL ?? "redis://127.0.0.1:6379/0" });
await client.connect();

const url = process.argv[2] ?? "http://127.0.0.1:8080/";
const last = (await client.xRevRange("uptime:results", "+", "-", { COUNT: 1 }))[0]?.id ?? "0";
await client.xAdd("uptime:jobs", "*", { websiteId: "site-1", url, regionId: "eu-1" });

const read = await client.xRead({ key: "uptime:results", id: last }, { BLOCK: 30_000, COUNT: 1 });
const result = read?.[0]?.messages?.[0]?.message;
console.log(result ? `${result.status} ${result.responseTimeMs} ms` : "no result within 30 s");
await client.close();
