import { answers, atWorkloads, Look, progress, proxyState } from "/ui/convergence.js";
import { Model } from "/ui/model.js";
import { equal, objectRow, proxyRow, tableRow } from "./check.js";

const NOW = Date.parse("2026-11-25T12:10:00Z");
const HERE = "hotrod/Deployment/location";
const P1 = `proxy ${HERE} p1`;

/** One object among these rows: what is said of it. */
function look(object, table, rows, now = NOW, sees = undefined) {
  const model = new Model();
  model.take({ isAll: true, rows: [tableRow(table), object, ...rows], gone: [] });
  const found = model.objects.get(object.id);
  const at = new Look(model, now, sees);
  return { object: found, model, progress: progress(found, model.table), troubles: at.troubles(found), state: at.stateOf(found) };
}

export const tests = {
  "live": () => {
    const found = look(objectRow("pr-1"), {}, [proxyRow("p1")]);
    equal([found.progress, found.troubles, found.state], [{ knowing: 1, of: 1 }, [], "live"]);
  },
  "on its way, and late": () => {
    const behind = { [P1]: [4, "2026-11-25T12:10:00Z"] };
    const table = { attached: 3, lacking: [[4, 1]], behind };
    const found = look(objectRow("pr-1"), table, [proxyRow("p1")]);
    equal([found.progress, found.troubles, found.state], [{ knowing: 2, of: 3 }, [], "waiting"]);
    equal(atWorkloads(found.object, found.model)[0].acknowledged, 0);
    equal(look(objectRow("pr-1"), table, [proxyRow("p1")], NOW + 5000).troubles, ["p1 has not got it yet"]);
  },
  "who is behind may have this object all the same": () => {
    const table = { position: 9, attached: 2, lacking: [[5, 1], [4, 0]], behind: { [P1]: [5, "2026-11-25T12:00:00Z"] } };
    const found = look(objectRow("pr-1"), table, [proxyRow("p1")]);
    equal([found.progress, found.state], [{ knowing: 2, of: 2 }, "live"]);
    equal(atWorkloads(found.object, found.model)[0].acknowledged, 1);
  },
  "a table that is not told yet is known by nobody": () => {
    const found = look(objectRow("pr-1", { position: 6 }), { attached: 2 }, [proxyRow("p1")]);
    equal([found.progress, found.state], [{ knowing: 0, of: 2 }, "waiting"]);
  },
  "no proxy at a workload": () => {
    const found = look(objectRow("pr-1"), { attached: 0 }, []);
    equal(found.troubles, [`no proxy of ${HERE} is attached`]);
    equal(look(objectRow("pr-1"), { attached: 0 }, [], NOW, () => false).troubles, []);
  },
  "a proxy that is lost, and two by one name": () => {
    const lost = proxyRow("p1", { connected: false, since: "2026-11-25T12:05:00Z", position: 3, faults: undefined });
    const [text] = look(objectRow("pr-1"), {}, [lost]).troubles;
    equal(text.startsWith(`p1 of ${HERE} is missing: its connection broke at `), true);
    equal(look(objectRow("pr-1"), {}, [proxyRow("p1", { rival: true })]).troubles, [
      `p1 of ${HERE} is the name of two processes: give each one its own`,
    ]);
  },
  "a refusal": () => {
    const found = look(objectRow("pr-1", { refusals: [{ proxy: "p1", faults: ["too long"] }] }), {}, [proxyRow("p1")]);
    equal(found.troubles, ["p1 refuses its route: too long"]);
    equal(atWorkloads(found.object, found.model)[0].acknowledged, 0);
  },
  "what the controller says is wrong, once": () => {
    const message = "Sandbox hotrod/pr-0, which is older, has the key x";
    const conditions = [["Accepted", "False", "KeyClaimed", message, ""], ["Ready", "False", "NotAccepted", message, ""]];
    const found = look(objectRow("pr-1", { key: null, conditions }), {}, []);
    equal([found.troubles, found.state, found.progress], [[message], "idle", null]);
    equal(look(objectRow("pr-1", { conditions: [["Odd", "Unknown", "Why", "", ""]] }), {}, [proxyRow("p1")]).troubles, ["Why"]);
  },
  "a false green stands first": () => {
    const counts = { id: "traffic Sandbox hotrod/pr-1", row: "traffic", counts: { [HERE]: [5, 1], "a/b/c": [1, 0] } };
    const conditions = [["Ready", "False", "NoDestination", "no destination", ""]];
    const found = look(objectRow("pr-1", { conditions }), {}, [proxyRow("p1"), counts]);
    equal(found.troubles, [`the baseline of ${HERE} answered 1 request with this key`, "no destination"]);
    equal(answers(found.object), { fromSandbox: 6, fromBaseline: 1 });
    equal(found.state, "trouble");
  },
  "what is being deleted waits for nobody to come": () => {
    const deleting = objectRow("pr-1", { key: null, deleting: "2026-11-25T12:00:00Z", conditions: [] });
    const found = look(deleting, { lacking: [[4, 1]], behind: { [P1]: [4, "2026-11-25T12:00:00Z"] } }, [proxyRow("p1")]);
    equal([found.troubles, found.state, found.progress], [[], "deleting", { knowing: 0, of: 1 }]);
  },
  "routes that lead nowhere": () => {
    const workloads = [{ workload: HERE, sandbox: "pr-1", ports: [[8081, ["a:1"]], [8082, []]] }, { workload: "a/b/c", sandbox: "pr-1", ports: [] }];
    const found = look(objectRow("pr-1", { workloads }), {}, []);
    equal(atWorkloads(found.object, found.model).map((each) => each.leads), [false, false]);
  },
  "how a proxy is": () => {
    const table = tableRow({ behind: { [P1]: [4, "2026-11-25T12:00:00Z"] } });
    const state = (row, at = table) => proxyState({ id: row.id, row }, at, NOW).state;
    equal(state(proxyRow("p1")), "behind");
    equal(state(proxyRow("p2")), "current");
    equal(state(proxyRow("p2", { connected: false, position: null })), "missing");
    equal(proxyState({ id: P1, row: proxyRow("p1", { faults: ["no"] }) }, table, NOW).words, "connected, refused");
  },
  "what was found stands until something changes": () => {
    const { model, object } = look(objectRow("pr-1"), { attached: 0 }, []);
    const first = new Look(model, NOW);
    const at = (before) => new Look(model, NOW, undefined, before);
    const none = [`no proxy of ${HERE} is attached`];
    equal(first.troubles(object), none);
    const sees = () => false;
    equal(new Look(model, NOW, sees, first).troubles(object), []);
    const seesNothing = new Look(model, NOW, sees);
    equal(new Look(model, NOW, sees, seesNothing).troubles(object), []);
    const second = at(first);
    equal(second.troubles(object), none);
    model.take({ isAll: false, rows: [{ id: "traffic Sandbox hotrod/pr-1", row: "traffic", counts: { [HERE]: [0, 1] } }], gone: [] });
    const third = at(second);
    equal(third.troubles(object).length, 2);
    model.take({ isAll: false, rows: [proxyRow("p1")], gone: ["traffic Sandbox hotrod/pr-1"] });
    const fourth = at(third);
    equal(fourth.troubles(object), []);
    model.take({ isAll: false, rows: [tableRow({ behind: { [P1]: [4, "2026-11-25T12:00:00Z"] } })], gone: [] });
    const fifth = at(fourth);
    equal(fifth.troubles(object), ["p1 has not got it yet"]);
    model.take({ isAll: false, rows: [tableRow()], gone: [] });
    equal(at(fifth).troubles(object), []);
    model.take({ isAll: false, rows: [objectRow("pr-1", { conditions: [["Ready", "False", "X", "why", ""]] })], gone: [] });
    equal(at(fifth).troubles(model.objects.get(object.id)), ["why"]);
  },
  "a thousand objects and two hundred proxies that are all behind": () => {
    const behind = {};
    const rows = [];
    for (let number = 0; number < 200; number += 1) {
      rows.push(proxyRow(`p${number}`));
      behind[`proxy ${HERE} p${number}`] = [4, "2026-11-25T12:09:59Z"];
    }
    for (let number = 0; number < 1000; number += 1) rows.push(objectRow(`pr-${number}`));
    const model = new Model();
    model.take({ isAll: true, rows: [tableRow({ attached: 200, lacking: [[4, 200]], behind }), ...rows], gone: [] });
    const began = performance.now();
    const at = new Look(model, NOW);
    for (const object of model.objects.values()) equal(at.stateOf(object), "waiting");
    const took = performance.now() - began;
    if (took > 500) throw new Error(`took ${took} ms`); // 5 ms where nothing else runs
  },
};
