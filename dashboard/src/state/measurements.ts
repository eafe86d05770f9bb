/** The measurements the server knows by name, in the order people read them. */
export const KNOWN_MEASUREMENTS = ["temperature", "humidity", "pressure"] as const;

export type KnownMeasurement = (typeof KNOWN_MEASUREMENTS)[number];

export function isKnown(name: string): name is KnownMeasurement {
  return (KNOWN_MEASUREMENTS as readonly string[]).includes(name);
}

/** Known measurements first, in their order; all others by name. */
export function compareMeasurements(a: string, b: string): number {
  return rank(a) - rank(b) || (a < b ? -1 : a > b ? 1 : 0);
}

function rank(name: string): number {
  return isKnown(name) ? KNOWN_MEASUREMENTS.indexOf(name) : KNOWN_MEASUREMENTS.length;
}
