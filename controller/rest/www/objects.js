// The table of sandboxes and route groups.

import { answers, progress } from "./convergence.js";
import { make, linked, setAttribute, setClass, setContent, setText } from "./dom.js";
import { clock, count, span } from "./words.js";

/** Its columns; `moment()` is the Look that is shown. */
export function objectColumns(moment) {
  return [
    {
      name: "Name",
      show(cell, { row }) {
        // The button that opens it is the table's.
        if (row.kind === "Sandbox") return;
        if (cell.childElementCount === 1) cell.append(make("div", { class: "kind" }, "route group"));
      },
    },
    { name: "Key", show: (cell, { row }) => showKey(cell, row) },
    { name: "Owner", show: (cell, { row }) => setText(cell, row.owner ?? "") },
    { name: "Age", show: (cell, { row }) => showAge(cell, row, moment().now) },
    { name: "State", show: (cell, object) => showState(cell, object, moment()) },
    { name: "Proxies that have it", show: (cell, object) => showProgress(cell, object, moment()) },
    { name: "Answered in the last hour", show: showAnswers },
    { name: "Endpoints", show: (cell, { row }) => showEndpoints(cell, row) },
  ];
}

export function titleOf({ row }) {
  return `${row.namespace}/${row.name}`;
}

function showKey(cell, row) {
  setClass(cell, "mono");
  setText(cell, row.key ?? "");
}

function showAge(cell, row, now) {
  const expires = row.expires === null ? "" : `, expires in ${span(Math.max(Date.parse(row.expires) - now, 0))}`;
  setText(cell, row.made === "" ? "" : span(now - Date.parse(row.made)) + expires);
  setAttribute(cell, "title", row.made === "" ? "" : `made ${clock(row.made, now)}`);
}

const STATES = {
  live: ["good", "live"],
  waiting: ["faint", "on its way to proxies"],
  deleting: ["warn", "being deleted"],
};

function showState(cell, object, look) {
  const state = look.stateOf(object);
  const troubles = look.troubles(object);
  const [style, words] = STATES[state] ?? ["bad", first(troubles)];
  setClass(cell, style);
  setText(cell, words);
}

function first(troubles) {
  const more = troubles.length - 1;
  const text = troubles[0].length > 160 ? `${troubles[0].slice(0, 157)}...` : troubles[0];
  return more > 0 ? `${text}; and ${more} more` : text;
}

function showProgress(cell, object, look) {
  const how = progress(object, look.model.table);
  setClass(cell, "number");
  setText(cell, how === null ? "" : `${how.knowing.toLocaleString("en")} of ${how.of.toLocaleString("en")}`);
}

function showAnswers(cell, object) {
  const { fromSandbox, fromBaseline } = answers(object);
  setClass(cell, fromBaseline > 0 ? "number bad" : "number");
  if (fromSandbox + fromBaseline === 0) setText(cell, "");
  else setText(cell, `${fromSandbox.toLocaleString("en")} by sandbox, ${fromBaseline.toLocaleString("en")} by baseline`);
}

function showEndpoints(cell, row) {
  setContent(cell, row.endpoints, () =>
    row.endpoints.map(({ name, target, url }) => make("div", {}, url ? linked(url, name) : `${name}: ${target}`)),
  );
}

/** What is above the table, in a sentence. */
export function summaryOf(look) {
  let sandboxes = 0;
  let troubled = 0;
  const objects = look.model.objects;
  for (const object of objects.values()) {
    if (object.row.kind === "Sandbox") sandboxes += 1;
    if (look.troubles(object).length > 0) troubled += 1;
  }
  const groups = count(objects.size - sandboxes, "route group");
  const trouble = troubled === 0 ? "none in trouble" : `${troubled.toLocaleString("en")} in trouble`;
  return `${count(sandboxes, "sandbox", "sandboxes")}, ${groups}; ${trouble}.`;
}
