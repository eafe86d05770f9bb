import type { Reading } from "../src/live/frames";

/** A reading of one temperature, `at` milliseconds into some day, received as it was recorded. */
export function reading(
  sensorId: string,
  at: number,
  temperature = 20,
  rest: Partial<Reading> = {},
): Reading {
  const time = Date.UTC(2026, 0, 1) + at;
  return {
    id: at,
    sensorId,
    recordedAt: time,
    receivedAt: time,
    measurements: [["temperature", temperature]],
    ...rest,
  };
}
