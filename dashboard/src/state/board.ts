import { type ReadonlySignal, type Signal, signal } from "@preact/signals";
import type { HistoryFrame } from "../history/buckets";
import type { Range } from "../history/ranges";
import type { SensorsAnswer, SeriesAnswer } from "../history/wire";
import type { ServerClock } from "../live/clock";
import type { Reading } from "../live/frames";
import { RateMeter } from "../live/rate";
import type { Sensor } from "./sensor";
import { SensorStore } from "./sensors";
import type { Series } from "./series";

/** Between two rebuilds of the list of cards; a flood of new names gets the longer one. */
const ROSTER_PAUSE = 100;
const CROWDED_ROSTER_PAUSE = 1_000;
const CROWDED = 200;
const TICK = 1_000;
/** The server lists a sensor well within this time after it was first heard. */
const LISTED_AFTER = 60_000;

export interface Pulse {
  readonly sensors: number;
  readonly overflowed: boolean;
  readonly perSecond: number;
  /** Readings that wait for the server's database, and whether these are not all. */
  readonly waiting: number;
  readonly waitingOverflowed: boolean;
}

/** Whether readings wait for the database, once they ever did. */
export type WaitingNews = "none" | "began" | "ended";

/**
 * The store made visible: however many readings arrive, the page changes at most once a frame,
 * and what is out of sight at most once a second.
 */
export class Board {
  readonly #store = new SensorStore();
  readonly #rate = new RateMeter();
  readonly #clock: ServerClock;
  readonly #revisions = new WeakMap<Sensor, Signal<number>>();
  readonly #dirty = new Set<Sensor>();
  readonly #inSight = new Set<Sensor>();
  /** When the history was loaded, by a clock that goes on while the computer sleeps. */
  #loadedAt = new WeakMap<Sensor, number>();
  readonly #roster = signal<readonly Sensor[]>([]);
  readonly #now = signal<number | null>(null);
  readonly #pulse = signal<Pulse>({
    sensors: 0,
    overflowed: false,
    perSecond: 0,
    waiting: 0,
    waitingOverflowed: false,
  });
  readonly #liveSince = signal(Number.POSITIVE_INFINITY);
  readonly #waitingNews = signal<WaitingNews>("none");
  /** Called when a card comes into sight. */
  onSight: () => void = () => {};
  #rosterAt = Number.NEGATIVE_INFINITY;
  #rosterMembership = 0;
  #frameWanted = false;

  constructor(clock: ServerClock) {
    this.#clock = clock;
    setInterval(() => this.#tick(), TICK);
  }

  /** Every sensor kept, regular ones first. Changes when one comes or goes. */
  get roster(): ReadonlySignal<readonly Sensor[]> {
    return this.#roster;
  }

  /** The server's time, once a second. */
  get now(): ReadonlySignal<number | null> {
    return this.#now;
  }

  get pulse(): ReadonlySignal<Pulse> {
    return this.#pulse;
  }

  /** Changes when the first reading has to wait and when none waits any more, not in between. */
  get waitingNews(): ReadonlySignal<WaitingNews> {
    return this.#waitingNews;
  }

  /** The server's time from which on nothing of the live stream is missing here. */
  get liveSince(): ReadonlySignal<number> {
    return this.#liveSince;
  }

  /** Changes when the sensor's card has something new to show. */
  revisionOf(sensor: Sensor): ReadonlySignal<number> {
    let revision = this.#revisions.get(sensor);
    if (!revision) {
      revision = signal(0);
      this.#revisions.set(sensor, revision);
    }
    return revision;
  }

  ingest(reading: Reading): void {
    const { sensor, isNew } = this.#store.ingest(reading);
    if (isNew) this.#rate.count(performance.now());
    this.#dirty.add(sensor);
    this.#wantFrame();
  }

  /** The live stream begins, and not where it ended before. */
  begin(): void {
    this.#liveSince.value = this.#clock.now() ?? Number.POSITIVE_INFINITY;
    this.#loadedAt = new WeakMap();
  }

  /** Takes in the sensors that the server knows; those that it has forgotten go. */
  introduce({ sensors, areAll }: SensorsAnswer): void {
    this.#store.introduce(sensors);
    const now = this.#clock.now();
    if (areAll && now !== null) this.#store.forget(sensors, now - LISTED_AFTER);
    for (const { id } of sensors) {
      const sensor = this.#store.get(id);
      if (sensor) this.#reveal(sensor);
    }
    this.#wantFrame();
  }

  /** The sensors on the screen that lack the range's history, or have one with a hole or of long ago. */
  wanting(range: Range): Sensor[] {
    const longAgo = Date.now() - range.refresh;
    return [...this.#inSight].filter(
      (sensor) => sensor.history?.range !== range || (this.#loadedAt.get(sensor) ?? 0) < longAgo,
    );
  }

  setHistory(
    frame: HistoryFrame,
    sensors: readonly Sensor[],
    buckets: SeriesAnswer["buckets"],
  ): void {
    this.#store.setHistory(frame, sensors, buckets);
    for (const sensor of sensors) {
      this.#loadedAt.set(sensor, Date.now());
      this.#reveal(sensor);
    }
  }

  /** Whether the series' newest point is of a reading that waits for the server's database. */
  isWaiting(sensor: Sensor, { newest }: Series): boolean {
    return newest !== undefined && this.#store.waiting.has(sensor.id, newest.x);
  }

  forgetWaiting(): void {
    this.#store.waiting.forget();
  }

  /** Whether the sensor's card is on the screen. */
  setInSight(sensor: Sensor, inSight: boolean): void {
    if (inSight) {
      this.#inSight.add(sensor);
      this.onSight();
      this.#wantFrame();
    } else {
      this.#inSight.delete(sensor);
    }
  }

  clear(): void {
    this.#store.clear();
    this.#rate.reset();
    this.#dirty.clear();
    this.#liveSince.value = Number.POSITIVE_INFINITY;
    this.#showRoster();
    this.#tick();
    this.#waitingNews.value = "none";
  }

  #wantFrame(): void {
    if (this.#frameWanted) return;
    this.#frameWanted = true;
    requestAnimationFrame(() => {
      this.#frameWanted = false;
      this.#frame();
    });
  }

  #frame(): void {
    for (const sensor of this.#inSight) if (this.#dirty.delete(sensor)) this.#reveal(sensor);
    if (this.#store.membership === this.#rosterMembership) return;
    const pause = this.#store.size > CROWDED ? CROWDED_ROSTER_PAUSE : ROSTER_PAUSE;
    if (performance.now() - this.#rosterAt >= pause) this.#showRoster();
    else this.#wantFrame();
  }

  #tick(): void {
    this.#now.value = this.#clock.now();
    for (const sensor of this.#dirty) this.#reveal(sensor);
    this.#dirty.clear();
    const perSecond = this.#rate.perSecond(performance.now());
    this.#showPulse(perSecond);
  }

  #reveal(sensor: Sensor): void {
    const revision = this.#revisions.get(sensor);
    if (revision) revision.value += 1;
  }

  #showRoster(): void {
    this.#rosterAt = performance.now();
    this.#rosterMembership = this.#store.membership;
    this.#now.value = this.#clock.now();
    this.#roster.value = [...this.#store.all()];
    this.#showPulse(this.#pulse.value.perSecond);
  }

  #showPulse(perSecond: number): void {
    const sensors = this.#store.size;
    const overflowed = this.#store.overflowed;
    const { count: waiting, overflowed: waitingOverflowed } = this.#store.waiting;
    const shown = this.#pulse.value;
    if (
      shown.sensors !== sensors ||
      shown.overflowed !== overflowed ||
      shown.perSecond !== perSecond ||
      shown.waiting !== waiting ||
      shown.waitingOverflowed !== waitingOverflowed
    ) {
      this.#pulse.value = { sensors, overflowed, perSecond, waiting, waitingOverflowed };
    }
    if (waiting > 0) this.#waitingNews.value = "began";
    else if (this.#waitingNews.value === "began") this.#waitingNews.value = "ended";
  }
}
