// The page: it listens to the dashboard, keeps what it hears, and has each part show it.

import { el, say, set } from "./dom.js";
import { Detail } from "./detail.js";
import { Events, Problems, Totals } from "./panels.js";
import { Graph } from "./graph.js";
import { Table } from "./table.js";
import { Topology } from "./topology.js";
import { age, counted, long, synchronize } from "./words.js";

/** After so many milliseconds without a word the connection counts as dead; the dashboard speaks every five seconds. */
const SILENCE = 15000;

const byId = (id) => document.getElementById(id);
const topology = new Topology();
const open = (key) => detail.open(key);
const detail = new Detail(byId("detail"), topology, (service) => search(service));
const views = { graph: new Graph(topology, open), table: new Table(topology, open) };
const panels = [new Totals(topology, filter), new Problems(topology, open), new Events(topology, open)];

let source = null;
let heard = performance.now();
let delay = 500;
let version = null;
let isDue = false;

function connect() {
  if (source) source.close();
  source = new EventSource("events");
  source.onmessage = (message) => hear(JSON.parse(message.data));
  source.onerror = lost;
}

function hear(news) {
  heard = performance.now();
  delay = 500;
  synchronize(news.now);
  topology.apply(news);
  const store = topology.store;
  if (store && version && store.version !== version) {
    // The dashboard is of another version now, and so is its page.
    location.reload();
    return;
  }
  version = store ? store.version : version;
  say(byId("link-text"), "live");
  set(byId("link"), "data-is", "live");
  plan();
}

function lost() {
  say(byId("link-text"), "connecting again");
  set(byId("link"), "data-is", "lost");
  plan();
  // A browser gives up on a server that answers with an error; we do not.
  if (source.readyState === EventSource.CLOSED) {
    setTimeout(connect, delay);
    delay = Math.min(delay * 2, 10000);
  }
}

/** Shows everything with the next frame, however much is heard before. A page in the background draws when it is looked at. */
function plan() {
  if (isDue) return;
  isDue = true;
  requestAnimationFrame(() => {
    isDue = false;
    show();
  });
}

function show() {
  const isGraph = topology.view === "graph";
  byId("graph").hidden = !isGraph || !topology.hasMatches();
  byId("table").hidden = isGraph || !topology.hasMatches();
  views[isGraph ? "graph" : "table"].show();
  for (const panel of panels) panel.show();
  detail.show();
  head();
  ages();
}

function head() {
  const store = topology.store;
  if (!store) return;
  const parts = [["Store", store.name], ["Prefix", store.prefix], ["Revision", String(store.revision)]];
  const list = byId("store");
  if (!list.children.length) list.append(...parts.map(([name]) => el("div", {}, el("dt", {}, name), el("dd"))));
  parts.forEach(([, value], index) => say(list.children[index].lastChild, value));
  const count = topology.problems.length;
  document.title = count ? `(${count}) sidekick` : "sidekick";
  say(byId("version"), `sidekick ${store.version}`);
  say(byId("matches"), topology.isFiltered() ? `${counted(topology.matching, "instance")} of ${topology.total}` : "");
  const nothing = byId("nothing");
  nothing.hidden = topology.hasMatches();
  say(nothing, nothingText());
  alarm();
}

function nothingText() {
  if (topology.hasMatches()) return "";
  if (topology.isFiltered()) return "Nothing matches. Esc clears the search.";
  if (!topology.store.is_complete) return "The store has not said yet what it holds.";
  return `Nothing is announced below ${topology.store.prefix}, and nobody watches. Once a “sidekick register” announces something here, it appears by itself.`;
}

/** What stands above all else: that the page does not show how things are now. */
function alarm() {
  const outage = topology.store && topology.store.outage;
  const isLost = byId("link").dataset.is === "lost";
  const text = isLost
    ? "The dashboard does not answer. What you see is what it said last; the page goes on trying."
    : outage
      ? `${outage[1]}. What you see is what it said last.`
      : "";
  byId("alarm").hidden = !text;
  say(byId("alarm"), text);
}

/** Every second: what has grown older. */
function ages() {
  for (const element of document.querySelectorAll("[data-age]")) {
    const [at, exact] = element.dataset.age.split(" ");
    say(element, age({ at: Number(at), is_exact: exact !== "since" }));
  }
  for (const element of document.querySelectorAll("[data-since]")) {
    say(element, long(Date.now() - Number(element.dataset.since) * 1000));
  }
}

function search(text) {
  byId("search").value = text;
  filter();
}

function filter(state) {
  if (state !== undefined) byId("state").value = state;
  topology.filter(byId("search").value, byId("state").value);
  remember();
  plan();
}

/** The address of the page says what is looked at, for a bookmark, a colleague or a reload. */
function remember() {
  const all = { view: topology.view === "graph" ? "" : topology.view, q: byId("search").value, state: byId("state").value };
  const kept = Object.entries(all).filter(([, value]) => value);
  const text = new URLSearchParams(kept).toString();
  history.replaceState(null, "", text ? `#${text}` : location.pathname);
}

function recall() {
  const said = new URLSearchParams(location.hash.slice(1));
  byId("search").value = said.get("q") || "";
  byId("state").value = said.get("state") || "";
  choose(said.get("view") === "table" ? "table" : "graph");
  topology.filter(byId("search").value, byId("state").value);
}

function choose(view) {
  topology.view = view;
  document.querySelector(`input[name=view][value=${view}]`).checked = true;
}

/** All that can be moved to with the arrow keys, as it stands on the page. */
function stops() {
  const all = [...document.querySelectorAll("#topology [data-stop]")];
  return all.filter((element) => element.offsetParent !== null);
}

function move(by) {
  const all = stops();
  const at = all.indexOf(document.activeElement);
  const next = all[at < 0 ? 0 : Math.min(Math.max(at + by, 0), all.length - 1)];
  if (next) next.focus();
}

function keys(event) {
  if (event.altKey || event.ctrlKey || event.metaKey || byId("detail").open) return;
  const target = event.target;
  const isTyping = target.matches("input, select, textarea");
  if (event.key === "/" && !isTyping) {
    byId("search").focus();
    byId("search").select();
  } else if (event.key === "Escape" && target === byId("search")) {
    search("");
  } else if (event.key === "ArrowDown" && target === byId("search")) {
    move(0);
  } else if (event.key === "ArrowDown" && target.matches("[data-stop]")) {
    move(1);
  } else if (event.key === "ArrowUp" && target.matches("[data-stop]")) {
    if (stops()[0] === target) byId("search").focus();
    else move(-1);
  } else if (event.key === "ArrowRight" && target.getAttribute("aria-expanded") === "false") {
    target.click();
  } else if (event.key === "ArrowLeft" && target.getAttribute("aria-expanded") === "true") {
    target.click();
  } else if (event.key === "Escape" && target.matches("[data-stop]")) {
    byId("search").focus();
  } else {
    return;
  }
  event.preventDefault();
}

byId("tools").addEventListener("submit", (event) => event.preventDefault());
byId("search").addEventListener("input", () => filter());
byId("state").addEventListener("change", () => filter());
for (const input of document.querySelectorAll("input[name=view]")) {
  input.addEventListener("change", () => {
    choose(input.value);
    remember();
    plan();
  });
}
byId("unfold").addEventListener("click", () => fold(true));
byId("fold").addEventListener("click", () => fold(false));

function fold(isOpen) {
  topology.unfoldAll(isOpen);
  plan();
}

addEventListener("keydown", keys);
addEventListener("hashchange", () => {
  recall();
  plan();
});
topology.onfold = plan;
setInterval(() => {
  ages();
  if (performance.now() - heard > SILENCE) {
    heard = performance.now();
    lost();
    connect();
  }
}, 1000);
recall();
connect();

