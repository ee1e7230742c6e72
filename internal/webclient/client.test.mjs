// Tests of what fanfare.js does for an application beyond the table of conformance: reading at its own pace, positions
// over reloads, names, tokens, pages that sleep, and streams. Nothing here opens a port.
import assert from "node:assert/strict";
import { test } from "node:test";

import { connect } from "./fanfare.js";

const WELCOME = {
  connection: "c1", user: "guest-1", gateway: "g1",
  heartbeat: { interval_ms: 0, timeout_ms: 0 }, limits: { message_bytes: 0, rooms: 0 },
};

class FakeSocket {
  sent = [];
  constructor(url, protocols) {
    Object.assign(this, { url, protocols });
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
  answer(request, type, payload) {
    this.reply({ type, request_id: this.request(request).request_id, payload });
  }
  request(type) {
    return this.sent.findLast((frame) => frame.type === type);
  }
  message(seq, epoch = "e1") {
    this.reply({ type: "message", payload: message(seq, epoch) });
  }
}

function message(seq, epoch = "e1") {
  return { room: "lobby", epoch, seq, time: 1, from: "ann", data: seq };
}

function start(t, options) {
  const sockets = [];
  class WebSocket extends FakeSocket {
    constructor(...args) {
      super(...args);
      sockets.push(this);
    }
  }
  const client = connect("http://gateway.test/ws", { WebSocket, random: () => 0, ...options });
  t.after(() => client.close());
  return { client, sockets };
}

/** Joined in the lobby at e1:5. */
function inLobby(t, options, join) {
  const { client, sockets } = start(t, options);
  const room = client.join("lobby", join);
  sockets[0].reply({ type: "welcome", payload: WELCOME });
  sockets[0].answer("join", "joined", { room: "lobby", epoch: "e1", seq: 5, members: 1 });
  return { client, sockets, room, socket: sockets[0] };
}

async function settle() {
  for (let turn = 0; turn < 30; turn++) await null;
}

class Storage {
  values = new Map();
  getItem(key) {
    return this.values.get(key) ?? null;
  }
  setItem(key, value) {
    this.values.set(key, String(value));
  }
}

test("a room is read in a loop, which ends when it is left", async (t) => {
  const { room, socket } = inLobby(t);
  const read = [];
  const loop = (async () => {
    for await (const event of room) read.push([event.type, event.seq ?? event.to]);
  })();
  socket.message(6);
  socket.reply({ type: "gap", payload: { room: "lobby", epoch: "e1", from: 7, to: 8, reason: "conflated" } });
  socket.message(9);
  await settle();
  socket.reply({ type: "reset", payload: { room: "lobby", epoch: "e2", seq: 0, previous: { epoch: "e1", seq: 9 } } });
  socket.message(1, "e2");
  room.leave();
  await loop;
  assert.deepEqual(read, [["message", 6], ["gap", 8], ["message", 9], ["reset", 0], ["message", 1]]);
});

test("what a slow loop has no place for is fetched when its turn comes, page by page", async (t) => {
  const { room, socket } = inLobby(t);
  const events = room.events({ buffer: 3 });
  for (let seq = 6; seq <= 15; seq++) socket.message(seq);
  const read = [];
  while (read.at(-1) !== 15) {
    const next = events.next();
    await settle();
    const request = socket.request("history");
    if (request && !request.answered) {
      request.answered = true;
      const { after, before } = request.payload;
      assert.ok(before - after - 1 <= 3, `asks for ${before - after - 1}`);
      const messages = Array.from({ length: before - after - 1 }, (_, n) => message(after + 1 + n));
      socket.answer("history", "history", { room: "lobby", epoch: "e1", messages, first: 1, last: 15 });
    }
    read.push((await next).value.seq);
  }
  assert.deepEqual(read, [6, 7, 8, 9, 10, 11, 12, 13, 14, 15]);
});

test("a loop over a room that is not joined ends when the room is left, and when the client closes", { timeout: 10_000 }, async (t) => {
  const { client } = start(t);
  const [left, closed] = [client.room("a"), client.room("b")];
  const loops = [left.events(), closed.events()];
  const ends = loops.map((events) => events.next());
  left.leave();
  assert.deepEqual(await ends[0], { value: undefined, done: true });
  client.close();
  assert.deepEqual(await ends[1], { value: undefined, done: true });
  assert.deepEqual(await closed.events().next(), { value: undefined, done: true });
});

test("return ends a loop that waits, and one that has not begun, and with them their listeners", { timeout: 10_000 }, async (t) => {
  const { room, socket } = inLobby(t);
  const added = t.mock.method(Set.prototype, "add");
  const [waiting, unbegun] = [room.events(), room.events()];
  const listeners = added.mock.calls.map((call) => call.this);
  const next = waiting.next();
  assert.equal((await waiting.return()).done, true);
  assert.equal((await next).done, true);
  assert.equal((await unbegun.return()).done, true);
  assert.ok(listeners.length > 0);
  for (const set of listeners) assert.equal(set.size, 0);
  socket.message(6);
  assert.equal((await waiting.next()).done, true);
});

test("without filling a slow loop is told of its gap", async (t) => {
  const { room, socket } = inLobby(t, {}, { fill: false });
  const events = room.events({ buffer: 2 });
  for (let seq = 6; seq <= 9; seq++) socket.message(seq);
  for (const want of [{ type: "message", seq: 6 }, { type: "message", seq: 7 }, { type: "gap", from: 8, to: 9, reason: "slow_reader" }]) {
    const { value } = await events.next();
    for (const [name, is] of Object.entries(want)) assert.equal(value[name], is);
  }
});

test("a gap is told and not filled any more where too much waits behind it", async (t) => {
  const { room, socket } = inLobby(t);
  const heard = [];
  room.on("gap", ({ from, to }) => heard.push(-from, -to));
  room.on("message", ({ seq }) => heard.push(seq));
  socket.reply({ type: "gap", payload: { room: "lobby", epoch: "e1", from: 6, to: 7, reason: "slow_consumer" } });
  for (let seq = 8; seq < 8 + 4096; seq++) socket.message(seq);
  assert.deepEqual(heard, []);
  socket.message(4104);
  assert.deepEqual(heard.slice(0, 3), [-6, -7, 8]);
  assert.equal(heard.length, 2 + 4097);
  socket.answer("history", "history", { room: "lobby", epoch: "e1", messages: [message(6), message(7)], first: 1, last: 4104 });
  await settle();
  assert.equal(heard.length, 2 + 4097);
});

test("join resolves with the first joined, and rejects with the refusal", async (t) => {
  const { client, sockets } = start(t);
  const [good, bad] = [client.room("good").join({ last: 2 }), client.room("bad").join()];
  sockets[0].reply({ type: "welcome", payload: WELCOME });
  const [first, second] = sockets[0].sent;
  sockets[0].reply({ type: "joined", request_id: first.request_id, payload: { room: "good", epoch: "e1", seq: 1, members: 3 } });
  sockets[0].reply({ type: "error", request_id: second.request_id, payload: { code: "forbidden", message: "no" } });
  assert.equal((await good).members, 3);
  await assert.rejects(bad, { code: "forbidden" });
  client.room("third").join().catch(() => {});
  const third = client.room("third").join();
  client.close();
  await assert.rejects(third, { code: "left" });
});

test("joining again changes the presence and moves nothing", async (t) => {
  const { room, socket } = inLobby(t);
  const heard = [];
  room.on("joined", () => heard.push("joined"));
  room.on("presence", ({ joined }) => heard.push(...joined));
  const presence = () => socket.reply({ type: "presence", payload: { room: "lobby", joined: ["ben"], left: [], count: 2 } });
  presence();
  room.join({ presence: true });
  assert.equal(socket.request("join").payload.presence, true);
  socket.answer("join", "joined", { room: "lobby", epoch: "e1", seq: 5, members: 1 });
  presence();
  assert.deepEqual(heard, ["ben"]);
});

test("positions are kept over reloads, until the room is left", (t) => {
  const storage = new Storage();
  const { socket, room } = inLobby(t, { storage });
  socket.message(6);
  const reloaded = start(t, { storage });
  reloaded.client.join("lobby", { last: 50 });
  reloaded.sockets[0].reply({ type: "welcome", payload: WELCOME });
  const { since, last } = reloaded.sockets[0].request("join").payload;
  assert.deepEqual([since, last], [{ epoch: "e1", seq: 6 }, undefined]);
  room.leave();
  const anew = start(t, { storage });
  assert.equal(anew.client.join("lobby").position, null);
});

test("a storage that is full or broken is none", (t) => {
  const broken = { getItem: () => "{", setItem: () => { throw new Error("full"); } };
  const { socket, room } = inLobby(t, { storage: broken });
  socket.message(6);
  assert.equal(room.position.seq, 6);
});

test("a token goes with each connection, out of the URL", async (t) => {
  const tokens = ["t1", "t2"];
  const { client, sockets } = start(t, { token: async () => tokens.shift() });
  await settle();
  assert.deepEqual(sockets[0].protocols, ["fanfare.v1.json", "bearer.t1"]);
  assert.equal(sockets[0].url, "ws://gateway.test/ws");
  sockets[0].onclose({ code: 1006, reason: "" });
  client.retry();
  await settle();
  assert.deepEqual(sockets[1].protocols, ["fanfare.v1.json", "bearer.t2"]);
});

test("a token that cannot be had is waited for", async (t) => {
  let tries = 0;
  const { client, sockets } = start(t, { token: () => { if (++tries < 2) throw new Error("away"); return "t"; }, random: () => 1 });
  await settle();
  assert.deepEqual([client.state, sockets.length], ["waiting", 0]);
  client.retry();
  await settle();
  assert.equal(sockets.length, 1);
});

test("a token that cannot stand in a header is none yet, and ends nothing", async (t) => {
  const tokens = ["a b", "t2"];
  const shown = [];
  class Picky extends FakeSocket {
    constructor(url, protocols) {
      super(url, protocols);
      shown.push(protocols[1]);
      if (protocols[1].includes(" ")) throw new SyntaxError("an invalid subprotocol");
    }
  }
  const { client } = start(t, { WebSocket: Picky, token: async () => tokens.shift() });
  await settle();
  assert.equal(client.state, "waiting");
  client.retry();
  await settle();
  assert.deepEqual(shown, ["bearer.a b", "bearer.t2"]);
  assert.equal(client.state, "connecting");
});

test("a name is taken back on each connection, with its key, before the rooms are joined", async (t) => {
  const storage = new Storage();
  const { client, sockets, socket } = inLobby(t, { storage });
  const registered = client.register("ann");
  socket.answer("register", "registered", { username: "ann", key: "k1" });
  assert.equal(await registered, "ann");
  assert.equal(client.user, "ann");
  socket.onclose({ code: 1006, reason: "" });
  client.retry();
  sockets[1].reply({ type: "welcome", payload: WELCOME });
  assert.deepEqual(sockets[1].sent.map(({ type, payload }) => [type, payload]), [["register", { username: "ann", key: "k1" }]]);
  sockets[1].answer("register", "registered", { username: "ann", key: "k1" });
  assert.equal(sockets[1].sent[1].type, "join");

  const reloaded = start(t, { storage });
  reloaded.sockets[0].reply({ type: "welcome", payload: WELCOME });
  reloaded.client.register("ann").catch(() => {}); // the end of the test ends it
  assert.equal(reloaded.sockets[0].request("register").payload.key, "k1");
});

test("a name that another has by now is an error, and the rooms are joined as a guest", (t) => {
  const { client, sockets, socket } = inLobby(t);
  client.register("ann").catch(() => {});
  socket.answer("register", "registered", { username: "ann", key: "k1" });
  return settle().then(() => {
    const errors = [];
    client.on("error", ({ code }) => errors.push(code));
    socket.onclose({ code: 1006, reason: "" });
    client.retry();
    sockets[1].reply({ type: "welcome", payload: WELCOME });
    sockets[1].answer("register", "error", { code: "username_taken", message: "another has it" });
    assert.deepEqual(errors, ["username_taken"]);
    assert.equal(sockets[1].request("join").payload.room, "lobby");
    assert.equal(client.user, "guest-1");
  });
});

test("a suspended client has no connection and tries none until retry, and then resumes", (t) => {
  const { client, sockets, socket } = inLobby(t);
  client.suspend();
  assert.deepEqual([client.state, socket.closedWith, sockets.length], ["waiting", 1000, 1]);
  client.retry();
  sockets[1].reply({ type: "welcome", payload: WELCOME });
  assert.deepEqual(sockets[1].request("join").payload.since, { epoch: "e1", seq: 5 });
});

test("a page that is frozen lets go, and connects when it is back; one that is online again looks at once", (t) => {
  const page = new EventTarget();
  globalThis.addEventListener = page.addEventListener.bind(page);
  t.after(() => delete globalThis.addEventListener);
  const { client, sockets, socket } = inLobby(t);
  page.dispatchEvent(new Event("freeze"));
  assert.deepEqual([client.state, socket.closedWith], ["waiting", 1000]);
  page.dispatchEvent(new Event("resume"));
  assert.equal(sockets.length, 2);
  sockets[1].reply({ type: "welcome", payload: WELCOME });
  page.dispatchEvent(new Event("online"));
  assert.equal(sockets[1].request("ping").type, "ping");
  client.close();
  page.dispatchEvent(new Event("pageshow"));
  assert.equal(sockets.length, 2);
});

/** Answers like a gateway's HTTP; `say` writes to the newest stream. */
function http(t, answers = {}) {
  const asked = [];
  const streams = Object.assign([], { aborted: 0 });
  t.mock.method(globalThis, "fetch", async (url, init = {}) => {
    asked.push({ url: String(url), method: init.method ?? "GET", ...init.headers });
    const path = new URL(url).pathname;
    if (answers[path]) return answers[path](init);
    if (path === "/ws") return new Response("", { status: 426 });
    const body = new ReadableStream({ start: (controller) => streams.push(controller) });
    const stream = streams.at(-1);
    init.signal.addEventListener("abort", () => {
      streams.aborted++;
      stream.error(init.signal.reason);
    });
    return new Response(body, { headers: { "content-type": "text/event-stream" } });
  });
  const say = (text) => streams.at(-1).enqueue(new TextEncoder().encode(text));
  return { asked, streams, say };
}

/** Streams deliver in turns of the event loop. */
async function until(found) {
  const deadline = Date.now() + 10_000;
  while (!found()) {
    assert.ok(Date.now() < deadline, `waited in vain for ${found}`);
    await new Promise((resolve) => setImmediate(resolve));
  }
}

test("where there is no WebSocket a room is a stream, and resumes as one", async (t) => {
  const { asked, streams, say } = http(t);
  const { client } = start(t, { WebSocket: undefined, token: () => "t" });
  const heard = [];
  const room = client.join("a/b", { last: 3, presence: true });
  for (const type of ["joined", "message", "gap", "presence"]) room.on(type, (event) => heard.push([type, event.seq ?? event.to ?? event.count]));
  await until(() => streams.length === 1);
  assert.equal(asked[1].url, "http://gateway.test/rooms/a%2Fb/events?last=3&presence=true");
  assert.equal(asked[1].authorization, "Bearer t");
  say('retry: 500\n\nid: e1:5\nevent: joined\ndata: {"room":"a/b","epoch":"e1","seq":5,"members":1}\n\n:\n\nid: e1:6\nda');
  say('ta: {"room":"a/b","epoch":"e1","seq":6,"time":1,\ndata: "from":"ann","data":"event: x"}\n\n');
  say('event: gap\ndata: {"room":"a/b","epoch":"e1","from":7,"to":8,"reason":"history_lost"}\n\n');
  say('event: presence\ndata: {"room":"a/b","joined":[],"left":[],"count":2}\n\n');
  await until(() => heard.length === 4);
  assert.deepEqual(heard, [["joined", 5], ["message", 6], ["gap", 8], ["presence", 2]]);
  streams[0].close();
  await until(() => streams.length === 2);
  assert.match(asked.at(-1).url, /since=e1:8&/);
  const { aborted } = streams;
  client.close();
  assert.equal(streams.aborted, aborted + 1);
});

test("a room that is left, or joined again, ends its own stream and no other", async (t) => {
  const { streams, say } = http(t);
  const { client } = start(t, { transport: "stream" });
  const states = [];
  const [a, b] = [client.join("a"), client.join("b")];
  await until(() => streams.length === 2);
  say('event: joined\ndata: {"room":"b","epoch":"e1","seq":5,"members":1}\n\n');
  await until(() => b.joined);
  client.on("state", ({ state }) => states.push(state));
  a.leave();
  b.join({ presence: true });
  await until(() => streams.aborted === 2 && streams.length === 3);
  for (let turn = 0; turn < 20; turn++) await new Promise((resolve) => setImmediate(resolve));
  assert.deepEqual(states, []);
});

test("a stream says why it ended", async (t) => {
  const { streams, say } = http(t);
  const { client } = start(t, { transport: "stream" });
  const states = [];
  client.on("state", ({ state, code }) => states.push([state, code]));
  client.join("lobby");
  await until(() => streams.length === 1);
  say('event: close\ndata: {"code":4005,"reason":"by an operator"}\n\n');
  await until(() => client.state === "closed");
  assert.deepEqual(states.at(-1), ["closed", 4005]);
});

test("a stream publishes by HTTP, with the id", async (t) => {
  let body;
  http(t, {
    "/rooms/lobby/messages": (init) => {
      body = JSON.parse(init.body);
      return Response.json({ room: "lobby", epoch: "e1", seq: 9 });
    },
  });
  const { client } = start(t, { transport: "stream" });
  assert.equal((await client.room("lobby").publish({ text: "hi" }, { event: "chat", id: "p1" })).seq, 9);
  assert.deepEqual(body, { data: { text: "hi" }, event: "chat", id: "p1" });
  await assert.rejects(client.room("lobby").history(), { code: "unsupported" });
});

test("what a stream is refused with is the room's error, or the token's end", async (t) => {
  const problem = (status, code) => () => Response.json({ code, detail: "no" }, { status });
  http(t, { "/rooms/lobby/events": problem(403, "forbidden"), "/rooms/else/events": problem(401, "unauthorized") });
  const { client } = start(t, { transport: "stream" });
  await assert.rejects(client.room("lobby").join(), { code: "forbidden" });
  client.room("else").join().catch(() => {});
  await until(() => client.state === "closed");
});

test("two attempts without an answer are followed by one as a stream, and a WebSocket with a welcome ends that", async (t) => {
  const { asked } = http(t);
  t.mock.timers.enable({ apis: ["setTimeout"] });
  const { client, sockets } = start(t, { token: () => "t" });
  const connections = async (count) => {
    await settle();
    assert.equal(sockets.length, count);
  };
  for (const count of [1, 2]) {
    await connections(count);
    sockets.at(-1).onclose({ code: 1006, reason: "" });
    t.mock.timers.tick(1);
  }
  await until(() => client.state === "open");
  assert.equal(asked.length, 1);
  t.mock.timers.tick(15_000);
  await connections(3);
  assert.deepEqual(sockets[2].protocols, ["fanfare.v1.json", "bearer.t"], "who has to show a token has to show it here too");
  sockets[2].onopen?.(); // and nothing comes through
  await connections(3);
  assert.equal(client.state, "open");
  sockets[2].onclose();
  t.mock.timers.tick(15_000);
  await connections(4);
  sockets[3].reply({ type: "welcome", payload: WELCOME });
  await connections(5);
  sockets[4].reply({ type: "welcome", payload: WELCOME });
  assert.equal(client.welcome.gateway, "g1");
});
