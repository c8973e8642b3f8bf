// Times and numbers as people read them.

let offset = 0;

/** The clock of the dashboard is now at `now` milliseconds. */
export function synchronize(now) {
  offset = now - performance.now();
}

/** The clock of the dashboard. */
export function now() {
  return performance.now() + offset;
}

/** A length of time, in milliseconds. */
export function long(milliseconds) {
  const seconds = Math.max(0, Math.floor(milliseconds / 1000));
  if (seconds < 60) return `${seconds} s`;
  const minutes = Math.floor(seconds / 60);
  if (minutes < 60) return `${minutes} min`;
  const hours = Math.floor(minutes / 60);
  if (hours < 48) return `${hours} h`;
  return `${Math.floor(hours / 24)} d`;
}

/** A number of things. */
export function counted(count, one, many = `${one}s`) {
  return `${count} ${count === 1 ? one : many}`;
}

/** How long ago a moment of the dashboard's clock was. */
export function age({ at, is_exact: isExact = true }) {
  return (isExact ? "" : "> ") + long(now() - at);
}

/** How long ago a moment in seconds since 1970 was. */
export function ageOf(seconds) {
  return long(Date.now() - seconds * 1000);
}

/** A moment in seconds since 1970, as a clock shows it here. */
export function clock(seconds) {
  const date = new Date(seconds * 1000);
  const isToday = date.toDateString() === new Date().toDateString();
  const options = isToday ? { timeStyle: "medium" } : { dateStyle: "short", timeStyle: "medium" };
  return new Intl.DateTimeFormat(undefined, options).format(date);
}

/** Who has put an instance into its state. */
export const STATE_BY = { operator: "an operator", stop: "its own stop" };

/** What a state is called. */
export const STATES = { up: "in service", drain: "draining", maint: "in maintenance", held: "held", gone: "gone" };
