// The table of proxies.

import { proxyState } from "./convergence.js";
import { make, setClass, setText } from "./dom.js";
import { count, span } from "./words.js";

export function proxyColumns(moment) {
  return [
    {
      name: "Proxy",
      show(cell, { row }) {
        if (cell.firstChild === null) cell.append(make("span", { class: "mono" }));
        setText(cell.firstChild, row.proxy);
      },
    },
    { name: "Workload", show: (cell, { row }) => setText(cell, row.workload ?? "router: all that the services list") },
    { name: "Release", show: (cell, { row }) => setText(cell, row.release) },
    { name: "State", show: (cell, proxy) => showState(cell, proxy, moment()) },
    { name: "Table that it has", show: (cell, proxy) => showTable(cell, proxy, moment()) },
    { name: "Since", show: (cell, { row }) => setText(cell, span(moment().now - Date.parse(row.since))) },
  ];
}

const STYLES = { current: "good", behind: "warn", missing: "bad" };

function showState(cell, proxy, { model, now }) {
  const { state, words } = proxyState(proxy, model.table, now);
  const { row } = proxy;
  const rival = row.rival ? "; another process has the same name" : "";
  const faults = row.faults?.length > 0 ? `; it refused: ${row.faults.join("; ")}` : "";
  setClass(cell, row.rival || faults ? "bad" : STYLES[state]);
  setText(cell, words + rival + faults);
}

function showTable(cell, proxy, { model, now }) {
  setClass(cell, "number");
  const { table } = model;
  if (table === null || !proxy.row.connected) return setText(cell, "");
  const [known, since] = table.behind[proxy.id] ?? [table.position, null];
  if (known === table.position) return setText(cell, `${known}, current`);
  const has = known < 0 ? "none acknowledged" : `${known} of ${table.position}`;
  return setText(cell, since === null ? has : `${has}, stale for ${span(now - Date.parse(since))}`);
}

export function isTroubled(proxy, table, now) {
  return proxy.row.rival || proxyState(proxy, table, now).state !== "current";
}

export function summaryOfProxies({ model }) {
  const { table } = model;
  if (table === null) return "";
  const behind = table.lacking.reduce((sum, [, proxies]) => sum + proxies, 0);
  let missing = 0;
  for (const { row } of model.proxies.values()) if (!row.connected) missing += 1;
  const have = behind === 0 ? `all have table ${table.position}` : `${behind} have not got table ${table.position} yet`;
  const lost = missing > 0 ? `; ${missing} missing` : "";
  if (table.attached === 0) return `No proxy is attached${lost}.`;
  return `${count(table.attached, "proxy", "proxies")} attached, ${have}${lost}.`;
}
