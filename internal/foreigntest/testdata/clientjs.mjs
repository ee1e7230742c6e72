// fanfare.js against a real gateway, unchanged in Node, Deno and Bun: clientjs.mjs. FANFARE_URL says where; with
// FANFARE_WS a WebSocket is npm's, else it is the runtime's own, and where there is none rooms are streams.
import assert from "node:assert/strict";
import process from "node:process";

import { connect } from "../../webclient/fanfare.js";

const url = process.env.FANFARE_URL;
const { WebSocket } = process.env.FANFARE_WS ? await import("ws") : globalThis;
const name = `clientjs-${process.env.FANFARE_WS ?? ""}${Date.now()}`;
const clients = [];

function open(options) {
  const client = connect(url, { WebSocket, backoff: { base: 50, cap: 500 }, ...options });
  clients.push(client);
  return client;
}

async function until(found) {
  const deadline = Date.now() + 20_000;
  while (!found()) {
    assert.ok(Date.now() < deadline, `waited in vain for ${found}`);
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
}

/** A room that is read in a loop, with the numbers that came. */
async function follow(client, start) {
  const room = client.room(name);
  const numbers = [];
  const kinds = new Set();
  const events = room.events();
  await room.join(start);
  (async () => {
    for await (const event of events) {
      kinds.add(event.type);
      numbers.push(event.data?.n);
    }
  })();
  return { room, numbers, kinds };
}

const upTo = (n) => Array.from({ length: n }, (_, i) => i + 1);

const speaker = open();
const reader = open();
const { room, numbers, kinds } = await follow(reader, {});
const said = speaker.room(name);
for (const n of upTo(20)) assert.equal((await said.publish({ n }, { id: `n${n}` })).seq, n);
assert.equal((await said.publish({ n: 20 }, { id: "n20" })).duplicate, true);
await until(() => numbers.length === 20);

reader.suspend();
for (const n of upTo(30).slice(20)) await said.publish({ n });
reader.retry();
await until(() => numbers.length === 30);
assert.deepEqual(numbers, upTo(30));
assert.deepEqual([...kinds], ["message"]);
assert.equal(room.position.seq, 30);

const late = await follow(open(), { last: 5 });
await until(() => late.numbers.length === 5);
assert.deepEqual(late.numbers, upTo(30).slice(25));

if (WebSocket) {
  assert.equal(await speaker.register(`js-${Date.now()}`), speaker.user);
  assert.equal((await room.history({ after: 10, limit: 3 })).messages.at(-1).data.n, 13);
  assert.equal((await room.members()).count, 2);
}
await assert.rejects(speaker.room("no room").join(), { code: "invalid_request", field: "room" });
room.leave();
for (const client of clients) client.close();
await assert.rejects(said.publish({ n: 0 }), { code: "closed" });
