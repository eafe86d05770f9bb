/**
 * The server's clock as seen from here, whatever the browser's own clock says.
 *
 * Every time the server names is already past when it arrives, so each is a lower bound of its
 * clock; the largest bound is the best estimate. The local side is a monotonic clock, which no
 * correction of the browser's date can move.
 */
export class ServerClock {
  readonly #monotonic: () => number;
  #offset: number | null = null;

  constructor(monotonic: () => number = () => performance.now()) {
    this.#monotonic = monotonic;
  }

  /** Learns from a time the server has just sent. */
  observe(serverTime: number): void {
    const offset = serverTime - this.#monotonic();
    if (this.#offset === null || offset > this.#offset) this.#offset = offset;
  }

  /** Forgets what was learned before, for a server that was restarted or set right. */
  restart(serverTime: number): void {
    this.#offset = null;
    this.observe(serverTime);
  }

  /** The server's time now, or null before it has named any. */
  now(): number | null {
    return this.#offset === null ? null : this.#monotonic() + this.#offset;
  }
}
