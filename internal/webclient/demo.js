// The demo page: a chat over fanfare.js. A message is {name, text}; what others publish in another form is shown too.
import { connect } from "./fanfare.js";

const HISTORY = 50; // messages asked for on joining
const KEPT = 500; // entries kept in each log
const ROOM_NAME = /^[A-Za-z0-9_\-.:@/]{1,128}$/;
const TOGETHER = 5 * 60_000; // messages of one sender within this time are one group

const $ = (id) => document.getElementById(id);
const client = connect("./ws");
const views = new Map(); // name of a room → its view
let current; // the view that is shown

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

// The gateway gives a new guest name to each connection: those of this tab are all "me".
const mine = new Set(JSON.parse(memory.read("mine") ?? "[]"));

function clone(template) {
  return $(`${template}-template`).content.firstElementChild.cloneNode(true);
}

// ── Rooms ──

function open(name) {
  const view = { name, item: clone("room"), log: clone("log"), unread: 0, stick: true, last: null, day: new Date().toDateString() };
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

  const room = (view.room = client.join(name, { last: HISTORY }));
  room.on("joined", () => {
    // What was said before is not read out; what is said from now on is.
    view.log.ariaBusy = "true";
    setTimeout(() => (view.log.ariaBusy = null), 1000);
  });
  room.on("message", (message) => addMessage(view, message));
  room.on("gap", (gap) => addNotice(view, "gap", gapText(gap)));
  room.on("reset", () => addNotice(view, "gap", "The room’s history began anew"));
  room.on("error", (error) => addNotice(view, "bad", `This room cannot be joined: ${error.message}`));
  return view;
}

function close(view) {
  const next = view.item.nextElementSibling ?? view.item.previousElementSibling;
  if (!next) return;
  view.room.leave();
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
  scrollDown(current);
}

function countUnread(view, unread) {
  view.unread = unread;
  const badge = view.item.querySelector(".unread");
  badge.hidden = unread === 0;
  badge.textContent = unread > 99 ? "99+" : unread;
  badge.setAttribute("aria-label", `${unread} unread`);
  const all = [...views.values()].reduce((sum, { unread }) => sum + unread, 0);
  document.title = `${all > 0 ? `(${all}) ` : ""}${current.name} · Fanfare`;
}

// ── Messages ──

function addMessage(view, { from, time, data }) {
  const item = clone("message");
  const at = new Date(time);
  const { name, text, raw } = readData(from, data);
  item.classList.toggle("mine", mine.has(from));
  addDay(view, at);
  const { last } = view;
  item.classList.toggle("more", last?.from === from && last.name === name && time - last.time < TOGETHER);
  item.querySelector(".avatar").textContent = initials(name);
  item.querySelector(".avatar").style.setProperty("--hue", hue(name));
  item.querySelector("b").textContent = name;
  item.querySelector(".text").textContent = text;
  item.querySelector(".text").classList.toggle("raw", raw);
  const clock = item.querySelector("time");
  clock.dateTime = at.toISOString();
  clock.textContent = at.toLocaleTimeString([], { hour: "2-digit", minute: "2-digit" });
  item.title = at.toLocaleString();
  view.last = { from, name, time };
  append(view, item);
  if (!mine.has(from) && (view !== current || document.hidden)) countUnread(view, view.unread + 1);
}

/** The name and the text of a message, whatever was published. */
function readData(from, data) {
  const name = typeof data?.name === "string" && data.name.trim() ? data.name.trim().slice(0, 40) : from;
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
}

function gapText({ from, to, reason }) {
  const count = to - from + 1;
  const messages = `${count.toLocaleString()} ${count === 1 ? "message" : "messages"}`;
  if (reason === "history_lost") return `${messages} no longer kept`;
  if (reason === "conflated") return `${messages} skipped, only the newest is kept`;
  return `${messages} skipped, this connection was too slow`;
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

function initials(name) {
  const words = name.split(/[\s_.-]+/u).filter(Boolean);
  const letters = words.length > 1 ? [words[0], words.at(-1)].map((word) => [...word][0]) : [...name].slice(0, 2);
  return letters.join("").toUpperCase();
}

function hue(name) {
  let hash = 0;
  for (const letter of name) hash = (hash * 31 + letter.codePointAt(0)) % 360;
  return hash;
}

// ── Sending ──

const tab = Math.random().toString(36).slice(2) + Date.now().toString(36);
let sent = 0;

function send(view, text) {
  const item = clone("outgoing");
  item.querySelector(".text").textContent = text;
  const [fate, again] = item.querySelectorAll(".fate > *");
  const data = { name: $("name").value, text };
  const id = `${tab}-${++sent}`; // the same on each try, so that it is stored once
  const attempt = async () => {
    item.classList.remove("failed");
    fate.textContent = "Sending…";
    again.hidden = true;
    try {
      await view.room.publish(data, { id });
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

$("name").value = memory.read("name") || `Guest ${100 + Math.floor(Math.random() * 900)}`;
memory.write("name", $("name").value);
$("name").addEventListener("change", () => {
  $("name").value = $("name").value.trim() || "Guest";
  memory.write("name", $("name").value, { everyTab: true });
});

// ── Connection ──

let countdown;

client.on("state", ({ state, delay, code, reason }) => {
  clearInterval(countdown);
  $("countdown").textContent = "";
  $("status").dataset.state = state;
  $("status").title = reason ?? "";
  $("retry").hidden = true;
  if (state === "open") {
    mine.add(client.welcome.user);
    memory.write("mine", JSON.stringify([...mine].slice(-20)));
    $("status-text").textContent = "Online";
  } else if (state === "connecting") {
    $("status-text").textContent = "Connecting";
  } else if (state === "waiting") {
    $("status-text").textContent = "Reconnecting";
    const due = performance.now() + delay;
    const tick = () => {
      const seconds = Math.ceil((due - performance.now()) / 1000);
      $("countdown").textContent = seconds > 0 ? `in ${seconds} s` : "";
    };
    tick();
    countdown = setInterval(tick, 200);
    $("retry").hidden = delay < 2000;
  } else {
    $("status-text").textContent = `Disconnected (${reason || code})`;
    $("retry").textContent = "Reload";
    $("retry").hidden = false;
  }
});

$("retry").addEventListener("click", () => (client.state === "closed" ? location.reload() : client.retry()));
window.addEventListener("online", () => client.retry());
window.addEventListener("hashchange", show);
document.addEventListener("visibilitychange", () => {
  if (!document.hidden) countUnread(current, 0);
});

for (const name of JSON.parse(memory.read("rooms") ?? "[]")) open(name);
show();
