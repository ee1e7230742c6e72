/**
 * fanfare.js speaks the Fanfare wire protocol, version 1: rooms, messages in order, resuming after a lost connection.
 *
 *     const client = connect("/ws");
 *     const room = client.join("lobby", { last: 50 });
 *     room.on("message", ({ from, data }) => console.log(from, data));
 *     await room.publish({ text: "hello" });
 *
 * It runs in browsers and in Node 22 and later; elsewhere pass a WebSocket constructor (that of npm's `ws` will do).
 */

/** Close codes after which the same client would only be closed again; after any other it comes back. */
const FINAL_CODES = new Set([1000, 1002, 1003, 1007, 1008, 1009, 4001, 4005]);

/** Errors that say "not now" and not "no": the same request may be sent again. */
const PASSING_ERRORS = new Set(["unavailable", "rate_limited"]);
const CLOSED = { code: "closed", message: "the client is closed" };

const DEFAULTS = {
  backoff: { base: 500, cap: 20_000, stable: 10_000 },
  connectTimeout: 15_000,
  requestTimeout: 30_000, // well inside the gateway's de-duplication window of two minutes
  random: Math.random,
};

/**
 * Times are milliseconds; `backoff.stable` is how long a connection must last for the next back-off to begin at `base`.
 * @typedef {{ WebSocket?: new (url: string, protocols: string) => any, random?: () => number, connectTimeout?: number,
 *   requestTimeout?: number, backoff?: { base?: number, cap?: number, stable?: number } }} Options
 * @typedef {"connecting" | "open" | "waiting" | "closed"} State
 * @typedef {{ state: State, delay?: number, code?: number, reason?: string }} StateChange
 * @typedef {{ connection: string, user: string, gateway: string, limits: { message_bytes: number, rooms: number },
 *   heartbeat: { interval_ms: number, timeout_ms: number } }} Welcome
 * @typedef {{ epoch: string, seq: number }} Position
 * @typedef {Position & { room: string, time: number, from: string, data: any, event?: string }} Message
 * @typedef {{ room: string, epoch: string, from: number, to: number, reason: string }} Gap
 * @typedef {Position & { room: string, previous: Position }} Reset
 * @typedef {Position & { room: string, recovered?: boolean, members: number }} Joined
 * @typedef {Position & { room: string, duplicate?: boolean }} Published
 * @typedef {{ room: string, epoch: string, messages: Message[], first: number, last: number }} History
 */

/** An error of the gateway (`code` as in the protocol) or of this client: `timeout`, `closed`, `too_large`. */
export class FanfareError extends Error {
  /** @param {{ code: string, message: string, field?: string, retry_after_ms?: number }} payload */
  constructor({ code, message, field, retry_after_ms }) {
    super(message);
    this.name = "FanfareError";
    this.code = code;
    this.field = field;
    this.retryAfter = retry_after_ms;
  }
}

/**
 * Opens a connection and keeps it: it is opened again, with every room resumed, until `close` or a close code that
 * says not to come back. The url is that of the gateway's `/ws`; http counts as ws, and in a page it may be relative.
 * @param {string | URL} url @param {Options} [options] @returns {Client}
 */
export function connect(url, options = {}) {
  return new Client(socketURL(url), options);
}

/** Listeners by type of event. One that throws is reported and does not stop the others. */
class Emitter {
  /** @type {Map<string, Set<(detail: any) => void>>} */
  #listeners = new Map();

  /** @param {string} type @param {(detail: any) => void} listener @returns {() => void} takes the listener away */
  on(type, listener) {
    if (!this.#listeners.has(type)) this.#listeners.set(type, new Set());
    this.#listeners.get(type)?.add(listener);
    return () => void this.#listeners.get(type)?.delete(listener);
  }

  /** @internal @param {string} type @param {any} detail */
  emit(type, detail) {
    for (const listener of [...(this.#listeners.get(type) ?? [])]) {
      try {
        listener(detail);
      } catch (error) {
        queueMicrotask(() => { throw error; });
      }
    }
  }
}

/**
 * One room. Events: `message` {@link Message}, `gap` {@link Gap}, `reset` {@link Reset}, `joined` {@link Joined} (again
 * after each reconnecting) and `error` {@link FanfareError}: the gateway refused the room, which is then left.
 * Every message after the first `joined` arrives once and in order, or a `gap` or a `reset` stands in its place.
 */
export class Room extends Emitter {
  /** Joined on the connection that is open now. */
  joined = false;
  /** Where this room stands: the last message that arrived, or was skipped. @type {Position | null} */
  position;
  #last;
  #client;

  /** @internal @param {string} name @param {{ last?: number, since?: Position }} start @param {Client} client */
  constructor(name, { last, since }, client) {
    super();
    this.name = name;
    this.position = since ?? null;
    this.#last = last;
    this.#client = client;
  }

  /**
   * Publishes any JSON value, also through lost connections: sent again with the same `id` it is stored once.
   * Rejected with a {@link FanfareError}; after a `timeout` it is not known whether the message was stored.
   * @param {any} data @param {{ event?: string, id?: string }} [options] @returns {Promise<Published>}
   */
  async publish(data, { event, id = randomId() } = {}) {
    if (data === undefined) throw new TypeError("publish: data is undefined, which is no JSON value");
    return this.#client.request("publish", { room: this.name, data, event, id });
  }

  /**
   * Reads what the gateway keeps between two sequence numbers, both exclusive, ascending.
   * @param {{ after?: number, before?: number, limit?: number }} [range] @returns {Promise<History>}
   */
  async history({ after, before, limit } = {}) {
    return this.#client.request("history", { room: this.name, after, before, limit });
  }

  /** Leaves for good. A later `client.join` begins anew with another Room. */
  leave() {
    this.joined = false;
    this.#client.leave(this);
  }

  /** @internal */
  joinPayload() {
    return this.position ? { room: this.name, since: this.position } : { room: this.name, last: this.#last };
  }

  /** @internal @param {Joined} joined */
  enter(joined) {
    const previous = this.position;
    this.joined = true;
    this.position = { epoch: joined.epoch, seq: joined.seq };
    this.emit("joined", joined);
    // Not where it was asked to resume: the log is another one, and the rest of the old one is lost.
    if (previous && (joined.epoch !== previous.epoch || joined.seq !== previous.seq)) {
      this.emit("reset", { room: this.name, ...this.position, previous });
    }
  }

  /** @internal @param {"message" | "gap" | "reset"} type @param {any} event */
  receive(type, event) {
    if (!this.joined) return; // what an earlier membership had under way
    const seq = type === "gap" ? event.to : event.seq;
    if (this.position && this.position.epoch === event.epoch && this.position.seq >= seq) return; // a duplicate
    this.position = { epoch: event.epoch, seq };
    this.emit(type, event);
  }
}

/** A connection that comes back. Events: `state` {@link StateChange}, `error` {@link FanfareError} about no request. */
export class Client extends Emitter {
  state = /** @type {State} */ ("connecting");
  /** What the gateway said first on the newest connection. @type {Welcome | null} */
  welcome = null;

  #url;
  #options;
  #backoff;
  #rooms = /** @type {Map<string, Room>} */ (new Map());
  #pending = /** @type {Map<string, any>} */ (new Map()); // requests without a reply, by request_id, in their order
  #lastRequest = 0;
  #socket = /** @type {any} */ (null); // null while waiting and when closed
  #timer = /** @type {any} */ (undefined); // one at a time: for the welcome, the heartbeat or the next attempt
  #attempt = 0;
  #openedAt = 0; // times are of performance.now(); 0 is never
  #seenAt = 0;
  #pingedAt = 0;
  #reconnectAt = 0;

  /** @internal use {@link connect} @param {string} url @param {Options} options */
  constructor(url, options) {
    super();
    this.#url = url;
    this.#options = { ...DEFAULTS, WebSocket: globalThis.WebSocket, ...options };
    this.#backoff = { ...DEFAULTS.backoff, ...options.backoff };
    if (!this.#options.WebSocket) throw new TypeError("no WebSocket here: pass a constructor as options.WebSocket");
    this.#connect();
  }

  /**
   * Joins a room, now and after each reconnecting, `last` messages back or after a position (not both).
   * A room that is joined already is returned as it is.
   * @param {string} name @param {{ last?: number, since?: Position }} [start] @returns {Room}
   */
  join(name, start = {}) {
    if (this.state === "closed") throw new FanfareError(CLOSED);
    let room = this.#rooms.get(name);
    if (!room) {
      room = new Room(name, start, this);
      this.#rooms.set(name, room);
      this.#join(room);
    }
    return room;
  }

  /** Connects at once if it waits to: for a page that hears the network is back. */
  retry() {
    if (this.state === "waiting") this.#connect();
  }

  /** Closes for good. Requests without a reply are rejected. */
  close() {
    this.#release()?.close(1000);
    if (this.state !== "closed") this.#end(1000, "closed by the client");
  }

  #connect() {
    clearTimeout(this.#timer);
    this.#openedAt = this.#reconnectAt = this.#pingedAt = 0;
    const socket = new this.#options.WebSocket(this.#url, "fanfare.v1.json");
    this.#socket = socket;
    socket.onmessage = (/** @type {any} */ event) => this.#receive(event.data);
    socket.onclose = (/** @type {any} */ event) => this.#lost(event.code, event.reason);
    socket.onerror = () => {}; // a close follows, which says more
    this.#timer = setTimeout(() => this.#drop("no welcome in time"), this.#options.connectTimeout);
    this.#become({ state: "connecting" });
  }

  /** Lets the connection go, with what lasts no longer than it, and hears nothing of it any more. */
  #release() {
    const socket = this.#socket;
    this.#socket = null;
    clearTimeout(this.#timer);
    if (socket) socket.onmessage = socket.onclose = null;
    for (const room of this.#rooms.values()) room.joined = false;
    for (const [id, request] of this.#pending) if (!request.resend) this.#pending.delete(id);
    return socket;
  }

  /** Gives up a connection that may be dead: its closing handshake is not waited for. @param {string} reason */
  #drop(reason) {
    this.#release()?.close();
    this.#lost(1006, reason);
  }

  /** @param {number} code @param {string} reason */
  #lost(code, reason) {
    this.#release();
    if (FINAL_CODES.has(code)) return this.#end(code, reason);

    const now = performance.now();
    if (this.#openedAt && now - this.#openedAt >= this.#backoff.stable) this.#attempt = 0;
    const { base, cap } = this.#backoff;
    let delay = this.#options.random() * Math.min(cap, base * 2 ** this.#attempt); // full jitter
    // Where the gateway said when, that counts; but where it says so time and again, the back-off is the floor.
    if (this.#reconnectAt) delay = Math.max(this.#reconnectAt - now, this.#attempt > 0 ? delay : 0);
    this.#attempt++;
    this.#timer = setTimeout(() => this.#connect(), delay);
    this.#become({ state: "waiting", delay, code, reason });
  }

  /** @param {number} code @param {string} reason */
  #end(code, reason) {
    this.#become({ state: "closed", code, reason });
    for (const request of [...this.#pending.values()]) this.#settle(request, new FanfareError(CLOSED));
  }

  /** @param {StateChange} change */
  #become(change) {
    this.state = change.state;
    this.emit("state", change);
  }

  /** @param {string} text */
  #receive(text) {
    this.#seenAt = performance.now();
    const { type, request_id: id, payload } = JSON.parse(text);
    const request = this.#pending.get(id);
    if (request) return this.#settle(request, type === "error" ? new FanfareError(payload) : null, payload);

    if (type === "message" || type === "gap" || type === "reset") this.#rooms.get(payload.room)?.receive(type, payload);
    else if (type === "welcome") this.#welcomed(payload);
    else if (type === "reconnect") this.#reconnectAt = this.#seenAt + payload.after_ms;
    else if (type === "error" && id === undefined) this.emit("error", new FanfareError(payload));
  }

  /** @param {Welcome} welcome */
  #welcomed(welcome) {
    clearTimeout(this.#timer);
    this.welcome = welcome;
    this.#openedAt = this.#seenAt;
    this.state = "open"; // told to listeners only when what was under way is under way again, ahead of what they begin
    for (const room of this.#rooms.values()) this.#join(room);
    for (const request of [...this.#pending.values()]) if (request.resend) this.#transmit(request);
    this.#watch();
    this.#become({ state: "open" });
  }

  /** Pings when nothing was heard for the interval, and gives up when that brought nothing in the time that is left. */
  #watch() {
    const { interval_ms: interval, timeout_ms: timeout } = /** @type {Welcome} */ (this.welcome).heartbeat;
    if (!(interval > 0)) return;
    const now = performance.now();
    // Counted from the ping, not from what was last heard: in a hidden page or a sleeping machine timers come late.
    const asked = this.#pingedAt > this.#seenAt;
    let due = asked ? this.#pingedAt + timeout - interval : this.#seenAt + interval;
    if (now >= due) {
      if (asked) return this.#drop("heartbeat timeout");
      this.#socket.send(encode("ping"));
      this.#pingedAt = now;
      due = now + timeout - interval;
    }
    this.#timer = setTimeout(() => this.#watch(), due - now);
  }

  /** @param {Room} room */
  #join(room) {
    if (this.state !== "open") return; // the welcome comes here again
    this.#ask("join", room.joinPayload(), (error, joined) => {
      if (this.#rooms.get(room.name) !== room) return; // left in the meantime
      if (!error) return room.enter(joined);
      this.#rooms.delete(room.name);
      room.emit("error", error);
    });
  }

  /** @internal use {@link Room.leave} @param {Room} room */
  leave(room) {
    if (this.#rooms.get(room.name) !== room) return;
    this.#rooms.delete(room.name);
    if (this.state === "open") this.#socket.send(encode("leave", undefined, { room: room.name }));
  }

  /** @internal @param {string} type @param {any} payload @returns {Promise<any>} */
  request(type, payload) {
    return new Promise((resolve, reject) => {
      if (this.state === "closed") throw new FanfareError(CLOSED);
      const { requestTimeout } = this.#options;
      this.#ask(type, payload, (error, reply) => (error ? reject(error) : resolve(reply)), requestTimeout);
    });
  }

  /**
   * Keeps a request until its reply, which `done` gets at once: what follows on the connection may rely on it.
   * @param {string} type @param {any} payload @param {(error: FanfareError | null, reply: any) => void} done
   * @param {number} [timeout] until then it is sent on every new connection; without one it ends with its connection
   */
  #ask(type, payload, done, timeout) {
    const id = `r${++this.#lastRequest}`;
    /** @type {any} */
    const request = { id, text: encode(type, id, payload), done, resend: timeout !== undefined };
    const late = new FanfareError({ code: "timeout", message: `${type}: no reply in time` });
    if (request.resend) request.timer = setTimeout(() => this.#settle(request, late), timeout);
    this.#pending.set(id, request);
    this.#transmit(request);
  }

  /** @param {any} request */
  #transmit(request) {
    if (this.state !== "open" || this.#pending.get(request.id) !== request) return;
    const limit = /** @type {Welcome} */ (this.welcome).limits.message_bytes;
    if (limit > 0 && new TextEncoder().encode(request.text).length > limit) {
      // The gateway would close the connection with 1009, and that for good.
      return this.#settle(request, new FanfareError({ code: "too_large", message: `over ${limit} bytes` }));
    }
    this.#socket.send(request.text);
  }

  /** @param {any} request @param {FanfareError | null} error @param {any} [reply] */
  #settle(request, error, reply) {
    if (error && PASSING_ERRORS.has(error.code)) {
      setTimeout(() => this.#transmit(request), error.retryAfter ?? this.#backoff.base);
      return;
    }
    clearTimeout(request.timer);
    this.#pending.delete(request.id);
    request.done(error, reply);
  }
}

/** @param {string} type @param {string} [id] @param {any} [payload] */
function encode(type, id, payload) {
  return JSON.stringify({ type, version: 1, request_id: id, payload });
}

/** @param {string | URL} url */
function socketURL(url) {
  const absolute = new URL(url, globalThis.location?.href);
  absolute.protocol = absolute.protocol.replace(/^http/, "ws");
  absolute.hash = "";
  return absolute.href;
}

/** 128 random bits in hex: `crypto.randomUUID` is missing in pages that came over plain http. */
function randomId() {
  return Array.from(crypto.getRandomValues(new Uint8Array(16)), (byte) => byte.toString(16).padStart(2, "0")).join("");
}
