import { describe, expect, it } from "vitest";
import {
  decimalsOf,
  formatAgo,
  formatMark,
  formatQuantity,
  formatRate,
  formatValue,
} from "../src/format";
import { preferredLanguage } from "../src/i18n/language";
import { LANGUAGES, TEXTS } from "../src/i18n/texts";
import { called } from "../src/ui/words";

/** Every sentence with its path; those with arguments are spoken with some. */
function sentences(node: object, path = ""): [string, string][] {
  return Object.entries(node).flatMap(([key, value]): [string, string][] => {
    const here = `${path}.${key}`;
    if (typeof value === "string") return [[here, value]];
    if (typeof value === "function") return [[here, String(value("5", "7", "8", "9"))]];
    return sentences(value as object, here);
  });
}

describe("the texts", () => {
  it.each(LANGUAGES)("are complete in %s", (language) => {
    const spoken = sentences(TEXTS[language]);
    expect(spoken.map(([path]) => path)).toEqual(sentences(TEXTS.en).map(([path]) => path));
    for (const [path, sentence] of spoken) {
      expect(sentence.trim(), path).not.toBe("");
      expect(sentence, path).not.toMatch(/undefined|null|NaN/);
    }
  });

  it("are translated", () => {
    const english = new Map(sentences(TEXTS.en));
    const same = sentences(TEXTS["pt-BR"]).filter(([path, text]) => english.get(path) === text);
    expect(same.map(([path]) => path)).toEqual([".header.docs"]);
  });

  it("know one from many", () => {
    expect(TEXTS.en.sensors(1, "1")).toBe("1 sensor");
    expect(TEXTS.en.sensors(2, "2")).toBe("2 sensors");
    expect(TEXTS["pt-BR"].sensors(2, "2")).toBe("2 sensores");
  });
});

it.each([
  [["pt-PT", "en"], "pt-BR"],
  [["de", "pt"], "pt-BR"],
  [["EN-us"], "en"],
  [["de"], "en"],
  [[], "en"],
])("for a reader of %s the page speaks %s", (wanted, language) => {
  expect(preferredLanguage(wanted)).toBe(language);
});

describe("how long ago", () => {
  const SECOND = 1_000;
  const HOUR = 3_600_000;
  it.each([
    [-5 * SECOND, "just now", "agora mesmo"],
    [1.9 * SECOND, "just now", "agora mesmo"],
    [2 * SECOND, "2 s ago", "há 2 s"],
    [59.9 * SECOND, "59 s ago", "há 59 s"],
    [60 * SECOND, "1 min ago", "há 1 min"],
    [HOUR - 1, "59 min ago", "há 59 min"],
    [HOUR, "1 h ago", "há 1 h"],
    [48 * HOUR - 1, "47 h ago", "há 47 h"],
    [48 * HOUR, "2 d ago", "há 2 d"],
  ])("%i ms is %s", (age, english, portuguese) => {
    expect(formatAgo(age, "en")).toBe(english);
    expect(formatAgo(age, "pt-BR")).toBe(portuguese);
  });
});

describe("values", () => {
  it.each([
    ["temperature", 3.9, "3.9", "3,9"],
    ["temperature", 20, "20.0", "20,0"],
    ["temperature", -0.05, "-0.05", "-0,05"],
    ["humidity", 59.3712, "59.37", "59,37"],
    ["pressure", 1013.25, "1,013.25", "1.013,25"],
    ["co2", 417, "417", "417"],
    ["soil", 0.00341, "0.00341", "0,00341"],
    ["dose", 0.0000123, "1.23E-5", "1,23E-5"],
    ["huge", 1e300, "1E300", "1E300"],
    ["none", 0, "0", "0"],
  ])("%s %d reads %s", (name, value, english, portuguese) => {
    expect(formatValue(name, value, "en")).toBe(english);
    expect(formatValue(name, value, "pt-BR")).toBe(portuguese);
  });

  it.each([
    [[417, 420], 0],
    [[21.5, 22], 1],
    [[21.5, 21.47], 2],
    [[12.123456], 2],
    [[0.004, 3], 0],
    [[], 0],
  ])("like %j have the same decimals: %d", (neighbours, decimals) => {
    expect(decimalsOf(neighbours)).toBe(decimals);
  });

  it("keep their digits in place beside their neighbours", () => {
    expect(formatValue("co2", 12, "en", 2)).toBe("12.00");
    expect(formatValue("flow", 123_456.78, "en", 2)).toBe("123,457");
  });

  it("have their units in sentences", () => {
    expect(formatQuantity("temperature", 21.5, "°C", "en")).toBe("21.5 °C");
    expect(formatQuantity("humidity", 50, "%", "en")).toBe("50.0%");
    expect(formatQuantity("co2", 417, "", "en")).toBe("417");
  });

  it("have the decimals their axis needs", () => {
    expect(formatMark(20, 5, "en")).toBe("20");
    expect(formatMark(1012.5, 0.5, "en")).toBe("1,012.5");
    expect(formatMark(0.02, 0.02, "en")).toBe("0.02");
    expect(formatMark(5e9, 1e9, "en")).toBe("5B");
  });

  it("have rates short enough for the header", () => {
    expect(formatRate(0.25, "en")).toBe("0.3");
    expect(formatRate(1999.6, "pt-BR")).toBe("2.000");
  });
});

describe("the names of measurements", () => {
  it.each([
    ["temperature", "Temperature", "Temperatura"],
    ["flow", "Flow", "Vazão"],
    ["co2", "CO₂", "CO₂"],
    ["pm2.5", "PM2.5", "PM2.5"],
    ["PM2_5", "PM2.5", "PM2.5"],
    ["indoor.co2", "Indoor CO₂", "Indoor CO₂"],
    ["soil_moisture", "Soil moisture", "Soil moisture"],
    ["constructor", "Constructor", "Constructor"],
    ["__", "__", "__"],
  ])("%s is called %s", (name, english, portuguese) => {
    expect(called(name, TEXTS.en)).toBe(english);
    expect(called(name, TEXTS["pt-BR"])).toBe(portuguese);
  });
});
