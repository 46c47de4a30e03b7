import { matching, Model, ordered } from "/ui/model.js";
import { equal, objectRow, proxyRow, tableRow } from "./check.js";

function modelOf(...rows) {
  const model = new Model();
  model.take({ isAll: true, rows: [tableRow(), ...rows], gone: [] });
  return model;
}

const names = (objects) => objects.map(({ row }) => row.name);

export const tests = {
  "rows come, change and go": () => {
    const model = modelOf(objectRow("pr-1"), objectRow("pr-2"));
    model.take({ isAll: false, rows: [objectRow("pr-2", { owner: "ann" })], gone: ["Sandbox hotrod/pr-1", "unheard-of"] });
    equal([...model.objects.keys()], ["Sandbox hotrod/pr-2"]);
    equal(model.objects.get("Sandbox hotrod/pr-2").row.owner, "ann");
    model.take({ isAll: true, rows: [], gone: [] });
    equal([model.objects.size, model.table], [0, null]);
  },
  "what is left out is empty": () => {
    const { row } = modelOf({ id: "Sandbox a/b", row: "object", kind: "Sandbox", namespace: "a", name: "b" }).objects.get("Sandbox a/b");
    equal([row.key, row.expires, row.conditions, row.labels], [null, null, [], {}]);
  },
  "counts before their object and after it": () => {
    const counts = { "hotrod/Deployment/location": [5, 2] };
    const model = modelOf({ id: "traffic Sandbox hotrod/pr-1", row: "traffic", counts }, objectRow("pr-1"));
    equal(model.objects.get("Sandbox hotrod/pr-1").traffic, counts);
    model.take({ isAll: false, rows: [objectRow("pr-1", { owner: "bob" })], gone: [] });
    equal(model.objects.get("Sandbox hotrod/pr-1").traffic, counts);
    model.take({ isAll: false, rows: [], gone: ["traffic Sandbox hotrod/pr-1"] });
    equal(model.objects.get("Sandbox hotrod/pr-1").traffic, {});
  },
  "routers are proxies of what they serve": () => {
    const router = proxyRow("r", { id: "proxy  r", workload: null });
    const model = modelOf(proxyRow("p1"), router);
    const at = (workload) => model.proxiesOf(workload).map(({ row }) => row.proxy);
    equal([at("hotrod/Deployment/location"), at("hotrod/Deployment/driver")], [["p1"], []]);
    model.take({ isAll: false, rows: [tableRow({ routed: ["hotrod/Deployment/driver"] })], gone: [] });
    equal([at("hotrod/Deployment/location"), at("hotrod/Deployment/driver")], [["p1"], ["r"]]);
    model.take({ isAll: false, rows: [], gone: [router.id] });
    equal(at("hotrod/Deployment/driver"), []);
    equal(model.workloads(), ["hotrod/Deployment/driver", "hotrod/Deployment/location"]);
  },
  "the filter takes all words, wherever they are": () => {
    const model = modelOf(
      objectRow("pr-1", { owner: "ann", labels: { team: "Blue" } }),
      objectRow("pr-2", { owner: "ann", key: "qwblp48fpmb30" }),
      objectRow("pr-3", { endpoints: [{ name: "web", target: "x:80" }] }),
    );
    const found = (filter) => names(matching(model.objects.values(), filter));
    equal(found(""), ["pr-1", "pr-2", "pr-3"]);
    equal(found("ann"), ["pr-1", "pr-2"]);
    equal(found(" ANN team=blue "), ["pr-1"]);
    equal(found("qwblp"), ["pr-2"]);
    equal(found("web"), ["pr-3"]);
    equal(found("hotrod/deployment/location").length, 3);
    equal(found("ann web"), []);
  },
  "orders": () => {
    const model = modelOf(
      objectRow("b", { made: "2026-11-25T12:00:02Z" }),
      objectRow("a", { made: "2026-11-25T12:00:01Z" }),
      objectRow("c", { made: "2026-11-25T12:00:03Z" }),
    );
    const all = [...model.objects.values()];
    equal(names(ordered(all, "name")), ["a", "b", "c"]);
    equal(names(ordered(all, "newest")), ["c", "b", "a"]);
    equal(names(ordered(all, "trouble", ({ row }) => row.name === "c")), ["c", "a", "b"]);
    equal(names(all), ["b", "a", "c"]);
    equal(names(model.byName()), ["a", "b", "c"]);
    model.take({ isAll: false, rows: [objectRow("aa"), objectRow("b", { owner: "ann" })], gone: ["Sandbox hotrod/a"] });
    equal(names(model.byName()), ["aa", "b", "c"]);
    equal(model.byName()[1].row.owner, "ann");
    model.take({ isAll: false, rows: [], gone: ["Sandbox hotrod/b"] });
    equal(names(model.byName()), ["aa", "c"]);
    model.take({ isAll: true, rows: [objectRow("z")], gone: [] });
    equal(names(model.byName()), ["z"]);
  },
};
