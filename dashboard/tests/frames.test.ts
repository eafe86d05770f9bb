import { describe, expect, it } from "vitest";
import { decodeFrame, parseInstant } from "../src/live/frames";

const FRAME = {
  id: 1234,
  sensor_id: "EWR",
  temperature: 3.9,
  humidity: 59.37,
  pressure: 1012.0,
  co2: 417,
  recorded_at: "2013-01-01T06:00:00Z",
  received_at: "2026-11-23T12:00:00.123456Z",
  date_recorded: "2013-01-01",
  time_recorded: "06:00:00",
  client_ip: "127.0.0.1",
};

function decode(changes: Record<string, unknown>) {
  return decodeFrame(JSON.stringify({ ...FRAME, ...changes }));
}

function measurementsOf(changes: Record<string, unknown>) {
  const frame = decode(changes);
  return frame?.kind === "reading" ? Object.fromEntries(frame.reading.measurements) : null;
}

describe("a reading", () => {
  it("is decoded with every measurement and none of the reserved fields", () => {
    expect(decodeFrame(JSON.stringify(FRAME))).toEqual({
      kind: "reading",
      reading: {
        id: 1234,
        sensorId: "EWR",
        recordedAt: Date.UTC(2013, 0, 1, 6),
        receivedAt: Date.UTC(2026, 10, 23, 12) + 123.456,
        measurements: [
          ["temperature", 3.9],
          ["humidity", 59.37],
          ["pressure", 1012],
          ["co2", 417],
        ],
      },
    });
  });

  it("may be provisional", () => {
    const frame = decode({ id: null, status: "spooled" });
    expect(frame?.kind === "reading" && frame.reading.id).toBeNull();
  });

  it("drops fields that are no measurements", () => {
    const fields = { text: "x", flag: true, nothing: null, deep: {}, "bad name": 1, "9lives": 9 };
    expect(measurementsOf(fields)).toEqual({
      temperature: 3.9,
      humidity: 59.37,
      pressure: 1012,
      co2: 417,
    });
  });

  it("takes at most 64 measurements", () => {
    const many = Object.fromEntries(Array.from({ length: 100 }, (_, at) => [`m${at}`, at]));
    expect(Object.keys(measurementsOf(many) ?? {})).toHaveLength(64);
  });

  it("keeps names that mean something to JavaScript as names", () => {
    const frame = decodeFrame(
      JSON.stringify(FRAME).replace('"co2":417', '"__proto__":1,"constructor":2'),
    );
    const names = frame?.kind === "reading" ? frame.reading.measurements.map(([name]) => name) : [];
    expect(names).toEqual(expect.arrayContaining(["__proto__", "constructor"]));
  });

  it("counts the characters of a sensor id, not its code units", () => {
    expect(decode({ sensor_id: "🌡".repeat(128) })).not.toBeNull();
    expect(decode({ sensor_id: "🌡".repeat(129) })).toBeNull();
  });
});

describe("garbage", () => {
  it.each([
    ["no JSON", "{"],
    ["empty", ""],
    ["a number", "1"],
    ["null", "null"],
    ["an array", "[]"],
    ["binary", new ArrayBuffer(8)],
    ["a broken gap", '{"gap":{"after":"x","oldest":1}}'],
    ["a gap that is null", '{"gap":null}'],
  ])("is refused: %s", (_, text) => {
    expect(decodeFrame(text)).toBeNull();
  });

  it.each([
    ["an id that is no integer", { id: 1.5 }],
    ["an id that is text", { id: "7" }],
    ["an empty sensor id", { sensor_id: "" }],
    ["a sensor id that is a number", { sensor_id: 5 }],
    ["a time without offset", { recorded_at: "2013-01-01T06:00:00" }],
    ["a time that does not exist", { received_at: "2013-99-01T06:00:00Z" }],
    ["no measurement", { temperature: null, humidity: "5", pressure: {}, co2: true }],
  ])("is refused: %s", (_, changes) => {
    expect(decode(changes)).toBeNull();
  });
});

it("decodes a gap", () => {
  expect(decodeFrame('{"gap":{"after":10,"oldest":500}}')).toEqual({
    kind: "gap",
    after: 10,
    oldest: 500,
  });
});

it("keeps microseconds of an instant apart", () => {
  const first = parseInstant("2026-11-23T12:00:00.123456Z") ?? 0;
  const second = parseInstant("2026-11-23T12:00:00.123457Z") ?? 0;
  expect(second - first).toBeCloseTo(0.001, 3);
  expect(parseInstant("2026-11-23T09:00:00-03:00")).toBe(Date.UTC(2026, 10, 23, 12));
});
