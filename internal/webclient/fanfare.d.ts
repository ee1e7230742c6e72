// Types of fanfare.js. Times are milliseconds, positions and names as the protocol has them.

/** A place in a room's log: behind the message `seq` of `epoch`. */
export interface Position {
  epoch: string;
  seq: number;
}

/** Where it runs a WebSocket is enough; `ws` of npm fits too. */
export interface WebSocketLike {
  onmessage: ((event: any) => void) | null;
  onclose: ((event: any) => void) | null;
  onerror: ((event: any) => void) | null;
  send(text: string): void;
  close(code?: number): void;
}

export interface Options {
  /**
   * Gives the token for each connection, and the next 30 s before one runs out; after close code 4001 it has to be another
   * one. An error, or a token that no header takes, is taken for passing.
   */
  token?: () => string | Promise<string>;
  /** Keeps positions and the keys of registered names over reloads: `sessionStorage`. */
  storage?: { getItem(key: string): string | null; setItem(key: string, value: string): void };
  /** One connection for all pages of this origin that ask for it, where there is a SharedWorker. They are one user. */
  shared?: boolean;
  /**
   * How to connect. By default with a WebSocket, and after two attempts in a row without an answer with Server-Sent
   * Events and HTTP, until a WebSocket opens. A stream has no `history`, `members` and `register`.
   */
  transport?: "websocket" | "stream";
  /** Until the welcome: 15 000. */
  connectTimeout?: number;
  /** Until a request is given up, over all connections: 30 000. */
  requestTimeout?: number;
  /** A random time up to `min(cap, base * 2^attempt)`, from `base` again after a connection of `stable`: 500, 20 000, 10 000. */
  backoff?: { base?: number; cap?: number; stable?: number };
  /** Instead of the global ones. */
  WebSocket?: new (url: string, protocols: string | string[]) => WebSocketLike;
  SharedWorker?: new (url: string, name: string) => object;
  /** Instead of `Math.random`, for tests. */
  random?: () => number;
}

export type State = "connecting" | "open" | "waiting" | "closed";

/** `delay` is until the next attempt; without one there is none before `retry`. `code` is that of the close. */
export interface StateChange {
  state: State;
  delay?: number;
  code?: number;
  reason?: string;
}

/** What the gateway says first. On a stream all but `heartbeat` is missing. */
export interface Welcome {
  connection: string;
  user: string;
  gateway: string;
  heartbeat: { interval_ms: number; timeout_ms: number };
  limits: { message_bytes: number; rooms: number };
}

export interface Message<Data = any> extends Position {
  type: "message";
  room: string;
  time: number;
  from: string;
  event?: string;
  data: Data;
}

/**
 * Messages `from` to `to` that do not come. `slow_consumer`: the connection was too slow; `history_lost`: the log has
 * them no more; `conflated`: the room keeps the newest; `unannounced`: the gateway skipped them without a word;
 * `slow_reader`: the loop over `events` was too slow; `shared`, `last`: the history before a page came to a shared room
 * was refused.
 */
export interface Gap {
  type: "gap";
  room: string;
  epoch: string;
  from: number;
  to: number;
  reason: "slow_consumer" | "history_lost" | "conflated" | "unannounced" | "slow_reader" | "shared" | "last";
}

/** The log began anew; what the old one had beyond `previous` is lost. */
export interface Reset extends Position {
  type: "reset";
  room: string;
  previous: Position;
}

export interface Presence {
  type: "presence";
  room: string;
  joined: string[];
  left: string[];
  count: number;
  /** True where others may have come or left: `members` tells who is there. */
  incomplete?: boolean;
}

/** `recovered` is there only after a resumption: all that was missed follows. */
export interface Joined extends Position {
  room: string;
  recovered?: boolean;
  members: number;
}

export interface Published extends Position {
  room: string;
  duplicate?: boolean;
}

export interface History<Data = any> {
  room: string;
  epoch: string;
  messages: Omit<Message<Data>, "type">[];
  first: number;
  last: number;
}

export interface Members {
  room: string;
  count: number;
  users: { user: string; connections: number }[];
  cursor?: string;
}

export interface Join {
  /** Resume behind this message. */
  since?: Position;
  /** Begin that many messages back. */
  last?: number;
  /** Be told who comes and who leaves. */
  presence?: boolean;
  /** Fetch what this connection was too slow for (the default), or hand the gap over. */
  fill?: boolean;
}

/** An error of the gateway, by its code, or of this client: `timeout`, `closed`, `left`, `too_large`, `unsupported`. */
export class FanfareError extends Error {
  constructor(payload: { code: string; message: string; field?: string; retry_after_ms?: number });
  name: "FanfareError";
  code: string;
  field?: string;
  retryAfter?: number;
}

interface RoomEvents<Data> {
  message: Message<Data>;
  gap: Gap;
  reset: Reset;
  presence: Presence;
  /** Also after each reconnecting. */
  joined: Joined;
  /** The gateway refused the room, which is then left. */
  error: FanfareError;
  left: { type: "left"; room: string };
}

/**
 * One room. Every message behind the first `joined` comes once and in order, or a `gap` or a `reset` stands in its
 * place, over any number of connections.
 */
export class Room<Data = any> implements AsyncIterable<Message<Data> | Gap | Reset> {
  private constructor();
  readonly name: string;
  /** On the connection that is open now. */
  readonly joined: boolean;
  /** It was asked for, and is joined on every connection. */
  readonly wanted: boolean;
  /** Behind the last message that came, or was skipped. */
  readonly position: Position | null;
  /** The promise is that of the first `joined`. Again: changes `presence`. With a position in `storage` it resumes there. */
  join(start?: Join): Promise<Joined>;
  /**
   * Publishes any JSON value, also through lost connections: with its `id` it is stored once, however often it is sent.
   * After a `timeout` it is not known whether it was; the same `id` makes asking again safe.
   */
  publish(data: Data, options?: { event?: string; id?: string; timeout?: number }): Promise<Published>;
  /** What the log keeps between two numbers, both exclusive, ascending. */
  history(range?: { after?: number; before?: number; limit?: number }): Promise<History<Data>>;
  members(page?: { limit?: number; cursor?: string }): Promise<Members>;
  /** For good, and forgets the position. */
  leave(): void;
  /**
   * All that happens to the log from now on, until the room is left: who calls it before `join` misses nothing. At most `buffer` events (1024) wait for the loop;
   * what it is too slow for is fetched from history when its turn comes, or is a gap of `slow_reader`.
   */
  events(options?: { buffer?: number }): AsyncGenerator<Message<Data> | Gap | Reset, void, void>;
  [Symbol.asyncIterator](): AsyncGenerator<Message<Data> | Gap | Reset, void, void>;
  /** Returns what takes the listener away. */
  on<Type extends keyof RoomEvents<Data>>(type: Type, listener: (event: RoomEvents<Data>[Type]) => void): () => void;
}

/** One connection that comes back. */
export class Client {
  private constructor();
  readonly state: State;
  readonly welcome: Welcome | null;
  /** Who the connection is: the token's subject, the registered name, or a guest. */
  readonly user: string;
  /** The room of this name: the same one until it is left. */
  room<Data = any>(name: string): Room<Data>;
  /** `room(name)`, joined. */
  join<Data = any>(name: string, start?: Join): Room<Data>;
  /** Takes a user name, and keeps it on every connection. */
  register(username: string): Promise<string>;
  /** Any request of the protocol, by its type. */
  request(type: string, payload?: unknown, timeout?: number): Promise<any>;
  /** Connects at once if it waits to; one that is open is asked for a sign of life. */
  retry(): void;
  /** Lets the connection go until `retry`, or until the page is shown again, resumed or online. Rooms and requests wait. */
  suspend(): void;
  /** For good. Requests without a reply are rejected. */
  close(): void;
  on(type: "state", listener: (change: StateChange) => void): () => void;
  /** About no request of this client. */
  on(type: "error", listener: (error: FanfareError) => void): () => void;
}

/** Opens a connection to a gateway's `/ws`; http counts as ws, and in a page the url may be relative. */
export function connect(url: string | URL, options?: Options): Client;
