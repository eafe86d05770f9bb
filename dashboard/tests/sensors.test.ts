import { describe, expect, it } from "vitest";
import { chooseShown } from "../src/state/roster";
import { BOUNDS, type Bounds } from "../src/state/sensor";
import { SensorStore } from "../src/state/sensors";
import { reading } from "./readings";

function storeWith(bounds: Partial<Bounds> = {}): SensorStore {
  return new SensorStore({ ...BOUNDS, ...bounds });
}

function values(store: SensorStore, id: string, name = "temperature") {
  return store
    .get(id)
    ?.series.get(name)
    ?.points.map(({ y }) => y);
}

describe("the points of a sensor", () => {
  it("are kept in order of time, whatever the order of arrival", () => {
    const store = storeWith();
    for (const at of [10, 30, 20, 5, 40, 35]) store.ingest(reading("a", at, at));
    expect(values(store, "a")).toEqual([5, 10, 20, 30, 35, 40]);
  });

  it("are replaced by one of the same time, at the end and in the middle", () => {
    const store = storeWith();
    for (const at of [10, 20, 30]) store.ingest(reading("a", at, at));
    expect(store.ingest(reading("a", 30, 31)).isNew).toBe(false);
    expect(store.ingest(reading("a", 20, 21)).isNew).toBe(false);
    expect(values(store, "a")).toEqual([10, 21, 31]);
  });

  it("take a provisional reading once, when it comes again with its id", () => {
    const store = storeWith();
    store.ingest(reading("a", 10, 20, { id: null }));
    const { isNew } = store.ingest(reading("a", 10, 20, { id: 7 }));
    expect(isNew).toBe(false);
    expect(values(store, "a")).toEqual([20]);
  });

  it("are bounded, the oldest go first", () => {
    const store = storeWith({ points: 3 });
    for (const at of [1, 2, 3, 4, 5]) store.ingest(reading("a", at, at));
    store.ingest(reading("a", 0, 99));
    expect(values(store, "a")).toEqual([3, 4, 5]);
  });

  it("do not mix microseconds of the same millisecond", () => {
    const store = storeWith();
    store.ingest(reading("a", 1, 1));
    store.ingest(reading("a", 1.001, 2));
    expect(values(store, "a")).toEqual([1, 2]);
  });
});

describe("the measurements of a sensor", () => {
  const measured = (at: number, ...names: string[]) =>
    reading("a", at, 0, { measurements: names.map((name) => [name, 1]) });

  it("come with the known ones first", () => {
    const store = storeWith();
    store.ingest(measured(1, "zinc", "pressure", "co2", "humidity", "__proto__", "temperature"));
    expect([...(store.get("a")?.series.keys() ?? [])]).toEqual([
      "temperature",
      "humidity",
      "pressure",
      "__proto__",
      "co2",
      "zinc",
    ]);
  });

  it("are bounded, the longest unseen goes first", () => {
    const store = storeWith({ measurements: 2 });
    store.ingest(measured(1, "old"));
    store.ingest(measured(2, "kept"));
    store.ingest(measured(3, "new"));
    expect([...(store.get("a")?.series.keys() ?? [])]).toEqual(["kept", "new"]);
  });
});

describe("a flood of new names", () => {
  it("keeps the store within its bound and regular sensors in it", () => {
    const store = storeWith({ sensors: 20, newcomers: 5 });
    for (let at = 0; at < 10; at += 1) {
      store.ingest(reading(`regular-${at}`, at));
      store.ingest(reading(`regular-${at}`, at + 1));
    }
    for (let at = 0; at < 10_000; at += 1) store.ingest(reading(`flood-${at}`, at));
    expect(store.size).toBe(20);
    expect(store.overflowed).toBe(true);
    for (let at = 0; at < 10; at += 1) expect(store.get(`regular-${at}`)).toBeDefined();
    expect(store.get("flood-9999")).toBeDefined();
    expect(store.get("flood-0")).toBeUndefined();
  });

  it("leaves places for newcomers when all others are regular", () => {
    const store = storeWith({ sensors: 10, newcomers: 3 });
    for (let at = 0; at < 12; at += 1) {
      store.ingest(reading(`s-${at}`, 1));
      store.ingest(reading(`s-${at}`, 2));
    }
    store.ingest(reading("new", 3));
    expect(store.size).toBe(10);
    expect(store.get("new")).toBeDefined();
    expect(store.get("s-0")).toBeUndefined();
  });

  it("bounds the points of all sensors together", () => {
    const store = storeWith({ totalPoints: 50 });
    for (let sensor = 0; sensor < 10; sensor += 1) {
      for (let at = 0; at < 10; at += 1) store.ingest(reading(`s-${sensor}`, at));
    }
    const kept = [...store.all()].reduce((sum, { pointCount }) => sum + pointCount, 0);
    expect(kept).toBeLessThanOrEqual(50);
    expect(store.get("s-9")).toBeDefined();
  });
});

it("forgets everything when cleared", () => {
  const store = storeWith({ totalPoints: 3 });
  for (let at = 0; at < 3; at += 1) store.ingest(reading("a", at));
  store.clear();
  expect(store.size).toBe(0);
  for (let at = 0; at < 3; at += 1) store.ingest(reading("b", at));
  expect(values(store, "b")).toHaveLength(3);
});

describe("the cards shown", () => {
  function sensorsNamed(names: string[], regular: string[] = []) {
    const store = storeWith();
    for (const name of names) store.ingest(reading(name, 1));
    for (const name of regular) store.ingest(reading(name, 2));
    return [...store.all()];
  }

  it("are in the order people read names and numbers", () => {
    const { present } = chooseShown(sensorsNamed(["line-10", "Attic", "line-9", "attic-2"]), "");
    expect(present.map(({ id }) => id)).toEqual(["Attic", "attic-2", "line-9", "line-10"]);
  });

  it("are those the search finds, whatever the case", () => {
    const { present, matched } = chooseShown(sensorsNamed(["Kitchen", "attic"]), " kit ");
    expect(present.map(({ id }) => id)).toEqual(["Kitchen"]);
    expect(matched).toBe(1);
  });

  it("are regular sensors first when not all fit", () => {
    const sensors = sensorsNamed(["a", "b", "c", "y", "z"], ["z", "y"]);
    const { present, matched } = chooseShown(sensors, "", 0, 3);
    expect(present.map(({ id }) => id)).toEqual(["a", "y", "z"]);
    expect(matched).toBe(5);
  });

  it("have those not heard lately apart, the last heard first", () => {
    const store = storeWith();
    for (const [name, at] of [
      ["a", 1],
      ["b", 2],
      ["c", 50],
    ] as const) {
      store.ingest(reading(name, at));
    }
    const lately = reading("", 10).receivedAt;
    const { present, silent } = chooseShown([...store.all()], "", lately);
    expect(present.map(({ id }) => id)).toEqual(["c"]);
    expect(silent.map(({ id }) => id)).toEqual(["b", "a"]);
  });
});
