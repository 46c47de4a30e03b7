// The stream of what there is to see: read, and found again after a break, from where it broke off.

import { problemOf } from "./session.js";
import { EventReader } from "./sse.js";

const SILENT_MS = 25000; // two heartbeats that did not come
const FIRST_PAUSE_MS = 500;
const LONGEST_PAUSE_MS = 10000;

/**
 * `take(batch)` gets {isAll, rows, gone}, whole states only: what comes between two ids is one. `start(data)` gets what
 * a stream begins with. `say(state, text)` says how it stands: on, off (it is tried again), token (it needs another).
 */
export class Live {
  constructor(session, { take, start, say }) {
    this.#session = session;
    this.#take = take;
    this.#start = start;
    this.#say = say;
  }

  #session;
  #take;
  #start;
  #say;
  #running = null; // the AbortController of what runs
  #id = null;
  #pause = FIRST_PAUSE_MS;

  get isRunning() {
    return this.#running !== null;
  }

  run() {
    if (this.#running !== null) return;
    this.#running = new AbortController();
    this.#pause = FIRST_PAUSE_MS;
    this.#loop(this.#running.signal);
  }

  stop() {
    this.#running?.abort();
    this.#running = null;
  }

  /** From nothing: somebody else reads. */
  restart() {
    this.stop();
    this.#id = null;
    this.run();
  }

  async #loop(signal) {
    while (!signal.aborted) {
      let why = "the controller ended the stream";
      try {
        const refusal = await this.#read(signal);
        if (refusal !== null) {
          this.#running = null;
          this.#say("token", refusal);
          return;
        }
      } catch (error) {
        why = error instanceof TypeError ? "the controller can't be reached" : error.message;
      }
      if (signal.aborted) return;
      this.#say("off", why);
      await pause(this.#pause * (0.75 + Math.random() / 2), signal);
      this.#pause = Math.min(this.#pause * 2, LONGEST_PAUSE_MS);
    }
  }

  /** Reads until it ends; a text: the token is not good for it. */
  async #read(outer) {
    const inner = new AbortController();
    const abort = () => inner.abort();
    outer.addEventListener("abort", abort);
    let silence = setTimeout(abort, SILENT_MS);
    try {
      const headers = { Accept: "text/event-stream" };
      if (this.#id !== null) headers["Last-Event-ID"] = this.#id;
      const response = await this.#session.ask("api/v1/live", { headers, signal: inner.signal });
      if (!response.ok) {
        const text = problemOf(await response.json().catch(() => ({})), response.status);
        if (response.status === 401 || response.status === 403) return text;
        throw new Error(text);
      }
      const reader = response.body.getReader();
      const decoder = new TextDecoder();
      const events = new EventReader();
      const batch = new Batch();
      for (;;) {
        const { done, value } = await reader.read();
        if (done) return null;
        clearTimeout(silence);
        silence = setTimeout(abort, SILENT_MS);
        for (const event of events.push(decoder.decode(value, { stream: true }))) this.#hear(event, batch);
      }
    } catch (error) {
      if (inner.signal.aborted && !outer.aborted) throw new Error("the controller is silent");
      throw error;
    } finally {
      clearTimeout(silence);
      outer.removeEventListener("abort", abort);
      inner.abort();
    }
  }

  #hear(event, batch) {
    const data = JSON.parse(event.data);
    if (event.type === "start") {
      batch.begin(data.isAll);
      this.#start(data);
      return;
    }
    if (event.type !== "rows") return;
    batch.add(data);
    if (event.id === null) return;
    this.#take(batch.end());
    this.#id = event.id;
    this.#pause = FIRST_PAUSE_MS;
    this.#say("on", "");
  }
}

/** What came since the last id. */
class Batch {
  #isAll = false;
  #rows = [];
  #gone = [];

  begin(isAll) {
    this.#isAll = isAll;
    this.#rows = [];
    this.#gone = [];
  }

  add({ rows, gone = [] }) {
    this.#rows.push(...rows);
    this.#gone.push(...gone);
  }

  end() {
    const batch = { isAll: this.#isAll, rows: this.#rows, gone: this.#gone };
    this.begin(false);
    return batch;
  }
}

function pause(milliseconds, signal) {
  return new Promise((resolve) => {
    const timer = setTimeout(resolve, milliseconds);
    signal.addEventListener("abort", () => {
      clearTimeout(timer);
      resolve();
    }, { once: true });
  });
}
