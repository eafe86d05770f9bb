export const FIRST_PAUSE = 2_000;
export const LONGEST_PAUSE = 60_000;
/** Cards come into sight one after another; so long they are waited for. */
const GATHERING = 60;

/** When to run again; or that it did not work, and how long the server wants to be left alone. */
export type Turn = { readonly next: number } | { readonly retryAfter: number | null };

/** Runs one job again and again, one at a time, and less and less often while it does not work. */
export class Repeater {
  readonly #job: (signal: AbortSignal) => Promise<Turn>;
  readonly #random: () => number;
  #running: AbortController | null = null;
  #timer: ReturnType<typeof setTimeout> | null = null;
  #isStarted = false;
  #isWanted = false;
  #failures = 0;

  constructor(job: (signal: AbortSignal) => Promise<Turn>, random: () => number = Math.random) {
    this.#job = job;
    this.#random = random;
  }

  start(): void {
    this.#isStarted = true;
    this.anew();
  }

  stop(): void {
    this.#isStarted = false;
    this.#drop();
  }

  /** Something may have to be done; after a failure it has to wait all the same. */
  soon(): void {
    if (!this.#isStarted) return;
    if (this.#running) this.#isWanted = true;
    else if (this.#failures === 0) this.#runIn(GATHERING);
  }

  /** What is under way counts no longer, nor does what failed before. */
  anew(): void {
    if (!this.#isStarted) return;
    this.#drop();
    this.#failures = 0;
    this.#runIn(GATHERING);
  }

  async #run(): Promise<void> {
    const controller = new AbortController();
    this.#running = controller;
    this.#isWanted = false;
    const turn = await this.#job(controller.signal);
    if (controller.signal.aborted) return;
    this.#running = null;
    if ("next" in turn) {
      this.#failures = 0;
      this.#runIn(this.#isWanted ? GATHERING : turn.next);
    } else {
      const pause = Math.min(LONGEST_PAUSE, FIRST_PAUSE * 2 ** this.#failures);
      this.#failures += 1;
      this.#runIn(Math.max(turn.retryAfter ?? 0, pause * (0.5 + 0.5 * this.#random())));
    }
  }

  #runIn(pause: number): void {
    if (this.#timer !== null) clearTimeout(this.#timer);
    this.#timer = setTimeout(() => void this.#run(), pause);
  }

  #drop(): void {
    if (this.#timer !== null) clearTimeout(this.#timer);
    this.#timer = null;
    this.#running?.abort();
    this.#running = null;
  }
}
