import type { Reading } from "../live/frames";

/**
 * When a reading taken this long after the last that waits has been committed, the database is
 * back, and what still waits it must have refused: no frame says so.
 */
export const GIVEN_UP_AFTER = 5 * 60_000;

/**
 * The readings that wait for the server's database, as far as this page was told.
 *
 * What is forgotten is no longer counted, yet still recognised when it comes with its id.
 */
export class WaitingList {
  readonly #limit: number;
  /** Each reading with the period it was told in; beyond the limit the oldest goes. */
  readonly #periods = new Map<string, number>();
  #period = 0;
  #count = 0;
  #lastAt = 0;
  #overflowed = false;

  constructor(limit: number) {
    this.#limit = limit;
  }

  get count(): number {
    return this.#count;
  }

  /** Whether more wait than are counted. */
  get overflowed(): boolean {
    return this.#overflowed;
  }

  has(sensorId: string, recordedAt: number): boolean {
    // Every card asks once a second, and almost always nothing waits.
    return this.#count > 0 && this.#periods.get(keyOf(sensorId, recordedAt)) === this.#period;
  }

  /** Notes a provisional reading; says whether it was not known yet. */
  add({ sensorId, recordedAt, receivedAt }: Reading): boolean {
    const key = keyOf(sensorId, recordedAt);
    if (this.#periods.has(key)) return false;
    this.#periods.set(key, this.#period);
    this.#count += 1;
    this.#lastAt = receivedAt;
    if (this.#periods.size > this.#limit) this.#dropOldest();
    return true;
  }

  /** Takes off what has come with its id; says whether it was known as provisional. */
  settle({ sensorId, recordedAt, receivedAt }: Reading): boolean {
    const isKnown = this.#remove(keyOf(sensorId, recordedAt));
    if (this.#count > 0 && receivedAt - this.#lastAt > GIVEN_UP_AFTER) this.forget();
    return isKnown;
  }

  forget(): void {
    this.#period += 1;
    this.#count = 0;
    this.#overflowed = false;
  }

  clear(): void {
    this.forget();
    this.#periods.clear();
  }

  #dropOldest(): void {
    const [oldest] = this.#periods.keys();
    if (oldest === undefined) return;
    if (this.#periods.get(oldest) === this.#period) this.#overflowed = true;
    this.#remove(oldest);
  }

  #remove(key: string): boolean {
    if (this.#periods.get(key) === this.#period) this.#count -= 1;
    if (this.#count === 0) this.#overflowed = false;
    return this.#periods.delete(key);
  }
}

function keyOf(sensorId: string, recordedAt: number): string {
  return `${recordedAt} ${sensorId}`;
}
