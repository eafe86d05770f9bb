interface Place {
  readonly id: number;
  /** When the server took it, by the server's clock. */
  readonly receivedAt: number;
}

/** Readings; to be given more would keep the page busy for longer than its charts are worth. */
export const MOST_MISSED = 100_000;
/** What the rate is taken from: at least the last so many readings and so much time. */
export const RATE_READINGS = 1_000;
export const RATE_TIME = 60_000;
/** A few readings in one moment say nothing about the rate. */
const SHORTEST = 10_000;

/** The page's place in the stream, and whether to go on from there. */
export class Cursor {
  readonly #now: () => number;
  #newest: Place | null = null;
  #seenAt = 0;
  #mark: Place | null = null;
  #earlierMark: Place | null = null;

  /** `now` must go on while the computer sleeps, which the monotonic clock need not do. */
  constructor(now: () => number = () => Date.now()) {
    this.#now = now;
  }

  /** Moves to a reading that has just come. */
  moveTo(id: number, receivedAt: number): void {
    this.#newest = { id, receivedAt };
    this.#seenAt = this.#now();
    const mark = this.#mark;
    if (mark === null) {
      this.#mark = this.#earlierMark = this.#newest;
    } else if (id - mark.id >= RATE_READINGS && receivedAt - mark.receivedAt >= RATE_TIME) {
      this.#earlierMark = mark;
      this.#mark = this.#newest;
    }
  }

  /** Nothing is known of the stream any more. */
  forget(): void {
    this.#newest = this.#mark = this.#earlierMark = null;
  }

  /** The id to resume after; null where there is none, or too much must have been missed. */
  get since(): number | null {
    const newest = this.#newest;
    const earlier = this.#earlierMark;
    if (newest === null || earlier === null) return null;
    const time = Math.max(newest.receivedAt - earlier.receivedAt, SHORTEST);
    const missed = ((newest.id - earlier.id) / time) * (this.#now() - this.#seenAt);
    return missed <= MOST_MISSED ? newest.id : null;
  }
}
