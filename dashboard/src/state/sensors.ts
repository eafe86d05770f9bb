import type { Reading } from "../live/frames";
import { compareMeasurements } from "./measurements";
import { Rhythm } from "./rhythm";
import { Series } from "./series";
import { WaitingList } from "./waiting-list";

export interface Bounds {
  /** Sensors kept; beyond it the least recently heard go. */
  readonly sensors: number;
  /** Of those, places that sensors heard only once can always have. */
  readonly newcomers: number;
  readonly measurements: number;
  readonly points: number;
  /** Points of all series together: what the page may take of the browser's memory. */
  readonly totalPoints: number;
  /** Provisional readings remembered, of all sensors together: about 12 MB. */
  readonly waiting: number;
}

export const BOUNDS: Bounds = {
  sensors: 500,
  newcomers: 50,
  measurements: 64,
  points: 300,
  totalPoints: 600_000,
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

  constructor(id: string) {
    this.id = id;
  }

  /** Takes a reading in; says whether it was new rather than a repeat or replacement. */
  put(reading: Reading, bounds: Bounds): boolean {
    this.rhythm.heard(reading.receivedAt);
    let added = false;
    for (const [name, value] of reading.measurements) {
      const series = this.#seriesOf(name, bounds);
      const before = series.points.length;
      if (series.put(reading.recordedAt, value, reading.id === null)) added = true;
      this.pointCount += series.points.length - before;
    }
    return added;
  }

  /** The time its charts share: from its oldest kept point to its newest. */
  get window(): { readonly from: number; readonly to: number } {
    let from = Number.POSITIVE_INFINITY;
    let to = Number.NEGATIVE_INFINITY;
    for (const { points } of this.series.values()) {
      from = Math.min(from, points[0]?.x ?? from);
      to = Math.max(to, points.at(-1)?.x ?? to);
    }
    return { from, to };
  }

  #seriesOf(name: string, bounds: Bounds): Series {
    const known = this.series.get(name);
    if (known) return known;
    if (this.series.size >= bounds.measurements) this.#dropOldestSeries();
    const series = new Series(bounds.points);
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

/**
 * Every sensor the page knows, within fixed bounds whatever arrives.
 *
 * Sensors heard once and sensors heard again are kept apart, each in order of hearing, so that a
 * flood of names that never come back does not push out the sensors that report regularly.
 */
export class SensorStore {
  readonly waiting: WaitingList;
  readonly #bounds: Bounds;
  readonly #newcomers = new Map<string, Sensor>();
  readonly #regulars = new Map<string, Sensor>();
  #totalPoints = 0;
  #membership = 0;
  #overflowed = false;

  constructor(bounds: Bounds = BOUNDS) {
    this.#bounds = bounds;
    this.waiting = new WaitingList(bounds.waiting);
  }

  get size(): number {
    return this.#newcomers.size + this.#regulars.size;
  }

  /** Changes whenever a sensor comes, goes or becomes a regular one. */
  get membership(): number {
    return this.#membership;
  }

  /** Whether any sensor had to go since the last `clear`. */
  get overflowed(): boolean {
    return this.#overflowed;
  }

  /** Regular sensors, then those heard only once. */
  *all(): Generator<Sensor> {
    yield* this.#regulars.values();
    yield* this.#newcomers.values();
  }

  get(id: string): Sensor | undefined {
    return this.#regulars.get(id) ?? this.#newcomers.get(id);
  }

  ingest(reading: Reading): { readonly sensor: Sensor; readonly isNew: boolean } {
    const known = this.get(reading.sensorId);
    const sensor = known ?? new Sensor(reading.sensorId);
    const before = sensor.pointCount;
    const isAdded = sensor.put(reading, this.#bounds);
    this.#totalPoints += sensor.pointCount - before;
    // The charts may have let go of it since it was provisional; it is not new for all that.
    const isNew =
      reading.id === null
        ? isAdded && this.waiting.add(reading)
        : !this.waiting.settle(reading) && isAdded;
    if (!known) {
      this.#newcomers.set(sensor.id, sensor);
      this.#membership += 1;
    } else if (isNew || sensor.regular) {
      if (!sensor.regular) this.#membership += 1;
      sensor.regular = true;
      this.#newcomers.delete(sensor.id);
      this.#regulars.delete(sensor.id);
      this.#regulars.set(sensor.id, sensor);
    }
    this.#keepBounds();
    return { sensor, isNew };
  }

  clear(): void {
    this.#newcomers.clear();
    this.#regulars.clear();
    this.waiting.clear();
    this.#totalPoints = 0;
    this.#membership += 1;
    this.#overflowed = false;
  }

  #keepBounds(): void {
    while (this.size > this.#bounds.sensors || this.#totalPoints > this.#bounds.totalPoints) {
      const crowded = this.#newcomers.size > this.#bounds.newcomers;
      const from = crowded || this.#regulars.size === 0 ? this.#newcomers : this.#regulars;
      const longestSilent = from.values().next().value;
      if (!longestSilent || this.size === 1) return;
      from.delete(longestSilent.id);
      this.#totalPoints -= longestSilent.pointCount;
      this.#membership += 1;
      this.#overflowed = true;
    }
  }
}
