// The graph: load balancers on the left, services in the middle, instances on the right, and lines between them.

import { List, draw, el, say, set } from "./dom.js";
import { badge, dot, missing, shortId, sinceOf, statusOf, summary } from "./marks.js";
import { STATES, counted } from "./words.js";

/** More instances than this are shown as "and so many more" in a folded service. */
const DOTS = 600;
/** More lines than this are drawn only for what is pointed at. */
const LINES = 1500;
/** So many instances stand in one column, with a line to each. */
const COLUMN = 8;

export class Graph {
  constructor(topology, open) {
    Object.assign(this, { topology, open, lit: null });
    this.root = document.getElementById("graph");
    this.svg = document.getElementById("edges");
    const watchers = document.getElementById("graph-watchers");
    const services = document.getElementById("graph-services");
    this.groups = new List(watchers, (what) => this.group(what));
    this.services = new List(services, (what) => new ServiceRow(this, what).element, {
      update: (element, what) => element.row.show(what),
    });
    for (const kind of ["pointerover", "focusin"]) this.root.addEventListener(kind, (event) => this.point(event.target));
    for (const kind of ["pointerleave", "focusout"]) this.root.addEventListener(kind, () => this.point(null));
    this.root.addEventListener("click", (event) => {
      const key = event.target.dataset?.open;
      if (key) this.open(key);
    });
    new ResizeObserver(() => this.plan()).observe(this.root);
    addEventListener("scroll", () => this.plan(), { passive: true });
  }

  show() {
    const { topology } = this;
    const troubles = (key) => topology.troubles(key).map((one) => one.text).join("\n");
    this.groups.show(topology.groups().map((group) =>
      [group.key, [group.isSingle, topology.isGroupOpen(group), ...group.watchers, ...group.watchers.map((one) => troubles(one.key))]]));
    this.services.show(topology.shown.map((service) =>
      [service.item.key, [service.item, topology.isOpen(service), troubles(service.item.key), ...service.instances]]));
    this.plan();
  }

  group(what) {
    const [isSingle, isOpen, ...rest] = what;
    const watchers = rest.slice(0, rest.length / 2);
    if (isSingle) return el("li", {}, this.watcher(watchers[0]));
    const key = `group:${Object.keys(watchers[0].applied).join("\n")}`;
    const bad = watchers.filter((one) => this.topology.troubles(one.key).length);
    const dots = el("span", { class: "dots", role: "img", "aria-label": `${watchers.length} watchers, ${bad.length} with trouble` },
      watchers.slice(0, DOTS).map((one) => {
        const mark = dot(one.is_missing ? "gone" : bad.includes(one) ? "bad" : "up", one.host);
        mark.dataset.open = one.key;
        return mark;
      }));
    const button = el("button", { type: "button", class: "name", "data-stop": "", "data-key": key, "aria-expanded": String(isOpen),
      onclick: () => this.topology.fold(key, !isOpen) }, el("span", { class: "chevron", "aria-hidden": "true" }), counted(watchers.length, "load balancer"));
    const listed = isOpen ? watchers : bad;
    return el("li", {},
      el("div", { class: "card group", "data-node": key },
        el("div", { class: "row" }, button, bad.length ? badge("bad", `${bad.length} with trouble`) : null),
        el("p", { class: "quiet" }, Object.keys(watchers[0].applied).join(", ")), dots),
      listed.length ? el("ul", { class: "members" }, listed.map((one) => el("li", {}, this.watcher(one)))) : null);
  }

  watcher(one) {
    const { topology } = this;
    const isGone = one.is_missing;
    const troubles = topology.troubles(one.key);
    const badges = [];
    if (isGone) badges.push(missing(one));
    else if (one.config) badges.push(badge("bad", "configuration is wrong", one.config));
    else if (troubles.some((problem) => problem.level === "error") && !one.targets.some((target) => target.failing)) {
      badges.push(badge("bad", "behind", troubles.map((problem) => problem.text).join("\n")));
    }
    if (one.old_workers) badges.push(badge("plain", counted(one.old_workers, "old worker")));
    const targets = isGone ? [] : one.targets.map((target) => {
      const [mood, words] = statusOf(target);
      const since = sinceOf(target);
      return el("li", { "data-mood": mood, title: target.failing ? target.failing.why : undefined },
        el("span", { class: "lamp", "aria-hidden": "true" }), el("span", { class: "target" }, target.name),
        el("span", { class: "quiet" }, words, since ? [" · ", el("span", { "data-since": String(since) })] : null));
    });
    const paths = Object.keys(one.applied).join(", ") || "nothing yet";
    return el("div", { class: "card watcher", "data-node": one.key, "data-mood": isGone ? "gone" : troubles.length ? "bad" : undefined },
      el("div", { class: "row" },
        el("button", { type: "button", class: "name", "data-stop": "", "data-key": one.key, onclick: () => this.open(one.key) }, one.host || one.id),
        el("span", { class: "quiet id" }, shortId(one)), badges),
      targets.length ? el("ul", { class: "targets" }, targets) : el("p", { class: "quiet" }, isGone ? `had ${one.targets.map((target) => target.name).join(", ") || "no targets"}` : `serves ${paths}`));
  }

  plan() {
    if (this.isPlanned || this.root.hidden) return;
    this.isPlanned = true;
    requestAnimationFrame(() => {
      this.isPlanned = false;
      this.connect();
    });
  }

  /** Draws the lines, from where the cards are now. */
  connect() {
    const frame = this.root.getBoundingClientRect();
    const at = (element) => {
      const box = element.getBoundingClientRect();
      return { left: box.left - frame.left, right: box.right - frame.left, middle: box.top - frame.top + Math.min(box.height / 2, 22) };
    };
    const lines = [];
    const boxes = new Map();
    for (const element of this.root.querySelectorAll("[data-node]")) boxes.set(element.dataset.node, { element, box: at(element) });
    const groups = this.topology.groups();
    const services = this.topology.shown;
    const isMuch = groups.length * services.length > LINES;
    for (const group of groups) {
      const from = boxes.get(group.key);
      const members = group.watchers.filter((one) => !one.is_missing);
      if (!from || !members.length) continue;
      for (const { item } of services) {
        const to = boxes.get(item.key);
        if (!to || !this.topology.serves(members[0], item.name)) continue;
        if (isMuch && this.lit !== group.key && this.lit !== item.key) continue;
        const isBad = group.isSingle && this.topology.troubles(group.key).some((problem) => problem.level === "error");
        lines.push([group.key, item.key, from.box, to.box, isBad ? "bad" : ""]);
      }
    }
    for (const { item, instances } of services) {
      const from = boxes.get(item.key);
      const all = boxes.get(`all ${item.key}`);
      if (all && from) lines.push([item.key, `all ${item.key}`, from.box, all.box, ""]);
      for (const one of instances.length <= COLUMN ? instances : []) {
        const to = boxes.get(one.key);
        if (from && to) lines.push([item.key, one.key, from.box, to.box, one.state]);
      }
    }
    this.draw(frame, lines);
  }

  draw(frame, lines) {
    set(this.svg, "viewBox", `0 0 ${Math.round(frame.width)} ${Math.round(frame.height)}`);
    while (this.svg.children.length > lines.length) this.svg.lastChild.remove();
    while (this.svg.children.length < lines.length) this.svg.append(draw("path"));
    lines.forEach(([a, b, from, to, mood], index) => {
      const path = this.svg.children[index];
      set(path, "d", route(from, to));
      set(path, "data-mood", mood);
      const isLit = this.lit !== null && (a === this.lit || b === this.lit);
      set(path, "class", isLit ? "lit" : null);
    });
    set(this.svg, "data-dim", this.svg.querySelector(".lit") ? "" : null);
  }

  /** Lights the lines of what is pointed at. */
  point(target) {
    const node = target?.closest?.("[data-node]")?.dataset.node ?? null;
    if (node === this.lit) return;
    this.lit = node;
    this.plan();
  }
}

/** A line between two cards: from side to side, or, where they stand below each other, along the left edge. */
function route(from, to) {
  const round = (number) => Math.round(number * 10) / 10;
  if (to.left >= from.right) {
    const half = (to.left - from.right) / 2;
    return `M${round(from.right)} ${round(from.middle)}C${round(from.right + half)} ${round(from.middle)} ${round(to.left - half)} ${round(to.middle)} ${round(to.left)} ${round(to.middle)}`;
  }
  const gutter = Math.min(from.left, to.left) - 10;
  const bend = to.middle > from.middle ? 6 : -6;
  return `M${round(from.left)} ${round(from.middle)}Q${round(gutter)} ${round(from.middle)} ${round(gutter)} ${round(from.middle + bend)}V${round(to.middle - bend)}Q${round(gutter)} ${round(to.middle)} ${round(to.left)} ${round(to.middle)}`;
}

/** A service and its instances. */
class ServiceRow {
  constructor(graph) {
    this.graph = graph;
    this.name = el("span", {});
    this.button = el("button", { type: "button", class: "name", "data-stop": "", onclick: () => this.toggle() },
      el("span", { class: "chevron", "aria-hidden": "true" }), this.name);
    this.badges = el("span", { class: "badges" });
    this.counts = el("p", { class: "quiet" });
    this.more = el("button", { type: "button", class: "plain info", onclick: () => graph.open(this.key) }, "details");
    this.card = el("div", { class: "card service" },
      el("div", { class: "row" }, this.button, this.badges), el("div", { class: "row" }, this.counts, this.more));
    this.dots = el("div", { class: "dots card", role: "img" });
    this.list = el("ul", { class: "members" });
    this.instances = new List(this.list, (one) => this.instance(one));
    this.element = el("li", { class: "service-row" }, this.card, el("div", { class: "members-column" }, this.dots, this.list));
    this.element.row = this;
  }

  show([item, isOpen, troubles, ...instances]) {
    this.key = item.key;
    this.isOpen = isOpen;
    say(this.name, item.name);
    set(this.button, "aria-expanded", String(isOpen));
    set(this.button, "data-key", item.key);
    set(this.card, "data-node", item.key);
    set(this.card, "data-mood", troubles ? (item.up ? "warn" : "bad") : null);
    set(this.more, "aria-label", `details of ${item.name}`);
    say(this.counts, summary(instances));
    this.badges.replaceChildren(...this.badgesOf(item));
    this.dots.hidden = isOpen || instances.length === 0;
    this.list.hidden = !isOpen;
    set(this.dots, "data-node", this.dots.hidden ? null : `all ${item.key}`);
    set(this.list, "class", instances.length > COLUMN ? "members many" : "members");
    set(this.list, "data-node", isOpen && instances.length > COLUMN ? `all ${item.key}` : null);
    set(this.list, "aria-label", `instances of ${item.name}`);
    this.instances.show(isOpen ? instances.map((one) => [one.key, one]) : []);
    if (!isOpen) this.fold(item, instances);
  }

  badgesOf(item) {
    const held = Math.max(0, ...item.held.map((one) => one.count));
    const badges = [];
    if (held) badges.push(badge("warn", `${held} held`, item.held.map((one) => one.why).join("\n")));
    if (!item.up) badges.push(badge("bad", "none in service"));
    if (!item.serving) badges.push(badge("plain", "nobody watches"));
    return badges;
  }

  fold(item, instances) {
    set(this.dots, "aria-label", `${item.name}: ${summary(instances)}`);
    const marks = instances.slice(0, DOTS).map((one) => {
      const mark = dot(one.state, `${one.id} ${one.addr} ${STATES[one.state]}`);
      mark.dataset.open = one.key;
      return mark;
    });
    const rest = instances.length - marks.length;
    this.dots.replaceChildren(...marks, ...(rest > 0 ? [el("span", { class: "quiet" }, `and ${rest} more`)] : []));
  }

  instance(one) {
    return el("li", { class: one.isNew ? "new" : undefined },
      el("button", { type: "button", class: "instance", "data-stop": "", "data-key": one.key, "data-node": one.key, "data-state": one.state,
        onclick: () => this.graph.open(one.key) },
        dot(one.state), el("span", { class: "id" }, one.id), el("span", { class: "addr" }, one.addr),
        one.state !== "up" ? el("span", { class: "state-word" }, STATES[one.state]) : null,
        one.weight !== undefined ? el("span", { class: "quiet" }, `weight ${one.weight}`) : null));
  }

  toggle() {
    this.graph.topology.fold(this.key, !this.isOpen);
  }
}
