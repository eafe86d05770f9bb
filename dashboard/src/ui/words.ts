import { unitOf } from "../format";
import type { Texts } from "../i18n/texts";
import type { Sensor } from "../state/sensor";

/** Names that are the same in every language. */
const FORMULAS: ReadonlyMap<string, string> = new Map(
  Object.entries({
    ch4: "CH₄",
    co: "CO",
    co2: "CO₂",
    h2s: "H₂S",
    nh3: "NH₃",
    no2: "NO₂",
    o2: "O₂",
    o3: "O₃",
    ph: "pH",
    rssi: "RSSI",
    so2: "SO₂",
    tvoc: "TVOC",
    uv: "UV",
    voc: "VOC",
  }),
);
const PARTICLES = /^pm(\d+)(?:[._](\d))?$/;

/** What a measurement of a sensor is called: as somebody has said, else by its name. */
export function labelOf(name: string, sensor: Sensor, texts: Texts): string {
  return sensor.noteOf(name)?.label ?? called(name, texts);
}

export function unitOfMeasurement(name: string, sensor: Sensor): string {
  return sensor.noteOf(name)?.unit ?? unitOf(name);
}

/** A name as people write it: `co2` is CO₂, `soil_moisture` is Soil moisture. */
export function called(name: string, texts: Texts): string {
  const plain = name.toLowerCase();
  const common: Readonly<Record<string, string>> = texts.measurements;
  if (Object.hasOwn(common, plain)) return common[plain] ?? name;
  const particles = PARTICLES.exec(plain);
  if (particles) return `PM${particles[1]}${particles[2] ? `.${particles[2]}` : ""}`;
  const words = name.split(/[._-]+/).filter((word) => word !== "");
  const told = words.map((word) => FORMULAS.get(word.toLowerCase()) ?? word).join(" ");
  return told === "" ? name : told.charAt(0).toUpperCase() + told.slice(1);
}
