// Who reads: the token, which is nowhere but in memory or, if that was asked for, in this tab's sessionStorage; and the
// requests that carry it.

const STORED = "pointsman-token";

export class Session {
  constructor(storage = globalThis.sessionStorage) {
    this.#storage = storage;
    try {
      this.#token = storage.getItem(STORED);
    } catch {
      this.#token = null; // storage is switched off
    }
  }

  #storage;
  #token;

  get hasToken() {
    return this.#token !== null;
  }

  use(token, isKept) {
    this.#token = token;
    try {
      if (isKept) this.#storage.setItem(STORED, token);
      else this.#storage.removeItem(STORED);
    } catch {
      // then it is in memory only
    }
  }

  forget() {
    this.use(null, false);
  }

  /** A request to the controller; relative addresses only, so that the token goes nowhere else. */
  ask(path, { headers = {}, ...rest } = {}) {
    const sent = new Headers(headers);
    if (this.#token !== null) sent.set("Authorization", `Bearer ${this.#token}`);
    return fetch(path, { ...rest, headers: sent, cache: "no-store", redirect: "error", mode: "same-origin" });
  }

  /** The document of an answer. Throws an Error that says what went wrong. */
  async document(path, options = {}) {
    const response = await this.ask(path, options);
    const found = await response.json().catch(() => ({}));
    if (!response.ok) throw new Error(problemOf(found, response.status));
    return found;
  }

  post(path, document) {
    const headers = { "Content-Type": "application/json" };
    return this.document(path, { method: "POST", headers, body: JSON.stringify(document) });
  }
}

/** What a problem (RFC 9457) says. */
export function problemOf(found, status) {
  const faults = Array.isArray(found.faults) ? found.faults : [];
  return [found.detail ?? `the controller answered ${status}`, ...faults].join("; ");
}
