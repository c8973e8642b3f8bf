// Makes and keeps elements. Text from the store becomes text nodes and nothing else: there is no way to markup here.

/** An element with properties and children; strings become text nodes. */
export function el(tag, properties = {}, ...children) {
  return fill(document.createElement(tag), properties, children);
}

/** The same for drawings. */
export function draw(tag, properties = {}, ...children) {
  return fill(document.createElementNS("http://www.w3.org/2000/svg", tag), properties, children);
}

function fill(element, properties, children) {
  for (const [name, value] of Object.entries(properties)) {
    if (value === undefined || value === null || value === false) continue;
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else element.setAttribute(name, value === true ? "" : String(value));
  }
  element.append(...children.flat().filter((child) => child !== undefined && child !== null && child !== false));
  return element;
}

/** Sets a text if it is another one: a screen reader reads only what has changed. */
export function say(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

/** Sets or removes an attribute, if it is not so already. */
export function set(element, name, value) {
  if (value === undefined || value === null || value === false) element.removeAttribute(name);
  else if (element.getAttribute(name) !== String(value)) element.setAttribute(name, value === true ? "" : value);
}

/**
 * Keeps the children of an element equal to a list. What stays keeps its element, and with it its focus; an element is made
 * anew only when what it shows has changed (`same` tells), or is brought up to date by `update` where there is one.
 */
export class List {
  constructor(parent, make, { before = null, update = null } = {}) {
    Object.assign(this, { parent, make, before, update, shown: new Map() });
  }

  /** `entries`: pairs of a key and what is shown. */
  show(entries) {
    const keys = new Set(entries.map(([key]) => key));
    for (const [key, { element }] of this.shown) {
      if (!keys.has(key)) {
        element.remove();
        this.shown.delete(key);
      }
    }
    let last = this.before;
    for (const [key, what] of entries) {
      const element = this.element(key, what);
      const next = last ? last.nextSibling : this.parent.firstChild;
      if (element !== next) this.parent.insertBefore(element, next);
      last = element;
    }
  }

  element(key, what) {
    const known = this.shown.get(key);
    if (known && same(known.what, what)) return known.element;
    if (known && this.update) {
      this.update(known.element, what);
      known.what = what;
      return known.element;
    }
    const element = this.make(what, key);
    if (this.update) this.update(element, what);
    if (known) replace(known.element, element);
    this.shown.set(key, { element, what });
    return element;
  }
}

/** Whether two lists of values hold the same ones. Items are made anew only when they change, so looking at them is enough. */
function same(a, b) {
  if (!Array.isArray(a) || !Array.isArray(b)) return a === b;
  return a.length === b.length && a.every((value, index) => value === b[index]);
}

/** Puts an element in the place of another one; the focus stays where it was, as far as there is such a place. */
function replace(old, element) {
  const focused = old.contains(document.activeElement) ? document.activeElement : null;
  old.replaceWith(element);
  if (!focused) return;
  const twin = focused.dataset.key && element.querySelector(`[data-key="${CSS.escape(focused.dataset.key)}"]`);
  (twin || element.querySelector("button") || element).focus({ preventScroll: true });
}
