import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import type { Answer } from "../src/history/asking";
import { HistoryLoader } from "../src/history/loader";
import { RANGES, type Range } from "../src/history/ranges";
import { FIRST_PAUSE, LONGEST_PAUSE } from "../src/history/repeater";
import { SENSORS_URL } from "../src/history/wire";
import { Sensor } from "../src/state/sensor";

const EMPTY = { at: [0, 1], series: [] };

/** A server that answers as it is told, and a board whose sensors all lack their history. */
function pageWith(names: string[]) {
  const lacking = new Map<string, Range | null>(names.map((name) => [name, null]));
  const sensors = names.map((name) => new Sensor(name));
  const asked: URL[] = [];
  let answer: Answer = { kind: "told", body: EMPTY };
  const onNotAllowed = vi.fn();
  const loader = new HistoryLoader({
    ask: async (url) => {
      if (url === SENSORS_URL) return { kind: "told", body: { sensors: [] } };
      asked.push(new URL(url, "http://server"));
      return answer;
    },
    wants: {
      wanting: (range) => sensors.filter(({ id }) => lacking.get(id) !== range),
      setHistory: ({ range }, found) => {
        for (const { id } of found) lacking.set(id, range);
      },
      introduce: () => {},
    },
    onNotAllowed,
    now: () => 0,
    isLookedAt: () => true,
  });
  return {
    loader,
    asked,
    onNotAllowed,
    answers: (next: Answer) => {
      answer = next;
    },
    rangesOf: () => asked.map((url) => url.searchParams.get("start")),
    sensorsOf: (url: URL | undefined) => url?.searchParams.getAll("sensor_id"),
  };
}

describe("the histories", () => {
  beforeEach(() => {
    vi.useFakeTimers();
  });
  afterEach(() => {
    vi.useRealTimers();
  });

  it("of all sensors in sight come in one request", async () => {
    const { loader, asked, sensorsOf } = pageWith(["a", "b", "c"]);
    loader.start();
    await vi.advanceTimersByTimeAsync(500);
    expect(asked.map(sensorsOf)).toEqual([["a", "b", "c"]]);
    expect(loader.state.value).toBe("settled");
  });

  it("of very many come in several, one after another", async () => {
    const names = Array.from({ length: 45 }, (_, index) => `sensor-${index}`);
    const { loader, asked, sensorsOf } = pageWith(names);
    loader.start();
    await vi.advanceTimersByTimeAsync(2_000);
    expect(asked.map((url) => sensorsOf(url)?.length)).toEqual([20, 20, 5]);
  });

  it("are asked for again when another range is chosen", async () => {
    const { loader, rangesOf } = pageWith(["a"]);
    loader.start();
    await vi.advanceTimersByTimeAsync(500);
    loader.choose("7d");
    expect(loader.range.value).toBe(RANGES["7d"]);
    await vi.advanceTimersByTimeAsync(500);
    expect(rangesOf()).toEqual(["-1h", "-7d"]);
  });

  it("are asked for less and less often while the server does not answer, then at once", async () => {
    const { loader, asked, answers } = pageWith(["a"]);
    answers({ kind: "away", retryAfter: null });
    loader.start();
    await vi.advanceTimersByTimeAsync(10 * LONGEST_PAUSE);
    expect(loader.state.value).toBe("late");
    expect(asked.length).toBeLessThan(30);
    expect(asked.length).toBeGreaterThan(8);
    answers({ kind: "told", body: EMPTY });
    await vi.advanceTimersByTimeAsync(LONGEST_PAUSE);
    expect(loader.state.value).toBe("settled");
  });

  it("leave the server alone for as long as it says", async () => {
    const { loader, asked, answers } = pageWith(["a"]);
    answers({ kind: "away", retryAfter: 30_000 });
    loader.start();
    await vi.advanceTimersByTimeAsync(29_000);
    expect(asked).toHaveLength(1);
  });

  it("are asked for in smaller parts after a refusal, and one alone is left at that", async () => {
    const { loader, asked, answers, sensorsOf } = pageWith(["a", "b", "c"]);
    answers({ kind: "refused" });
    loader.start();
    await vi.advanceTimersByTimeAsync(100 * FIRST_PAUSE);
    expect(sensorsOf(asked[0])).toEqual(["a", "b", "c"]);
    expect(asked.slice(-3).map(sensorsOf)).toEqual([["a"], ["b"], ["c"]]);
    expect(loader.state.value).toBe("settled");
  });

  it("tell when the session is not accepted, and stop with it", async () => {
    const { loader, asked, answers, onNotAllowed } = pageWith(["a"]);
    answers({ kind: "not-allowed" });
    loader.start();
    await vi.advanceTimersByTimeAsync(500);
    expect(onNotAllowed).toHaveBeenCalledOnce();
    loader.stop();
    await vi.advanceTimersByTimeAsync(LONGEST_PAUSE);
    expect(asked).toHaveLength(1);
  });
});
