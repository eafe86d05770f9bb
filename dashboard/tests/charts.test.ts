import { describe, expect, it } from "vitest";
import { colourProperties } from "../src/charts/colours";
import { axisMarks, axisRange, extremes } from "../src/charts/range";

describe("the value axis", () => {
  it("gives the line some air", () => {
    const { low, high } = axisRange("temperature", { low: 10, high: 20 });
    expect(low).toBeLessThan(10);
    expect(high).toBeGreaterThan(20);
    expect(high - low).toBeLessThan(15);
  });

  it.each([
    ["temperature", 20, 1],
    ["pressure", 1013, 1],
    ["co2", 400, 8],
    ["zero", 0, 1],
  ])("does not make noise of %s look large", (name, value, least) => {
    const { low, high } = axisRange(name, { low: value, high: value });
    expect(high - low).toBeGreaterThanOrEqual(least);
  });

  it.each([
    [0, 1],
    [16.4, 23.6],
    [1011.8, 1012.3],
    [-3e-7, 4e-7],
    [-1e300, 1e300],
  ])("has two to four round marks between %d and %d", (low, high) => {
    const { marks } = axisMarks({ low, high });
    expect(marks.length).toBeGreaterThanOrEqual(2);
    expect(marks.length).toBeLessThanOrEqual(4);
    for (const mark of marks) {
      expect(mark).toBeGreaterThanOrEqual(low);
      expect(mark).toBeLessThanOrEqual(high);
    }
  });

  it("survives the largest numbers there are", () => {
    const range = axisRange("x", { low: -Number.MAX_VALUE, high: Number.MAX_VALUE });
    expect(axisMarks(range).marks).toEqual([]);
  });

  it("knows the extremes", () => {
    expect(extremes([3, 1, 2].map((y, x) => ({ x, y })))).toEqual({ low: 1, high: 3 });
  });
});

describe("the colours of a sensor's measurements", () => {
  it("are the same for a name everywhere", () => {
    const alone = colourProperties(["co2"]).get("co2");
    expect(alone).toMatch(/^--color-other-[1-7]$/);
    expect(colourProperties(["temperature", "co2"])).toEqual(
      new Map([
        ["temperature", "--color-temperature"],
        ["co2", alone],
      ]),
    );
  });

  it("are told apart as long as there are enough", () => {
    const names = Array.from({ length: 64 }, (_, index) => `slot${index}.load`);
    const colours = [...colourProperties(names).values()];
    expect(colours).toHaveLength(64);
    expect(new Set(colours.slice(0, 7)).size).toBe(7);
  });
});
