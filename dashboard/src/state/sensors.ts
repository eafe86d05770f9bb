import type { HistoryFrame } from "../history/buckets";
import type { KnownSensor, SeriesAnswer } from "../history/wire";
import type { Reading } from "../live/frames";
import { BOUNDS, type Bounds, Sensor } from "./sensor";
import { WaitingList } from "./waiting-list";

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
  /** Sensors with a history, the one longest not asked for first. */
  readonly #withHistory = new Set<Sensor>();
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

  /** Changes whenever a sensor comes, goes, becomes a regular one, or has another name. */
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

  /** Takes in the sensors that the server knows, those heard last first. */
  introduce(sensors: readonly KnownSensor[]): void {
    const earlier: Sensor[] = [];
    for (const known of sensors) {
      const kept = this.get(known.id);
      // Nothing of it was ever stored: there is nothing to show.
      if (!kept && known.latest.length === 0) continue;
      if (!kept && this.size + earlier.length >= this.#bounds.sensors) continue;
      const sensor = kept ?? new Sensor(known.id);
      const before = sensor.pointCount;
      sensor.introduce(known, this.#bounds);
      this.#totalPoints += sensor.pointCount - before;
      if (kept?.regular && this.#newcomers.delete(kept.id)) this.#regulars.set(kept.id, kept);
      if (!kept) earlier.push(sensor);
    }
    for (const sensors of [this.#regulars, this.#newcomers]) {
      const heard = [...sensors];
      sensors.clear();
      const isRegular = sensors === this.#regulars;
      for (const sensor of earlier.toReversed()) {
        if (sensor.regular === isRegular) sensors.set(sensor.id, sensor);
      }
      for (const [id, sensor] of heard) sensors.set(id, sensor);
    }
    this.#membership += 1;
    this.#keepBounds();
  }

  /** Lets go of who is not among all that the server knows, and was not heard since. */
  forget(all: readonly KnownSensor[], since: number): void {
    const ids = new Set(all.map(({ id }) => id));
    for (const sensor of [...this.all()]) {
      if (!ids.has(sensor.id) && sensor.rhythm.heardAt < since) this.#drop(sensor);
    }
  }

  /** Puts histories behind the sensors, and takes them from others where there are too many. */
  setHistory(
    frame: HistoryFrame,
    sensors: readonly Sensor[],
    buckets: SeriesAnswer["buckets"],
  ): void {
    for (const sensor of sensors) {
      sensor.setHistory(frame, buckets.get(sensor.id));
      this.#withHistory.delete(sensor);
      this.#withHistory.add(sensor);
    }
    let total = 0;
    for (const sensor of [...this.#withHistory].reverse()) {
      total += sensor.bucketCount;
      if (total <= this.#bounds.totalBuckets || sensors.includes(sensor)) continue;
      sensor.setHistory(null);
      this.#withHistory.delete(sensor);
    }
  }

  clear(): void {
    this.#newcomers.clear();
    this.#regulars.clear();
    this.waiting.clear();
    this.#withHistory.clear();
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
      this.#drop(longestSilent);
      this.#overflowed = true;
    }
  }

  #drop(sensor: Sensor): void {
    this.#newcomers.delete(sensor.id);
    this.#regulars.delete(sensor.id);
    this.#withHistory.delete(sensor);
    this.#totalPoints -= sensor.pointCount;
    this.#membership += 1;
  }
}
