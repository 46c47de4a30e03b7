// The form that asks where a request would go, and its answer.

import { grid, list, make, setContent } from "./dom.js";

/** The head that is asked about: what was pasted, and the two headers where they were filled in. Pure. */
export function headOf({ pasted, baggage, tracestate }) {
  const lines = pasted.replace(/\r\n?/g, "\n").replace(/^\n+/, "").split("\n\n")[0].split("\n").filter(Boolean);
  if (lines.length === 0) lines.push("GET / HTTP/1.1");
  if (baggage.trim() !== "") lines.push(`baggage: ${baggage.trim()}`);
  if (tracestate.trim() !== "") lines.push(`tracestate: ${tracestate.trim()}`);
  return `${lines.join("\r\n")}\r\n\r\n`;
}

/** Where it goes, in one sentence. Pure. */
export function outcomeOf(found) {
  const why = `${found.reason}: ${found.reason_text}`;
  if (found.goes_to === "sandbox" && found.status === 0) {
    return `To the sandbox ${found.sandbox} at ${found.destinations.join(", ") || "nowhere"} (${why})`;
  }
  if (found.status === 0) return `To the baseline (${why})`;
  return `Answered with ${found.status} (${why})`;
}

export class ExplainForm {
  constructor(session) {
    this.#session = session;
    this.#form.addEventListener("submit", (event) => {
      event.preventDefault();
      this.#ask();
    });
  }

  #session;
  #form = document.getElementById("explain-form");
  #output = document.getElementById("explanation");
  #asked = 0;

  #field(name) {
    return document.getElementById(name);
  }

  /** Names to choose from. */
  offer(workloads) {
    setContent(this.#field("workloads"), workloads, () => workloads.slice(0, 1000).map((value) => make("option", { value })));
  }

  /** Asks about a request with this key. */
  fill(workload, key, port) {
    this.#field("workload").value = workload;
    this.#field("port").value = Number.isInteger(port) ? String(port) : "";
    this.#field("baggage").value = `sd-routing-key=${key}`;
    this.#field("tracestate").value = "";
    this.#field("head").value = "";
    this.#field("explain-title").scrollIntoView({ block: "start" });
    this.#form.querySelector("button").focus({ preventScroll: true });
    this.#ask();
  }

  async #ask() {
    const number = ++this.#asked;
    const question = {
      workload: this.#field("workload").value.trim(),
      head: headOf({
        pasted: this.#field("head").value,
        baggage: this.#field("baggage").value,
        tracestate: this.#field("tracestate").value,
      }),
    };
    if (this.#field("port").value !== "") question.port = Number(this.#field("port").value);
    let shown;
    try {
      shown = this.#answer(await this.#session.post("api/v1/explain", question));
    } catch (error) {
      shown = [make("p", { class: "outcome bad" }, error.message)];
    }
    if (number === this.#asked) this.#output.replaceChildren(...shown);
  }

  #answer(found) {
    const members = found.members.map((each) => [each.header, each.text, each.why ? `${each.state}: ${each.why}` : each.state]);
    return [
      make("p", { class: "outcome" }, outcomeOf(found)),
      make("p", {}, `${found.workload} port ${found.port}; decision: ${found.decision}`),
      make("h3", {}, "Steps"),
      list(found.steps, "ol"),
      ...(members.length > 0 ? [make("h3", {}, "What was read"), grid("What was read", ["Header", "Member", "What it counts"], members)] : []),
      make("p", { class: "help" }, "By the table in force, with the settings that proxies have by default."),
    ];
  }
}
