// What the controller has told: its rows, by what they are about. Nothing here knows of the page.

const ORDERS = {
  name: (a, b) => (a.sortName < b.sortName ? -1 : a.sortName > b.sortName ? 1 : 0),
  newest: (a, b) => (a.row.made < b.row.made ? 1 : a.row.made > b.row.made ? -1 : ORDERS.name(a, b)),
};

export class Model {
  constructor() {
    this.objects = new Map(); // by id: {id, row, traffic, sortName, search}
    this.proxies = new Map(); // by id: {id, row, search}
    this.table = null;
    this.revision = 0; // counts what was taken
    this.proxiesRevision = 0;
    this.#traffic = new Map();
  }

  #traffic;
  #byWorkload = null;
  #byName = null;

  /** All that came since the last time, at once. */
  take({ isAll, rows, gone }) {
    if (isAll) {
      this.objects.clear();
      this.proxies.clear();
      this.#traffic.clear();
      this.table = null;
      this.#byName = null;
      this.#forgetProxies();
    }
    for (const id of gone) this.#drop(id);
    for (const row of rows) this.#put(row);
    this.revision += 1;
  }

  #put(row) {
    if (row.row === "object") {
      this.#byName = null;
      this.objects.set(row.id, {
        id: row.id,
        row: whole(row),
        traffic: this.#traffic.get(row.id) ?? {},
        sortName: `${row.namespace}/${row.name} ${row.kind}`,
        search: searchOfObject(row),
      });
    } else if (row.row === "traffic") {
      this.#setTraffic(row.id.slice("traffic ".length), row.counts);
    } else if (row.row === "proxy") {
      this.proxies.set(row.id, { id: row.id, row, search: searchOf(row.proxy, row.workload ?? "router", row.release) });
      this.#forgetProxies();
    } else if (row.row === "table") {
      if (this.table === null || String(this.table.routed) !== String(row.routed)) this.#forgetProxies();
      this.table = row;
    }
  }

  #setTraffic(id, counts) {
    if (counts === null) this.#traffic.delete(id);
    else this.#traffic.set(id, counts);
    const object = this.objects.get(id);
    if (object !== undefined) object.traffic = counts ?? {};
  }

  #drop(id) {
    if (id.startsWith("traffic ")) this.#setTraffic(id.slice("traffic ".length), null);
    else if (this.objects.delete(id)) {
      this.#byName = null;
      this.#traffic.delete(id);
    }
    else if (this.proxies.delete(id)) this.#forgetProxies();
  }

  #forgetProxies() {
    this.#byWorkload = null;
    this.proxiesRevision += 1;
  }

  /** All objects in the order that is asked for mostly. To put them in order anew costs little where few are new. */
  byName() {
    if (this.#byName === null) {
      const known = this.#order.filter((id) => this.objects.has(id));
      const added = known.length < this.objects.size ? new Set(this.objects.keys()) : new Set();
      for (const id of known) added.delete(id);
      this.#byName = [...known, ...added].map((id) => this.objects.get(id)).sort(ORDERS.name);
      this.#order = this.#byName.map(({ id }) => id);
    }
    return this.#byName;
  }

  #order = []; // the ids, as they were put in order last

  /** The proxies of a workload; routers are proxies of all that they serve. */
  proxiesOf(workload) {
    if (this.#byWorkload === null) {
      this.#byWorkload = new Map();
      for (const proxy of this.proxies.values()) {
        const workloads = proxy.row.workload === null ? (this.table?.routed ?? []) : [proxy.row.workload];
        for (const each of workloads) {
          if (!this.#byWorkload.has(each)) this.#byWorkload.set(each, []);
          this.#byWorkload.get(each).push(proxy);
        }
      }
    }
    return this.#byWorkload.get(workload) ?? [];
  }

  /** All workloads that are changed or have a proxy, for those who ask about one. */
  workloads() {
    const found = new Set(this.table?.routed ?? []);
    for (const { row } of this.proxies.values()) if (row.workload !== null) found.add(row.workload);
    for (const { row } of this.objects.values()) for (const each of row.workloads) found.add(each.workload);
    return [...found].sort();
  }
}

/** A row with the lists that it left out because they are empty. */
function whole(row) {
  return {
    labels: {}, owner: null, key: null, asked: null, made: "", updated: "", expires: null, deleting: null,
    conditions: [], workloads: [], endpoints: [], members: [], refusals: [],
    ...row,
  };
}

function searchOf(...texts) {
  return texts.filter(Boolean).join("\n").toLowerCase();
}

function searchOfObject(row) {
  const labels = Object.entries(row.labels ?? {}).map(([name, value]) => `${name}=${value}`);
  const workloads = (row.workloads ?? []).map((each) => each.workload);
  const endpoints = (row.endpoints ?? []).map((each) => each.name);
  return searchOf(row.id, `${row.namespace}/${row.name}`, row.key, row.asked, row.owner, ...labels, ...workloads, ...endpoints);
}

/** What holds all words of the filter, each somewhere. */
export function matching(entries, filter) {
  const words = filter.toLowerCase().split(/\s+/).filter(Boolean);
  const found = [];
  for (const entry of entries) if (words.every((word) => entry.search.includes(word))) found.push(entry);
  return found;
}

/** In this order, as a new list; `isTroubled` says who stands first by trouble. */
export function ordered(objects, order, isTroubled) {
  if (order !== "trouble") return [...objects].sort(ORDERS[order] ?? ORDERS.name);
  const first = new Map(objects.map((each) => [each, isTroubled(each) ? 0 : 1]));
  return [...objects].sort((a, b) => first.get(a) - first.get(b) || ORDERS.name(a, b));
}
