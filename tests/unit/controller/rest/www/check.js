// What the tests of the page's modules stand on.

export function equal(found, expected) {
  const [a, b] = [JSON.stringify(found), JSON.stringify(expected)];
  if (a !== b) throw new Error(`${a}\n  must be ${b}`);
}

/** Runs all, in order; the texts of what failed. */
export async function run(tests) {
  const failed = [];
  for (const [name, test] of Object.entries(tests)) {
    try {
      await test();
    } catch (error) {
      failed.push(`${name}: ${error.message}`);
    }
  }
  return { count: Object.keys(tests).length, failed };
}

/** An object's row as the controller sends it. */
export function objectRow(name, more = {}) {
  const workload = "hotrod/Deployment/location";
  return {
    id: `Sandbox hotrod/${name}`, row: "object", kind: "Sandbox", namespace: "hotrod", name, key: name, asked: name,
    made: "2026-11-25T12:00:00Z", updated: "2026-11-25T12:00:00Z", position: 5,
    conditions: [["Ready", "True", "Ready", "", "2026-11-25T12:00:00Z"]],
    workloads: [{ workload, sandbox: name, ports: [[8081, ["127.0.0.1:9081"]]] }],
    ...more,
  };
}

export function proxyRow(proxy, more = {}) {
  const workload = "hotrod/Deployment/location";
  return {
    id: `proxy ${workload} ${proxy}`, row: "proxy", proxy, workload, release: "0.1.0", connected: true,
    since: "2026-11-25T12:00:00Z", faults: [], rival: false,
    ...more,
  };
}

export function tableRow(more = {}) {
  return { id: "table", row: "table", position: 5, version: "v5", attached: 1, lacking: [], routed: [], behind: {}, fault: null, ...more };
}
