import { linked, make, setContent, setText } from "/ui/dom.js";
import { EventReader } from "/ui/sse.js";
import { Live } from "/ui/live.js";
import { Session } from "/ui/session.js";
import { PagedTable } from "/ui/table.js";
import { equal } from "./check.js";

const MARKUP = "<img src=x onerror=alert(1)>";

function tableOf(items, more = {}) {
  const table = make("table");
  const pager = make("nav");
  document.body.replaceChildren(table, pager);
  const paged = new PagedTable(table, pager, {
    columns: [{ name: "Name", show: () => {} }, { name: "Value", show: (cell, item) => setText(cell, item.value) }],
    title: (item) => item.id,
    open: () => ({ node: make("p", {}, "details"), update: () => {} }),
    empty: () => "nothing",
    onChange: () => paged.render(items),
    ...more,
  });
  paged.render(items);
  return { table, pager, paged };
}

const ids = (table) => [...table.querySelectorAll("tbody > tr")].map((row) => row.textContent);
const some = (count) => Array.from({ length: count }, (_, at) => ({ id: `n${at}`, value: String(at) }));

export const tests = {
  "texts stay texts": () => {
    equal(make("p", {}, MARKUP).childElementCount, 0);
    const titled = make("p", { title: MARKUP });
    equal([titled.getAttribute("title"), titled.childElementCount], [MARKUP, 0]);
    const node = make("p");
    setText(node, MARKUP);
    equal([node.childElementCount, node.textContent], [0, MARKUP]);
  },
  "no attribute that runs anything": () => {
    for (const name of ["onclick", "style", "href", "src", "srcdoc", "formaction"]) {
      let refused = false;
      try {
        make("a", { [name]: "x" });
      } catch {
        refused = true;
      }
      equal([name, refused], [name, true]);
    }
  },
  "only addresses of the web are links": () => {
    for (const address of ["javascript:alert(1)", "data:text/html,x", "JaVaScRiPt:1", "no address", "//x", ""]) {
      equal([address, linked(address, "text").nodeType], [address, Node.TEXT_NODE]);
    }
    const link = linked("https://web--pr-1.preview.example/", MARKUP);
    equal([link.tagName, link.rel, link.childElementCount, link.textContent], ["A", "noopener noreferrer", 0, MARKUP]);
  },
  "content is made anew only when it is another": () => {
    const node = make("div");
    let made = 0;
    const fill = () => {
      made += 1;
      return [make("p", {}, String(made)), null];
    };
    setContent(node, ["a"], fill);
    setContent(node, ["a"], fill);
    setContent(node, ["b"], fill);
    equal([made, node.textContent], [2, "2"]);
  },
  "fifty at a time": () => {
    const { table, pager } = tableOf(some(120));
    const [before, after] = pager.querySelectorAll("button");
    equal([ids(table).length, before.getAttribute("aria-disabled"), after.getAttribute("aria-disabled")], [50, "true", "false"]);
    after.click();
    after.click();
    after.click();
    equal([ids(table)[0], ids(table).length, after.getAttribute("aria-disabled")], ["n100100", 20, "true"]);
    equal(pager.textContent.includes("101 to 120 of 120 rows"), true);
    equal(tableOf([]).pager.textContent.includes("nothing"), true);
  },
  "rows are kept, and so is the focus": () => {
    const items = some(5);
    const { table, paged } = tableOf(items);
    const row = table.querySelectorAll("tbody > tr")[2];
    row.querySelector("button").focus();
    items[2].value = "new";
    paged.render([{ id: "first", value: "" }, items[4], items[2], items[0]]);
    equal(ids(table), ["first", "n44", "n2new", "n00"]);
    equal([row.isConnected, document.activeElement === row.querySelector("button")], [true, true]);
    paged.render([items[0], items[4]]);
    equal(document.activeElement, table.querySelectorAll("tbody > tr button")[1]);
  },
  "details stand below their row and move with it": () => {
    const items = some(3);
    const { table, paged } = tableOf(items);
    table.querySelector("button").click();
    equal(ids(table), ["n00", "details", "n11", "n22"]);
    equal(table.querySelector("button").getAttribute("aria-expanded"), "true");
    paged.render([items[2], items[0]]);
    equal(ids(table), ["n22", "n00", "details"]);
    paged.render([items[2]]);
    equal(ids(table), ["n22"]);
  },
  "a stream: whole states only, and on from the last id": async () => {
    const sent = [];
    const bodies = [
      'event: start\ndata: {"isAll":true}\n\nevent: rows\ndata: {"rows":[1]}\n\nevent: rows\nid: e-1\ndata: {"rows":[2],"gone":[]}\n\nevent: rows\ndata: {"rows":[3]}\n\n',
      'event: start\ndata: {"isAll":false}\n\nevent: rows\nid: e-2\ndata: {"rows":[3,4],"gone":["x"]}\n\n',
    ];
    const session = {
      ask(path, { headers }) {
        sent.push([path, headers["Last-Event-ID"] ?? null]);
        return bodies.length > 0 ? new Response(bodies.shift()) : new Response('{"detail":"who?"}', { status: 401 });
      },
    };
    const batches = [];
    const states = [];
    await new Promise((resolve) => {
      const say = (state, why) => {
        states.push(state);
        if (state === "token") resolve(why);
      };
      new Live(session, { take: (batch) => batches.push(batch), start: () => {}, say }).run();
    }).then((why) => equal(why, "who?"));
    equal(batches, [{ isAll: true, rows: [1, 2], gone: [] }, { isAll: false, rows: [3, 4], gone: ["x"] }]);
    equal(sent, [["api/v1/live", null], ["api/v1/live", "e-1"], ["api/v1/live", "e-2"]]);
    equal(states, ["on", "off", "on", "off", "token"]);
  },
  "a token is in memory, and stored only when asked": () => {
    sessionStorage.clear();
    const session = new Session();
    session.use("secret", false);
    equal([sessionStorage.length, new Session().hasToken, session.hasToken], [0, false, true]);
    session.use("secret", true);
    equal([new Session().hasToken, localStorage.length, document.cookie], [true, 0, ""]);
    session.forget();
    equal([sessionStorage.length, session.hasToken], [0, false]);
  },
  "a reader stays usable after garbage": () => equal(new EventReader().push(":::\n\u0000\n\ndata: 1\n\n").length, 1),
};
