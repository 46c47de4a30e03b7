// What stands below an object that was opened: all that is known of it, and what can be done.

import { atWorkloads, progress } from "./convergence.js";
import { grid, linked, list, make, setContent } from "./dom.js";
import { clock, some } from "./words.js";

/**
 * The details of one object: {node, update(object)}. `moment()` is the Look that is shown; `act` has explain(object),
 * check(object, output), remove(object) and `mayWrite()`.
 */
export class Details {
  constructor(object, moment, act) {
    this.#moment = moment;
    this.#mayWrite = act.mayWrite;
    this.#object = object;
    const button = (text, style, run) => {
      const found = make("button", { type: "button", class: style }, text);
      found.addEventListener("click", () => run(this.#object, this.#output));
      return found;
    };
    this.#delete = button("Delete...", "danger", act.remove);
    this.#check = button("Was it the sandbox that was tested?", "", act.check);
    this.#explain = button("Explain a request with this key", "", act.explain);
    const buttons = make("div", { class: "buttons" }, this.#explain, this.#check, this.#delete);
    const { namespace, name } = object.row;
    this.node = make(
      "section",
      { "aria-label": `Details of ${namespace}/${name}` },
      ...Object.values(this.#parts),
      buttons,
      this.#output,
    );
  }

  #moment;
  #mayWrite;
  #object;
  #delete;
  #check;
  #explain;
  #output = make("div", { role: "status" });
  #parts = {
    troubles: make("div"),
    workloads: make("div"),
    endpoints: make("div"),
    members: make("div"),
    conditions: make("div"),
    facts: make("div"),
  };

  update(object) {
    this.#object = object;
    const { row } = object;
    const look = this.#moment();
    this.#delete.hidden = !this.#mayWrite() || row.deleting !== null;
    this.#explain.hidden = row.key === null || row.workloads.length === 0;
    this.#check.hidden = row.key === null;
    const troubles = look.troubles(object);
    setContent(this.#parts.troubles, troubles, () => part("What is wrong", troubles.length > 0 && list(troubles)));
    const workloads = atWorkloads(object, look.model);
    const shown = workloads.map(cellsOf);
    setContent(this.#parts.workloads, shown, () =>
      part("Workloads that it changes", shown.length > 0 && grid("Workloads that it changes", WORKLOAD_HEAD, shown)),
    );
    setContent(this.#parts.endpoints, row.endpoints, () =>
      part("Endpoints", row.endpoints.length > 0 && grid("Endpoints", ["Name", "Target", "Address"], endpointRows(row))),
    );
    setContent(this.#parts.members, row.members, () =>
      part("Sandboxes in it", row.members.length > 0 && make("p", {}, some(row.members, 100))),
    );
    setContent(this.#parts.conditions, row.conditions, () =>
      part("Conditions", row.conditions.length > 0 && list(row.conditions.map(conditionText))),
    );
    const facts = factsOf(object, look);
    setContent(this.#parts.facts, facts, () =>
      part("In short", make("dl", {}, ...facts.flatMap(([name, text]) => [make("dt", {}, name), make("dd", {}, text)]))),
    );
  }
}

function part(title, content) {
  return content ? [make("h3", {}, title), content] : [];
}

const WORKLOAD_HEAD = ["Workload", "Sandbox", "Port and where it leads", "Proxies that have it", "By sandbox", "By baseline"];

function cellsOf(each) {
  const ports = each.ports.map(([port, destinations]) => `${port} to ${destinations.join(", ") || "nowhere: 503"}`);
  const lost = each.lost.length > 0 ? `, ${each.lost.length} missing` : "";
  return [
    each.workload,
    each.sandbox,
    ports.join("; ") || "nowhere: 503",
    `${each.acknowledged} of ${each.proxies}${lost}`,
    each.fromSandbox.toLocaleString("en"),
    each.fromBaseline > 0 ? `${each.fromBaseline.toLocaleString("en")}: not tested` : "0",
  ];
}

function endpointRows(row) {
  return row.endpoints.map(({ name, target, url }) => [name, target, url ? linked(url) : "no preview gateway"]);
}

function conditionText([type, status, reason, message, since]) {
  const why = message ? `: ${message}` : "";
  const said = reason === type || (status === "True" && !message) ? "" : ` (${reason})`;
  return `${type} ${status === "True" ? "is so" : status === "False" ? "is not so" : "is not known"}${said}${why}, since ${clock(since)}`;
}

function factsOf({ row }, look) {
  const facts = [["Kind", row.kind]];
  const labels = Object.entries(row.labels).map(([name, value]) => `${name}=${value}`);
  if (row.key !== null) facts.push(["Routing key", row.key]);
  else if (row.asked !== null) facts.push(["Routing key that it asks for", row.asked]);
  if (row.owner !== null) facts.push(["Owner", row.owner]);
  if (labels.length > 0) facts.push(["Labels", labels.join(", ")]);
  if (row.made !== "") facts.push(["Made", clock(row.made)]);
  if (row.updated !== "" && row.updated !== row.made) facts.push(["Changed", clock(row.updated)]);
  if (row.expires !== null) facts.push(["Expires", clock(row.expires)]);
  if (row.deleting !== null) facts.push(["Being deleted since", clock(row.deleting)]);
  const how = progress({ row }, look.model.table);
  if (how !== null) facts.push(["Table", `first as it is now in ${row.position}; ${how.knowing} of ${how.of} proxies have that, or a later one`]);
  return facts;
}
