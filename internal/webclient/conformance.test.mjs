// Holds fanfare.js to the table that every client is held to: ../protocol/testdata/conformance.json, whose terms are in
// CONFORMANCE.md beside it. Time is a clock of the test's own.
import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import { test } from "node:test";

const { connect } = await import(process.env.FANFARE_JS ?? "./fanfare.js");

const table = JSON.parse(await readFile(new URL("../protocol/testdata/conformance.json", import.meta.url), "utf8"));
assert.equal(table.version, 1);

const WELCOME = {
  connection: "c1", user: "guest-1", gateway: "gw",
  heartbeat: { interval_ms: 25_000, timeout_ms: 60_000 }, limits: { message_bytes: 65_536, rooms: 100 },
};

/** A JWT as far as its bearer reads it. */
function tokenUntil(name, end) {
  const claims = JSON.stringify({ sub: `~~~~???~~~~???${name}`, exp: end / 1000 });
  return `e30.${Buffer.from(claims).toString("base64url")}.e30`;
}

/** Plays the gateway and the application of one conversation. */
class Run {
  now = 1000;
  timers = new Set();
  sockets = []; // those that no dial step has taken yet
  socket = null; // the newest that one has
  frames = []; // sent by the client and not asked for yet
  events = [];
  ended = []; // codes with which the client ended a connection
  settled = new Map();
  names = new Map(); // what "$name" stands for

  constructor(t, { random = [1], backoff, tokens, lives_ms = {}, connect_timeout_ms } = {}) {
    const run = this;
    for (const [name, lives] of Object.entries(lives_ms)) this.names.set(name, tokenUntil(name, this.now + lives));
    const { performance, setTimeout, clearTimeout } = globalThis;
    t.after(() => Object.assign(globalThis, { performance, setTimeout, clearTimeout }));
    t.mock.method(Date, "now", () => this.now);
    Object.assign(globalThis, {
      performance: { now: () => this.now },
      setTimeout: (callback, delay) => {
        const timer = { callback, due: this.now + delay };
        this.timers.add(timer);
        return timer;
      },
      clearTimeout: (timer) => this.timers.delete(timer),
    });
    class WebSocket {
      constructor(_, protocols) {
        this.token = protocols.find((name) => name.startsWith("bearer."))?.slice("bearer.".length);
        run.sockets.push(this);
      }
      send(text) {
        assert.equal(run.socket, this, "sent on a connection that is not the newest");
        run.frames.push(JSON.parse(text));
      }
      close(code) {
        run.ended.push(code);
      }
    }
    let randoms = 0;
    let shown = 0;
    this.client = connect("ws://gateway.test/ws", {
      WebSocket,
      transport: "websocket",
      random: () => random[Math.min(randoms++, random.length - 1)],
      backoff: backoff && { base: backoff.base_ms, cap: backoff.cap_ms },
      token: tokens && (async () => this.named(tokens[Math.min(shown++, tokens.length - 1)])),
      ...(connect_timeout_ms && { connectTimeout: connect_timeout_ms }),
    });
  }

  /** Lets the client do all that it can without the clock. */
  async settle() {
    for (let turn = 0; turn < 12; turn++) await null;
  }

  /** Lets time pass until there is what is looked for, from timer to timer, and returns how much did. */
  async until(found, most) {
    const begin = this.now;
    for (await this.settle(); !found(); await this.settle()) {
      const next = [...this.timers].reduce((a, b) => (a && a.due <= b.due ? a : b), null);
      if (!next || next.due > begin + most) {
        this.now = begin + most;
        break;
      }
      this.timers.delete(next);
      this.now = Math.max(this.now, next.due);
      next.callback();
    }
    return this.now - begin;
  }

  quiet(when) {
    assert.deepEqual([this.frames, this.events, this.sockets.length], [[], [], 0], `nothing was to happen ${when}`);
  }

  begin(name, promise) {
    promise.then((ok) => this.settled.set(name, { ok }), (error) => this.settled.set(name, { error }));
  }

  room(name) {
    const room = this.client.room(name);
    if (room.watched) return room;
    room.watched = true;
    for (const type of ["message", "gap", "reset", "joined", "presence"]) {
      room.on(type, (event) => this.events.push({ type, ...event }));
    }
    room.on("error", ({ code }) => this.events.push({ type: "refused", room: name, code }));
    return room;
  }

  async step(step) {
    const [[kind, value]] = Object.entries(step);
    assert.ok(Object.hasOwn(this.steps, kind), `unknown step ${kind}`);
    await this.steps[kind].call(this, value, step);
    await this.settle();
  }

  steps = {
    async join({ room, fill = false, ...start }) {
      this.room(room).join({ ...start, fill });
    },
    async leave({ room }) {
      this.room(room).leave();
    },
    async publish({ room, data, event, id, timeout_ms: timeout }, { as }) {
      let publish;
      try {
        publish = this.room(room).publish(data, { event, id, timeout });
      } catch (error) {
        publish = Promise.reject(error);
      }
      this.begin(as, publish);
    },
    async history({ room, ...range }, { as }) {
      this.begin(as, this.room(room).history(range));
    },
    async close_client() {
      this.client.close();
    },
    async event(want) {
      assert.ok(this.events.length, `no event, want ${JSON.stringify(want)}`);
      this.match(this.events.shift(), want);
    },
    async settled(name, { ok, error }) {
      const result = this.settled.get(name);
      assert.ok(result, `${name} is not settled`);
      if (error) assert.equal(result.error?.code, error.code);
      else this.match(result.ok, ok);
    },
    async state(want) {
      assert.equal(this.client.state, want);
    },
    async dial({ after_ms, within_ms, token }) {
      const took = await this.until(() => this.sockets.length, (after_ms ?? within_ms ?? 0) + 1);
      assert.equal(this.sockets.length, 1, "no attempt");
      if (after_ms !== undefined) assert.ok(Math.abs(took - after_ms) <= 1, `attempt after ${took} ms, want ${after_ms}`);
      this.socket = this.sockets.shift();
      assert.equal(this.socket.token, this.named(token));
      assert.deepEqual([this.frames, this.events], [[], []], "what no step asked for");
      this.ended = [];
    },
    async refuse() {
      this.socket.onclose({ code: 1006, reason: "" });
    },
    async welcome(over) {
      this.send({ type: "welcome", payload: { ...WELCOME, ...over } });
    },
    async send(frame) {
      this.send(frame);
    },
    async recv(want, { not_before_ms = 0, within_ms = 0 }) {
      const took = await this.until(() => this.frames.length, within_ms + 1);
      assert.ok(this.frames.length, `no frame, want ${JSON.stringify(want)}`);
      assert.ok(took >= not_before_ms - 1, `sent after ${took} ms`);
      this.match(this.frames.shift(), want);
    },
    async close({ code, reason }) {
      this.socket.onclose({ code, reason });
    },
    async cut() {
      this.socket.onclose({ code: 1006, reason: "" });
    },
    async ends({ code, within_ms = 0 }) {
      await this.until(() => this.ended.length, within_ms + 1);
      assert.equal(this.ended.length, 1, "the client did not end the connection");
      if (code) assert.equal(this.ended[0], code);
    },
    async wait_ms(time) {
      await this.until(() => false, time);
    },
    async quiet_ms(time) {
      await this.until(() => false, time);
      this.quiet(`in ${time} ms`);
    },
  };

  send(frame) {
    this.socket.onmessage?.({ data: JSON.stringify({ ...frame, version: 1, request_id: this.named(frame.request_id) }) });
  }

  /** What a "$name" stands for, where it is known; all else is itself. */
  named(text) {
    return this.names.get(text) ?? text;
  }

  /** What is wanted must be in what came; null: must not. */
  match(got, want, path = "") {
    if (want === null) return assert.equal(got, undefined, path);
    if (typeof want === "string" && want.startsWith("$")) {
      assert.equal(typeof got, "string", path);
      if (!this.names.has(want)) this.names.set(want, got);
      return assert.equal(got, this.names.get(want), path);
    }
    if (typeof want !== "object") return assert.deepEqual(got, want, path);
    assert.equal(typeof got, "object", `${path}: ${JSON.stringify(got)}, want ${JSON.stringify(want)}`);
    if (Array.isArray(want)) assert.equal(got.length, want.length, path);
    for (const [name, value] of Object.entries(want)) this.match(got[name], value, `${path}.${name}`);
  }
}

for (const { name, steps, ...setting } of table.conversations) {
  test(name, async (t) => {
    const run = new Run(t, setting);
    for (const [n, step] of steps.entries()) {
      try {
        await run.step(step);
      } catch (error) {
        error.message = `step ${n + 1}, ${JSON.stringify(step)}: ${error.message}`;
        throw error;
      }
    }
    run.quiet("behind the last step");
  });
}

for (const { code, verdict } of table.close_codes) {
  test(`close code ${code}: ${verdict}`, async (t) => {
    const run = new Run(t, verdict === "new_token" ? { tokens: ["t1", "t2", "t2"] } : {});
    const steps = [{ dial: {} }, { welcome: {} }, { wait_ms: 10_000 }, { close: { code, reason: "" } }];
    const token = verdict === "new_token";
    if (token) Object.assign(steps[0].dial, { token: "t1" });
    for (const step of steps) await run.step(step);
    if (verdict === "stop") {
      await run.step({ state: "closed" });
      return run.step({ quiet_ms: 60_000 });
    }
    await run.step({ dial: { after_ms: 500, token: token ? "t2" : undefined } });
    for (const step of steps.slice(1)) await run.step(step);
    if (token) {
      await run.step({ quiet_ms: 60_000 });
      return run.step({ state: "closed" });
    }
    await run.step({ dial: { after_ms: verdict === "come_back_later" ? 1000 : 500 } });
  });
}

for (const { base_ms, cap_ms, attempt, random, wait_ms } of table.backoff) {
  test(`back-off ${attempt} of ${base_ms} to ${cap_ms} ms with ${random}`, async (t) => {
    const run = new Run(t, { backoff: { base_ms, cap_ms }, random: [...Array(attempt).fill(0), random] });
    await run.step({ dial: {} });
    for (let n = 0; n < attempt; n++) {
      await run.step({ refuse: {} });
      await run.step({ dial: { after_ms: 0 } });
    }
    await run.step({ refuse: {} });
    await run.step({ dial: { after_ms: wait_ms } });
  });
}
