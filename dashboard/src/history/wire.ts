import { isRecord, MEASUREMENT_NAME, parseInstant } from "../live/frames";
import type { Bucket } from "./buckets";
import type { Range } from "./ranges";

/** Sensors asked for at once; those heard last come first. */
const MOST_SENSORS = 500;

export const SENSORS_URL = `/api/sensors?limit=${MOST_SENSORS}`;

/** What somebody has said about a measurement of a sensor. */
export interface Note {
  readonly unit: string | null;
  readonly label: string | null;
}

/** A sensor as the server knows it. */
export interface KnownSensor {
  readonly id: string;
  readonly name: string | null;
  readonly location: string | null;
  readonly notes: ReadonlyMap<string, Note>;
  readonly firstSeen: number;
  readonly lastSeen: number;
  readonly stored: number;
  readonly latest: readonly (readonly [name: string, value: number, recordedAt: number])[];
}

export interface SensorsAnswer {
  /** Those heard last come first. */
  readonly sensors: readonly KnownSensor[];
  /** Whether the server knows no others. */
  readonly areAll: boolean;
}

/** The sensors of an answer; null for anything that is not one. */
export function decodeSensors(body: unknown): SensorsAnswer | null {
  if (!isRecord(body) || !Array.isArray(body["sensors"])) return null;
  const sensors = body["sensors"].map(decodeSensor).filter((sensor) => sensor !== null);
  return { sensors, areAll: body["next"] === null };
}

function decodeSensor(told: unknown): KnownSensor | null {
  if (!isRecord(told)) return null;
  const { sensor_id: id, counts } = told;
  const firstSeen = parseInstant(told["first_seen"]);
  if (typeof id !== "string" || id === "" || firstSeen === null) return null;
  const stored = isRecord(counts) ? counts["stored"] : 0;
  const latest: [string, number, number][] = [];
  for (const [name, found] of entries(told["latest"])) {
    const value = found["value"];
    const at = parseInstant(found["recorded_at"]);
    if (MEASUREMENT_NAME.test(name) && isNumber(value) && at !== null) {
      latest.push([name, value, at]);
    }
  }
  const notes = new Map<string, Note>();
  for (const [name, note] of entries(told["measurements"])) {
    notes.set(name, { unit: textOf(note["unit"]), label: textOf(note["label"]) });
  }
  return {
    id,
    name: textOf(told["name"]),
    location: textOf(told["location"]),
    notes,
    firstSeen,
    lastSeen: parseInstant(told["last_seen"]) ?? firstSeen,
    stored: isNumber(stored) ? stored : 0,
    latest,
  };
}

/** Of these sensors; of all their measurements, where none is named. */
export function seriesUrl(
  range: Range,
  sensorIds: readonly string[],
  measurements: readonly string[] = [],
): string {
  const query = new URLSearchParams(sensorIds.map((id) => ["sensor_id", id]));
  for (const name of measurements) query.append("measurement", name);
  query.append("start", `-${range.name}`);
  query.append("end", "now");
  query.append("bucket", range.bucket.name);
  return `/api/series?${query}`;
}

/** The readings of a sensor over the range, as a file; relative to when it is asked for. */
export function csvUrl(range: Range, sensorId: string): string {
  const query = new URLSearchParams({
    format: "csv",
    sensor_id: sensorId,
    start: `-${range.name}`,
    end: "now",
  });
  return `/api/readings?${query}`;
}

/** By measurement. */
export type BucketsOfSensor = ReadonlyMap<string, readonly Bucket[]>;

export interface SeriesAnswer {
  /** How long the buckets are: not always as long as they were asked for. */
  readonly width: number;
  /** By sensor. */
  readonly buckets: ReadonlyMap<string, BucketsOfSensor>;
}

/** An answer of `/api/series`, without its empty buckets; null for anything that is not one. */
export function decodeSeries(body: unknown): SeriesAnswer | null {
  if (!isRecord(body)) return null;
  const { at, series } = body;
  if (!isNumbers(at) || !Array.isArray(series)) return null;
  const [first, second] = at;
  if (first === undefined || second === undefined || second <= first) return null;
  const buckets = new Map<string, Map<string, Bucket[]>>();
  for (const told of series) {
    if (!isRecord(told)) return null;
    const { sensor_id: id, measurement } = told;
    if (typeof id !== "string" || typeof measurement !== "string") return null;
    const found = filled(at, told);
    if (!found) return null;
    const ofSensor = buckets.get(id) ?? new Map<string, Bucket[]>();
    buckets.set(id, ofSensor.set(measurement, found));
  }
  return { width: second - first, buckets };
}

function filled(times: readonly number[], told: Record<string, unknown>): Bucket[] | null {
  const { average: averages, minimum: lows, maximum: highs, count: counts } = told;
  if (!Array.isArray(averages) || !Array.isArray(lows) || !Array.isArray(highs)) return null;
  if (!Array.isArray(counts)) return null;
  const buckets: Bucket[] = [];
  for (const [index, at] of times.entries()) {
    const count: unknown = counts[index];
    const average: unknown = averages[index];
    const low: unknown = lows[index];
    const high: unknown = highs[index];
    if (!isNumber(count) || count === 0) continue;
    if (!isNumber(average) || !isNumber(low) || !isNumber(high)) continue;
    buckets.push({ at, count, average, low, high });
  }
  return buckets;
}

function entries(told: unknown): [string, Record<string, unknown>][] {
  const pairs = isRecord(told) ? Object.entries(told) : [];
  return pairs.filter((pair): pair is [string, Record<string, unknown>] => isRecord(pair[1]));
}

function textOf(value: unknown): string | null {
  return typeof value === "string" && value.trim() !== "" ? value : null;
}

function isNumber(value: unknown): value is number {
  return typeof value === "number" && Number.isFinite(value);
}

function isNumbers(value: unknown): value is number[] {
  return Array.isArray(value) && value.every(isNumber);
}
