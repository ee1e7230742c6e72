/**
 * fanfare-worker.js is the SharedWorker of fanfare.js, with which pages share one connection: connect(url, { shared: true }).
 * To the gateway it is one client. To each page it is a gateway, that gives the replies to the page's own requests and
 * what happens in the rooms that the page has joined. A page that joins a room which the connection has already is told
 * where it stands and, as a gap, what it fetches from history to be where the others are.
 *
 * It has no back-off and keeps no state of rooms: a lost connection is lost to every page, and the first that comes back
 * opens the next one.
 */
const WINDOW = 512; // frames on their way to a page, at most

const ports = new Map(); // by number
const rooms = new Map(); // by name
const joining = new Map(); // a room's name, by the request_id of the join that is under way
let socket = null;
let welcome = null; // as it came
let last = 0; // number of the newest port

globalThis.onconnect = ({ ports: [port] }) => {
  port.onclose = () => part(port); // of a page that crashed, where browsers tell
  port.onmessage = ({ data }) => {
    if (data.url) return open(port, data);
    if (!ports.has(port.number)) return;
    if (typeof data === "string") ask(port, JSON.parse(data));
    else if (typeof data === "number") port.taken = data;
    else if (data.dead) lost(1006, "given up by a page");
    else part(port);
  };
};

function open(port, { url, protocols }) {
  Object.assign(port, { number: ++last, sent: 0, taken: 0 });
  ports.set(port.number, port);
  if (welcome) return post(port, welcome);
  if (socket) return; // its welcome is under way
  const mine = (socket = new WebSocket(url, protocols));
  mine.onmessage = ({ data }) => receive(data);
  mine.onclose = ({ code, reason }) => lost(code, reason);
}

/** A page is gone, or was told with a code that it is. */
function part(port, code, reason) {
  if (!ports.delete(port.number)) return;
  if (code) port.postMessage({ code, reason });
  for (const name of [...rooms.keys()]) leave(port, name);
  if (!ports.size) hangUp();
}

/** The connection is lost, to every page. */
function lost(code, reason) {
  hangUp();
  for (const port of [...ports.values()]) part(port, code, reason);
}

function hangUp() {
  if (socket) {
    socket.onmessage = socket.onclose = null;
    socket.close(1000);
  }
  socket = welcome = null;
  rooms.clear();
  joining.clear();
}

// ── From a page ──

function ask(port, { type, request_id: id, payload }) {
  if (type === "join") join(port, id, payload);
  else if (type === "leave") leave(port, payload.room, id);
  else send(type, payload, id && own(port, id));
}

function join(port, id, payload) {
  const room = rooms.get(payload.room);
  if (!room) {
    rooms.set(payload.room, { ports: new Set([port]), waiting: [], presence: payload.presence });
    joining.set(own(port, id), payload.room);
    send("join", payload, own(port, id));
  } else if (room.waiting) {
    room.waiting.push([port, id, payload]);
  } else {
    enter(port, id, payload, room);
  }
}

/** A page comes to a room that is joined already. */
function enter(port, id, { room: name, since, last = 0, presence }, room) {
  const { epoch, seq, members } = room;
  if (presence && !room.presence) {
    room.presence = true;
    send("join", { room: name, presence }); // joined already: this changes its presence and nothing else
  }
  const resumes = since?.epoch === epoch;
  let at = since ? 0 : Math.max(0, seq - last);
  if (resumes) at = since.seq;
  if (room.ports.has(port)) at = seq;
  room.ports.add(port);
  post(port, encode("joined", { room: name, epoch, seq: at, recovered: since && resumes, members }, id));
  if (at >= seq) return;
  // What history has no more is a loss to who resumes, and to others none: the log is shorter than they asked for.
  post(port, encode("gap", { room: name, epoch, from: at + 1, to: seq, reason: resumes ? "shared" : "last" }));
}

function leave(port, name, id) {
  const room = rooms.get(name);
  if (id) post(port, encode("left", { room: name }, id));
  if (!room?.ports.delete(port) || room.ports.size || room.waiting) return;
  rooms.delete(name);
  send("leave", { room: name });
}

// ── From the gateway ──

function receive(text) {
  const { type, request_id: id, payload } = JSON.parse(text);
  if (type === "welcome") welcome = text;
  if (id) return reply(type, payload, id);
  if (type === "joined") return; // its presence
  const { room: name, epoch, seq, to = seq } = payload ?? {};
  const room = rooms.get(name);
  if (room && to !== undefined) Object.assign(room, { epoch, seq: to });
  const concerned = room ? room.ports : ports.values(); // who has left a room passes over what is on its way
  for (const port of [...concerned]) post(port, text);
}

function reply(type, payload, id) {
  const [, number, its] = /^(\d+)\.(.*)/.exec(id);
  const port = ports.get(Number(number));
  const name = joining.get(id);
  joining.delete(id);
  if (name) joined(name, type, payload);
  if (port) post(port, encode(type, payload, its));
  if (name) admit(name);
}

/** The first page's join is answered. */
function joined(name, type, { epoch, seq, members }) {
  const room = rooms.get(name);
  Object.assign(room, { epoch, seq, members, refused: type === "error" });
}

/** Who came meanwhile follows; who is gone meanwhile leaves. */
function admit(name) {
  const room = rooms.get(name);
  if (!room) return;
  const { waiting } = room;
  room.waiting = null;
  if (room.refused) rooms.delete(name);
  for (const [port, ...request] of waiting) if (ports.has(port.number)) join(port, ...request);
  if (room.refused || room.ports.size) return;
  rooms.delete(name);
  send("leave", { room: name });
}

// ── Both ways ──

function post(port, text) {
  // A page that does not take them begins anew where it stands, and fetches the rest in its own time.
  if (++port.sent - port.taken > WINDOW) return part(port, 4003, "slow page");
  port.postMessage(text);
}

function send(type, payload, id) {
  socket?.send(encode(type, payload, id));
}

/** A page's request_id among those of all pages. */
function own(port, id) {
  return `${port.number}.${id}`;
}

function encode(type, payload, id) {
  return JSON.stringify({ type, version: 1, request_id: id, payload });
}
