// The totals, what is wrong, and what happened lately.

import { List, el, say } from "./dom.js";
import { counted } from "./words.js";

const byId = (id) => document.getElementById(id);

/** Four numbers, and how the instances are. */
export class Totals {
  constructor(topology, filter) {
    this.topology = topology;
    this.filter = filter;
    this.list = new List(byId("totals"), (what) => this.tile(what));
  }

  show() {
    const { services, watchers, problems } = this.topology;
    const counts = { up: 0, drain: 0, maint: 0, held: 0 };
    for (const { instances } of services.values()) for (const one of instances) counts[one.state] += 1;
    const total = this.topology.total || 0;
    const here = watchers.filter((one) => !one.is_missing);
    const troubled = here.filter((one) => this.topology.troubles(one.key).length).length;
    const missing = watchers.length - here.length;
    const wrong = [troubled && `${troubled} with trouble`, missing && `${missing} gone`].filter(Boolean).join(", ");
    const parts = Object.entries(counts).map(([state, count]) => `${state} ${count}`).join(" ");
    this.list.show([
      ["watchers", ["Load balancers", here.length, wrong || (here.length ? "all follow" : "nobody watches"), wrong ? "bad" : ""]],
      ["services", ["Services", services.size, "", ""]],
      ["instances", ["Instances", total, parts, ""]],
      ["problems", ["Problems", problems.length, problems.length ? "see below" : "nothing is wrong", problems.length ? "bad" : "good"]],
    ]);
  }

  tile([title, count, note, mood]) {
    const isBar = title === "Instances";
    return el("li", { class: "tile", "data-mood": mood || undefined },
      el("span", { class: "name" }, title), el("span", { class: "count" }, String(count)),
      isBar ? this.bar(note, count) : el("span", { class: "note" }, note));
  }

  /** The states, as a bar and as buttons that show them alone. */
  bar(parts, total) {
    const pairs = parts.split(" ").reduce((all, part, index, list) => (index % 2 ? all : [...all, [part, Number(list[index + 1])]]), []);
    const some = pairs.filter(([, count]) => count > 0);
    const names = { up: "in service", drain: "draining", maint: "in maintenance", held: "held" };
    const bar = el("span", { class: "bar", "aria-hidden": "true" }, some.map(([state, count]) => {
      const part = el("i", { "data-state": state });
      part.style.flexGrow = String(count / Math.max(total, 1));
      return part;
    }));
    const buttons = some.map(([state, count]) => el("button",
      { type: "button", class: "plain", "data-key": `only-${state}`, onclick: () => this.filter(byId("state").value === state ? "" : state) },
      el("i", { class: "dot", "data-state": state, "aria-hidden": "true" }), `${count} ${names[state]}`));
    return el("span", { class: "states" }, bar, el("span", { class: "note" }, buttons));
  }
}

/** What is wrong, the worst first. */
export class Problems {
  constructor(topology, open) {
    Object.assign(this, { topology, open, known: new Set() });
    this.list = new List(byId("problem-list"), (what) => this.row(what));
  }

  show() {
    const { problems } = this.topology;
    byId("problems").hidden = problems.length === 0;
    this.announce(problems);
    this.list.show(problems.map((one) => [`${one.about} ${one.text}`, JSON.stringify(one)]));
  }

  /** Has a screen reader say what is new among them, and nothing of their ages. */
  announce(problems) {
    const texts = new Set(problems.map((one) => one.text));
    const news = [...texts].filter((text) => !this.known.has(text));
    if (news.length) say(byId("news"), `${counted(problems.length, "problem")}. New: ${news.slice(0, 3).join(". ")}`);
    else if (!texts.size && this.known.size) say(byId("news"), "Nothing is wrong any more.");
    this.known = texts;
  }

  row(text) {
    const { level, about, text: sentence, at, since } = JSON.parse(text);
    const age = at !== undefined
      ? el("span", { class: "age" }, "for ", el("span", { "data-age": String(at) }))
      : since !== undefined && el("span", { class: "age" }, "for ", el("span", { "data-since": String(since) }));
    const isItem = this.topology.items.has(about);
    const body = isItem
      ? el("button", { type: "button", class: "plain", "data-key": about, onclick: () => this.open(about) }, sentence)
      : el("span", {}, sentence);
    return el("li", { "data-level": level }, el("b", { class: "level" }, level), body, age);
  }
}

/** What happened lately, the latest first. */
export class Events {
  constructor(topology, open) {
    Object.assign(this, { topology, open });
    this.list = new List(byId("event-list"), (item) => this.row(item));
  }

  show() {
    const { events } = this.topology;
    byId("no-events").hidden = events.length > 0;
    this.list.show(events.map((item) => [item.key, item]));
  }

  row({ mood, text, at }) {
    return el("li", { "data-mood": mood }, el("span", { class: "age", "data-age": String(at) }),
      el("span", { class: "text" }, text));
  }
}

