import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { TEXTS } from "../src/i18n/texts";
import { ServerClock } from "../src/live/clock";
import { createFeed, type Feed } from "../src/live/feed";
import { Board } from "../src/state/board";
import { BOUNDS, type Bounds, type Sensor } from "../src/state/sensor";
import { SensorStore } from "../src/state/sensors";
import { Session } from "../src/state/session";
import { GIVEN_UP_AFTER } from "../src/state/waiting-list";
import { reading } from "./readings";

const PROVISIONAL = { id: null };

function storeWith(bounds: Partial<Bounds> = {}): SensorStore {
  return new SensorStore({ ...BOUNDS, ...bounds });
}

function points(store: SensorStore, id: string, name = "temperature") {
  return store
    .get(id)
    ?.series.get(name)
    ?.points.map(({ x, y }) => [x - Date.UTC(2026, 0, 1), y]);
}

describe("a provisional reading", () => {
  it("is shown like any other, and waits", () => {
    const store = storeWith();
    const { sensor, isNew } = store.ingest(reading("a", 10, 20, PROVISIONAL));
    expect(isNew).toBe(true);
    expect(points(store, "a")).toEqual([[10, 20]]);
    expect(sensor.rhythm.heardAt).toBe(reading("a", 10).receivedAt);
    expect(store.waiting.count).toBe(1);
    expect(store.waiting.has("a", reading("a", 10).recordedAt)).toBe(true);
  });

  it("is replaced by itself with an id, and is no second reading", () => {
    const store = storeWith();
    store.ingest(reading("a", 10, 20, PROVISIONAL));
    const { sensor, isNew } = store.ingest(reading("a", 10, 20, { id: 7 }));
    expect(isNew).toBe(false);
    expect(sensor.regular).toBe(false);
    expect(points(store, "a")).toEqual([[10, 20]]);
    expect(store.waiting.count).toBe(0);
    expect(store.waiting.has("a", reading("a", 10).recordedAt)).toBe(false);
  });

  it("is known by sensor and time together", () => {
    const store = storeWith();
    store.ingest(reading("a", 10, 20, PROVISIONAL));
    store.ingest(reading("b", 10, 20));
    store.ingest(reading("a", 10.001, 20));
    expect(store.waiting.count).toBe(1);
    store.ingest(reading("a", 10, 20));
    expect(store.waiting.count).toBe(0);
  });

  it("waits once, however often it comes", () => {
    const store = storeWith();
    store.ingest(reading("a", 10, 20, PROVISIONAL));
    expect(store.ingest(reading("a", 10, 20, PROVISIONAL)).isNew).toBe(false);
    expect(store.waiting.count).toBe(1);
  });

  it("does not wait or change anything when it came with its id before", () => {
    const store = storeWith();
    store.ingest(reading("a", 10, 20, { id: 7 }));
    expect(store.ingest(reading("a", 10, 99, PROVISIONAL)).isNew).toBe(false);
    expect(points(store, "a")).toEqual([[10, 20]]);
    expect(store.waiting.count).toBe(0);
  });

  it("adds measurements that the committed reading of that time has not", () => {
    const store = storeWith();
    store.ingest(reading("a", 10, 20, { id: 7 }));
    store.ingest(reading("a", 10, 0, { id: null, measurements: [["co2", 417]] }));
    expect(points(store, "a", "co2")).toEqual([[10, 417]]);
    expect(store.waiting.count).toBe(1);
  });

  it("is no second reading even when the charts have let go of it", () => {
    const store = storeWith({ points: 3 });
    for (const at of [1, 2, 3, 4, 5]) store.ingest(reading("a", at, at, PROVISIONAL));
    const news = [1, 2, 3, 4, 5].map((at) => store.ingest(reading("a", at, at)).isNew);
    expect(news).toEqual([false, false, false, false, false]);
    expect(points(store, "a")).toEqual([
      [3, 3],
      [4, 4],
      [5, 5],
    ]);
    expect(store.waiting.count).toBe(0);
  });
});

it("a late committed reading does not set its sensor back in time", () => {
  const store = storeWith();
  store.ingest(reading("a", 10, 1, PROVISIONAL));
  store.ingest(reading("a", 20, 2, PROVISIONAL));
  const { sensor } = store.ingest(reading("a", 30, 3));
  const heardAt = sensor.rhythm.heardAt;
  store.ingest(reading("a", 10, 1, { id: 31 }));
  store.ingest(reading("a", 20, 2, { id: 32 }));
  store.ingest(reading("a", 5, 9, { id: 33 }));
  expect(sensor.series.get("temperature")?.newest?.y).toBe(3);
  expect(sensor.rhythm.heardAt).toBe(heardAt);
  expect(points(store, "a")?.map(([, value]) => value)).toEqual([9, 1, 2, 3]);
});

describe("what waits is bounded", () => {
  it("by number, the oldest go first, and says that there are more", () => {
    const store = storeWith({ waiting: 3 });
    for (const at of [1, 2, 3]) store.ingest(reading("a", at, at, PROVISIONAL));
    expect(store.waiting.overflowed).toBe(false);
    for (const at of [4, 5]) store.ingest(reading("a", at, at, PROVISIONAL));
    expect(store.waiting.count).toBe(3);
    expect(store.waiting.overflowed).toBe(true);
    for (const at of [1, 2]) store.ingest(reading("a", at, at));
    expect(store.waiting.count).toBe(3);
    for (const at of [3, 4, 5]) store.ingest(reading("a", at, at));
    expect(store.waiting.count).toBe(0);
    expect(store.waiting.overflowed).toBe(false);
  });

  it("with what was forgotten, which goes before what is counted", () => {
    const store = storeWith({ waiting: 3 });
    for (const at of [1, 2, 3]) store.ingest(reading("a", at, at, PROVISIONAL));
    store.waiting.forget();
    for (const at of [4, 5, 6]) store.ingest(reading("a", at, at, PROVISIONAL));
    expect(store.waiting.count).toBe(3);
    expect(store.waiting.overflowed).toBe(false);
  });

  it("as all points are, confirmed or not", () => {
    const store = storeWith({ points: 3, sensors: 2, newcomers: 1 });
    for (let at = 0; at < 100; at += 1) store.ingest(reading("a", at, at, PROVISIONAL));
    for (let at = 0; at < 100; at += 1) store.ingest(reading(`s-${at}`, at, at, PROVISIONAL));
    expect(points(store, "a")).toHaveLength(3);
    expect(store.size).toBe(2);
  });
});

describe("what never comes with an id", () => {
  it("is forgotten when the database has long taken newer readings", () => {
    const store = storeWith();
    store.ingest(reading("a", 0, 1, PROVISIONAL));
    store.ingest(reading("b", GIVEN_UP_AFTER));
    expect(store.waiting.count).toBe(1);
    store.ingest(reading("b", GIVEN_UP_AFTER + 1));
    expect(store.waiting.count).toBe(0);
  });

  it("is not forgotten while more waits, nor for readings that waited too", () => {
    const store = storeWith();
    store.ingest(reading("a", 0, 1, PROVISIONAL));
    store.ingest(reading("a", GIVEN_UP_AFTER, 1, PROVISIONAL));
    store.ingest(reading("b", GIVEN_UP_AFTER + 1));
    store.ingest(reading("a", 0, 1));
    expect(store.waiting.count).toBe(1);
  });

  it("is no second reading when it comes after it was forgotten", () => {
    const store = storeWith({ points: 1 });
    for (const at of [1, 2]) store.ingest(reading("a", at, at, PROVISIONAL));
    store.waiting.forget();
    expect(store.waiting.count).toBe(0);
    expect(store.waiting.has("a", reading("a", 2).recordedAt)).toBe(false);
    store.ingest(reading("a", 3, 3, PROVISIONAL));
    expect(store.ingest(reading("a", 1, 1)).isNew).toBe(false);
    expect(store.ingest(reading("a", 2, 2)).isNew).toBe(false);
    expect(store.waiting.count).toBe(1);
  });
});

describe("the page", () => {
  class FakeWebSocket {
    onopen: (() => void) | null = null;
    onmessage: ((event: { data: unknown }) => void) | null = null;
    onclose: ((event: { code: number; reason: string }) => void) | null = null;
    readonly since: string | null;

    constructor(url: URL) {
      this.since = url.searchParams.get("since");
      sockets.push(this);
    }

    close(): void {}

    send(at: number, id: number | null, sensor = "a"): void {
      const time = new Date(Date.UTC(2026, 0, 1) + at).toISOString();
      const status = id === null ? { status: "spooled" } : {};
      const frame = { id, sensor_id: sensor, temperature: at, recorded_at: time, ...status };
      this.onmessage?.({ data: JSON.stringify({ ...frame, received_at: time }) });
    }
  }

  let sockets: FakeWebSocket[];
  let board: Board;
  let feed: Feed;

  beforeEach(() => {
    vi.useFakeTimers();
    sockets = [];
    vi.stubGlobal("WebSocket", FakeWebSocket);
    vi.stubGlobal("requestAnimationFrame", (callback: () => void) => setTimeout(callback, 16));
    vi.stubGlobal("window", {
      location: { href: "http://localhost/", protocol: "http:" },
      addEventListener: () => {},
    });
    vi.stubGlobal("document", { addEventListener: () => {}, visibilityState: "visible" });
    const clock = new ServerClock();
    board = new Board(clock);
    feed = createFeed(board, new Session(), clock);
    feed.start();
    line().onopen?.();
  });

  afterEach(() => {
    feed.stop();
    vi.useRealTimers();
    vi.unstubAllGlobals();
  });

  function line(): FakeWebSocket {
    const newest = sockets.at(-1);
    if (!newest) throw new Error("no connection was opened");
    return newest;
  }

  function reconnect(): void {
    const before = sockets.length;
    line().onclose?.({ code: 1012, reason: "" });
    while (sockets.length === before) vi.advanceTimersByTime(100);
    line().onopen?.();
  }

  function tick(): void {
    vi.advanceTimersByTime(1_000);
  }

  function sensor(): Sensor {
    const [first] = board.roster.value;
    if (!first) throw new Error("no sensor is shown");
    return first;
  }

  function isWaiting(): boolean {
    return [...sensor().series.values()].some((series) => board.isWaiting(sensor(), series));
  }

  it("resumes after the newest reading with an id, whatever provisional ones came since", () => {
    line().send(10, 7);
    line().send(20, null);
    reconnect();
    expect(line().since).toBe("7");
    line().send(30, null);
    reconnect();
    expect(line().since).toBe("7");
    line().send(20, 8);
    reconnect();
    expect(line().since).toBe("8");
  });

  it("has nothing to resume after when only provisional readings came", () => {
    line().send(10, null);
    reconnect();
    expect(sockets).toHaveLength(2);
    expect(line().since).toBeNull();
  });

  it("marks a sensor while the newest reading it shows waits", () => {
    line().send(10, null);
    tick();
    expect(isWaiting()).toBe(true);
    line().send(20, 2);
    expect(isWaiting()).toBe(false);
    line().send(30, null);
    expect(isWaiting()).toBe(true);
    line().send(30, 3);
    expect(isWaiting()).toBe(false);
  });

  it("renders the card again when a reading that waited has come with its id", () => {
    line().send(10, null);
    tick();
    const revision = board.revisionOf(sensor());
    const before = revision.value;
    line().send(10, 1);
    tick();
    expect(revision.value).toBe(before + 1);
  });

  it("counts in the rate each reading once", () => {
    for (const at of [10, 20, 30]) line().send(at, null);
    tick();
    const { perSecond } = board.pulse.value;
    expect(perSecond).toBeGreaterThan(0);
    for (const at of [10, 20, 30]) line().send(at, at);
    line().send(40, null);
    tick();
    tick();
    expect(board.pulse.value.perSecond).toBeCloseTo(4 / 3, 1);
  });

  it("tells how many wait until all have come with their ids", () => {
    for (const at of [10, 20, 30]) line().send(at, null);
    tick();
    expect(board.pulse.value).toMatchObject({ waiting: 3, waitingOverflowed: false });
    for (const at of [10, 20]) line().send(at, at);
    tick();
    expect(board.pulse.value.waiting).toBe(1);
    line().send(30, 30);
    tick();
    expect(board.pulse.value.waiting).toBe(0);
  });

  it("announces the beginning and the end, not each reading", () => {
    const heard: string[] = [];
    const unsubscribe = board.waitingNews.subscribe((news) => heard.push(news));
    line().send(5, 5);
    tick();
    for (const at of [10, 20, 30]) {
      line().send(at, null);
      tick();
    }
    for (const at of [10, 20, 30]) {
      line().send(at, at);
      tick();
    }
    expect(heard).toEqual(["none", "began", "ended"]);
    board.clear();
    expect(heard).toEqual(["none", "began", "ended", "none"]);
    unsubscribe();
  });

  it("forgets after a reconnection what waited before it", () => {
    line().send(10, 7);
    line().send(20, null);
    line().send(30, null);
    tick();
    expect(board.pulse.value.waiting).toBe(2);
    reconnect();
    tick();
    expect(board.pulse.value.waiting).toBe(0);
    expect(isWaiting()).toBe(false);
    expect(board.waitingNews.value).toBe("ended");
    line().send(20, 8);
    line().send(40, null);
    tick();
    expect(board.pulse.value.waiting).toBe(1);
    expect(
      sensor()
        .series.get("temperature")
        ?.points.map(({ y }) => y),
    ).toEqual([10, 20, 30, 40]);
  });

  it("forgets everything when the session ends", () => {
    line().send(10, null);
    tick();
    board.clear();
    expect(board.pulse.value.waiting).toBe(0);
    expect(board.waitingNews.value).toBe("none");
  });
});

it("is told in both languages, one and many", () => {
  const { en, "pt-BR": ptBR } = TEXTS;
  expect(en.provisional.waiting(1, "1")).toBe("1 reading waits for the database");
  expect(en.provisional.waiting(1_200, "1,200")).toBe("1,200 readings wait for the database");
  expect(ptBR.provisional.waiting(1, "1")).toBe("1 leitura aguarda o banco de dados");
  expect(ptBR.provisional.waiting(2, "2")).toBe("2 leituras aguardam o banco de dados");
});
