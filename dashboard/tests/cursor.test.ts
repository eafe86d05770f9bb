import { beforeEach, describe, expect, it } from "vitest";
import { Cursor, MOST_MISSED, RATE_READINGS, RATE_TIME } from "../src/live/cursor";

const HOUR = 3_600_000;
const SECOND = 1_000;

let now: number;
let cursor: Cursor;
let id: number;

beforeEach(() => {
  now = 1_800_000_000_000;
  id = 100;
  cursor = new Cursor(() => now);
});

/** So many readings, evenly over so much time; the page sees each at once. */
function stream(readings: number, time: number): void {
  for (let n = 0; n < readings; n += 1) {
    now += time / readings;
    id += 1;
    cursor.moveTo(id, now);
  }
}

describe("the cursor", () => {
  it("is none before the first reading, and after the stream was another one", () => {
    expect(cursor.since).toBeNull();
    stream(3, SECOND);
    expect(cursor.since).toBe(id);
    cursor.forget();
    expect(cursor.since).toBeNull();
  });

  it("is good after a night where readings are few", () => {
    stream(120, HOUR);
    now += 10 * HOUR;
    expect(cursor.since).toBe(id);
  });

  it("is good after a short loss of a fast stream, not after a long one", () => {
    stream(120_000, 2 * 60 * SECOND);
    now += MOST_MISSED - SECOND;
    expect(cursor.since).toBe(id);
    now += 2 * SECOND;
    expect(cursor.since).toBeNull();
  });

  it("goes by what the stream does lately", () => {
    stream(120, 100 * HOUR);
    stream(2 * RATE_READINGS, 2 * RATE_TIME);
    stream(200_000, 4 * RATE_TIME);
    now += HOUR;
    expect(cursor.since).toBeNull();
  });

  it("does not take a moment's burst for the rate", () => {
    stream(500, 10);
    now += 10 * 60 * SECOND;
    expect(cursor.since).toBe(id);
  });

  it("goes by the server's times, however fast what was missed came", () => {
    stream(60, HOUR);
    for (let n = 0; n < 5_000; n += 1) {
      id += 1;
      cursor.moveTo(id, now + n * 60 * SECOND);
    }
    now += HOUR;
    expect(cursor.since).toBe(id);
  });

  it("follows a stream that was set back", () => {
    stream(10, SECOND);
    cursor.moveTo(3, now);
    expect(cursor.since).toBe(3);
  });
});
