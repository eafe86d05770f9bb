import { describe, expect, it } from "vitest";
import { type Bucket, History } from "../src/history/buckets";
import { RANGES, type Range } from "../src/history/ranges";
import { traceOf } from "../src/history/trace";
import { windowOf } from "../src/history/window";
import { csvUrl, decodeSensors, decodeSeries, seriesUrl } from "../src/history/wire";
import { BOUNDS, Sensor } from "../src/state/sensor";
import { SensorStore } from "../src/state/sensors";
import { Series } from "../src/state/series";
import { reading } from "./readings";

const SECOND = 1_000;
const MINUTE = 60 * SECOND;
const HOUR = 60 * MINUTE;
const NOW = Date.UTC(2026, 0, 2, 12);
const HOURLY = RANGES["1h"];
const DAILY = RANGES["24h"];

function bucket(at: number, average: number, count = 1) {
  return { at, count, average, low: average - 1, high: average + 1 };
}

/** One bucket after another up to now, each with its number as its average. */
function buckets(range = HOURLY, count = 6) {
  const { width } = range.bucket;
  return Array.from({ length: count }, (_, index) => bucket(NOW - (count - index) * width, index));
}

function historyOf(range: Range, found: Bucket[], asOf = NOW) {
  return new History({ range, width: range.bucket.width, asOf }, found);
}

function values(series: Series, liveSince: number, range = HOURLY) {
  const window = { from: NOW - range.span, to: NOW + MINUTE };
  return traceOf(series, window, liveSince).line.map(({ y }) => y);
}

describe("a history", () => {
  it("takes a live reading into its bucket", () => {
    const history = historyOf(DAILY, [bucket(NOW, 10, 3)]);
    history.add(NOW + MINUTE, 30);
    expect(history.buckets).toEqual([{ at: NOW, count: 4, average: 15, low: 9, high: 30 }]);
  });

  it("begins a bucket, puts a late reading into an earlier one, and drops what is too old", () => {
    const history = historyOf(DAILY, [bucket(NOW - DAILY.span, 1), bucket(NOW, 2)]);
    history.add(NOW + 5 * MINUTE, 7);
    history.add(NOW - 10 * MINUTE, 4);
    history.add(NOW - 2 * DAILY.span, 9);
    expect(history.buckets.map(({ at, average }) => [(at - NOW) / MINUTE, average])).toEqual([
      [-10, 4],
      [0, 2],
      [5, 7],
    ]);
  });
});

describe("history and live readings", () => {
  it("are one line, each once, whatever arrived while the history was on its way", () => {
    const series = new Series(300);
    const liveSince = NOW - 15 * SECOND;
    for (const at of [-12, -6, 2, 4]) {
      series.put(NOW + at * SECOND, 100 + at, false, NOW + at * SECOND);
    }
    series.setHistory(historyOf(HOURLY, buckets()));
    series.put(NOW + 6 * SECOND, 106);
    expect(values(series, liveSince)).toEqual([0, 1, 2, 3, 88, 94, 102, 104, 106]);
    // What the history cannot hold yet is in its buckets too, and what it holds is not twice.
    expect(series.history?.buckets.map(({ count }) => count)).toEqual([1, 1, 1, 1, 1, 1, 3]);
  });

  it("have nothing twice in the bucket in which the stream began", () => {
    const series = new Series(300);
    series.setHistory(historyOf(HOURLY, []));
    for (const at of [8, 8.5, 9]) series.put(NOW + at * SECOND, at);
    expect(values(series, NOW + 7 * SECOND)).toEqual([8, 8.5, 9]);
  });

  it("have the newest reading once, where it is alone in its bucket", () => {
    const series = new Series(300);
    series.put(NOW - 1, 7);
    series.setHistory(historyOf(HOURLY, [bucket(NOW - 20_000, 5), bucket(NOW - 10_000, 7)]));
    expect(values(series, NOW)).toEqual([5, 7]);
  });

  it("go on in buckets where readings cannot be told apart", () => {
    const series = new Series(300);
    series.setHistory(historyOf(DAILY, buckets(DAILY)));
    for (let at = 0; at < 60; at += 1) series.put(NOW + at * SECOND, 10);
    expect(values(series, NOW, DAILY)).toEqual([0, 1, 2, 3, 4, 5, 10]);
    expect(series.history?.buckets.at(-1)).toEqual({
      at: NOW,
      count: 60,
      average: 10,
      low: 10,
      high: 10,
    });
  });

  it("have no hole where live points had to go", () => {
    const series = new Series(3);
    series.setHistory(historyOf(HOURLY, buckets()));
    for (let at = 0; at < 40; at += 1) series.put(NOW + at * SECOND, 50);
    expect(values(series, NOW)).toEqual([0, 1, 2, 3, 4, 5, ...Array(4 + 1).fill(50)]);
  });

  it("do not count a reading again that came from the spool with its id", () => {
    const store = new SensorStore();
    store.ingest(reading("a", 0));
    const sensor = store.get("a");
    if (!sensor) throw new Error("not kept");
    store.setHistory({ range: DAILY, width: 5 * MINUTE, asOf: NOW }, [sensor], new Map());
    const late = { recordedAt: NOW + 1, receivedAt: NOW + 1 };
    store.ingest(reading("a", 1, 20, { ...late, id: null }));
    store.ingest(reading("a", 1, 20, { ...late, id: 7 }));
    expect(sensor.series.get("temperature")?.history?.buckets.at(-1)?.count).toBe(1);
  });

  it("are the live readings alone while there is no history", () => {
    const series = new Series(300);
    for (const at of [0, 1, 2]) series.put(NOW + at * SECOND, at);
    expect(values(series, Number.POSITIVE_INFINITY)).toEqual([0, 1, 2]);
  });
});

describe("gaps", () => {
  it("part the line, and what stands alone is marked", () => {
    const series = new Series(300);
    const all = buckets(DAILY, 40);
    const kept = all.filter((_, index) => index < 10 || index === 20 || index >= 30);
    series.setHistory(historyOf(DAILY, kept));
    const { line, lonely } = traceOf(series, { from: NOW - DAILY.span, to: NOW }, NOW);
    expect(line.filter(({ y }) => Number.isNaN(y))).toHaveLength(2);
    expect(lonely.map(({ y }) => y)).toEqual([20]);
  });

  it("are none where a sensor reports seldom", () => {
    const series = new Series(300);
    const seldom = buckets(DAILY, 60).filter((_, index) => index % 6 === 0);
    series.setHistory(historyOf(DAILY, seldom));
    expect(values(series, NOW, DAILY).some(Number.isNaN)).toBe(false);
  });
});

describe("the time shown", () => {
  const sensorWith = (firstSeen: number, ...times: number[]) => {
    const sensor = new Sensor("a");
    for (const time of times) {
      sensor.put(reading("a", 0, 1, { recordedAt: time, receivedAt: time }), BOUNDS);
    }
    sensor.known = {
      id: "a",
      name: null,
      location: null,
      notes: new Map(),
      firstSeen,
      lastSeen: NOW,
      stored: times.length,
      latest: [],
    };
    return sensor;
  };

  it("is the range up to now", () => {
    expect(windowOf(sensorWith(0, NOW - MINUTE), HOURLY, NOW)).toEqual({
      from: NOW - HOUR,
      to: NOW,
    });
  });

  it("begins with the first reading of a new sensor", () => {
    const window = windowOf(sensorWith(NOW - 5 * MINUTE, NOW - 5 * MINUTE, NOW), HOURLY, NOW);
    expect(window).toEqual({ from: NOW - 5 * MINUTE, to: NOW });
    const day = windowOf(sensorWith(NOW - 5 * MINUTE, NOW), DAILY, NOW);
    expect(day).toEqual({ from: NOW - DAILY.span, to: NOW });
  });

  it("is that of the readings where a sensor sends what it measured long ago", () => {
    const window = windowOf(sensorWith(0, 1_000, 90_000), HOURLY, NOW);
    expect(window).toEqual({ from: 1_000, to: 90_000 });
  });
});

describe("the wire", () => {
  const told = {
    at: [1, 2, 3],
    series: [
      {
        sensor_id: "a",
        measurement: "co2",
        average: [5, null, 7],
        minimum: [4, null, 6],
        maximum: [6, null, 8],
        count: [2, 0, 3],
      },
    ],
  };

  it("leaves empty buckets out", () => {
    const answer = decodeSeries(told);
    expect(answer?.width).toBe(1);
    expect(answer?.buckets.get("a")?.get("co2")).toEqual([
      { at: 1, count: 2, average: 5, low: 4, high: 6 },
      { at: 3, count: 3, average: 7, low: 6, high: 8 },
    ]);
  });

  it.each([
    null,
    {},
    { ...told, at: "x" },
    { ...told, series: [1] },
    { ...told, at: [1] },
    { ...told, series: [{ sensor_id: "a", measurement: "b" }] },
  ])("takes nothing else for series: %j", (body) => {
    expect(decodeSeries(body)).toBeNull();
  });

  it("names the measurements of one that has very many", () => {
    const url = new URL(seriesUrl(HOURLY, ["a"], ["x", "y.z"]), "http://server");
    expect(url.searchParams.getAll("measurement")).toEqual(["x", "y.z"]);
  });

  it("asks for all sensors at once, whatever they are called", () => {
    const url = new URL(seriesUrl(HOURLY, ["a&b", "ü"]), "http://server");
    expect(url.searchParams.getAll("sensor_id")).toEqual(["a&b", "ü"]);
    expect(Object.fromEntries(url.searchParams)).toMatchObject({
      start: "-1h",
      end: "now",
      bucket: "10s",
    });
  });

  it("has the readings of the range as CSV", () => {
    const url = new URL(csvUrl(RANGES["30d"], "a&b"), "http://server");
    expect(url.pathname).toBe("/api/readings");
    expect(Object.fromEntries(url.searchParams)).toEqual({
      format: "csv",
      sensor_id: "a&b",
      start: "-30d",
      end: "now",
    });
  });
});

describe("the sensors that the server knows", () => {
  const told = (id: string, last: string, rest: object = {}) => ({
    sensor_id: id,
    first_seen: "2025-01-01T00:00:00Z",
    last_seen: last,
    latest: { co2: { value: 417, recorded_at: last } },
    counts: { stored: 9 },
    ...rest,
  });

  it("have a card before they are heard, and give way to those that are", () => {
    const store = new SensorStore({ ...BOUNDS, sensors: 3 });
    store.ingest(reading("live", 0));
    const sensors = decodeSensors({
      next: null,
      sensors: [
        told("b", "2026-01-01T08:00:00Z"),
        told("a", "2026-01-01T07:00:00Z"),
        told("too many", "2026-01-01T06:00:00Z"),
      ],
    });
    store.introduce(sensors?.sensors ?? []);
    expect([...store.all()].map(({ id }) => id).sort()).toEqual(["a", "b", "live"]);
    expect(store.get("a")?.series.get("co2")?.newest?.y).toBe(417);
    expect(store.get("a")?.rhythm.heardAt).toBe(Date.UTC(2026, 0, 1, 7));
    store.ingest(reading("new", 1));
    expect(store.get("a")).toBeUndefined();
  });

  it("have the names that somebody gave to them and their measurements", () => {
    const [sensor] =
      decodeSensors({
        next: "more",
        sensors: [
          told("a", "2026-01-01T08:00:00Z", {
            name: "Cold room",
            location: null,
            measurements: { co2: { unit: "ppm", label: "Supply air" }, x: null },
          }),
        ],
      })?.sensors ?? [];
    expect(sensor).toMatchObject({ name: "Cold room", location: null });
    expect(sensor?.notes.get("co2")).toEqual({ unit: "ppm", label: "Supply air" });
  });

  it("go when the server has forgotten them, unless they were heard since", () => {
    const store = new SensorStore();
    const heard = "2026-01-01T08:00:00Z";
    const told3 = { sensors: ["a", "b", "c"].map((id) => told(id, heard)), next: null };
    store.introduce(decodeSensors(told3)?.sensors ?? []);
    store.ingest(reading("c", 12 * HOUR));
    const told1 = decodeSensors({ sensors: [told("a", heard)], next: null });
    store.forget(told1?.sensors ?? [], Date.UTC(2026, 0, 1, 9));
    expect([...store.all()].map(({ id }) => id)).toEqual(["a", "c"]);
  });

  it("are left out one by one where they are told wrongly", () => {
    const body = { sensors: [null, {}, told("a", "2026-01-01T08:00:00Z")], next: "more" };
    expect(decodeSensors(body)).toMatchObject({ sensors: [{ id: "a" }], areAll: false });
    expect(decodeSensors([])).toBeNull();
  });
});
