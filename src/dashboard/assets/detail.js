// All that is known of one thing, at the side of the page.

import { el } from "./dom.js";
import { ageSince, ageSinceClock, badge, stateOf, statusOf } from "./marks.js";
import { STATES, STATE_BY, clock, counted } from "./words.js";

export class Detail {
  constructor(dialog, topology, search) {
    Object.assign(this, { dialog, topology, search, key: null, shown: null });
    dialog.addEventListener("close", () => {
      this.key = null;
    });
    // A click beside it closes it.
    dialog.addEventListener("click", (event) => {
      if (event.target === dialog) dialog.close();
    });
  }

  open(key) {
    this.key = key;
    this.shown = null;
    this.show();
    if (!this.dialog.open) this.dialog.showModal();
    this.dialog.querySelector("button.close").focus();
  }

  /** Shows what is known now; only what has changed is made anew. */
  show() {
    if (!this.key) return;
    const item = this.topology.items.get(this.key);
    const about = JSON.stringify([item, this.topology.troubles(this.key), this.topology.watchers]);
    if (about === this.shown) return;
    this.shown = about;
    const hadFocus = this.dialog.contains(document.activeElement);
    const body = item ? this.of(item) : [this.title("It is gone", this.key.replace(/^\w+:/, "")), el("p", {}, "The store no longer has it.")];
    this.dialog.replaceChildren(
      el("button", { type: "button", class: "close", "aria-label": "Close", onclick: () => this.dialog.close() }, "×"), ...body.filter(Boolean));
    if (hadFocus) this.dialog.querySelector("button.close").focus({ preventScroll: true });
  }

  of(item) {
    if (item.kind === "instance") return this.instance(item);
    if (item.kind === "service") return this.service(item);
    return this.watcher(item);
  }

  title(kind, name) {
    return el("header", {}, el("p", { class: "quiet" }, kind), el("h2", { id: "detail-title" }, name));
  }

  troubles(key) {
    const troubles = this.topology.troubles(key);
    return troubles.length ? el("ul", { class: "problems" }, troubles.map((one) =>
      el("li", { "data-level": one.level }, el("b", { class: "level" }, one.level), el("span", {}, one.text)))) : null;
  }

  instance(one) {
    const ports = Object.entries(one.ports).map(([name, port]) => (name ? `${name} ${port}` : String(port))).join(", ");
    const attrs = Object.entries(one.attrs);
    const watchers = this.topology.watchers.filter((watcher) => this.topology.serves(watcher, one.service));
    const wanted = one.changed?.revision;
    return [
      this.title(`instance of ${one.service}`, one.id),
      facts([
        ["State", stateOf(one.state)],
        one.state_since !== undefined && ["So for", [ageSinceClock(one.state_since), `, by ${STATE_BY[one.state_by]}`]],
        one.gone !== undefined && ["Gone from the store for", ageSince({ at: one.gone })],
        ["Address", el("code", {}, one.addr)],
        ["Host", one.host],
        ["Ports", ports],
        one.weight !== undefined && ["Weight", String(one.weight)],
        one.announced_at !== undefined ? ["Announced for", ageSinceClock(one.announced_at)] : one.came && ["Seen for", ageSince(one.came)],
        one.changed && one.came && one.changed.at !== one.came.at && ["As it is for", ageSince(one.changed)],
        wanted && ["Changed at revision", String(wanted)],
      ]),
      attrs.length ? el("h3", {}, "Attributes") : null,
      attrs.length ? facts(attrs.map(([name, value]) => [name, el("span", { class: "value" }, value)])) : null,
      el("h3", {}, "Who serves it"),
      watchers.length ? el("ul", { class: "plain-list" }, watchers.map((watcher) => el("li", {},
        this.link(watcher.key, watcher.host), " ", appliedBadge(watcher, one, wanted, this.topology)))) : el("p", { class: "quiet" }, "Nobody watches this service."),
      one.state === "held" ? el("p", { class: "hint" }, "A guard still serves it, since more went at once than the target allows. ",
        el("code", {}, "sidekick guard list"), " on that host says more.") : el("p", { class: "hint" }, "By hand: ",
        el("code", {}, `sidekick ${one.state === "up" ? "drain" : "undrain"} ${one.service} ${one.id}`)),
    ];
  }

  service(item) {
    const instances = this.topology.services.get(item.name)?.instances || [];
    const watchers = this.topology.watchers.filter((watcher) => this.topology.serves(watcher, item.name));
    const counts = Object.entries({ up: item.up, drain: item.drain, maint: item.maint }).filter(([, count]) => count);
    return [
      this.title("service", item.name),
      this.troubles(item.key),
      facts([
        ["Instances", String(item.up + item.drain + item.maint)],
        ...counts.map(([state, count]) => [STATES[state], String(count)]),
      ]),
      el("p", {}, el("button", { type: "button", onclick: () => { this.dialog.close(); this.search(item.name); } }, "Show it alone")),
      item.held.length ? el("h3", {}, "Held") : null,
      item.held.length ? el("ul", { class: "plain-list" }, item.held.map((one) => el("li", {},
        `${counted(one.count, "instance")} by ${one.target} on ${this.topology.items.get(`watcher:${one.watcher}`)?.host || one.watcher}: ${one.why}`,
        one.until ? `, until ${clock(one.until)}` : ""))) : null,
      el("h3", {}, "Who serves it"),
      watchers.length ? el("ul", { class: "plain-list" }, watchers.map((watcher) => el("li", {}, this.link(watcher.key, watcher.host)))) : el("p", { class: "quiet" }, "Nobody watches this service."),
      instances.length ? el("h3", {}, "Instances") : null,
      el("ul", { class: "plain-list" }, instances.slice(0, 200).map((one) => el("li", {}, this.link(one.key, one.id), " ", stateOf(one.state)))),
    ];
  }

  watcher(one) {
    const served = [...this.topology.services.values()].filter(({ item }) => this.topology.serves(one, item.name));
    return [
      this.title("load balancer", one.host || one.id),
      this.troubles(one.key),
      facts([
        ["Watcher", el("code", {}, one.id)],
        one.config && ["Configuration", one.config],
        one.version && ["Version", one.version],
        one.is_missing ? ["Gone", one.gone === undefined ? "since before the dashboard was started" : ["for ", ageSince({ at: one.gone })]] : one.came && ["Seen for", ageSince(one.came)],
        one.old_workers && ["Old workers", String(one.old_workers)],
        ["Store's revision", String(this.topology.store.revision)],
      ]),
      el("h3", {}, "Targets"),
      one.targets.length ? el("ul", { class: "plain-list" }, one.targets.map((target) => this.target(target, one.is_missing))) : el("p", { class: "quiet" }, "It does not tell of its targets."),
      el("h3", {}, "Applied"),
      facts(Object.entries(one.applied).map(([path, revision]) => [path, revision ? `revision ${revision}` : "nothing yet"])),
      served.length ? el("h3", {}, "Services") : null,
      el("ul", { class: "plain-list" }, served.map(({ item }) => el("li", {}, this.link(item.key, item.name)))),
    ];
  }

  target(target, isMissing) {
    const [mood, words] = statusOf(target);
    return el("li", {}, el("b", {}, target.name), " ", isMissing ? null : badge(mood, words), facts([
      target.since && ["Files in force for", ageSinceClock(target.since)],
      target.revision && ["From revision", String(target.revision)],
      target.failing && ["Fails for", ageSinceClock(target.failing.since)],
      target.failing && [`Why (${target.failing.step})`, target.failing.why],
      target.owed && ["Owed", "a change waits for its reload"],
      target.stale !== undefined && ["Snapshot of", clock(target.stale)],
      ...target.held.map((one) => [one.service ? `Holds of ${one.service}` : "Left as it is", `${counted(one.count, "instance")}: ${one.why}`]),
    ]));
  }

  link(key, name) {
    return el("button", { type: "button", class: "plain", onclick: () => this.open(key) }, name);
  }
}

function facts(pairs) {
  return el("dl", { class: "facts" }, pairs.filter(Boolean).map(([name, value]) => el("div", {}, el("dt", {}, name), el("dd", {}, value))));
}

function appliedBadge(watcher, one, wanted, topology) {
  const prefix = topology.store.prefix === "/" ? "" : topology.store.prefix;
  const dir = `${prefix}/${one.service}`;
  const has = Math.min(...Object.entries(watcher.applied).filter(([path]) => path === "/" || dir === path || dir.startsWith(`${path}/`)).map(([, revision]) => revision));
  if (!wanted) return badge("plain", `at revision ${has}`);
  return has >= wanted ? badge("good", "has applied it") : badge("warn", `is at revision ${has}`);
}
