// The page: what is shown of the model, and what its users do.

import { Look } from "./convergence.js";
import { Details } from "./details.js";
import { list, make, setClass, setText } from "./dom.js";
import { ExplainForm } from "./explain.js";
import { Live } from "./live.js";
import { matching, Model, ordered } from "./model.js";
import { objectColumns, summaryOf, titleOf } from "./objects.js";
import { isTroubled, proxyColumns, summaryOfProxies } from "./proxies.js";
import { Session } from "./session.js";
import { PagedTable } from "./table.js";
import { clock, count } from "./words.js";

const TICK_MS = 5000; // ages
const QUIET_MS = 700; // after the last key in a filter, before its result is said
const HIDDEN_MS = 30000; // a page that nobody sees gives its connection back: browsers have six for one host
const PLURALS = { Sandbox: "sandboxes", RouteGroup: "routegroups" };

const by = (id) => document.getElementById(id);
const session = new Session();
const model = new Model();
const explain = new ExplainForm(session);

let reader = { who: null, mayWrite: false, namespaces: null };
let ahead = 0; // the controller's clock, beside ours
let look = new Look(model, Date.now());
let offSince = null;
let offered = -1;

const seesWorkload = (workload) => reader.namespaces === null || reader.namespaces.includes(workload.split("/")[0]);
const seesAll = () => true;

// --- what is shown -------------------------------------------------------------------------------------------------

const objects = new PagedTable(by("objects-table"), by("objects-pager"), {
  columns: objectColumns(() => look),
  title: titleOf,
  open: (id) => new Details(model.objects.get(id), () => look, { explain: explainOf, check, remove, mayWrite }),
  empty: () => (model.objects.size === 0 ? "There is none." : "None is like that."),
  refuge: by("filter"),
  onChange: schedule,
});
const proxies = new PagedTable(by("proxies-table"), by("proxies-pager"), {
  columns: proxyColumns(() => look),
  empty: () => (model.proxies.size === 0 ? "There is none." : "None is like that."),
  refuge: by("proxies-filter"),
  onChange: schedule,
});

let isScheduled = false;

function schedule() {
  if (isScheduled) return;
  isScheduled = true;
  requestAnimationFrame(() => {
    isScheduled = false;
    render();
  });
}

function shownObjects() {
  const found = matching(model.byName(), by("filter").value);
  const troubled = (object) => look.troubles(object).length > 0;
  return ordered(by("only-trouble").checked ? found.filter(troubled) : found, by("order").value, troubled);
}

function shownProxies() {
  const found = matching(model.proxies.values(), by("proxies-filter").value);
  const some = by("proxies-trouble").checked ? found.filter((each) => isTroubled(each, model.table, look.now)) : found;
  return some.sort((a, b) => (a.id < b.id ? -1 : 1));
}

function render() {
  if (model.table === null) return;
  look = new Look(model, Date.now() + ahead, reader.namespaces === null ? seesAll : seesWorkload, look);
  objects.render(shownObjects());
  proxies.render(shownProxies());
  setText(by("summary"), summaryOf(look));
  setText(by("proxies-summary"), summaryOfProxies(look));
  const fault = model.table.fault ?? "";
  by("fault").hidden = fault === "";
  setText(by("fault"), fault);
  if (document.activeElement === by("workload") && offered !== model.revision) offer();
}

function offer() {
  offered = model.revision;
  explain.offer(model.workloads());
}

function sayState(state, why) {
  const element = by("state");
  if (state === "on") {
    if (offSince !== null && Date.now() - offSince > 3000) announce("Live again.");
    offSince = null;
    setClass(element, "state on");
    setText(element, "live");
    return;
  }
  if (state === "off") {
    if (offSince === null) {
      offSince = Date.now();
      setTimeout(() => offSince !== null && announce("Not live any more."), 3000);
    }
    setClass(element, "state off");
    setText(element, `not live since ${clock(offSince)}: ${why}`);
  } else {
    setClass(element, "state");
    setText(element, "not live: no token that is good for it");
  }
}

let announcing = 0;

/** Says it to those who hear the page; once things are quiet. */
function announce(text, after = 0) {
  clearTimeout(announcing);
  announcing = setTimeout(() => setText(by("announce"), text), after);
}

// --- what is read ----------------------------------------------------------------------------------------------------

const live = new Live(session, {
  take(batch) {
    model.take(batch);
    schedule();
  },
  start(data) {
    reader = data;
    ahead = Date.parse(data.now) - Date.now();
    by("login").hidden = true;
    showReader();
  },
  say(state, why) {
    sayState(state, why);
    if (state === "token") askForToken(session.hasToken ? why : "");
  },
});

function mayWrite() {
  return reader.mayWrite;
}

function showReader() {
  if (reader.who === null) return by("session").replaceChildren();
  const where = reader.namespaces === null ? "all namespaces" : reader.namespaces.join(", ");
  const button = make("button", { type: "button" }, "Forget the token");
  button.addEventListener("click", () => {
    session.forget();
    model.take({ isAll: true, rows: [], gone: [] });
    objects.render([]);
    proxies.render([]);
    for (const id of ["summary", "proxies-summary"]) setText(by(id), "");
    by("session").replaceChildren();
    live.restart();
  });
  return by("session").replaceChildren(`${reader.who}, ${reader.mayWrite ? "may write" : "may read"}, ${where} `, button);
}

function askForToken(why) {
  by("login").hidden = false;
  setText(by("login-why"), why);
  by("token").focus();
}

by("login-form").addEventListener("submit", (event) => {
  event.preventDefault();
  session.use(by("token").value.trim(), by("keep").checked);
  by("token").value = "";
  live.restart();
});

document.addEventListener("visibilitychange", () => {
  if (!document.hidden) {
    if (by("login").hidden) live.run();
    schedule();
    return;
  }
  setTimeout(() => document.hidden && live.stop(), HIDDEN_MS);
});

// --- what is done ----------------------------------------------------------------------------------------------------

function pathOf({ row }) {
  return `api/v1/namespaces/${encodeURIComponent(row.namespace)}/${PLURALS[row.kind]}/${encodeURIComponent(row.name)}`;
}

function explainOf({ row }) {
  const { workload, ports } = row.workloads[0];
  explain.fill(workload, row.key, ports[0]?.[0]);
}

const VERDICTS = {
  passed: "Yes: all requests with the key in the last hour were answered by the sandbox.",
  failed: "No.",
  unknown: "Nobody knows.",
};

async function check(object, output) {
  output.replaceChildren(make("p", { class: "faint" }, "asking all proxies"));
  try {
    const found = await session.document(`${pathOf(object)}/traffic?since=1h`);
    const style = found.verdict === "passed" ? "good" : found.verdict === "failed" ? "bad" : "warn";
    output.replaceChildren(make("p", { class: style }, VERDICTS[found.verdict] ?? found.verdict), list(found.reasons));
  } catch (error) {
    output.replaceChildren(make("p", { class: "bad" }, error.message));
  }
}

let removing = null;

function remove(object) {
  removing = object;
  setText(by("sure-title"), `Delete ${object.row.kind} ${titleOf(object)}?`);
  setText(by("sure-text"), "Its routes go at once, and requests with its key are refused for an hour.");
  setText(by("sure-fault"), "");
  by("sure").showModal();
  by("sure-no").focus();
}

by("sure-no").addEventListener("click", () => by("sure").close());
by("sure-yes").addEventListener("click", async () => {
  try {
    await session.document(pathOf(removing), { method: "DELETE" });
    by("sure").close();
    const focused = document.activeElement;
    if (focused === document.body || by("sure").contains(focused)) by("filter").focus(); // the row went before
    announce(`${titleOf(removing)} is being deleted.`);
  } catch (error) {
    setText(by("sure-fault"), error.message);
  }
});

for (const [id, table, shown, one, many] of [
  ["objects-form", objects, shownObjects, "sandbox or group", "sandboxes and groups"],
  ["proxies-form", proxies, shownProxies, "proxy", "proxies"],
]) {
  by(id).addEventListener("submit", (event) => event.preventDefault());
  by(id).addEventListener("input", () => {
    table.rewind();
    schedule();
    announce("", 0);
    announce(`${count(shown().length, one, many)}.`, QUIET_MS);
  });
}
by("workload").addEventListener("focus", offer);

setInterval(schedule, TICK_MS);
live.run();
