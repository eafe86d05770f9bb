import { type ReadonlySignal, signal } from "@preact/signals";

export type SessionState = "checking" | "signed-out" | "signed-in";

/** Why signing in did not work. */
export type SignInFault =
  | { readonly kind: "wrong-key" }
  | { readonly kind: "not-the-read-key" }
  | { readonly kind: "too-many-tries"; readonly seconds: number | null }
  | { readonly kind: "unreachable" }
  | { readonly kind: "ended" }
  | { readonly kind: "unexpected"; readonly status: number };

export interface SessionOptions {
  readonly fetch?: typeof fetch;
  /** Told the server's time, by its Date header, after every answer. */
  readonly onServerTime?: (milliseconds: number) => void;
}

const PATH = "/api/session";
const RETRY_CHECK = 3_000;
/** What a header value can carry. Anything else cannot be a key, and `fetch` would throw on it. */
const SENDABLE = /^[\x21-\x7e]+$/;

/** The browser's session with the server: a cookie this page cannot read, so it asks. */
export class Session {
  readonly #fetch: typeof fetch;
  readonly #onServerTime: (milliseconds: number) => void;
  readonly #state = signal<SessionState>("checking");
  readonly #fault = signal<SignInFault | null>(null);

  constructor(options: SessionOptions = {}) {
    this.#fetch = options.fetch ?? ((...request) => fetch(...request));
    this.#onServerTime = options.onServerTime ?? (() => {});
  }

  get state(): ReadonlySignal<SessionState> {
    return this.#state;
  }

  get fault(): ReadonlySignal<SignInFault | null> {
    return this.#fault;
  }

  /** Finds out whether there is a session, asking until the server answers. */
  async resume(): Promise<void> {
    const response = await this.#request("GET");
    if (this.#state.value !== "checking") return;
    if (response?.ok) {
      this.#settle("signed-in", null);
    } else if (response && response.status < 500) {
      this.#settle("signed-out", null);
    } else {
      this.#fault.value = { kind: "unreachable" };
      setTimeout(() => void this.resume(), RETRY_CHECK);
    }
  }

  /** Asks whether the session still holds; only a clear no ends it. */
  async verify(): Promise<void> {
    const response = await this.#request("GET");
    if (response?.status === 401 || response?.status === 403) this.lost();
  }

  /** Exchanges the key for a session. The key is not kept. Says whether it worked. */
  async signIn(key: string): Promise<boolean> {
    const fault = await this.#tryKey(key.trim());
    if (fault === null) {
      this.#settle("signed-in", null);
      return true;
    }
    // A bad link opened in a page that is signed in changes nothing.
    if (this.#state.value !== "signed-in") this.#settle("signed-out", fault);
    return false;
  }

  async signOut(): Promise<void> {
    await this.#request("DELETE");
    this.#settle("signed-out", null);
  }

  /** The server has said that the session is no longer valid. */
  lost(): void {
    if (this.#state.value === "signed-in") this.#settle("signed-out", { kind: "ended" });
  }

  async #tryKey(key: string): Promise<SignInFault | null> {
    if (!SENDABLE.test(key)) return { kind: "wrong-key" };
    const response = await this.#request("POST", { "X-API-Key": key });
    if (!response) return { kind: "unreachable" };
    if (response.ok) return null;
    switch (response.status) {
      case 401:
        return { kind: "wrong-key" };
      case 403:
        return { kind: "not-the-read-key" };
      case 429:
        return { kind: "too-many-tries", seconds: secondsOf(response.headers.get("Retry-After")) };
      default:
        return { kind: "unexpected", status: response.status };
    }
  }

  async #request(method: string, headers: Record<string, string> = {}): Promise<Response | null> {
    try {
      const response = await this.#fetch(PATH, {
        method,
        headers,
        cache: "no-store",
        credentials: "same-origin",
      });
      const time = Date.parse(response.headers.get("Date") ?? "");
      if (!Number.isNaN(time)) this.#onServerTime(time);
      return response;
    } catch {
      return null;
    }
  }

  #settle(state: SessionState, fault: SignInFault | null): void {
    this.#fault.value = fault;
    this.#state.value = state;
  }
}

function secondsOf(header: string | null): number | null {
  return header !== null && /^\d+$/.test(header) ? Number(header) : null;
}
