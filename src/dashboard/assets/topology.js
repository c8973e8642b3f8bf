// What the page has heard, and which of it is to be seen: the search, the state asked for, and what is unfolded.

/** A service with more instances than this is folded at first. */
const SMALL = 8;
/** With more watchers than this, those that serve the same paths are shown together. */
const FEW_WATCHERS = 8;

export class Topology {
  items = new Map();
  services = new Map();
  watchers = [];
  problems = [];
  events = [];
  store = null;
  view = "graph";
  words = [];
  state = "";
  /** What somebody has folded or unfolded by hand. */
  folds = new Map();
  onfold = () => {};

  /** Takes in what the dashboard says. */
  apply({ whole, set = {}, gone = [] }) {
    if (whole) this.items = new Map();
    for (const name of gone) this.items.delete(name);
    for (const [name, item] of Object.entries(set)) {
      const isNew = !whole && this.items.size > 0 && !this.items.has(name);
      if (item.kind === "watcher") for (const target of item.targets) target.held ??= [];
      this.items.set(name, Object.assign(item, { key: name, isNew, words: textOf(item) }));
    }
    if (whole || gone.length || Object.keys(set).length) this.sort();
  }

  sort() {
    this.services = new Map();
    this.watchers = [];
    this.events = [];
    const instances = [];
    for (const item of this.items.values()) {
      if (item.kind === "service") this.services.set(item.name, { item, instances: [] });
      else if (item.kind === "instance") instances.push(item);
      else if (item.kind === "watcher") this.watchers.push(item);
      else if (item.kind === "event") this.events.push(item);
      else if (item.kind === "problems") this.problems = item.list;
      else if (item.kind === "store") this.store = item;
    }
    const natural = new Intl.Collator("en", { numeric: true });
    instances.sort((a, b) => natural.compare(a.id, b.id));
    for (const one of instances) this.services.get(one.service)?.instances.push(one);
    this.services = new Map([...this.services].sort(([a], [b]) => natural.compare(a, b)));
    this.watchers.sort((a, b) => natural.compare(a.host, b.host) || natural.compare(a.id, b.id));
    this.events.sort((a, b) => b.number - a.number);
    this.wrong = new Map();
    for (const problem of this.problems) {
      const list = this.wrong.get(problem.about) || [];
      this.wrong.set(problem.about, [...list, problem]);
    }
    this.select();
  }

  /** What is looked for. */
  filter(text, state) {
    this.words = text.toLowerCase().split(/\s+/).filter(Boolean);
    this.state = state;
    this.select();
  }

  select() {
    const isWanted = (one, service) => (!this.state || one.state === this.state)
      && this.words.every((word) => one.words.includes(word) || service.name.toLowerCase().includes(word));
    const all = [...this.services.values()];
    this.total = all.reduce((sum, service) => sum + service.instances.length, 0);
    this.shown = all.map(({ item, instances }) => {
      const matching = this.isFiltered() ? instances.filter((one) => isWanted(one, item)) : instances;
      return { item, instances: matching };
    });
    this.matching = this.shown.reduce((sum, service) => sum + service.instances.length, 0);
    const matchesAll = (text) => this.words.every((word) => text.includes(word));
    this.shown = this.shown.filter(({ item, instances }) =>
      !this.isFiltered() || instances.length || (!this.state && matchesAll(item.name.toLowerCase())));
    const serves = (watcher) => this.shown.some(({ item }) => covers(watcher, this.store, item.name));
    this.shownWatchers = this.watchers.filter((watcher) =>
      !this.isFiltered() || (!this.state && matchesAll(watcher.words)) || serves(watcher));
  }

  isFiltered() {
    return this.words.length > 0 || this.state !== "";
  }

  hasMatches() {
    return this.shown !== undefined && (this.shown.length > 0 || this.shownWatchers.length > 0);
  }

  /** Whether the instances of a service are shown one by one. */
  isOpen({ item, instances }) {
    const byHand = this.folds.get(item.key);
    if (byHand !== undefined) return byHand;
    if (this.isFiltered()) return instances.length <= 50;
    return this.view === "table" ? this.total <= 200 || instances.length <= SMALL : instances.length <= SMALL;
  }

  isGroupOpen(group) {
    return this.folds.get(group.key) ?? false;
  }

  fold(key, isOpen) {
    this.folds.set(key, isOpen);
    this.onfold();
  }

  unfoldAll(isOpen) {
    for (const { item } of this.services.values()) this.folds.set(item.key, isOpen);
    for (const group of this.groups()) this.folds.set(group.key, isOpen);
  }

  /** The watchers in the graph: each by itself, or, if there are many, together with those that serve the same. */
  groups() {
    const key = (watcher) => Object.keys(watcher.applied).join("\n");
    if (this.shownWatchers.length <= FEW_WATCHERS) {
      return this.shownWatchers.map((one) => ({ key: one.key, watchers: [one], isSingle: true }));
    }
    const groups = new Map();
    for (const one of this.shownWatchers) groups.set(key(one), [...(groups.get(key(one)) || []), one]);
    return [...groups].map(([paths, watchers]) => watchers.length === 1
      ? { key: watchers[0].key, watchers, isSingle: true }
      : { key: `group:${paths}`, watchers, isSingle: false });
  }

  /** What is wrong with an item. */
  troubles(key) {
    return this.wrong?.get(key) || [];
  }

  serves(watcher, service) {
    return !watcher.is_missing && covers(watcher, this.store, service);
  }
}

/** Whether a path of the watcher covers the service. */
function covers(watcher, store, service) {
  const prefix = store && store.prefix !== "/" ? store.prefix : "";
  const dir = `${prefix}/${service}`;
  return Object.keys(watcher.applied).some((path) => path === "/" || dir === path || dir.startsWith(`${path}/`));
}

/** Everything of an item that can be searched for. */
function textOf(item) {
  const parts = [];
  if (item.kind === "instance") {
    parts.push(item.id, item.service, item.addr, item.host, ...Object.entries(item.attrs).flat());
  } else if (item.kind === "watcher") {
    parts.push(item.id, item.host, ...item.targets.map((target) => target.name));
  }
  return parts.join("\n").toLowerCase();
}
