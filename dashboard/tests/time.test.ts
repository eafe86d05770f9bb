import { describe, expect, it } from "vitest";
import { ServerClock } from "../src/live/clock";
import { RateMeter } from "../src/live/rate";
import { Rhythm, STALE_AT_LEAST, STALE_UNKNOWN } from "../src/state/rhythm";

describe("the server's clock", () => {
  it("takes the largest bound, so that old readings do not set it back", () => {
    let local = 1_000;
    const clock = new ServerClock(() => local);
    expect(clock.now()).toBeNull();
    clock.observe(50_000);
    local = 2_000;
    expect(clock.now()).toBe(51_000);
    clock.observe(9_000);
    expect(clock.now()).toBe(51_000);
    clock.observe(51_400);
    expect(clock.now()).toBe(51_400);
  });

  it("can start again with a server that was set right", () => {
    const clock = new ServerClock(() => 0);
    clock.observe(90_000);
    clock.restart(50_000);
    expect(clock.now()).toBe(50_000);
  });
});

describe("the rate of readings", () => {
  it("is that of the last ten seconds", () => {
    const rate = new RateMeter();
    for (let at = 0; at < 20_000; at += 100) rate.count(at);
    expect(rate.perSecond(19_999)).toBeCloseTo(10, 0);
    expect(rate.perSecond(24_999)).toBeCloseTo(5, 0);
    expect(rate.perSecond(60_000)).toBe(0);
  });

  it("does not wait ten seconds to be right", () => {
    const rate = new RateMeter();
    for (let at = 0; at < 2_000; at += 100) rate.count(at);
    expect(rate.perSecond(2_000)).toBeCloseTo(10, 0);
  });
});

describe("silence", () => {
  function heard(...times: number[]): Rhythm {
    const rhythm = new Rhythm();
    for (const time of times) rhythm.heard(time);
    return rhythm;
  }

  it("of a sensor without a known interval is long after minutes", () => {
    const rhythm = heard(0);
    expect(rhythm.isStale(STALE_UNKNOWN)).toBe(false);
    expect(rhythm.isStale(STALE_UNKNOWN + 1)).toBe(true);
  });

  it("is measured by the sensor's own interval", () => {
    const minutely = heard(0, 60_000, 120_000);
    expect(minutely.isStale(120_000 + 239_000)).toBe(false);
    expect(minutely.isStale(120_000 + 241_000)).toBe(true);
    const hourly = heard(0, 3_600_000, 7_200_000);
    expect(hourly.isStale(7_200_000 + 3_600_000)).toBe(false);
  });

  it("of a fast sensor is no news for a moment", () => {
    const fast = heard(0, 1_000, 2_000, 3_000);
    expect(fast.isStale(3_000 + STALE_AT_LEAST)).toBe(false);
    expect(fast.isStale(3_001 + STALE_AT_LEAST)).toBe(true);
  });

  it("does not take the readings of one burst for the interval", () => {
    const rhythm = new Rhythm();
    for (let batch = 0; batch < 3; batch += 1) {
      for (let step = 0; step < 50; step += 1) rhythm.heard(batch * 600_000 + step);
    }
    expect(rhythm.isStale(2 * 600_000 + 700_000)).toBe(false);
  });

  it("ignores late arrivals of older readings", () => {
    expect(heard(10_000, 5_000).heardAt).toBe(10_000);
  });
});
