import { History, type HistoryFrame } from "../history/buckets";
import type { BucketsOfSensor, KnownSensor, Note } from "../history/wire";
import type { Reading } from "../live/frames";
import { compareMeasurements } from "./measurements";
import { Rhythm } from "./rhythm";
import { Series } from "./series";

export interface Bounds {
  /** Sensors kept; beyond it the least recently heard go. */
  readonly sensors: number;
  /** Of those, places that sensors heard only once can always have. */
  readonly newcomers: number;
  readonly measurements: number;
  readonly points: number;
  /** Points of all series together: what the page may take of the browser's memory. */
  readonly totalPoints: number;
  /** Buckets of all histories together; beyond it those longest not asked for go. */
  readonly totalBuckets: number;
  /** Provisional readings remembered, of all sensors together: about 12 MB. */
  readonly waiting: number;
}

export const BOUNDS: Bounds = {
  sensors: 500,
  newcomers: 50,
  measurements: 64,
  points: 300,
  totalPoints: 600_000,
  totalBuckets: 300_000,
  waiting: 50_000,
};

/** What the page knows about one sensor. Only the store changes it. */
export class Sensor {
  readonly id: string;
  readonly rhythm = new Rhythm();
  /** By measurement, in the order people read them. */
  readonly series = new Map<string, Series>();
  pointCount = 0;
  /** Heard more than once. */
  regular = false;
  /** What the server knows of it, once it was asked. */
  known: KnownSensor | null = null;
  #history: HistoryFrame | null = null;
  #heardFirst = Number.POSITIVE_INFINITY;

  constructor(id: string) {
    this.id = id;
  }

  /** Its name, which somebody has given to it; else its id. */
  get name(): string {
    return this.known?.name ?? this.id;
  }

  /** When it was first heard, as far as is known. */
  get firstSeen(): number {
    return this.known?.firstSeen ?? this.#heardFirst;
  }

  /** What its histories are of; null while it has none. */
  get history(): HistoryFrame | null {
    return this.#history;
  }

  noteOf(name: string): Note | undefined {
    return this.known?.notes.get(name);
  }

  /** Takes in what the server knows of it. */
  introduce(known: KnownSensor, bounds: Bounds): void {
    this.known = known;
    if (known.stored > 1) this.regular = true;
    this.rhythm.heardBefore(known.lastSeen);
    for (const [name, value, recordedAt] of known.latest.slice(0, bounds.measurements)) {
      // What arrives live is newer than what the server told a moment ago.
      if (recordedAt > (this.series.get(name)?.newest?.x ?? Number.NEGATIVE_INFINITY)) {
        this.#place(name, recordedAt, value, known.lastSeen, bounds);
      }
    }
  }

  /** Puts histories behind its series; null takes them away. */
  setHistory(frame: HistoryFrame | null, buckets?: BucketsOfSensor): void {
    this.#history = frame;
    for (const [name, series] of this.series) {
      series.setHistory(frame && new History(frame, buckets?.get(name) ?? []));
    }
  }

  get bucketCount(): number {
    let count = 0;
    for (const { history } of this.series.values()) count += history?.buckets.length ?? 0;
    return count;
  }

  /** Takes a reading in; says whether it was new rather than a repeat or replacement. */
  put(reading: Reading, bounds: Bounds): boolean {
    this.rhythm.heard(reading.receivedAt);
    this.#heardFirst = Math.min(this.#heardFirst, reading.receivedAt);
    const isProvisional = reading.id === null;
    let added = false;
    for (const [name, value] of reading.measurements) {
      const { recordedAt, receivedAt } = reading;
      if (this.#place(name, recordedAt, value, receivedAt, bounds, isProvisional)) added = true;
    }
    return added;
  }

  #place(
    name: string,
    recordedAt: number,
    value: number,
    receivedAt: number,
    bounds: Bounds,
    isProvisional = false,
  ): boolean {
    const series = this.#seriesOf(name, bounds);
    const before = series.points.length;
    const isAdded = series.put(recordedAt, value, isProvisional, receivedAt);
    this.pointCount += series.points.length - before;
    return isAdded;
  }

  #seriesOf(name: string, bounds: Bounds): Series {
    const known = this.series.get(name);
    if (known) return known;
    if (this.series.size >= bounds.measurements) this.#dropOldestSeries();
    const series = new Series(bounds.points);
    if (this.#history) {
      // It had none of this before, or its card would have shown it.
      series.setHistory(new History(this.#history, []));
    }
    const ordered = [...this.series, [name, series] as const].sort(([a], [b]) =>
      compareMeasurements(a, b),
    );
    this.series.clear();
    for (const [key, value] of ordered) this.series.set(key, value);
    return series;
  }

  #dropOldestSeries(): void {
    let oldest: [string, Series] | undefined;
    for (const entry of this.series) {
      const time = entry[1].newest?.x ?? 0;
      if (oldest === undefined || time < (oldest[1].newest?.x ?? 0)) oldest = entry;
    }
    if (!oldest) return;
    this.series.delete(oldest[0]);
    this.pointCount -= oldest[1].points.length;
  }
}
