// The small things that several views show: the mark of a state, badges, ages.

import { el } from "./dom.js";
import { STATES, clock, counted } from "./words.js";

/** The mark of a state: a shape and a colour. The word stands beside it, or in its title. */
export function dot(state, title) {
  return el("i", { class: "dot", "data-state": state, title, "aria-hidden": title ? undefined : "true" });
}

/** A state in a word, with its mark. */
export function stateOf(state) {
  return el("span", { class: "state-word", "data-state": state }, dot(state), STATES[state] || state);
}

/** A short remark. */
export function badge(mood, text, title) {
  return el("span", { class: "badge", "data-mood": mood, title }, text);
}

/** An age that grows by itself; `>` where it may be longer. */
export function ageSince(time) {
  if (!time) return null;
  return el("span", { class: "age", "data-age": `${time.at} ${time.is_exact === false ? "since" : "exact"}` });
}

/** The same for a moment in seconds since 1970. */
export function ageSinceClock(seconds) {
  return el("span", { class: "age", "data-since": String(seconds), title: clock(seconds) });
}

/** That a watcher is gone, and for how long, if that is known. */
export function missing(watcher) {
  return el("span", { class: "badge", "data-mood": "bad" }, watcher.gone === undefined ? "gone" : ["gone for ", ageSince({ at: watcher.gone })]);
}

/** How a target is: a mood and the words for it. */
export function statusOf(target) {
  if (target.failing) return ["bad", `fails: ${target.failing.step}`];
  if (target.stale !== undefined) return ["warn", "serves a snapshot"];
  const held = target.held.reduce((sum, one) => sum + one.count, 0);
  if (target.held.length) return ["warn", held ? `holds ${counted(held, "instance")}` : "held as it is"];
  if (target.owed) return ["warn", "reload owed"];
  return ["good", "in force"];
}

/** Since when a target is so. */
export function sinceOf(target) {
  const held = target.held.map((one) => one.since);
  return target.failing?.since ?? target.stale ?? (held.length ? Math.min(...held) : target.since);
}

/** The name of a watcher for people: its host, and something to tell two of them apart. */
export function shortId(watcher) {
  const rest = watcher.id.startsWith(`${watcher.host}-`) ? watcher.id.slice(watcher.host.length + 1) : watcher.id;
  return rest.length > 14 ? `${rest.slice(0, 13)}…` : rest;
}

/** How many instances are in which state, in words. */
export function summary(instances) {
  const counts = new Map();
  for (const one of instances) counts.set(one.state, (counts.get(one.state) || 0) + 1);
  const parts = [...counts].map(([state, count]) => `${count} ${STATES[state]}`);
  return parts.length ? parts.join(", ") : "no instances";
}
