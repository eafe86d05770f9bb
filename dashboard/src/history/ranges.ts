const SECOND = 1_000;
const MINUTE = 60 * SECOND;
const HOUR = 60 * MINUTE;
const DAY = 24 * HOUR;

export const RANGE_NAMES = ["1h", "24h", "7d", "30d"] as const;
export type RangeName = (typeof RANGE_NAMES)[number];

/** A time that the charts can show, up to now. */
export interface Range {
  readonly name: RangeName;
  readonly face: string;
  readonly span: number;
  /** The buckets its history is asked for in: as many as a chart can show, from few rollups. */
  readonly bucket: { readonly name: string; readonly width: number };
  /** Whether what arrives live is shown reading by reading, rather than in the buckets. */
  readonly showsReadings: boolean;
  /** The history is asked for again after this time, for what came late or went. */
  readonly refresh: number;
}

export const RANGES: Readonly<Record<RangeName, Range>> = {
  "1h": {
    name: "1h",
    face: "1 h",
    span: HOUR,
    bucket: { name: "10s", width: 10 * SECOND },
    showsReadings: true,
    refresh: 5 * MINUTE,
  },
  "24h": {
    name: "24h",
    face: "24 h",
    span: DAY,
    bucket: { name: "5m", width: 5 * MINUTE },
    showsReadings: false,
    refresh: 10 * MINUTE,
  },
  "7d": {
    name: "7d",
    face: "7 d",
    span: 7 * DAY,
    bucket: { name: "1h", width: HOUR },
    showsReadings: false,
    refresh: 30 * MINUTE,
  },
  "30d": {
    name: "30d",
    face: "30 d",
    span: 30 * DAY,
    bucket: { name: "2h", width: 2 * HOUR },
    showsReadings: false,
    refresh: HOUR,
  },
};
