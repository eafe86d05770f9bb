/** `offline`: the browser says there is no network, and no connection has been made since. */
export type ConnectionState = "connecting" | "live" | "reconnecting" | "offline";

/** Why there is no connection, where the server said so. */
export type Trouble =
  | { readonly kind: "too-many" }
  | { readonly kind: "restarting" }
  | { readonly kind: "too-slow" }
  | { readonly kind: "refused"; readonly reason: string };

export interface Connection {
  readonly state: ConnectionState;
  readonly trouble: Trouble | null;
}

/** The part of the browser's WebSocket that is used here. */
export interface Socket {
  onopen: (() => void) | null;
  onmessage: ((event: { data: unknown }) => void) | null;
  onclose: ((event: { code: number; reason: string }) => void) | null;
  close(): void;
}

export interface LiveSocketOptions {
  /** Opens a connection; with a cursor, one that resumes after that reading. */
  readonly open: (since: number | null) => Socket;
  readonly onFrame: (data: unknown) => void;
  readonly onConnection: (connection: Connection) => void;
  /** The server no longer accepts this session. The socket has stopped. */
  readonly onSessionLost: () => void;
  /** A connection failed without a word; the session may be why. */
  readonly onUnexplained: () => void;
  /** The id of the reading to resume after, if any. */
  readonly cursor: () => number | null;
  /** The stream has never come as far as the cursor: it is another one, as after a restored backup. */
  readonly onCursorAhead: () => void;
  readonly now?: () => number;
  readonly random?: () => number;
}

export const FIRST_DELAY = 500;
export const MAX_DELAY = 10_000;
/** Another page has to close first, so asking often does not help. */
export const TOO_MANY_DELAY = 30_000;
/** A connection that lasted this long was a good one: the next loss starts at the first delay. */
export const STABLE_AFTER = 5_000;
export const HANDSHAKE_TIMEOUT = 10_000;
/**
 * A line can die without a close (a router restarts, a laptop roams), which looks like silence.
 * The browser shows no pings, so after this long without a frame the connection is made anew.
 */
export const QUIET_LIMIT = 90_000;

type Timer = ReturnType<typeof setTimeout>;

/** One live connection, kept up until `stop`. Knows no DOM: the page calls `wake` and `setOnline`. */
export class LiveSocket {
  readonly #options: LiveSocketOptions;
  readonly #now: () => number;
  readonly #random: () => number;
  #running = false;
  #online = true;
  #socket: Socket | null = null;
  #timer: Timer | null = null;
  #openedAt: number | null = null;
  #lastFrameAt = 0;
  #failures = 0;
  #everLive = false;
  #trouble: Trouble | null = null;

  constructor(options: LiveSocketOptions) {
    this.#options = options;
    this.#now = options.now ?? (() => performance.now());
    this.#random = options.random ?? Math.random;
  }

  start(): void {
    if (this.#running) return;
    this.#running = true;
    this.#failures = 0;
    this.#everLive = false;
    this.#trouble = null;
    this.#connect();
  }

  stop(): void {
    this.#running = false;
    this.#drop();
  }

  /** The page is looked at again, or the network is back: do not wait any longer. */
  wake(): void {
    if (!this.#running) return;
    if (this.#openedAt !== null) {
      if (this.#now() - this.#lastFrameAt >= QUIET_LIMIT) this.#refresh();
    } else if (this.#socket === null) {
      this.#failures = 0;
      this.#connect();
    }
  }

  /** What the browser knows about the network. Tries go on while offline: the server may be local. */
  setOnline(online: boolean): void {
    if (this.#online === online) return;
    this.#online = online;
    if (!this.#running) return;
    if (online) {
      this.wake();
      return;
    }
    if (this.#openedAt !== null) this.#noteLoss();
    this.#drop();
    this.#retryIn(this.#backoff());
  }

  #connect(quietly = false): void {
    this.#drop();
    if (!quietly) this.#publish();
    const socket = this.#options.open(this.#options.cursor());
    this.#socket = socket;
    socket.onopen = () => this.#opened();
    socket.onmessage = (event) => {
      this.#lastFrameAt = this.#now();
      this.#options.onFrame(event.data);
    };
    socket.onclose = (event) => this.#closed(event.code, event.reason);
    this.#timer = setTimeout(() => {
      this.#drop();
      this.#failed(true);
    }, HANDSHAKE_TIMEOUT);
  }

  #opened(): void {
    this.#clearTimer();
    this.#openedAt = this.#lastFrameAt = this.#now();
    this.#everLive = true;
    this.#publish();
    this.#watchSilence();
  }

  #watchSilence(): void {
    const left = this.#lastFrameAt + QUIET_LIMIT - this.#now();
    this.#timer = setTimeout(
      () =>
        this.#now() - this.#lastFrameAt >= QUIET_LIMIT ? this.#refresh() : this.#watchSilence(),
      Math.max(left, 0),
    );
  }

  /** Makes the connection anew without a word on the page, unless that fails. */
  #refresh(): void {
    this.#noteLoss();
    this.#connect(true);
  }

  #closed(code: number, reason: string): void {
    const wasOpen = this.#openedAt !== null;
    if (wasOpen) this.#noteLoss();
    this.#drop();
    if (code === 1008 && reason.startsWith("invalid key")) {
      this.#running = false;
      this.#options.onSessionLost();
      return;
    }
    if (code === 1008 && reason.startsWith("cursor ahead")) {
      this.#options.onCursorAhead();
      this.#failed(false);
      return;
    }
    const said = explain(code, reason);
    // What the server said last holds until it is back: a restart takes more than one try.
    if (said) this.#trouble = said;
    if (said?.kind === "too-many") this.#retryIn(this.#jitter(TOO_MANY_DELAY));
    else this.#failed(said === null || said.kind === "refused");
  }

  #failed(isUnexplained: boolean): void {
    this.#retryIn(this.#backoff());
    if (isUnexplained) this.#options.onUnexplained();
  }

  #noteLoss(): void {
    if (this.#openedAt !== null && this.#now() - this.#openedAt >= STABLE_AFTER) this.#failures = 0;
  }

  #backoff(): number {
    const delay = Math.min(MAX_DELAY, FIRST_DELAY * 2 ** this.#failures);
    this.#failures += 1;
    return this.#jitter(delay);
  }

  /** Spreads the return of many pages after one restart. */
  #jitter(delay: number): number {
    return delay * (0.5 + 0.5 * this.#random());
  }

  #retryIn(delay: number): void {
    this.#publish();
    this.#timer = setTimeout(() => this.#connect(), delay);
  }

  #publish(): void {
    if (this.#openedAt !== null) this.#trouble = null;
    this.#options.onConnection({ state: this.#state(), trouble: this.#trouble });
  }

  #state(): ConnectionState {
    if (this.#openedAt !== null) return "live";
    if (!this.#online) return "offline";
    return this.#everLive || this.#failures > 0 ? "reconnecting" : "connecting";
  }

  #drop(): void {
    this.#clearTimer();
    this.#openedAt = null;
    const socket = this.#socket;
    this.#socket = null;
    if (!socket) return;
    socket.onopen = socket.onmessage = socket.onclose = null;
    socket.close();
  }

  #clearTimer(): void {
    if (this.#timer !== null) clearTimeout(this.#timer);
    this.#timer = null;
  }
}

function explain(code: number, reason: string): Trouble | null {
  if (code === 1008) {
    return reason.startsWith("too many connections")
      ? { kind: "too-many" }
      : { kind: "refused", reason };
  }
  if (code === 1012) return { kind: "restarting" };
  if (code === 1013) return { kind: "too-slow" };
  return null;
}
