// The page that /debug/fleet is: it asks /v1/fleet each second while it is seen, and draws what it gets. Rates are
// differences between two answers. Nothing of an answer ever becomes markup.

const EVERY = 1000; // milliseconds
const TOP = 10;
const KEY = "fanfare-admin-key"; // of the session's storage, which ends with the tab

const $ = (id) => document.getElementById(id);
const empty = { rooms: [], slow: [] };
let before = new Map(); // by gateway: its newest survey and the one before
let seqs = new Map(); // by room: where it was

async function look() {
  const key = sessionStorage.getItem(KEY);
  const headers = key ? { Authorization: `Bearer ${key}` } : {};
  const answer = await fetch("../v1/fleet", { headers, cache: "no-store", signal: AbortSignal.timeout(10_000) });
  if (answer.ok) {
    $("key").hidden = true;
    return (await answer.json()).gateways;
  }
  if (answer.status === 401 || answer.status === 403) {
    sessionStorage.removeItem(KEY);
    $("key").hidden = false;
  }
  const problem = await answer.json().catch(() => ({}));
  throw new Error(problem.detail ?? `the gateway answers ${answer.status}`);
}

function draw(gateways) {
  const now = performance.now();
  const known = new Map();
  for (const g of gateways) {
    // Others say something new every two seconds: a rate is over that time, and stays until the next.
    const old = before.get(g.id);
    const same = old && old.survey?.time === g.survey?.time;
    known.set(g.id, same ? old : { survey: g.survey, last: old?.survey });
  }
  before = known;
  fill("gateways", gateways.map(gatewayRow));
  fill("health", gateways.map(healthRow));
  fill("rooms", roomRows(gateways, now), "no room has connections");
  fill("slow", slowRows(gateways), "every connection takes what it is sent");
  const total = gateways.reduce((n, g) => n + g.connections, 0);
  say(`${count(total)} connections on ${gateways.length} ${gateways.length === 1 ? "gateway" : "gateways"}, ${new Date().toLocaleTimeString()}`);
}

/** @returns the change of a counter each second; undefined: not known yet */
function rate(id, of) {
  const { survey, last } = before.get(id);
  if (!survey || !last || survey.time <= last.time) return undefined;
  return ((of(survey) - of(last)) * 1000) / (survey.time - last.time);
}

/** @returns milliseconds that one took lately, or ever where there was none lately; undefined: there was none */
function mean(id, of) {
  const { survey, last } = before.get(id);
  if (!survey) return undefined;
  const now = of(survey);
  const then = last && of(last).count < now.count ? of(last) : { count: 0, seconds: 0 };
  return now.count > then.count ? (1000 * (now.seconds - then.seconds)) / (now.count - then.count) : undefined;
}

function gatewayRow(g) {
  const s = g.survey;
  return [
    name(g.id), g.version, g.draining ? bad("draining") : s?.broker ? bad("not ready") : "takes traffic",
    n(count(g.connections)), n(each(rate(g.id, (s) => s.opened))), n(count(g.rooms)), n(`${Math.round(g.load * 100)} %`),
    n(each(rate(g.id, (s) => s.received))), n(each(rate(g.id, (s) => s.sent))), n(size(rate(g.id, (s) => s.sent_bytes))),
    n(time(mean(g.id, (s) => s.fanout))),
  ];
}

function healthRow(g) {
  const s = g.survey;
  if (!s) return [name(g.id), ...Array.from({ length: 10 }, () => n("…")), "has not shown itself yet"];
  const r = s.relay;
  const dropping = rate(g.id, (s) => s.dropped);
  return [
    name(g.id), n(time(mean(g.id, (s) => s.heartbeats))), n(count(s.timeouts)), n(count(s.blocked)), n(count(s.dropped)),
    n(each(dropping), dropping > 0), n(count(s.resets)), n(r ? time(r.probe_ms) : "–", r?.probe_ms > 5000), n(r ? time(mean(g.id, (s) => s.relay.lag)) : "–"),
    n(r ? count(r.reconnects) : "–"), n(r ? count(r.gaps) : "–"), s.broker ? bad(s.broker) : r ? "shared" : "in the process",
  ];
}

function roomRows(gateways, now) {
  const rooms = new Map();
  for (const g of gateways) {
    for (const { room, connections, seq, epoch } of (g.survey ?? empty).rooms) {
      const r = rooms.get(room) ?? { room, connections: 0, gateways: 0, seq: 0, epoch };
      r.connections += connections;
      r.gateways++;
      r.seq = Math.max(r.seq, seq);
      rooms.set(room, r);
    }
  }
  const top = [...rooms.values()].sort((a, b) => b.connections - a.connections || (a.room < b.room ? -1 : 1)).slice(0, TOP);
  const known = new Map();
  const rows = top.map((r) => {
    const old = seqs.get(r.room);
    known.set(r.room, { seq: r.seq, epoch: r.epoch, at: now });
    const perSecond = old?.epoch === r.epoch ? ((r.seq - old.seq) * 1000) / (now - old.at) : undefined;
    return [name(r.room), n(count(r.connections)), n(count(r.gateways)), n(count(r.seq)), n(each(perSecond))];
  });
  seqs = known;
  return rows;
}

function slowRows(gateways) {
  return gateways
    .flatMap((g) => (g.survey ?? empty).slow.map((s) => ({ ...s, gateway: g.id })))
    .sort((a, b) => b.bytes - a.bytes || b.blocked_ms - a.blocked_ms)
    .slice(0, TOP)
    .map((s) => [
      name(s.connection), name(s.user), name(s.gateway), n(count(s.rooms)), n(count(s.frames)), n(size(s.bytes)),
      n(count(s.dropped), s.dropped > 0), n(time(s.blocked_ms)),
    ]);
}

function fill(id, rows, none = "none") {
  const body = $(id).tBodies[0];
  if (rows.length === 0) {
    const cell = document.createElement("td");
    cell.colSpan = $(id).tHead.rows[0].cells.length;
    cell.className = "none";
    cell.textContent = none;
    rows = [[cell]];
  }
  body.replaceChildren(
    ...rows.map((cells) => {
      const row = document.createElement("tr");
      row.append(...cells.map((c) => (c instanceof Node ? c : td(c))));
      return row;
    }),
  );
}

function td(text, className = "") {
  const cell = document.createElement("td");
  cell.textContent = text;
  cell.className = className;
  return cell;
}

const n = (text, isBad = false) => td(text, isBad ? "n bad" : "n");
const bad = (text) => td(text, "bad");
const name = (text) => {
  const cell = td(text, "name");
  cell.title = text;
  return cell;
};
const count = (value) => value.toLocaleString("en");
const each = (value) => (value === undefined ? "…" : value > 0 && value < 10 ? value.toFixed(1) : count(Math.round(Math.max(value, 0))));

function size(bytes) {
  if (bytes === undefined) return "…";
  const units = ["B", "KiB", "MiB", "GiB"];
  let unit = 0;
  for (; bytes >= 1024 && unit < units.length - 1; unit++) bytes /= 1024;
  return `${unit > 0 && bytes < 10 ? bytes.toFixed(1) : Math.round(bytes)} ${units[unit]}`;
}

function time(ms) {
  if (ms === undefined) return "–";
  if (ms >= 60_000) return `${Math.round(ms / 60_000)} min`;
  if (ms >= 1000) return `${(ms / 1000).toFixed(1)} s`;
  return `${ms < 10 ? ms.toFixed(1) : Math.round(ms)} ms`;
}

function say(text, isBad = false) {
  $("status").textContent = text;
  $("status").className = isBad ? "bad" : "";
}

/** Looks while the page is seen; one look at a time. */
let timer = 0;
let looking = false;
async function turn() {
  clearTimeout(timer);
  if (document.hidden || looking) return;
  looking = true;
  try {
    draw(await look());
  } catch (error) {
    say(error.message, true);
  }
  looking = false;
  if ($("key").hidden) timer = setTimeout(turn, EVERY);
}

$("key").addEventListener("submit", (event) => {
  event.preventDefault();
  sessionStorage.setItem(KEY, $("secret").value.trim());
  $("secret").value = "";
  turn();
});
document.addEventListener("visibilitychange", turn);
turn();
