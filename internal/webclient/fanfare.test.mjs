// Tests of fanfare.js on a clock and a socket of its own: nothing here waits or opens a port. Run: node --test
import assert from "node:assert/strict";
import { test } from "node:test";

import { connect, FanfareError } from "./fanfare.js";

const HEARTBEAT = { interval_ms: 25_000, timeout_ms: 60_000 };
const LIMITS = { message_bytes: 1000, rooms: 100 };

/** One connection as the gateway sees it. */
class FakeSocket {
  sent = [];
  closedWith = null;
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
  welcome(over = {}) {
    this.reply({ type: "welcome", payload: { connection: "c1", user: "guest-1", gateway: "g1", heartbeat: HEARTBEAT, limits: LIMITS, ...over } });
  }
  end(code, reason = "") {
    this.onclose({ code, reason });
  }
  /** The newest request of a type. */
  request(type) {
    return this.sent.findLast((frame) => frame.type === type);
  }
  joined(payload) {
    this.reply({ type: "joined", request_id: this.request("join").request_id, payload: { room: "lobby", members: 1, ...payload } });
  }
  message(seq, epoch = "e1") {
    this.reply({ type: "message", payload: { room: "lobby", epoch, seq, time: 1, from: "guest-2", data: seq } });
  }
}

/** A client on a frozen clock, with the sockets it opened. `random: () => 1` makes each back-off its full length. */
function start(t, options = {}) {
  t.mock.timers.enable({ apis: ["setTimeout", "Date"], now: 1_000_000 });
  const sleep = { ms: 0 }; // time that passed with no timer running
  t.mock.method(performance, "now", () => Date.now() + sleep.ms);
  const sockets = [];
  const states = [];
  class WebSocket extends FakeSocket {
    constructor(url, protocols) {
      super(url, protocols);
      sockets.push(this);
    }
  }
  const client = connect("http://gateway.test/ws", { WebSocket, transport: "websocket", random: () => 1, ...options });
  client.on("state", (change) => states.push(change));
  return { client, sockets, states, sleep, newest: () => sockets.at(-1), tick: (ms) => t.mock.timers.tick(ms) };
}

/** A client that has joined the lobby at e1:5, and what its room said. */
function inLobby(t, options, join) {
  const setup = start(t, options);
  const heard = [];
  const room = setup.client.join("lobby", { last: 50, ...join });
  for (const type of ["message", "gap", "reset", "joined", "error"]) room.on(type, (detail) => heard.push([type, detail.seq ?? detail.to ?? detail.code]));
  setup.newest().welcome();
  setup.newest().joined({ epoch: "e1", seq: 5 });
  heard.length = 0;
  return { ...setup, room, heard };
}

test("connects by ws with the subprotocol and is open with the welcome", (t) => {
  const { client, newest, states } = start(t);
  assert.equal(newest().url, "ws://gateway.test/ws");
  assert.deepEqual(newest().protocols, ["fanfare.v1.json"]);
  assert.equal(client.state, "connecting");
  newest().welcome();
  assert.equal(client.state, "open");
  assert.equal(client.welcome.user, "guest-1");
  assert.deepEqual(states, [{ state: "open" }]);
});

test("gives up a connection that brings no welcome", (t) => {
  const { client, sockets, tick } = start(t);
  tick(15_000);
  assert.equal(client.state, "waiting");
  assert.equal(sockets[0].closedWith, "no code");
});

test("backs off exponentially up to the cap", (t) => {
  const { sockets, states, newest, tick } = start(t);
  const delays = [];
  for (let n = 0; n < 8; n++) {
    newest().end(1006);
    delays.push(states.at(-1).delay);
    tick(states.at(-1).delay);
    assert.equal(sockets.length, n + 2);
  }
  assert.deepEqual(delays, [500, 1000, 2000, 4000, 8000, 16_000, 20_000, 20_000]);
});

test("the jitter is full: from nothing to the whole back-off", (t) => {
  const { states, newest } = start(t, { random: () => 0.25 });
  newest().end(1006);
  assert.equal(states.at(-1).delay, 125);
});

test("is back at the base after a connection of ten seconds, and not before", (t) => {
  const { states, newest, tick } = start(t);
  for (const [lasted, delay] of [[0, 500], [9_999, 1000], [10_000, 500]]) {
    newest().welcome();
    tick(lasted);
    newest().end(1006);
    assert.equal(states.at(-1).delay, delay, `after ${lasted} ms`);
    tick(delay);
  }
});

test("comes back when the reconnect frame said", (t) => {
  const { states, newest, sockets, tick } = start(t);
  newest().welcome();
  newest().reply({ type: "reconnect", payload: { after_ms: 3000, reason: "drain" } });
  tick(1000);
  newest().end(1012);
  assert.equal(states.at(-1).delay, 2000);
  tick(1999);
  assert.equal(sockets.length, 1);
  tick(1);
  assert.equal(sockets.length, 2);
});

test("a gateway that always says reconnect at once does not make it spin", (t) => {
  const { states, newest, tick } = start(t);
  const delays = [];
  for (let n = 0; n < 4; n++) {
    newest().welcome();
    newest().reply({ type: "reconnect", payload: { after_ms: 0, reason: "shed" } });
    newest().end(1012);
    delays.push(states.at(-1).delay);
    tick(states.at(-1).delay);
  }
  assert.deepEqual(delays, [0, 1000, 2000, 4000]);
});

for (const [code, verdict] of [
  [1000, "closed"], [1001, "waiting"], [1002, "closed"], [1003, "closed"], [1005, "waiting"], [1006, "waiting"],
  [1007, "closed"], [1008, "closed"], [1009, "closed"], [1011, "waiting"], [1012, "waiting"], [1013, "waiting"],
  [4001, "closed"], [4002, "waiting"], [4003, "waiting"], [4004, "waiting"], [4005, "closed"],
]) {
  test(`close code ${code} leaves it ${verdict}`, (t) => {
    const { client, newest, states, sockets, tick } = start(t);
    newest().welcome();
    newest().end(code, "because");
    assert.equal(client.state, verdict);
    assert.equal(states.at(-1).code, code);
    assert.equal(states.at(-1).reason, "because");
    tick(60_000);
    assert.equal(sockets.length > 1, verdict === "waiting");
  });
}

test("retry ends the waiting, and only that", (t) => {
  const { client, newest, sockets, tick } = start(t);
  client.retry();
  assert.equal(sockets.length, 1);
  newest().end(1006);
  client.retry();
  assert.equal(client.state, "connecting");
  tick(500);
  assert.equal(sockets.length, 2);
});

test("close while waiting is final", (t) => {
  const { client, newest, sockets, tick } = start(t);
  newest().end(1006);
  client.close();
  tick(60_000);
  assert.equal(sockets.length, 1);
  assert.equal(client.state, "closed");
});

test("close while open is final", (t) => {
  const { client, newest, sockets, tick } = start(t);
  newest().welcome();
  client.close();
  assert.equal(sockets[0].closedWith, 1000);
  assert.equal(client.state, "closed");
  tick(60_000);
  assert.equal(sockets.length, 1);
  assert.throws(() => client.join("lobby"), { code: "closed" });
});

test("pings after a silent interval, and any frame counts as life", (t) => {
  const { client, newest, tick } = start(t);
  newest().welcome();
  tick(24_999);
  assert.equal(newest().request("ping"), undefined);
  tick(1);
  assert.deepEqual(newest().sent, [{ type: "ping" }]);
  tick(1000);
  newest().reply({ type: "pong", payload: { time: 1 } });
  tick(34_000); // the ping's own deadline: it finds the pong, and that the interval is over again
  assert.equal(newest().sent.length, 2);
  newest().reply({ type: "presence", payload: {} }); // a type it does not know is life too
  tick(35_000);
  assert.equal(client.state, "open");
});

test("drops a connection that is silent for the time-out, without waiting for its close", (t) => {
  const { client, sockets, states, newest, tick } = start(t);
  newest().welcome();
  tick(25_000);
  tick(34_999);
  assert.equal(client.state, "open");
  tick(1);
  assert.equal(client.state, "waiting");
  assert.equal(states.at(-1).reason, "heartbeat timeout");
  assert.equal(sockets[0].closedWith, "no code");
  assert.equal(sockets[0].onclose, null);
});

test("asks before it judges when its timers were late", (t) => {
  const { client, newest, sleep, tick } = start(t);
  newest().welcome();
  sleep.ms = 3_600_000; // the interval's timer fires an hour late
  tick(25_000);
  assert.equal(client.state, "open");
  assert.equal(newest().request("ping").type, "ping");
});

test("joins with the welcome, and each room once", (t) => {
  const { client, newest } = start(t);
  const room = client.join("lobby", { last: 50 });
  assert.equal(client.join("lobby"), room);
  newest().welcome();
  const joins = newest().sent.filter((frame) => frame.type === "join");
  assert.deepEqual(joins.map((join) => join.payload), [{ room: "lobby", last: 50 }]);
});

test("a room joined in the listener of open is joined once", (t) => {
  const { client, newest } = start(t);
  client.on("state", ({ state }) => state === "open" && client.join("lobby"));
  newest().welcome();
  assert.equal(newest().sent.filter((frame) => frame.type === "join").length, 1);
});

test("messages arrive in order, duplicates do not", (t) => {
  const { newest, room, heard } = inLobby(t);
  for (const seq of [6, 7, 7, 6, 5, 8]) newest().message(seq);
  assert.deepEqual(heard, [["message", 6], ["message", 7], ["message", 8]]);
  assert.deepEqual(room.position, { epoch: "e1", seq: 8 });
});

test("resumes after the last message it had", (t) => {
  const { newest, room, heard, tick } = inLobby(t);
  newest().message(6);
  newest().end(1006);
  assert.equal(room.joined, false);
  tick(500);
  newest().welcome();
  assert.deepEqual(newest().request("join").payload, { room: "lobby", since: { epoch: "e1", seq: 6 } });
  newest().joined({ epoch: "e1", seq: 6, recovered: true });
  newest().message(7);
  assert.deepEqual(heard, [["message", 6], ["joined", 6], ["message", 7]]);
});

test("a gap moves the position, and a duplicate of what it skipped is dropped", (t) => {
  const { newest, room, heard } = inLobby(t, {}, { fill: false });
  newest().reply({ type: "gap", payload: { room: "lobby", epoch: "e1", from: 6, to: 9, reason: "slow_consumer" } });
  newest().message(9);
  newest().message(10);
  assert.deepEqual(heard, [["gap", 9], ["message", 10]]);
  assert.deepEqual(room.position, { epoch: "e1", seq: 10 });
});

test("a reset moves the position into the new log, though its numbers are lower", (t) => {
  const { newest, room, heard } = inLobby(t);
  newest().reply({ type: "reset", payload: { room: "lobby", epoch: "e2", seq: 0, previous: { epoch: "e1", seq: 5 } } });
  newest().message(1, "e2");
  assert.deepEqual(heard, [["reset", 0], ["message", 1]]);
  assert.deepEqual(room.position, { epoch: "e2", seq: 1 });
});

test("resuming in another log is a reset", (t) => {
  const { newest, room, heard, tick } = inLobby(t);
  const resets = [];
  room.on("reset", (reset) => resets.push(reset));
  newest().end(1006);
  tick(500);
  newest().welcome();
  newest().joined({ epoch: "e2", seq: 0, recovered: false });
  newest().message(1, "e2");
  assert.deepEqual(heard, [["joined", 0], ["reset", 0], ["message", 1]]);
  assert.deepEqual(resets, [{ type: "reset", room: "lobby", epoch: "e2", seq: 0, previous: { epoch: "e1", seq: 5 } }]);
});

test("resuming where the log begins later is a gap and no reset", (t) => {
  const { newest, heard, tick } = inLobby(t);
  newest().end(1006);
  tick(500);
  newest().welcome();
  newest().joined({ epoch: "e1", seq: 5, recovered: false });
  newest().reply({ type: "gap", payload: { room: "lobby", epoch: "e1", from: 6, to: 8, reason: "history_lost" } });
  newest().message(9);
  assert.deepEqual(heard, [["joined", 5], ["gap", 8], ["message", 9]]);
});

test("a room that is refused says why and is not asked for again", (t) => {
  const { client, newest, tick } = start(t);
  const errors = [];
  client.join("no room").on("error", (error) => errors.push(error));
  newest().welcome();
  const { request_id } = newest().request("join");
  newest().reply({ type: "error", request_id, payload: { code: "invalid_request", message: "room: …", field: "room" } });
  assert.ok(errors[0] instanceof FanfareError);
  assert.equal(errors[0].field, "room");
  newest().end(1006);
  tick(500);
  newest().welcome();
  assert.deepEqual(newest().sent, []);
});

test("a room that was left hears nothing more and is not joined again", (t) => {
  const { client, newest, room, heard, tick } = inLobby(t);
  room.leave();
  assert.deepEqual(newest().request("leave").payload, { room: "lobby" });
  const again = client.join("lobby");
  assert.notEqual(again, room);
  newest().message(6); // on its way when the leave was sent
  assert.deepEqual(heard, []);
  assert.equal(again.position, null);
  again.leave();
  newest().end(1006);
  tick(500);
  newest().welcome();
  assert.deepEqual(newest().sent, []);
});

test("a room that is left before it was joined stays left", (t) => {
  const { client, newest } = start(t);
  const room = client.join("lobby");
  const heard = [];
  room.on("joined", () => heard.push("joined"));
  newest().welcome();
  room.leave();
  newest().joined({ epoch: "e1", seq: 5 });
  assert.equal(room.joined, false);
  assert.deepEqual(heard, []);
});

test("a join without a reply ends with its connection and is no error", (t) => {
  const { client, newest, tick } = start(t);
  const errors = [];
  client.join("lobby").on("error", (error) => errors.push(error));
  newest().welcome();
  newest().end(1006);
  tick(500);
  newest().welcome();
  assert.equal(newest().sent.length, 1);
  client.close();
  assert.deepEqual(errors, []);
});

test("publish resolves with its position", async (t) => {
  const { newest, room } = inLobby(t);
  const published = room.publish({ text: "hi" }, { event: "chat", id: "p1" });
  const { request_id, payload } = newest().request("publish");
  assert.deepEqual(payload, { room: "lobby", data: { text: "hi" }, event: "chat", id: "p1" });
  newest().reply({ type: "published", request_id, payload: { room: "lobby", epoch: "e1", seq: 6 } });
  assert.deepEqual(await published, { room: "lobby", epoch: "e1", seq: 6 });
});

test("publishes without a reply go again in their order, with the same ids, after the rooms", async (t) => {
  const { newest, room, tick } = inLobby(t);
  const all = [room.publish("a"), room.publish("b")];
  const before = newest().sent.filter((frame) => frame.type === "publish");
  assert.match(before[0].payload.id, /^\d+-\d+-\d+-\d+$/);
  assert.notEqual(before[0].payload.id, before[1].payload.id);
  newest().end(1006);
  tick(500);
  newest().welcome();
  assert.deepEqual(newest().sent.map((frame) => frame.type), ["join", "publish", "publish"]);
  assert.deepEqual(newest().sent.slice(1), before);
  for (const { request_id } of before) newest().reply({ type: "published", request_id, payload: { room: "lobby", epoch: "e1", seq: 6, duplicate: true } });
  assert.equal((await Promise.all(all))[1].duplicate, true);
});

for (const [error, wait] of [[{ code: "unavailable" }, 500], [{ code: "rate_limited", retry_after_ms: 2000 }, 2000]]) {
  test(`${error.code} is asked again after ${wait} ms with the same id`, async (t) => {
    const { newest, room, tick } = inLobby(t);
    const published = room.publish("a");
    const first = newest().request("publish");
    newest().reply({ type: "error", request_id: first.request_id, payload: { message: "", ...error } });
    tick(wait - 1);
    assert.equal(newest().sent.filter((frame) => frame.type === "publish").length, 1);
    tick(1);
    assert.deepEqual(newest().sent.filter((frame) => frame.type === "publish"), [first, first]);
    newest().reply({ type: "published", request_id: first.request_id, payload: { room: "lobby", epoch: "e1", seq: 6 } });
    await published;
  });
}

test("a publish that is refused is rejected with the gateway's code", async (t) => {
  const { newest, room } = inLobby(t);
  const published = room.publish("a");
  newest().reply({ type: "error", request_id: newest().request("publish").request_id, payload: { code: "forbidden", message: "no" } });
  await assert.rejects(published, { name: "FanfareError", code: "forbidden", message: "no" });
});

test("a publish ends at its time-out, over all connections, and is not sent again", async (t) => {
  const { newest, room, tick } = inLobby(t);
  const published = room.publish("a");
  newest().end(1006);
  tick(500);
  tick(15_000); // the second connection brought no welcome
  tick(14_500);
  await assert.rejects(published, { code: "timeout" });
  newest().welcome();
  assert.deepEqual(newest().sent.map((frame) => frame.type), ["join"]);
});

test("a publish that is over is not sent again, though it was refused for the moment", async (t) => {
  const { newest, room, tick } = inLobby(t);
  const published = room.publish("a");
  newest().reply({ type: "error", request_id: newest().request("publish").request_id, payload: { code: "rate_limited", message: "", retry_after_ms: 40_000 } });
  tick(30_000);
  await assert.rejects(published, { code: "timeout" });
  tick(10_000);
  assert.equal(newest().sent.filter((frame) => frame.type === "publish").length, 1);
});

test("what is too big is refused here, where it would close the connection there", async (t) => {
  const { client, newest, room } = inLobby(t);
  await assert.rejects(room.publish("é".repeat(500)), { code: "too_large" });
  assert.equal(newest().request("publish"), undefined);
  assert.equal(client.state, "open");
});

test("undefined is not published", async (t) => {
  const { room } = inLobby(t);
  await assert.rejects(room.publish(undefined), TypeError);
});

test("closing rejects what has no reply", async (t) => {
  const { client, newest, room } = inLobby(t);
  const published = room.publish("a");
  newest().end(4005, "by an operator");
  await assert.rejects(published, { code: "closed" });
  await assert.rejects(room.publish("b"), { code: "closed" });
  assert.equal(client.state, "closed");
});

test("history asks for a range and resolves with it", async (t) => {
  const { newest, room } = inLobby(t);
  const history = room.history({ before: 5, limit: 2 });
  const { request_id, payload } = newest().request("history");
  assert.deepEqual(payload, { room: "lobby", before: 5, limit: 2 });
  newest().reply({ type: "history", request_id, payload: { room: "lobby", epoch: "e1", messages: [], first: 1, last: 5 } });
  assert.equal((await history).last, 5);
});

test("an error about no request reaches the client's listeners", (t) => {
  const { client, newest } = start(t);
  const errors = [];
  client.on("error", (error) => errors.push(error.code));
  newest().welcome();
  newest().reply({ type: "error", payload: { code: "bad_json", message: "not JSON" } });
  assert.deepEqual(errors, ["bad_json"]);
});

test("a listener that throws does not keep the others from hearing, and one taken away hears nothing", (t) => {
  const { newest, room, heard } = inLobby(t);
  const later = [];
  t.mock.method(globalThis, "queueMicrotask", (callback) => later.push(callback));
  const off = room.on("message", () => { throw new Error("listener"); });
  const late = [];
  room.on("message", ({ seq }) => late.push(seq));
  newest().message(6);
  assert.throws(later[0], { message: "listener" });
  off();
  newest().message(7);
  assert.deepEqual(heard, [["message", 6], ["message", 7]]);
  assert.deepEqual(late, [6, 7]);
});
