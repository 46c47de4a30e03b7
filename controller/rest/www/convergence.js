// What is to be said of an object: whether every proxy routes by it, who answered, and what is wrong, in words.

import { clock, count, some } from "./words.js";

export const LATE_MS = 2000; // a proxy that has not answered for so long is worth a word

/** How many of all proxies know the object's table: {knowing, of}; null where there is nothing to know. */
export function progress(object, table) {
  const { row } = object;
  if (table === null || (row.key === null && row.deleting === null)) return null;
  let lacking = row.position > table.position ? table.attached : 0;
  if (lacking === 0) for (const [known, proxies] of table.lacking) if (known < row.position) lacking += proxies;
  return { knowing: table.attached - lacking, of: table.attached };
}

/** The same at each workload that it changes: who is there, who routes by it, what came of it. */
export function atWorkloads(object, model) {
  return object.row.workloads.map((each) => {
    const proxies = model.proxiesOf(each.workload);
    const here = proxies.filter((proxy) => proxy.row.connected);
    const [fromSandbox, fromBaseline] = object.traffic[each.workload] ?? [0, 0];
    return {
      ...each,
      proxies: here.length,
      acknowledged: here.filter((proxy) => routesBy(proxy, object, model.table)).length,
      lost: proxies.filter((proxy) => !proxy.row.connected),
      rivals: here.filter((proxy) => proxy.row.rival),
      leads: each.ports.length > 0 && each.ports.every(([, destinations]) => destinations.length > 0),
      fromSandbox,
      fromBaseline,
    };
  });
}

function knownBy(proxy, table) {
  return table.behind[proxy.id]?.[0] ?? table.position;
}

function routesBy(proxy, object, table) {
  if (table === null || knownBy(proxy, table) < object.row.position) return false;
  return !object.row.refusals.some((refusal) => refusal.proxy === proxy.row.proxy);
}

/** Who answered, in all. */
export function answers(object) {
  let fromSandbox = 0;
  let fromBaseline = 0;
  for (const [sandbox, baseline] of Object.values(object.traffic)) {
    fromSandbox += sandbox;
    fromBaseline += baseline;
  }
  return { fromSandbox, fromBaseline };
}

/**
 * One look at all of it, at one moment: what is the same for many objects is found out once.
 * `sees(workload)`: whether its proxies are shown to this reader. `before`: the look before this one, whose findings stand
 * for objects of which nothing has changed since.
 */
export class Look {
  constructor(model, now, sees = () => true, before = null) {
    this.model = model;
    this.now = now;
    this.#sees = sees;
    for (const [id, [known, since]] of Object.entries(model.table?.behind ?? {})) {
      if (since !== null && now - Date.parse(since) > LATE_MS) {
        this.#late.push([known, model.proxies.get(id)?.row.proxy ?? id]);
      }
    }
    this.#proxies = model.proxiesRevision;
    const isAlike = before !== null && before.#proxies === this.#proxies && before.#sees === sees;
    if (isAlike && this.#late.length + before.#late.length === 0) this.#troubles = before.#troubles;
  }

  #sees;
  #late = []; // what each has, and who
  #proxies; // their revision
  #ofWorkloads = new Map();
  #troubles = new WeakMap(); // by object, which is another one when its row has changed: its counts, and what is wrong

  /** All that is wrong with an object, the worst first. */
  troubles(object) {
    const known = this.#troubles.get(object);
    if (known !== undefined && known.traffic === object.traffic) return known.found;
    const found = this.#find(object);
    this.#troubles.set(object, { traffic: object.traffic, found });
    return found;
  }

  #find({ row, traffic }) {
    const found = [];
    for (const workload in traffic) {
      const fromBaseline = traffic[workload][1];
      if (fromBaseline > 0) found.push(`the baseline of ${workload} answered ${count(fromBaseline, "request")} with this key`);
    }
    for (const [, status, reason, message] of row.conditions) {
      if (status !== "True") found.push(message || reason);
    }
    for (const refusal of row.refusals) found.push(`${refusal.proxy} refuses its route: ${refusal.faults.join("; ")}`);
    if (row.key !== null && row.deleting === null && this.model.table !== null) {
      for (const { workload } of row.workloads) if (this.#sees(workload)) found.push(...this.#ofWorkload(workload));
      const late = this.#late.filter(([known]) => known < row.position).map(([, name]) => name);
      if (late.length > 0) found.push(`${some(late)} ${late.length === 1 ? "has" : "have"} not got it yet`);
    }
    return found.length > 1 ? [...new Set(found)] : found;
  }

  #ofWorkload(workload) {
    let found = this.#ofWorkloads.get(workload);
    if (found === undefined) {
      found = faultsOf(workload, this.model.proxiesOf(workload), this.now);
      this.#ofWorkloads.set(workload, found);
    }
    return found;
  }

  /** In one word: deleting, idle (it has no key), trouble, waiting, live. */
  stateOf(object) {
    if (object.row.deleting !== null) return "deleting";
    if (this.troubles(object).length > 0) return object.row.key === null ? "idle" : "trouble";
    const how = progress(object, this.model.table);
    return how !== null && how.knowing < how.of ? "waiting" : "live";
  }
}

function faultsOf(workload, proxies, now) {
  if (proxies.length === 0) return [`no proxy of ${workload} is attached`];
  const found = [];
  for (const { row } of proxies) {
    if (!row.connected) found.push(`${row.proxy} of ${workload} is missing: its connection broke at ${clock(row.since, now)}`);
    else if (row.rival) found.push(`${row.proxy} of ${workload} is the name of two processes: give each one its own`);
  }
  return found;
}

/** How a proxy is: {state: current, behind or missing, words}. */
export function proxyState(proxy, table, now) {
  const { row } = proxy;
  if (!row.connected) {
    const has = row.position === null ? "it is not known which table it has" : `it had table ${row.position}`;
    return { state: "missing", words: `missing since ${clock(row.since, now)}; ${has}` };
  }
  const lag = table?.behind[proxy.id];
  if (lag === undefined) return { state: "current", words: "connected" };
  return { state: "behind", words: row.faults.length > 0 ? "connected, refused" : "connected, behind" };
}
