// The tables: one row for each target, one for each instance, below the name of its service.

import { List, el, say, set } from "./dom.js";
import { ageSince, ageSinceClock, badge, missing, shortId, sinceOf, stateOf, statusOf, summary } from "./marks.js";

export class Table {
  constructor(topology, open) {
    Object.assign(this, { topology, open });
    const instances = document.querySelector("#table table.instances");
    this.watchers = new List(document.getElementById("watcher-rows"), (what) => this.row(what));
    this.groups = new List(instances, () => new Group(this).element, {
      before: instances.tHead,
      update: (element, what) => element.group.show(what),
    });
    this.nobody = document.getElementById("no-rows");
  }

  show() {
    const { topology } = this;
    const troubles = (key) => topology.troubles(key).map((one) => one.text).join("\n");
    const rows = topology.shownWatchers.flatMap((watcher) => {
      const targets = watcher.targets.length ? watcher.targets : [null];
      return targets.map((target, index) => [`${watcher.key} ${index}`, [watcher, target, index, troubles(watcher.key)]]);
    });
    this.watchers.show(rows);
    this.groups.show(topology.shown.map((service) =>
      [service.item.key, [service.item, topology.isOpen(service), ...service.instances]]));
  }

  row([watcher, target, index, troubles]) {
    const isFirst = index === 0;
    const isGone = watcher.is_missing;
    const host = watcher.host || watcher.id;
    const name = isFirst
      ? el("button", { type: "button", class: "plain", "data-stop": "", "data-key": watcher.key, onclick: () => this.open(watcher.key) }, host)
      : el("span", { class: "unseen" }, host);
    const applied = Object.entries(watcher.applied).map(([path, revision]) => `${revision} ${path}`).join(", ");
    return el("tr", { class: isFirst ? "first" : "again", "data-mood": isGone ? "gone" : undefined },
      el("th", { scope: "row" }, name),
      el("td", { class: "target" }, target ? target.name : "—"),
      el("td", {}, this.status(watcher, target, troubles)),
      el("td", { class: "wide mono cut", title: applied }, isFirst ? applied || (isGone ? "" : "nothing yet") : ""),
      el("td", { class: "wide" }, isFirst && watcher.old_workers ? String(watcher.old_workers) : ""),
      el("td", { class: "wide mono quiet", title: watcher.id }, isFirst ? shortId(watcher) : ""));
  }

  status(watcher, target, troubles) {
    if (watcher.is_missing) return missing(watcher);
    if (!target) return troubles ? badge("bad", "behind", troubles) : badge("good", "follows");
    const [mood, words] = statusOf(target);
    const since = sinceOf(target);
    return el("span", { class: "status" }, badge(mood, words), since ? el("span", { class: "quiet" }, " ", el("span", { "data-since": String(since) })) : null,
      target.failing ? el("span", { class: "why" }, target.failing.why) : null);
  }
}

/** A service and its rows. */
class Group {
  constructor(table) {
    this.table = table;
    this.name = el("span", {});
    this.counts = el("span", { class: "quiet" });
    this.badges = el("span", { class: "badges" });
    this.button = el("button", { type: "button", class: "name", "data-stop": "", onclick: () => this.toggle() },
      el("span", { class: "chevron", "aria-hidden": "true" }), this.name);
    this.more = el("button", { type: "button", class: "plain info", onclick: () => table.open(this.key) }, "details");
    this.head = el("tr", { class: "service" }, el("th", { colspan: "8", scope: "rowgroup" },
      el("div", { class: "row" }, this.button, this.counts, this.badges, this.more)));
    this.element = el("tbody", {}, this.head);
    this.element.group = this;
    this.rows = new List(this.element, (one) => this.row(one), { before: this.head });
  }

  show([item, isOpen, ...instances]) {
    this.key = item.key;
    this.isOpen = isOpen;
    say(this.name, item.name);
    say(this.counts, summary(instances));
    set(this.button, "aria-expanded", String(isOpen));
    set(this.button, "data-key", item.key);
    set(this.more, "aria-label", `details of ${item.name}`);
    const held = Math.max(0, ...item.held.map((one) => one.count));
    const badges = [];
    if (held) badges.push(badge("warn", `${held} held`, item.held.map((one) => one.why).join("\n")));
    if (!item.up) badges.push(badge("bad", "none in service"));
    if (!item.serving) badges.push(badge("plain", "nobody watches"));
    this.badges.replaceChildren(...badges);
    this.rows.show(isOpen ? instances.map((one) => [one.key, one]) : []);
  }

  row(one) {
    const attrs = Object.entries(one.attrs).map(([name, value]) => `${name}=${value}`).join("  ");
    const applied = one.applied === undefined ? String(one.serving) : `${one.applied} of ${one.serving}`;
    return el("tr", { class: one.isNew ? "new" : undefined, "data-state": one.state },
      el("th", { scope: "row" }, el("button", { type: "button", class: "plain id", "data-stop": "", "data-key": one.key, onclick: () => this.table.open(one.key) }, one.id), el("span", { class: "under" }, one.addr)),
      el("td", { class: "middle mono addr" }, one.addr),
      el("td", {}, stateOf(one.state), one.state_since === undefined ? null : [" ", ageSinceClock(one.state_since)]),
      el("td", { class: "wide" }, one.host === one.addr.replace(/:\d+$/, "") ? "" : one.host),
      el("td", { class: "wide number" }, one.weight === undefined ? "" : String(one.weight)),
      el("td", { class: "middle number" }, one.gone !== undefined ? ["gone ", ageSince({ at: one.gone })] : one.announced_at !== undefined ? ageSinceClock(one.announced_at) : ageSince(one.came)),
      el("td", { class: "wide" }, one.serving ? `${applied} ${one.serving === 1 ? "watcher" : "watchers"}` : "nobody"),
      el("td", { class: "wide cut mono", title: attrs }, attrs));
  }

  toggle() {
    this.table.topology.fold(this.key, !this.isOpen);
  }
}
