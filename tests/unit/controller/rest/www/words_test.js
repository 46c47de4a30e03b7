import { headOf, outcomeOf } from "/ui/explain.js";
import { clock, count, some, span } from "/ui/words.js";
import { equal } from "./check.js";

export const tests = {
  "spans as the command line says them": () => {
    const seconds = [0, 1, 119, 120, 7199, 7200, 172799, 172800, -180];
    equal(seconds.map((each) => span(each * 1000)), ["0s", "1s", "119s", "2m", "119m", "2h", "47h", "2d", "3m"]);
    equal(span(NaN), "");
  },
  "times, with the day where it is another": () => {
    const noon = new Date(2026, 10, 25, 12, 0, 5);
    equal(clock(noon.toISOString(), noon), "12:00:05");
    equal(clock(noon.toISOString(), new Date(2026, 10, 26)), "2026-11-25 12:00:05");
    equal(clock("no time"), "");
  },
  "numbers": () => {
    equal([count(1, "proxy", "proxies"), count(1000, "row")], ["1 proxy", "1,000 rows"]);
    equal([some(["a", "b"]), some(["a", "b", "c", "d"])], ["a, b", "a, b, c and 1 more"]);
  },
  "a head from what was filled in": () => {
    const head = (pasted, baggage = "", tracestate = "") => headOf({ pasted, baggage, tracestate });
    equal(head("", "a=b"), "GET / HTTP/1.1\r\nbaggage: a=b\r\n\r\n");
    equal(head("\n\nGET /x HTTP/1.1\nHost: y\n\nbody", "", "k=v"), "GET /x HTTP/1.1\r\nHost: y\r\ntracestate: k=v\r\n\r\n");
    equal(head("baggage: a=b\r\n", " c=d "), "baggage: a=b\r\nbaggage: c=d\r\n\r\n");
  },
  "outcomes": () => {
    const found = { reason: "route", reason_text: "why", goes_to: "sandbox", sandbox: "pr-1", destinations: ["a:1"], status: 0 };
    equal(outcomeOf(found), "To the sandbox pr-1 at a:1 (route: why)");
    equal(outcomeOf({ ...found, goes_to: "baseline" }), "To the baseline (route: why)");
    equal(outcomeOf({ ...found, status: 503 }), "Answered with 503 (route: why)");
  },
};
