/**
 * fanfare.js speaks the Fanfare wire protocol, version 1: rooms, messages in order, resuming after a lost connection.
 *
 *     const client = connect("/ws", { token: async () => (await fetch("/token")).text() });
 *     const room = client.room("lobby");
 *     room.on("message", ({ from, data }) => console.log(from, data));
 *     await room.join({ last: 50 });
 *     await room.publish({ text: "hello" });
 *
 * It runs unchanged in browsers, Node 20 and later, Deno and Bun; fanfare.d.ts has its types and says what each thing
 * is. What the file is by: the emitter, the room, the client, then what a client talks through where it is not a
 * WebSocket: a stream of Server-Sent Events, or the port of a SharedWorker, which is fanfare-worker.js beside this file.
 * Names that begin with _ are between the classes; fanfare.min.js, which a gateway serves, shortens them.
 */

/** Close codes after which the same client would only be closed again; after any other it comes back. */
const FINAL_CODES = [1000, 1002, 1003, 1007, 1008, 1009, 4005];
const TOKEN_CODE = 4001; // comes back, with another token
const BUSY_CODES = [1013, 4004]; // comes back, and the back-off goes on growing however long the connection lasted

/** Errors that say "not now" and not "no": the same request may be sent again. */
const PASSING_ERRORS = ["unavailable", "rate_limited"];
const CLOSED = { code: "closed", message: "closed" };

const SUBPROTOCOL = "fanfare.v1.json";
const PAGE = 1000; // messages in one reply of history, at most
const BACKLOG = 4096; // events that wait for a gap to be filled, at most
const HASTE = 5000; // in which a pong has to come where there is reason for doubt
const AHEAD = 30_000; // before its end a token is renewed, or at three quarters of what is left of a short one
const UPGRADE = 15_000; // between looks whether a WebSocket opens by now

export class FanfareError extends Error {
  constructor({ code, message, field, retry_after_ms }) {
    super(message);
    Object.assign(this, { name: "FanfareError", code, field, retryAfter: retry_after_ms });
  }
}

export function connect(url, options = {}) {
  return new Client(url, options);
}

/** Listeners by type of event. One that throws is reported and does not stop the others. */
class Emitter {
  #listeners = {};

  on(type, listener) {
    const listeners = (this.#listeners[type] ??= new Set());
    listeners.add(listener);
    return () => listeners.delete(listener);
  }

  emit(type, event) {
    for (const listener of new Set(this.#listeners[type])) {
      try {
        listener(event);
      } catch (error) {
        queueMicrotask(() => { throw error; });
      }
    }
  }
}

export class Room extends Emitter {
  joined = false;
  position = null;
  wanted = false;
  #client;
  #over = false; // there is nothing more to come, until it is joined
  #start = {};
  #promise = null;
  #settle = []; // resolve and reject of the promise
  #backlog = null; // what came while a gap is being filled, behind that gap

  constructor(name, client) {
    super();
    this.name = name;
    this.#client = client;
  }

  join(start = {}) {
    const { presence } = this.#start;
    if (!this.wanted) {
      this.wanted = true;
      this.#over = false;
      this.position = start.since ?? this.#client._keep(this.name);
      this.#start = start;
      this.#promise = new Promise((...settle) => (this.#settle = settle));
      this.#promise.catch(() => {}); // who does not wait for it hears of the error by the event
    }
    if (start.presence !== undefined) this.#start = { ...this.#start, presence: start.presence };
    if (!this.joined || presence !== this.#start.presence) this.#client._enter(this);
    return this.#promise;
  }

  async publish(data, { event, id = randomId(), timeout } = {}) {
    if (data === undefined) throw new TypeError("data is undefined");
    return this.#client.request("publish", { room: this.name, data, event, id }, timeout);
  }

  history(range) {
    return this.#client.request("history", { room: this.name, ...range });
  }

  members(page) {
    return this.#client.request("members", { room: this.name, ...page });
  }

  leave() {
    this.#client._leave(this);
  }

  /** Everything that happens to the room's log, in order. What the loop is too slow for becomes a gap of slow_reader. */
  events({ buffer = 1024 } = {}) {
    const queue = [];
    let wake = () => {};
    let over = this.#over;
    const put = (event) => {
      const last = queue.at(-1);
      const { from, to } = run(event);
      if (queue.length < buffer || event.type === "reset") queue.push(event);
      else if (last.reason === "slow_reader") last.to = to;
      else queue.push(gap(event, from, to, "slow_reader"));
      wake();
    };
    const stop = () => wake((over = off.map((each) => each())));
    const off = ["message", "gap", "reset"].map((type) => this.on(type, put));
    off.push(this.on("left", stop));
    const take = async () => {
      const event = queue.shift();
      if (event.reason !== "slow_reader" || this.#start.fill === false) return event;
      const to = Math.min(event.to, event.from + buffer - 1);
      if (to < event.to) queue.unshift({ ...event, from: to + 1 });
      queue.unshift(...(await this.#fetch({ ...event, to }, true)));
      return take();
    };
    const loop = (async function* () {
      for (;;) {
        while (queue.length) yield await take();
        if (over) return;
        await new Promise((resolve) => (wake = resolve));
      }
    })();
    // A generator's own would wait for what it waits for, and one that has not begun would not know that it has ended.
    const end = loop.return;
    loop.return = () => {
      stop();
      queue.length = 0;
      return end.call(loop);
    };
    return loop;
  }

  [Symbol.asyncIterator]() {
    return this.events();
  }

  _payload() {
    const { last, presence } = this.#start;
    const since = this.position ?? undefined;
    return { room: this.name, since, last: since ? undefined : last, presence };
  }

  _enter(joined) {
    if (this.joined) return; // again, for its presence: nothing moves
    const previous = this.position;
    this.joined = true;
    this.#move(joined);
    this.emit("joined", { type: "joined", ...joined });
    this.#settle[0](joined);
    // Not where it was asked to resume: the log is another one, and the rest of the old one is lost.
    if (previous && (joined.epoch !== previous.epoch || joined.seq !== previous.seq)) {
      this.emit("reset", { type: "reset", room: this.name, ...this.position, previous });
    }
  }

  /** The connection is lost; what was being fetched is asked for by resuming. */
  _lost() {
    this.joined = false;
    this.#backlog = null;
  }

  /** It is over: it was left, refused, or the client has closed. */
  _end(error) {
    this._lost();
    this.wanted = false;
    this.#over = true;
    this.#settle[1]?.(error ?? new FanfareError({ code: "left", message: "left" }));
    if (error) this.emit("error", error);
    this.emit("left", { type: "left", room: this.name });
  }

  _receive(event) {
    if (!this.joined) return; // what an earlier membership had under way
    if (event.type === "presence") {
      if (this.#start.presence) this.emit("presence", event);
      return;
    }
    if (!this.#backlog) return this.#take(event);
    this.#backlog.push(event);
    if (this.#backlog.length > BACKLOG) this.#caughtUp([this.#backlog._gap]);
  }

  #take(event) {
    const { type, epoch } = event;
    const { from, to } = run(event);
    const next = this.position.seq + 1;
    if (type === "reset" || epoch !== this.position.epoch) return this.#tell(event);
    if (to < next) return; // a duplicate
    if (from > next) {
      // No gateway skips without a word, but nothing is lost in silence here either.
      this.#skip(gap(event, next, from - 1, "unannounced"));
      this._receive(event);
    } else if (type === "gap") {
      this.#skip({ ...event, from: next });
    } else {
      this.#tell(event);
    }
  }

  /** Fetches what is missing, where it may still be had, and holds back what comes meanwhile. */
  #skip(missing) {
    const { reason } = missing;
    const shared = reason === "shared" || reason === "last";
    if (!shared && (this.#start.fill === false || reason === "history_lost" || reason === "conflated")) return this.#tell(missing);
    const backlog = (this.#backlog = []);
    backlog._gap = missing;
    this.#fetch(missing).then((found) => {
      if (this.#backlog === backlog) this.#caughtUp(found);
    });
  }

  #caughtUp(found) {
    const behind = this.#backlog;
    this.#backlog = null;
    for (const event of found) this.#tell(event);
    for (const event of behind) this._receive(event);
  }

  /** What history has of a gap, and a gap for each run that it has not. */
  async #fetch(missing, anew) {
    const found = [];
    let { from, to, reason } = missing;
    try {
      while (from <= to) {
        const range = { room: this.name, after: from - 1, before: to + 1, limit: PAGE };
        const { epoch, messages } = await this.#client.request("history", range, undefined, anew ?? false);
        if (epoch !== missing.epoch) break;
        const fewer = reason === "last"; // the log is shorter than what was asked for, which is no loss
        reason = "history_lost";
        if (!messages.length) break;
        for (const message of messages) {
          if (message.seq > from && !fewer) found.push(gap(missing, from, message.seq - 1, reason));
          found.push({ type: "message", ...message });
          from = message.seq + 1;
        }
      }
    } catch {
      // Refused: the gap is told as it is.
    }
    if (from <= to) found.push(gap(missing, from, to, reason));
    return found;
  }

  #tell(event) {
    this.#move(event);
    this.emit(event.type, event);
  }

  #move(event) {
    this.#client._keep(this.name, (this.position = { epoch: event.epoch, seq: run(event).to }));
  }
}

export class Client extends Emitter {
  state = "connecting";
  welcome = null; // what the gateway said first on the newest connection
  user = "";

  #url;
  #options;
  #backoff;
  #rooms = new Map();
  #pending = new Map(); // requests without a reply, by request_id, in their order
  #lastRequest = 0;
  #socket = null; // null while waiting and when closed
  #timer; // one at a time: for the welcome, the heartbeat or the next attempt
  #renewal; // the timer for the next token
  #attempt = 0;
  #misses = 0; // connections in a row that brought no welcome
  #token;
  #refused; // the gateway does not take the token any more
  #name; // the reply to register
  #openedAt = 0; // times are of performance.now(); 0 is never
  #seenAt = 0;
  #pingedAt = 0;
  #patience = 0; // until when a pong is waited for
  #reconnectAt = 0;
  #listening = new AbortController();

  constructor(url, options) {
    super();
    this.#url = new URL(url, globalThis.location?.href);
    this.#url.protocol = this.#url.protocol.replace(/^http/, "ws");
    this.#url.hash = "";
    const { WebSocket, SharedWorker } = globalThis;
    // A request is given up well inside the gateway's de-duplication window of two minutes.
    this.#options = { connectTimeout: 15_000, requestTimeout: 30_000, random: Math.random, WebSocket, SharedWorker, ...options };
    this.#backoff = { base: 500, cap: 20_000, stable: 10_000, ...options.backoff };
    this.#listen();
    this.#connect();
  }

  room(name) {
    if (this.state === "closed") throw new FanfareError(CLOSED);
    if (!this.#rooms.has(name)) this.#rooms.set(name, new Room(name, this));
    return this.#rooms.get(name);
  }

  /** The room, joined; one that is joined already as it is. */
  join(name, start) {
    const room = this.room(name);
    if (!room.wanted) room.join(start);
    return room;
  }

  async register(username) {
    this.#named(await this.request("register", { username, key: this._keep(`@${username}`) ?? undefined }));
    return this.user;
  }

  /** Connects at once if it waits to. One that is open is asked for a sign of life. */
  retry() {
    if (this.state === "waiting") return this.#connect();
    if (this.state !== "open") return;
    this.#ping(HASTE);
    this.#after(HASTE, () => this.#watch());
  }

  /** Lets the connection go until retry. Rooms and requests wait. */
  suspend() {
    if (this.state === "closed") return;
    this.#release()?.close(1000);
    this.#become({ state: "waiting", reason: "suspended" });
  }

  close() {
    this.#release()?.close(1000);
    if (this.state !== "closed") this.#end(1000, "closed");
  }

  request(type, payload, timeout = this.#options.requestTimeout, resend = true) {
    return new Promise((resolve, reject) => {
      if (this.state === "closed") throw new FanfareError(CLOSED);
      this.#ask(type, payload, (error, reply) => (error ? reject(error) : resolve(reply)), timeout, resend);
    });
  }

  /** A page that is frozen, or kept for the back button, has no connection; one that is back looks at once. */
  #listen() {
    const { signal } = this.#listening;
    const on = (types, listener) => {
      for (const type of types) globalThis.addEventListener?.(type, listener, { capture: true, signal });
    };
    on(["freeze", "pagehide"], () => this.suspend());
    on(["resume", "pageshow", "online", "offline"], () => this.retry());
  }

  #connect() {
    this.#openedAt = this.#reconnectAt = this.#pingedAt = 0;
    const attempt = (this.#socket = { close() {} }); // until there is a socket
    const { token, connectTimeout } = this.#options;
    this.#after(connectTimeout, () => this.#drop("no welcome"));
    if (token) {
      Promise.resolve().then(token).then((next) => {
        if (this.#socket !== attempt) return;
        if (this.#refused && next === this.#token) {
          this.#release();
          return this.#end(TOKEN_CODE, "refused");
        }
        this.#token = next;
        this.#refused = false;
        this.#open();
      }).catch(() => this.#socket === attempt && this.#drop("no token")); // or one that no header takes
    } else {
      this.#open();
    }
    this.#become({ state: "connecting" });
  }

  #open() {
    const { WebSocket, transport, shared, SharedWorker } = this.#options;
    const address = this.#address();
    let socket;
    // Misses in a row may be a proxy that breaks WebSockets: the third attempt, or the ninth where one has worked.
    const turn = this.welcome ? 9 : 3;
    if (!WebSocket || transport === "stream" || (!transport && this.#misses % turn === turn - 1)) socket = openStream(this.#url.href, this.#token);
    else if (shared && SharedWorker) socket = openShared(SharedWorker, ...address, () => (this.#options.shared = false));
    else socket = new WebSocket(...address);
    this.#socket = socket;
    socket.onmessage = ({ data }) => this.#receive(data);
    socket.onclose = ({ code, reason }) => this.#lost(code, reason);
    socket.onerror = () => {}; // a close follows, which says more
  }

  /** What a WebSocket is made of. */
  #address() {
    return [this.#url.href, this.#token ? [SUBPROTOCOL, `bearer.${this.#token}`] : [SUBPROTOCOL]];
  }

  #after(delay, next) {
    clearTimeout(this.#timer);
    this.#timer = setTimeout(next, delay);
  }

  /** Lets the connection go, with what lasts no longer than it, and hears nothing of it any more. */
  #release() {
    const socket = this.#socket;
    this.#socket = null;
    clearTimeout(this.#timer);
    clearTimeout(this.#renewal);
    if (socket) socket.onmessage = socket.onclose = null;
    for (const room of this.#rooms.values()) room._lost();
    for (const [id, request] of this.#pending) if (!request._resend) this.#pending.delete(id);
    return socket;
  }

  /** Gives up a connection that may be dead: its closing handshake is not waited for. */
  #drop(reason) {
    this.#release()?.close();
    this.#lost(1006, reason);
  }

  #lost(code, reason) {
    this.#release();
    this.#refused = code === TOKEN_CODE;
    if (FINAL_CODES.includes(code) || (this.#refused && !this.#options.token)) return this.#end(code, reason);

    const now = performance.now();
    const { base, cap, stable } = this.#backoff;
    if (!this.#openedAt) this.#misses++;
    else if (now - this.#openedAt >= stable && !BUSY_CODES.includes(code)) this.#attempt = 0;
    let delay = this.#options.random() * Math.min(cap, base * 2 ** this.#attempt); // full jitter
    // Where the gateway said when, that counts; but where it says so time and again, the back-off is the floor.
    if (this.#reconnectAt) delay = Math.max(this.#reconnectAt - now, this.#attempt > 0 ? delay : 0);
    this.#attempt++;
    this.#after(delay, () => this.#connect());
    this.#become({ state: "waiting", delay, code, reason });
  }

  #end(code, reason) {
    this.#listening.abort();
    this.#become({ state: "closed", code, reason });
    for (const request of [...this.#pending.values()]) this.#settle(request, CLOSED);
    for (const room of this.#rooms.values()) room._end();
  }

  #become(change) {
    this.state = change.state;
    this.emit("state", change);
  }

  #receive(text) {
    this.#seenAt = performance.now();
    const { type, request_id: id, payload } = JSON.parse(text);
    const request = this.#pending.get(id);
    if (request) return this.#settle(request, type === "error" && payload, payload);

    if (["message", "gap", "reset", "presence"].includes(type)) this.#rooms.get(payload.room)?._receive({ type, ...payload });
    else if (type === "welcome") this.#welcomed(payload);
    else if (type === "reconnect") this.#reconnectAt = this.#seenAt + payload.after_ms;
    else if (type === "error" && id === undefined) this.emit("error", new FanfareError(payload));
  }

  #welcomed(welcome) {
    clearTimeout(this.#timer);
    this.welcome = welcome;
    this.user = welcome.user;
    this.#openedAt = this.#seenAt;
    this.#misses = 0;
    this.state = "open"; // told to listeners only when what was under way is under way again, ahead of what they begin
    this.#watch();
    this.#renew();
    this.#upgrade(this.#socket);
    if (!this.#name) return this.#begin();
    // The name first: else the rooms would see a guest come and go.
    this.#ask("register", this.#name, (error, reply) => {
      if (error) this.emit("error", error);
      else this.#named(reply);
      this.#begin();
    });
  }

  #begin() {
    for (const room of this.#rooms.values()) if (room.wanted) this.#join(room);
    for (const request of [...this.#pending.values()]) if (request._resend) this.#transmit(request);
    this.#become({ state: "open" });
  }

  #named({ username, key }) {
    this.#name = { username, key };
    this.user = username;
    this._keep(`@${username}`, key);
  }

  /** Shows the gateway the next token before this one runs out. One that cannot be had is asked for when it has. */
  #renew() {
    let left = 0;
    try {
      const [, claims] = this.#token.split(".");
      left = JSON.parse(atob(claims.replace(/-/g, "+").replace(/_/g, "/"))).exp * 1000 - Date.now();
    } catch {
      // There is none, or none that says when it runs out.
    }
    const socket = this.#socket;
    if (left > 0) this.#renewal = setTimeout(async () => {
      try {
        const token = await this.#options.token();
        if (this.#socket !== socket || token === this.#token) return;
        await this.request("auth", { token }, 0, false);
        this.#token = token;
        this.#renew();
      } catch {
        // Then the gateway says that it ran out.
      }
    }, Math.min(left - Math.min(left / 4, AHEAD), 1e9));
  }

  /** From a stream back to a WebSocket, as soon as something comes through one. */
  #upgrade(stream) {
    const { WebSocket, transport } = this.#options;
    if (!stream._stream || !WebSocket || transport) return;
    setTimeout(() => {
      if (this.#socket !== stream) return;
      const probe = new WebSocket(...this.#address());
      probe.onerror = () => {};
      probe.onclose = () => this.#upgrade(stream);
      probe.onmessage = () => {
        probe.onclose = null;
        probe.close(1000);
        if (this.#socket !== stream) return;
        this.#release().close();
        this.#connect();
      };
    }, UPGRADE);
  }

  /** Pings when nothing was heard for the interval, and gives up when that brought nothing in the time that is left. */
  #watch() {
    const { interval_ms: interval, timeout_ms: timeout } = this.welcome.heartbeat;
    if (!(interval > 0)) return;
    const now = performance.now();
    const asked = this.#pingedAt > this.#seenAt;
    let due = asked ? this.#patience : this.#seenAt + interval;
    if (now >= due) {
      // Timers come late in a hidden page, a busy one or on a machine that slept, ahead of what has arrived meanwhile:
      // one that is late is no verdict, and the question is asked again.
      if (asked && now - due < 1000) return this.#drop("heartbeat timeout");
      due = this.#ping(timeout - interval);
    }
    this.#after(Math.min(due - now, interval), () => this.#watch());
  }

  #ping(patience) {
    this.#socket.send(encode("ping"));
    this.#pingedAt = performance.now();
    return (this.#patience = this.#pingedAt + patience);
  }

  _enter(room) {
    if (this.state === "closed") return room._end(new FanfareError(CLOSED));
    this.#rooms.set(room.name, room);
    this.#join(room);
  }

  #join(room) {
    if (this.state !== "open") return; // the welcome comes here again
    this.#ask("join", room._payload(), (error, joined) => {
      if (this.#rooms.get(room.name) !== room || !room.wanted) return; // left in the meantime
      if (!error) return room._enter(joined);
      this.#rooms.delete(room.name);
      room._end(error);
    });
  }

  _leave(room) {
    if (this.#rooms.get(room.name) !== room) return;
    this.#rooms.delete(room.name);
    this._keep(room.name, null);
    if (room.wanted && this.state === "open") this.#ask("leave", { room: room.name }, () => {});
    room._end();
  }

  /** Keeps a value over reloads, where there is a storage; without a value: what was kept. */
  _keep(name, value) {
    const { storage } = this.#options;
    const key = `fanfare ${this.#url.host} ${name}`;
    try {
      if (value === undefined) return JSON.parse(storage?.getItem(key) ?? null);
      storage?.setItem(key, JSON.stringify(value));
    } catch {
      // It is full, or switched off: then it lasts as long as the page.
    }
  }

  /**
   * Keeps a request until its reply, which `done` gets at once: what follows on the connection may rely on it. With
   * `resend` it is sent on every new connection until the timeout; else it ends with its connection.
   */
  #ask(type, payload, done, timeout, resend) {
    const id = `r${++this.#lastRequest}`;
    const request = { _id: id, _text: encode(type, id, payload), _done: done, _resend: resend };
    if (timeout) request._timer = setTimeout(() => this.#settle(request, { code: "timeout", message: "timeout" }), timeout);
    this.#pending.set(id, request);
    this.#transmit(request);
  }

  #transmit(request) {
    if (this.state !== "open" || this.#pending.get(request._id) !== request) return;
    const limit = this.welcome.limits.message_bytes;
    if (limit > 0 && new Blob([request._text]).size > limit) {
      // The gateway would close the connection with 1009, and that for good.
      return this.#settle(request, { code: "too_large", message: `over ${limit} bytes` });
    }
    this.#socket.send(request._text);
  }

  #settle(request, error, reply) {
    if (PASSING_ERRORS.includes(error?.code)) {
      return void setTimeout(() => this.#transmit(request), error.retry_after_ms ?? this.#backoff.base);
    }
    clearTimeout(request._timer);
    this.#pending.delete(request._id);
    request._done(error && new FanfareError(error), reply);
  }
}

function encode(type, id, payload) {
  return JSON.stringify({ type, request_id: id, payload });
}

/** From where to where an event goes. A message's `from` is who sent it. */
function run({ seq, from, to = seq }) {
  return { from: seq ?? from, to };
}

function gap({ room, epoch }, from, to, reason) {
  return { type: "gap", room, epoch, from, to, reason };
}

/** 128 random bits: `crypto.randomUUID` is missing in pages that came over plain http. */
function randomId() {
  return crypto.getRandomValues(new Uint32Array(4)).join("-");
}

/**
 * Looks like a WebSocket, and is one request for each room that is read and one for each message that is published: what
 * is left where a proxy breaks WebSockets, or where there are none.
 */
function openStream(url, token) {
  url = url.replace(/^ws/, "http");
  const base = new URL(".", url).href;
  const headers = token ? { authorization: `Bearer ${token}` } : {};
  const reading = new Map(); // an AbortController for each room
  const socket = {
    _stream: true,
    send(text) {
      const { type, request_id: id, payload: { room, ...body } = {} } = JSON.parse(text);
      if (type === "join") read(room, body, id).catch(({ name }) => name === "AbortError" || over(1006)); // aborted by stop
      else if (type === "leave") stop(room);
      else if (type === "publish") publish(room, body, id);
      else if (type !== "ping") say("error", { code: "unsupported", message: "no WebSocket" }, id);
      else if (!reading.size) say("pong");
    },
    close() {
      for (const room of reading.keys()) stop(room);
    },
  };

  const say = (type, payload, id) => socket.onmessage?.({ data: encode(type, id, payload) });

  const over = (code, reason = "ended") => {
    socket.close();
    socket.onclose?.({ code, reason });
  };

  const ask = (room, what, init) => fetch(`${base}rooms/${encodeURIComponent(room)}/${what}`, { headers, ...init });

  const stop = (room) => {
    reading.get(room)?.abort();
    reading.delete(room);
  };

  const refuse = async (answer, id) => {
    if (answer.status === 401) return over(TOKEN_CODE, "refused");
    const { detail: message, ...problem } = await answer.json();
    say("error", { ...problem, message, retry_after_ms: answer.headers.get("retry-after") * 1000 || undefined }, id);
  };

  const read = async (room, { since, last, presence }, id) => {
    stop(room);
    const abort = new AbortController();
    reading.set(room, abort);
    const from = since ? `since=${since.epoch}:${since.seq}` : `last=${last ?? 0}`;
    const answer = await ask(room, `events?${from}&presence=${!!presence}`, { signal: abort.signal });
    if (!answer.ok) return reading.delete(room), refuse(answer, id);
    const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
    for (let text = ""; ; ) {
      const { value, done } = await reader.read();
      if (done) return over(1006);
      say("pong"); // a sign of life
      const blocks = (text + value).split("\n\n");
      text = blocks.pop();
      for (const block of blocks) event(block, id);
    }
  };

  const event = (block, id) => {
    let type = "message";
    let data = "";
    for (const [, field, value] of block.matchAll(/^(event|data): (.*)/gm)) {
      if (field === "data") data += value;
      else type = value;
    }
    if (!data) return;
    const payload = JSON.parse(data);
    if (type === "close") over(payload.code, payload.reason);
    else say(type, payload, type === "joined" ? id : undefined);
  };

  const publish = async (room, body, id) => {
    try {
      const answer = await ask(room, "messages", { method: "POST", body: JSON.stringify(body) });
      if (answer.ok) say("published", await answer.json(), id);
      else await refuse(answer, id);
    } catch {
      say("error", { code: "unavailable", message: "no answer" }, id);
    }
  };

  // A gateway that is there says that this is for WebSockets.
  fetch(url, { mode: "no-cors" }).then(({ status }) => {
    if (status && status !== 426) throw status;
    const heartbeat = { interval_ms: 40_000, timeout_ms: 60_000 }; // a stream is not silent for more than 25 s
    say("welcome", { heartbeat, limits: {} });
  }).catch(() => over(1006));
  return socket;
}

let policy;

/** Looks like a WebSocket, and is a port to fanfare-worker.js, which has it. Frames are strings, all else is about the port. */
function openShared(SharedWorker, url, protocols, failed) {
  policy ??= globalThis.trustedTypes?.createPolicy("fanfare", { createScriptURL: (script) => script });
  const script = new URL("./fanfare-worker.js", import.meta.url).href;
  const worker = new SharedWorker(policy?.createScriptURL(script) ?? script, url);
  const { port } = worker;
  let taken = 0;
  const socket = {
    send: (text) => port.postMessage(text),
    /** Without a code the connection is taken for dead, for every page. */
    close: (code) => port.postMessage({ dead: !code }),
  };
  worker.onerror = () => {
    failed();
    socket.onclose?.({ code: 1006, reason: "no worker" });
  };
  port.onmessage = ({ data }) => {
    if (data.code) return socket.onclose?.(data);
    if (!(++taken % 64)) port.postMessage(taken);
    socket.onmessage?.({ data });
  };
  port.postMessage({ url, protocols });
  return socket;
}
