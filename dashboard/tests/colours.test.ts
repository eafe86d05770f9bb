import { readFileSync } from "node:fs";
import { describe, expect, it } from "vitest";

const css = readFileSync(new URL("../src/styles/theme.css", import.meta.url), "utf8");
const palette = new Map(
  [...css.matchAll(/--color-([\w-]+): light-dark\((#[0-9a-f]{6}), (#[0-9a-f]{6})\)/g)].map(
    ([, name = "", light = "", dark = ""]) => [name, { light, dark }],
  ),
);

function colour(name: string, theme: "light" | "dark"): string {
  const found = palette.get(name);
  if (!found) throw new Error(`no colour ${name}`);
  return found[theme];
}

/** Contrast of two colours as WCAG 2 defines it. */
function contrast(a: string, b: string): number {
  const [light = 0, dark = 0] = [luminance(a), luminance(b)].sort((x, y) => y - x);
  return (light + 0.05) / (dark + 0.05);
}

function luminance(hex: string): number {
  const [r = 0, g = 0, b = 0] = [1, 3, 5].map((at) => {
    const channel = Number.parseInt(hex.slice(at, at + 2), 16) / 255;
    return channel <= 0.04045 ? channel / 12.92 : ((channel + 0.055) / 1.055) ** 2.4;
  });
  return 0.2126 * r + 0.7152 * g + 0.0722 * b;
}

const MEASUREMENTS = [...palette.keys()].filter((name) =>
  /^(temperature|humidity|pressure|other-\d)$/.test(name),
);

describe.each(["light", "dark"] as const)("in the %s theme", (theme) => {
  it.each(["ink", "soft", "faint", "accent", "caution", "alarm"])("%s can be read", (name) => {
    for (const ground of ["paper", "surface"]) {
      expect(contrast(colour(name, theme), colour(ground, theme))).toBeGreaterThanOrEqual(4.5);
    }
  });

  it.each(["ink", "soft"])("%s can be read on what is raised", (name) => {
    expect(contrast(colour(name, theme), colour("raised", theme))).toBeGreaterThanOrEqual(4.5);
  });

  it("every measurement stands out from its card", () => {
    expect(MEASUREMENTS).toHaveLength(10);
    for (const name of MEASUREMENTS) {
      const found = contrast(colour(name, theme), colour("surface", theme));
      expect(found, name).toBeGreaterThanOrEqual(4.5);
    }
  });

  it("buttons and edges of fields are seen", () => {
    expect(contrast(colour("on-accent", theme), colour("accent", theme))).toBeGreaterThan(4.5);
    expect(contrast(colour("edge", theme), colour("surface", theme))).toBeGreaterThanOrEqual(3);
    expect(contrast(colour("edge", theme), colour("paper", theme))).toBeGreaterThanOrEqual(3);
  });
});
