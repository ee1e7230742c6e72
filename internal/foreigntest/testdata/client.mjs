// npm's ws against a gateway: client.mjs ws://HOST:PORT SCENARIO plain|deflate
// A scenario that fails ends with a stack and a code other than 0.
import assert from "node:assert/strict";
import { once } from "node:events";
import { WebSocket } from "ws";

const [base, scenario, compression] = process.argv.slice(2);
const deflate = compression === "deflate";
const TIMEOUT = 15_000;
const SIZES = [0, 1, 125, 126, 127, 1000, 4096, 40_000];
const SUBPROTOCOL = "fanfare.v1.json";

/** A connection, with the messages that came in a queue: next() is the oldest, or the one that comes. */
class Connection {
  #queue = [];
  #taker = null;

  static async open(path, protocols = []) {
    const ws = new WebSocket(base + path, protocols, { perMessageDeflate: deflate && { threshold: 0 } });
    const connection = new Connection(ws);
    await within(once(ws, "open"), "open");
    assert.equal(ws.extensions, deflate ? "permessage-deflate" : "");
    return connection;
  }

  constructor(ws) {
    this.ws = ws;
    this.closed = new Promise((resolve) => ws.on("close", (code, reason) => resolve({ code, reason: reason.toString() })));
    ws.on("message", (data, binary) => {
      const message = binary ? data : data.toString();
      if (this.#taker) this.#taker(message);
      else this.#queue.push(message);
      this.#taker = null;
    });
  }

  next() {
    if (this.#queue.length > 0) return this.#queue.shift();
    return within(new Promise((resolve) => (this.#taker = resolve)), "message");
  }

  /** The payload of the next frame, which is of this type. */
  async receive(type) {
    const frame = JSON.parse(await this.next());
    assert.equal(frame.type, type, JSON.stringify(frame));
    assert.equal(frame.version, 1);
    return frame.payload;
  }

  request(type, payload, request_id) {
    this.ws.send(JSON.stringify({ type, payload, request_id }));
  }

  /** The code that the gateway closes with. */
  async closeCode() {
    return (await within(this.closed, "close")).code;
  }
}

function within(promise, what) {
  let timer;
  const late = new Promise((_, reject) => (timer = setTimeout(() => reject(new Error(`no ${what} in time`)), TIMEOUT)));
  return Promise.race([promise, late]).finally(() => clearTimeout(timer));
}

async function member(room) {
  const connection = await Connection.open("/ws", SUBPROTOCOL);
  assert.equal(connection.ws.protocol, SUBPROTOCOL);
  await connection.receive("welcome");
  connection.request("join", { room }, "j1");
  const joined = await connection.receive("joined");
  assert.equal(joined.room, room);
  return [connection, joined];
}

const scenarios = {
  async echo() {
    const connection = await Connection.open("/echo");
    const { ws } = connection;
    for (const size of SIZES) {
      const text = "grüße ".repeat(size).slice(0, size);
      ws.send(text);
      assert.equal(await connection.next(), text, `text of ${size}`);
      const data = Buffer.from(Uint8Array.from({ length: size }, (_, i) => (i * 7) % 256));
      ws.send(data);
      assert.deepEqual(await connection.next(), data, `binary of ${size}`);
    }
    for (const [part, fin] of [["fragments ", false], ["", false], ["of ", false], ["one", true]]) ws.send(part, { fin });
    assert.equal(await connection.next(), "fragments of one");
    const messages = Array.from({ length: 200 }, (_, i) => `message ${i}`);
    for (const message of messages) ws.send(message);
    for (const message of messages) assert.equal(await connection.next(), message);
    ws.close();
  },

  async ping() {
    for (const path of ["/echo", "/ws"]) {
      const { ws } = await Connection.open(path);
      for (const payload of ["", "x", "y".repeat(125)]) {
        const pong = once(ws, "pong");
        ws.ping(payload);
        assert.equal((await within(pong, "pong"))[0].toString(), payload);
      }
      ws.close();
    }
  },

  async chat() {
    const room = `node-${compression}`;
    const [one, first] = await member(room);
    const [two, second] = await member(room);
    assert.deepEqual([first.members, second.members], [1, 2]);
    let { seq } = second;
    for (const [sender, other, data] of [
      [one, two, { text: "hello, two" }],
      [two, one, { text: "grüße 👋" }],
      [one, two, ["x".repeat(5000), null, 1.5]],
    ]) {
      seq++;
      sender.request("publish", { room, data, event: "chat" }, `p${seq}`);
      const replies = [JSON.parse(await sender.next()), JSON.parse(await sender.next())];
      const published = replies.find(({ type }) => type === "published");
      assert.equal(published.request_id, `p${seq}`);
      assert.equal(published.payload.seq, seq);
      const message = await other.receive("message");
      assert.deepEqual(message, replies.find(({ type }) => type === "message").payload);
      assert.deepEqual(message.data, data);
      assert.equal(message.event, "chat");
      assert.equal(message.seq, seq);
    }
    two.request("leave", { room }, "l1");
    await two.receive("left");
    one.request("publish", { room, data: 1 });
    await one.receive("message");
    two.request("ping", undefined, "x");
    await two.receive("pong"); // and no message
    one.ws.close();
    two.ws.close();
  },

  /** What is refused in words leaves the connection open. */
  async errors() {
    const connection = await Connection.open("/ws", SUBPROTOCOL);
    await connection.receive("welcome");
    for (const [text, code] of [
      ["no json", "bad_json"],
      ['{"type":"ping","type":"ping"}', "bad_json"],
      ['{"type":"nothing"}', "unknown_type"],
      ['{"type":"ping","version":2}', "unsupported_version"],
      ['{"type":"join","payload":{"room":"no room"}}', "invalid_request"],
      ['{"type":"leave","request_id":"r","payload":{"room":"elsewhere"}}', "not_joined"],
    ]) {
      connection.ws.send(text);
      assert.equal((await connection.receive("error")).code, code, text);
    }
    connection.request("echo", { still: "open" }, "e1");
    assert.deepEqual(await connection.receive("echo"), { still: "open" });
    connection.ws.close();
  },

  async close() {
    for (const path of ["/echo", "/ws"]) {
      for (const [code, reason] of [[1000, ""], [1001, "going"], [3000, "a library's"], [4321, "grüße"]]) {
        const connection = await Connection.open(path);
        connection.ws.close(code, reason);
        assert.equal(await connection.closeCode(), code, `${path} ${code}`);
      }
    }

    let connection = await Connection.open("/ws");
    const { limits } = await connection.receive("welcome");
    connection.ws.send(Buffer.from("binary"));
    assert.equal(await connection.closeCode(), 1003);

    connection = await Connection.open("/ws");
    connection.request("echo", "x".repeat(limits.message_bytes));
    assert.equal(await connection.closeCode(), 1009);

    connection = await Connection.open("/echo");
    connection.ws.send(Buffer.from([0xff, 0xfe]), { binary: false });
    assert.equal(await connection.closeCode(), 1007);
  },
};

await scenarios[scenario]();
