// Tests of fanfare-worker.js and of fanfare.js with it: pages are clients, with ports that deliver in their own time.
import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import { test } from "node:test";
import vm from "node:vm";

import { connect } from "./fanfare.js";

const script = await readFile(new URL("./fanfare-worker.js", import.meta.url), "utf8");
const WELCOME = {
  connection: "c1", user: "guest-1", gateway: "g1",
  heartbeat: { interval_ms: 0, timeout_ms: 0 }, limits: { message_bytes: 0, rooms: 0 },
};

/** Delivers to the other side in the next turn. */
class Port {
  held = null; // what a page that is busy has not taken
  postMessage(data) {
    const message = structuredClone(data);
    if (this.other.held) this.other.held.push(message);
    else queueMicrotask(() => this.other.onmessage?.({ data: message }));
  }
  release() {
    const { held } = this;
    this.held = null;
    for (const data of held) this.onmessage?.({ data });
  }
  close() {}
}

/** A worker with its connections, as the gateway sees them, and pages. */
function start(t) {
  const sockets = [];
  class WebSocket {
    sent = [];
    constructor(url, protocols) {
      Object.assign(this, { url, protocols });
      sockets.push(this);
    }
    send(text) {
      this.sent.push(JSON.parse(text));
    }
    close(code) {
      this.closedWith = code ?? "no code";
    }
    reply(frame) {
      this.onmessage({ data: JSON.stringify({ version: 1, ...frame }) });
    }
    request(type) {
      return this.sent.findLast((frame) => frame.type === type);
    }
    message(seq, room = "lobby") {
      this.reply({ type: "message", payload: { room, epoch: "e1", seq, time: 1, from: "ann", data: seq } });
    }
  }
  const scope = vm.createContext({ WebSocket });
  vm.runInContext(script, scope);
  const page = () => {
    const [here, there] = [new Port(), new Port()];
    Object.assign(here, { other: there });
    Object.assign(there, { other: here });
    class SharedWorker {
      port = here;
      constructor() {
        scope.onconnect({ ports: [there] });
      }
    }
    const client = connect("http://gateway.test/ws", { SharedWorker, shared: true, WebSocket: class {}, random: () => 0 });
    t.after(() => client.close());
    const heard = [];
    const join = (options, name = "lobby") => {
      const room = client.room(name);
      for (const type of ["joined", "message", "gap", "reset"]) room.on(type, (event) => heard.push([type, event.seq ?? event.to]));
      room.join(options);
      return room;
    };
    return { client, heard, join, port: here };
  };
  return { sockets, page };
}

async function settle() {
  for (let turn = 0; turn < 30; turn++) await null;
}

/** Two pages in the lobby, which stands at e1:7. */
async function two(t) {
  const { sockets, page } = start(t);
  const [one, other] = [page(), page()];
  await settle();
  const [socket] = sockets;
  socket.reply({ type: "welcome", payload: WELCOME });
  const room = one.join({});
  await settle();
  const { request_id } = socket.request("join");
  socket.reply({ type: "joined", request_id, payload: { room: "lobby", epoch: "e1", seq: 5, members: 1 } });
  socket.message(6);
  socket.message(7);
  await settle();
  return { sockets, socket, page, one, other, room };
}

test("pages share one connection, and each is told of it", async (t) => {
  const { sockets, page } = start(t);
  const [one, other] = [page(), page()];
  await settle();
  assert.equal(sockets.length, 1);
  assert.equal(sockets[0].url, "ws://gateway.test/ws");
  assert.deepEqual([...sockets[0].protocols], ["fanfare.v1.json"]);
  sockets[0].reply({ type: "welcome", payload: WELCOME });
  const late = page();
  await settle();
  for (const { client } of [one, other, late]) assert.deepEqual([client.state, client.welcome], ["open", WELCOME]);
});

test("a reply goes to the page that asked", async (t) => {
  const { socket, one, other } = await two(t);
  const replies = [one.client.room("x").publish(1), other.client.room("x").publish(2)];
  await settle();
  const asked = socket.sent.filter(({ type }) => type === "publish");
  assert.notEqual(asked[0].request_id, asked[1].request_id);
  for (const { request_id, payload } of asked.reverse()) {
    socket.reply({ type: "published", request_id, payload: { room: "x", epoch: "e", seq: payload.data } });
  }
  assert.deepEqual((await Promise.all(replies)).map(({ seq }) => seq), [1, 2]);
});

test("a second page fetches what it asks for, and then hears what the first hears", async (t) => {
  const { socket, one, other } = await two(t);
  other.join({ last: 2 });
  await settle();
  assert.equal(socket.sent.filter(({ type }) => type === "join").length, 1);
  socket.message(8);
  const { request_id, payload } = socket.request("history");
  assert.deepEqual([payload.after, payload.before], [5, 8]);
  const messages = [6, 7].map((seq) => ({ room: "lobby", epoch: "e1", seq, time: 1, from: "ann", data: seq }));
  socket.reply({ type: "history", request_id, payload: { room: "lobby", epoch: "e1", messages, first: 1, last: 8 } });
  await settle();
  assert.deepEqual(other.heard, [["joined", 5], ["message", 6], ["message", 7], ["message", 8]]);
  assert.deepEqual(one.heard, [["joined", 5], ["message", 6], ["message", 7], ["message", 8]]);
});

test("a log that is shorter than a second page asks for is no loss to it", async (t) => {
  const { socket, other } = await two(t);
  other.join({ last: 7 });
  await settle();
  const messages = [{ room: "lobby", epoch: "e1", seq: 7, time: 1, from: "ann", data: 7 }];
  const { request_id } = socket.request("history");
  socket.reply({ type: "history", request_id, payload: { room: "lobby", epoch: "e1", messages, first: 7, last: 7 } });
  await settle();
  assert.deepEqual(other.heard, [["joined", 0], ["message", 7]]);
});

test("a second page that resumes where the log has no more is told so", async (t) => {
  const { socket, other } = await two(t);
  other.join({ since: { epoch: "e1", seq: 2 } });
  await settle();
  const messages = [{ room: "lobby", epoch: "e1", seq: 7, time: 1, from: "ann", data: 7 }];
  const { request_id } = socket.request("history");
  socket.reply({ type: "history", request_id, payload: { room: "lobby", epoch: "e1", messages, first: 7, last: 7 } });
  await settle();
  assert.deepEqual(other.heard, [["joined", 2], ["gap", 6], ["message", 7]]);
});

test("pages that join at the same time are both joined, with one join", async (t) => {
  const { sockets, page } = start(t);
  const [one, other] = [page(), page()];
  await settle();
  const [socket] = sockets;
  socket.reply({ type: "welcome", payload: WELCOME });
  one.join({});
  other.join({});
  await settle();
  assert.equal(socket.sent.length, 1);
  const { request_id } = socket.sent[0];
  socket.reply({ type: "joined", request_id, payload: { room: "lobby", epoch: "e1", seq: 5, members: 1 } });
  socket.message(6);
  await settle();
  for (const { heard } of [one, other]) assert.deepEqual(heard, [["joined", 5], ["message", 6]]);
});

test("a refusal is told to the page that asked, and the next asks for itself", async (t) => {
  const { sockets, page } = start(t);
  const [one, other] = [page(), page()];
  await settle();
  const [socket] = sockets;
  socket.reply({ type: "welcome", payload: WELCOME });
  const refused = one.join({}).join();
  other.join({});
  await settle();
  const { request_id } = socket.sent[0];
  socket.reply({ type: "error", request_id, payload: { code: "forbidden", message: "no" } });
  await assert.rejects(refused, { code: "forbidden" });
  await settle();
  assert.equal(socket.sent.length, 2);
});

test("a room is left when the last page leaves it", async (t) => {
  const { socket, one, other, room } = await two(t);
  const its = other.join({});
  await settle();
  room.leave();
  await settle();
  assert.equal(socket.request("leave"), undefined);
  socket.message(8);
  await settle();
  assert.deepEqual(other.heard.at(-1), ["message", 8]);
  assert.deepEqual(one.heard.at(-1), ["message", 7]);
  its.leave();
  await settle();
  assert.deepEqual(socket.request("leave").payload, { room: "lobby" });
});

test("the connection ends with the last page", async (t) => {
  const { socket, one, other } = await two(t);
  one.client.close();
  await settle();
  assert.equal(socket.closedWith, undefined);
  assert.equal(socket.request("leave").payload.room, "lobby");
  other.client.close();
  await settle();
  assert.equal(socket.closedWith, 1000);
});

test("a lost connection is lost to every page, and one of them opens the next", async (t) => {
  const { sockets, socket, one, other } = await two(t);
  socket.onclose({ code: 1012, reason: "drain" });
  await settle();
  assert.deepEqual([one.client.state, other.client.state], ["waiting", "waiting"]);
  one.client.retry();
  other.client.retry();
  await settle();
  assert.equal(sockets.length, 2);
  sockets[1].reply({ type: "welcome", payload: WELCOME });
  await settle();
  assert.deepEqual(sockets[1].request("join").payload.since, { epoch: "e1", seq: 7 });
});

test("a page that does not take what comes begins anew where it stands", async (t) => {
  const { socket, page, one } = await two(t);
  const slow = page();
  slow.join({});
  await settle();
  slow.port.held = [];
  for (let seq = 8; seq < 8 + 600; seq++) {
    socket.message(seq);
    if (seq % 50 === 0) await settle();
  }
  await settle();
  assert.ok(slow.port.held.length <= 514, `${slow.port.held.length} frames wait for the page`);
  assert.deepEqual(one.heard.at(-1), ["message", 607]);
  slow.port.release();
  assert.equal(slow.client.state, "waiting");
  slow.client.retry();
  await settle();
  const { request_id, payload } = socket.request("history");
  assert.deepEqual([payload.after, payload.before], [slow.heard.at(-2)[1], 608]);
  const messages = Array.from({ length: 607 - payload.after }, (_, n) => ({ room: "lobby", epoch: "e1", seq: payload.after + 1 + n }));
  socket.reply({ type: "history", request_id, payload: { room: "lobby", epoch: "e1", messages, first: 1, last: 607 } });
  await settle();
  const read = slow.heard.filter(([type]) => type === "message").map(([, seq]) => seq);
  assert.deepEqual(read, Array.from({ length: 600 }, (_, n) => 8 + n));
});

test("a page that takes the connection for dead ends it for all", async (t) => {
  const { sockets, page } = start(t);
  const [one, other] = [page(), page()];
  await settle();
  sockets[0].reply({ type: "welcome", payload: { ...WELCOME, heartbeat: { interval_ms: 1, timeout_ms: 2 } } });
  await settle();
  const deadline = Date.now() + 10_000;
  while (other.client.state === "open" && Date.now() < deadline) await new Promise((resolve) => setTimeout(resolve, 1));
  assert.notEqual(sockets[0].closedWith, undefined);
  assert.ok([one, other].every(({ client }) => client.state !== "open"));
});
