// The demo page: a chat over fanfare.js. A message is {text}; what others publish in another form is shown too.
import { connect } from "./fanfare.js";

const HISTORY = 50; // messages asked for on joining
const KEPT = 500; // entries kept in each log
const ROOM_NAME = /^[A-Za-z0-9_\-.:@/]{1,100}$/;
const TOGETHER = 5 * 60_000; // messages of one sender within this time are one group
const CUT = 10_000; // for how long the button cuts the connection
const SLOW = 1000; // between two messages that a slow tab reads
const WAITING = 5; // messages that may wait for a slow tab
const TYPING = 4000; // for how long who has typed is typing
const PLAYERS = ["Alphorn", "Bugle", "Clarion", "Cornet", "Horn", "Sackbut", "Serpent", "Trombone", "Trumpet", "Tuba"];

const $ = (id) => document.getElementById(id);
const client = connect("./ws");
const views = new Map(); // name of a room → its view
let current; // the view that is shown
let slow = false;
const counts = { lost: 0, recovered: 0 };

/** Storage that may be switched off. What is kept by tab comes first, so that two windows can be two people. */
const memory = {
  read(key) {
    try {
      return sessionStorage.getItem(key) ?? localStorage.getItem(key);
    } catch {
      return null;
    }
  },
  write(key, value, { everyTab = false } = {}) {
    try {
      sessionStorage.setItem(key, value);
      if (everyTab) localStorage.setItem(key, value);
    } catch {
      // then it lasts as long as the page
    }
  },
};

// A tab may have had several names: all of them are "me".
const mine = new Set(JSON.parse(memory.read("mine") ?? "[]"));

function clone(template) {
  return $(`${template}-template`).content.firstElementChild.cloneNode(true);
}

function plural(count, what) {
  return `${count.toLocaleString()} ${what}${count === 1 ? "" : "s"}`;
}

// ── Rooms ──

function open(name) {
  const view = {
    name, item: clone("room"), log: clone("log"), unread: 0, stick: true, last: null, day: new Date().toDateString(),
    people: new Set(), typing: new Map(),
  };
  view.entries = view.log.querySelector(".entries");
  view.outbox = view.log.querySelector(".outbox");
  view.link = view.item.querySelector("a");
  view.link.href = `#${name}`;
  view.link.title = name;
  view.item.querySelector(".label").textContent = name;
  const leave = view.item.querySelector(".leave");
  leave.setAttribute("aria-label", `Leave ${name}`);
  leave.addEventListener("click", () => close(view));
  view.log.setAttribute("aria-label", `Messages in ${name}`);
  view.log.addEventListener("scroll", () => {
    view.stick = view.log.scrollHeight - view.log.scrollTop - view.log.clientHeight < 80;
    if (view === current && view.stick) $("newer").hidden = true;
  });
  $("rooms").append(view.item);
  $("logs").append(view.log);
  views.set(name, view);
  memory.write("rooms", JSON.stringify([...views.keys()]));
  enter(view);
  return view;
}

function enter(view) {
  const room = (view.room = client.room(view.name));
  room.on("joined", (joined) => arrived(view, joined));
  room.on("presence", (presence) => comeAndGo(view, presence));
  room.on("error", (error) => addNotice(view, "bad", `This room cannot be joined: ${error.message}`));
  // Who types is told in a room beside: that is nothing to be kept, counted or recovered.
  view.aside = client.room(`typing:${view.name}`);
  view.aside.on("message", ({ from, data }) => isTyping(view, from, data === true));
  named.then(() => {
    if (views.get(view.name) !== view) return;
    room.join({ last: HISTORY, presence: true, fill: false });
    view.aside.join({ fill: false });
    read(view);
  });
}

function close(view) {
  const next = view.item.nextElementSibling ?? view.item.previousElementSibling;
  if (!next) return;
  view.room.leave();
  view.aside.leave();
  views.delete(view.name);
  memory.write("rooms", JSON.stringify([...views.keys()]));
  view.item.remove();
  view.log.remove();
  if (view === current) location.hash = next.querySelector("a").hash;
  $("text").focus();
}

/** Shows the room that the address names. */
function show() {
  let name = "lobby";
  try {
    name = decodeURIComponent(location.hash.slice(1)) || views.keys().next().value || name;
  } catch {
    // no percent-encoding: the lobby will do
  }
  if (!ROOM_NAME.test(name)) name = "lobby";
  current = views.get(name) ?? open(name);
  for (const view of views.values()) {
    view.log.hidden = view !== current;
    if (view === current) view.link.setAttribute("aria-current", "page");
    else view.link.removeAttribute("aria-current");
  }
  $("title").textContent = name;
  $("newer").hidden = true;
  current.item.scrollIntoView({ block: "nearest", inline: "nearest" });
  countUnread(current, 0);
  showPeople();
  showTyping();
  showFacts();
  scrollDown(current);
}

function countUnread(view, unread) {
  view.unread = unread;
  const badge = view.item.querySelector(".unread");
  badge.hidden = unread === 0;
  badge.textContent = unread > 99 ? "99+" : unread;
  const all = [...views.values()].reduce((sum, { unread }) => sum + unread, 0);
  document.title = `${all > 0 ? `(${all}) ` : ""}${current.name} · Fanfare`;
}

// ── What happens in a room ──

/** Reads a room for as long as it is joined, at the pace of this tab. */
async function read(view) {
  const room = view.room;
  for await (const event of room.events({ buffer: WAITING })) {
    if (event.type === "message") addMessage(view, event);
    else if (event.type === "gap") addGap(view, event);
    else addNotice(view, "gap", "The room’s history began anew");
    if (view === current) showFacts();
    if (slow) await new Promise((resolve) => setTimeout(resolve, SLOW));
  }
}

async function arrived(view, joined) {
  // What was said before is not read out; what is said from now on is.
  view.log.ariaBusy = "true";
  setTimeout(() => (view.log.ariaBusy = null), 1000);
  askPeople(view);
  if (joined.recovered === undefined) return;
  const away = Math.max(1, Math.round((performance.now() - lostAt) / 1000));
  const notice = addNotice(view, "back", `Back after ${plural(away, "second")}`);
  if (!joined.recovered) return;
  try {
    const { last } = await view.room.history({ limit: 1 });
    const missed = last - joined.seq;
    notice.textContent += missed === 0 ? ": nothing was missed" : `: ${plural(missed, "message")} missed, and recovered`;
    recovered(view, joined.seq + 1, last);
  } catch {
    // A stream has no history to ask: the messages follow all the same.
  }
}

/** Marks what was not heard when it was said, now and as it comes. */
function recovered(view, from, to) {
  if (from > to) return;
  view.recovered = { from, to };
  for (const item of view.entries.children) {
    if (item.dataset.seq >= from && item.dataset.seq <= to) item.classList.add("recovered");
  }
  counts.recovered += to - from + 1;
  showFacts();
}

const GAPS = {
  slow_reader: "this tab was too slow",
  slow_consumer: "this connection was too slow",
  conflated: "only the newest is kept",
  history_lost: "no longer kept",
};

/** A run that did not come stands in its place, and is fetched where it may still be had. */
async function addGap(view, { from, to, reason, epoch }) {
  const count = plural(to - from + 1, "message");
  const notice = addNotice(view, "gap", `${count} skipped: ${GAPS[reason] ?? reason}`);
  if (reason === "history_lost" || reason === "conflated") return;
  try {
    let behind = notice;
    let before;
    for (let after = from - 1; after < to; ) {
      const page = await view.room.history({ after, before: to + 1, limit: 1000 });
      if (page.epoch !== epoch || page.messages.length === 0) return;
      for (const message of page.messages) {
        const item = makeMessage(view, message);
        item.classList.add("recovered");
        item.classList.toggle("more", message.from === before);
        behind.after(item);
        behind = item;
        before = message.from;
        after = message.seq;
      }
    }
    counts.recovered += to - from + 1;
    notice.classList.add("filled");
    notice.textContent = `${count} skipped: ${GAPS[reason] ?? reason}. Fetched from history`;
    showFacts();
    if (view.stick) scrollDown(view);
  } catch {
    // Refused: the gap stays.
  }
}

function addMessage(view, message) {
  addDay(view, new Date(message.time));
  const item = makeMessage(view, message);
  const { last } = view;
  item.classList.toggle("more", last?.from === message.from && message.time - last.time < TOGETHER);
  view.last = message;
  isTyping(view, message.from, false);
  append(view, item);
  if (!mine.has(message.from) && (view !== current || document.hidden)) countUnread(view, view.unread + 1);
}

function makeMessage(view, { from, time, data, seq }) {
  const item = clone("message");
  const at = new Date(time);
  const { name, text, raw } = readData(from, data);
  item.dataset.seq = seq;
  item.classList.toggle("mine", mine.has(from));
  item.classList.toggle("recovered", seq >= view.recovered?.from && seq <= view.recovered.to);
  drawAvatar(item, name);
  item.querySelector("b").textContent = name;
  item.querySelector(".text").textContent = text;
  item.querySelector(".text").classList.toggle("raw", raw);
  const clock = item.querySelector("time");
  clock.dateTime = at.toISOString();
  clock.textContent = at.toLocaleTimeString([], { hour: "2-digit", minute: "2-digit" });
  item.title = `${at.toLocaleString()}, message ${seq}`;
  return item;
}

/** The name and the text of a message, whatever was published. A guest may say a name; who has one has it from the gateway. */
function readData(from, data) {
  const says = from.startsWith("guest-") && typeof data?.name === "string" && data.name.trim().slice(0, 40);
  const name = says || from;
  if (typeof data?.text === "string") return { name, text: data.text, raw: false };
  if (typeof data === "string") return { name, text: data, raw: false };
  return { name, text: JSON.stringify(data, null, 1), raw: true };
}

function addDay(view, at) {
  const day = at.toDateString();
  if (day === view.day) return;
  view.day = day;
  const today = day === new Date().toDateString();
  addNotice(view, "day", today ? "Today" : at.toLocaleDateString([], { weekday: "long", day: "numeric", month: "long" }));
}

function addNotice(view, kind, text) {
  const item = document.createElement("li");
  item.className = `notice ${kind}`;
  item.textContent = text;
  view.last = null; // the next message begins a group
  append(view, item);
  return item;
}

function append(view, item) {
  view.entries.append(item);
  while (view.entries.childElementCount > KEPT) view.entries.firstElementChild.remove();
  if (view !== current) return;
  if (view.stick) scrollDown(view);
  else $("newer").hidden = false;
}

/** Once before the next painting, however many messages came. */
function scrollDown(view) {
  cancelAnimationFrame(view.scrolling);
  view.scrolling = requestAnimationFrame(() => {
    if (view.stick) view.log.scrollTop = view.log.scrollHeight;
  });
}

function drawAvatar(item, name) {
  const words = name.split(/[\s_.-]+/u).filter(Boolean);
  const letters = words.length > 1 ? [words[0], words.at(-1)].map((word) => [...word][0]) : [...name].slice(0, 2);
  let hue = 0;
  for (const letter of name) hue = (hue * 31 + letter.codePointAt(0)) % 360;
  const avatar = item.querySelector(".avatar");
  avatar.textContent = letters.join("").toUpperCase();
  avatar.style.setProperty("--hue", hue);
}

// ── People ──

/** Who is in the room. What changes while the answer is under way counts more than the answer. */
async function askPeople(view) {
  const changes = (view.changes = []);
  try {
    const { users } = await view.room.members({ limit: 200 });
    if (view.changes !== changes) return; // asked again meanwhile
    view.people = new Set(users.map(({ user }) => user));
    for (const change of changes) apply(view, change);
  } catch {
    // Refused, or a stream: then only who comes and goes is known.
  }
  view.changes = null;
  showPeople();
}

function apply(view, { joined, left }) {
  for (const user of left) view.people.delete(user);
  for (const user of joined) view.people.add(user);
}

function comeAndGo(view, presence) {
  view.changes?.push(presence);
  apply(view, presence);
  for (const user of presence.left) view.typing.delete(user);
  const parts = [];
  for (const [users, what] of [[presence.joined, "joined"], [presence.left, "left"]]) {
    const others = users.filter((user) => !mine.has(user) && !user.startsWith("guest-"));
    if (others.length > 3) parts.push(`${others.length} people ${what}`);
    else if (others.length > 0) parts.push(`${others.join(", ")} ${what}`);
  }
  if (parts.length > 0) addNotice(view, "presence", parts.join(", "));
  showPeople();
  showTyping();
}

function showPeople() {
  const people = [...current.people].sort((a, b) => a.localeCompare(b));
  $("online").textContent = $("online-short").textContent = people.length;
  $("people").replaceChildren(...people.slice(0, 100).map((user) => {
    const item = clone("person");
    drawAvatar(item, user);
    item.querySelector(".label").textContent = user === client.user ? `${user} (you)` : user;
    return item;
  }));
}

function isTyping(view, user, on) {
  clearTimeout(view.typing.get(user));
  view.typing.delete(user);
  if (on && !mine.has(user)) view.typing.set(user, setTimeout(() => isTyping(view, user, false), TYPING));
  showTyping();
}

function showTyping() {
  const users = [...current.typing.keys()];
  let text = "";
  if (users.length === 1) text = `${users[0]} is typing`;
  else if (users.length === 2) text = `${users.join(" and ")} are typing`;
  else if (users.length > 2) text = "Several people are typing";
  $("typing").textContent = text;
}

// ── Sending ──

const tab = Math.random().toString(36).slice(2) + Date.now().toString(36);
let sent = 0;
let typedAt = 0;

function send(view, text) {
  const item = clone("outgoing");
  item.querySelector(".text").textContent = text;
  const [fate, again] = item.querySelectorAll(".fate > *");
  const id = `${tab}-${++sent}`; // the same on each try, so that it is stored once
  const attempt = async () => {
    item.classList.remove("failed");
    fate.textContent = "Sending…";
    again.hidden = true;
    try {
      await view.room.publish({ text }, { id });
      item.remove();
    } catch (error) {
      item.classList.add("failed");
      fate.textContent = `Not sent: ${error.message}.`;
      again.hidden = false;
    }
  };
  again.addEventListener("click", attempt);
  view.outbox.append(item);
  view.stick = true;
  scrollDown(view);
  attempt();
  typedAt = 0;
}

$("composer").addEventListener("submit", (event) => {
  event.preventDefault();
  const text = $("text").value.trim();
  if (!text) return;
  $("text").value = "";
  send(current, text);
  $("text").focus();
});

$("text").addEventListener("keydown", (event) => {
  if (event.key !== "Enter" || event.shiftKey || event.isComposing) return;
  event.preventDefault();
  $("composer").requestSubmit();
});

$("text").addEventListener("input", () => {
  const now = performance.now();
  if (client.state !== "open" || now - typedAt < TYPING / 2) return;
  typedAt = now;
  current.aside.publish(true, { timeout: TYPING }).catch(() => {}); // nobody misses it
});

$("add").addEventListener("submit", (event) => {
  event.preventDefault();
  location.hash = $("add-name").value;
  $("add-name").value = "";
  $("text").focus();
});

$("newer").addEventListener("click", () => {
  current.stick = true;
  scrollDown(current);
  $("text").focus();
});

// ── Name ──

/** What a gateway takes for a user's name. */
function userName(text) {
  return text.trim().replace(/\s+/g, "-").replace(/[^\p{L}\p{N}_.@-]/gu, "").slice(0, 40);
}

async function takeName(name) {
  await client.register(name);
  mine.add(client.user);
  memory.write("mine", JSON.stringify([...mine].slice(-20)));
  memory.write("name", client.user);
  $("name").value = client.user;
  $("name-problem").textContent = "";
  showFacts();
}

/** Another tab may have the name: then this one is the next of that name. */
async function takeFirstName(name) {
  for (let n = 1; n <= 9; n++) {
    try {
      return await takeName(n === 1 ? name : `${name}-${n}`);
    } catch (error) {
      if (error.code !== "username_taken") return;
    }
  }
}

const known = memory.read("name");
$("name").value = known || `${PLAYERS[Math.floor(Math.random() * PLAYERS.length)]}-${10 + Math.floor(Math.random() * 90)}`;
const named = takeFirstName($("name").value);
$("name").addEventListener("input", () => ($("name-problem").textContent = ""));
$("name").addEventListener("change", async () => {
  const name = userName($("name").value);
  if (!name || name === client.user) return void ($("name").value = client.user);
  try {
    await takeName(name);
    memory.write("name", name, { everyTab: true });
  } catch (error) {
    $("name-problem").textContent = error.code === "username_taken" ? `${name} is taken` : error.message;
    $("name").value = client.user;
  }
});

// ── Connection ──

let countdown;
let cutTimer;
let online = false;
let lostAt = 0;

client.on("state", ({ state, delay, code, reason }) => {
  clearInterval(countdown);
  $("countdown").textContent = "";
  $("status").dataset.state = state;
  $("status").title = reason ?? "";
  $("retry").hidden = true;
  if (online && state !== "open") {
    counts.lost++;
    lostAt = performance.now();
  }
  online = state === "open";
  if (state === "open") {
    mine.add(client.user);
    $("status-text").textContent = "Online";
    endCut();
  } else if (state === "connecting") {
    $("status-text").textContent = "Connecting";
  } else if (state === "waiting") {
    wait(delay ?? CUT, delay === undefined);
  } else {
    $("status-text").textContent = `Disconnected (${reason || code})`;
    $("retry").textContent = "Reload";
    $("retry").hidden = false;
  }
  showFacts();
});

function wait(delay, cut) {
  $("status-text").textContent = cut ? "Cut" : "Reconnecting";
  const due = performance.now() + delay;
  const tick = () => {
    const seconds = Math.ceil((due - performance.now()) / 1000);
    $("countdown").textContent = seconds > 0 ? `${seconds} s` : "";
  };
  tick();
  countdown = setInterval(tick, 200);
  $("retry").hidden = delay < 2000;
}

function showFacts() {
  const open = client.state === "open" && client.welcome;
  const position = current?.room.position;
  $("fact-gateway").textContent = (open && client.welcome.gateway) || "–";
  $("fact-connection").textContent = (open && client.welcome.connection) || "–";
  $("fact-transport").textContent = !open ? "–" : client.welcome.gateway ? "WebSocket" : "Server-Sent Events";
  $("fact-position").textContent = position ? `message ${position.seq.toLocaleString()}` : "–";
  $("fact-position").title = position ? `epoch ${position.epoch}` : "";
  $("fact-lost").textContent = counts.lost;
  $("fact-recovered").textContent = plural(counts.recovered, "message");
}

$("retry").addEventListener("click", () => (client.state === "closed" ? location.reload() : client.retry()));
$("cut").addEventListener("click", () => {
  if (client.state === "waiting") return client.retry();
  client.suspend();
  $("cut").textContent = "Connect again";
  cutTimer = setTimeout(() => client.retry(), CUT);
});

function endCut() {
  clearTimeout(cutTimer);
  $("cut").textContent = "Cut the connection";
}

$("slow").addEventListener("click", () => {
  slow = !slow;
  $("slow").setAttribute("aria-checked", slow);
  document.body.classList.toggle("slow", slow);
});

$("burst").addEventListener("click", () => {
  for (let n = 1; n <= 20; n++) send(current, `${n} of 20`);
});

// ── The panel, which on a phone lies over the page ──

function showPanel(on) {
  document.body.classList.toggle("panel-open", on);
  $("panel-toggle").setAttribute("aria-expanded", on);
  (on ? $("panel-close") : $("panel-toggle")).focus();
}

$("panel-toggle").addEventListener("click", () => showPanel(!document.body.classList.contains("panel-open")));
$("panel-close").addEventListener("click", () => showPanel(false));
document.addEventListener("keydown", (event) => {
  if (event.key === "Escape" && document.body.classList.contains("panel-open")) showPanel(false);
});

new ResizeObserver(() => scrollDown(current)).observe($("logs"));
window.addEventListener("hashchange", show);
document.addEventListener("visibilitychange", () => {
  if (!document.hidden) countUnread(current, 0);
});

for (const name of JSON.parse(memory.read("rooms") ?? "[]")) open(name);
show();
