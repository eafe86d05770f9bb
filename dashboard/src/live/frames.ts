/** One measured moment of one sensor, as the live stream carries it. */
export interface Reading {
  /** The reading's place in the stream; null while it waits in the server's spool. */
  readonly id: number | null;
  readonly sensorId: string;
  /** When it was measured: milliseconds since 1970, with the microseconds as a fraction. */
  readonly recordedAt: number;
  /** When the server took it, by the server's clock; same unit. */
  readonly receivedAt: number;
  readonly measurements: readonly (readonly [name: string, value: number])[];
}

export type Frame =
  | { readonly kind: "reading"; readonly reading: Reading }
  | { readonly kind: "gap"; readonly after: number; readonly oldest: number };

const MAX_SENSOR_ID = 128;
const MAX_MEASUREMENTS = 64;
export const MEASUREMENT_NAME = /^[A-Za-z_][A-Za-z0-9_.-]{0,63}$/;
const RESERVED: ReadonlySet<string> = new Set([
  "id",
  "sensor_id",
  "recorded_at",
  "received_at",
  "date_recorded",
  "time_recorded",
  "client_ip",
  "status",
]);
const INSTANT = /^(\d{4}-\d\d-\d\d[Tt]\d\d:\d\d:\d\d)(?:\.(\d{1,9})\d*)?([Zz]|[+-]\d\d:\d\d)$/;

/** Milliseconds since 1970 of an RFC 3339 instant, exact to the microsecond, or null if it is none. */
export function parseInstant(text: unknown): number | null {
  const parts = typeof text === "string" ? INSTANT.exec(text) : null;
  if (!parts) return null;
  // Date.parse stops at milliseconds, and two readings of one sensor may be closer than that.
  const whole = Date.parse(`${parts[1]}${parts[3]}`.toUpperCase());
  if (Number.isNaN(whole)) return null;
  return whole + Number(`0.${parts[2] ?? "0"}`) * 1000;
}

/** What a text frame of the live stream says, or null for anything that is not one. Never throws. */
export function decodeFrame(text: unknown): Frame | null {
  if (typeof text !== "string") return null;
  let body: unknown;
  try {
    body = JSON.parse(text);
  } catch {
    return null;
  }
  if (!isRecord(body)) return null;
  return "gap" in body ? decodeGap(body["gap"]) : decodeReading(body);
}

function decodeGap(gap: unknown): Frame | null {
  if (!isRecord(gap)) return null;
  const after = gap["after"];
  const oldest = gap["oldest"];
  return isId(after) && isId(oldest) ? { kind: "gap", after, oldest } : null;
}

function decodeReading(body: Record<string, unknown>): Frame | null {
  const id = body["id"];
  const sensorId = body["sensor_id"];
  const recordedAt = parseInstant(body["recorded_at"]);
  const receivedAt = parseInstant(body["received_at"]);
  if (id !== null && !isId(id)) return null;
  if (typeof sensorId !== "string" || sensorId === "" || [...sensorId].length > MAX_SENSOR_ID) {
    return null;
  }
  if (recordedAt === null || receivedAt === null) return null;

  const measurements: [string, number][] = [];
  for (const [name, value] of Object.entries(body)) {
    if (typeof value !== "number" || !Number.isFinite(value)) continue;
    if (RESERVED.has(name) || !MEASUREMENT_NAME.test(name)) continue;
    if (measurements.length === MAX_MEASUREMENTS) break;
    measurements.push([name, value]);
  }
  if (measurements.length === 0) return null;
  return { kind: "reading", reading: { id, sensorId, recordedAt, receivedAt, measurements } };
}

export function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

function isId(value: unknown): value is number {
  return typeof value === "number" && Number.isSafeInteger(value) && value >= 0;
}
