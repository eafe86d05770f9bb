import { computed, effect, type ReadonlySignal, signal } from "@preact/signals";
import { recall, remember } from "./remembered";

export const THEMES = ["auto", "light", "dark"] as const;
export type Theme = (typeof THEMES)[number];

export interface ThemeChoice {
  readonly chosen: ReadonlySignal<Theme>;
  /** What is in force, `auto` resolved. */
  readonly inForce: ReadonlySignal<"light" | "dark">;
  choose(theme: Theme): void;
}

/** The page's theme, kept on the root element as `data-theme`, where the style sheet reads it. */
export function createThemeChoice(): ThemeChoice {
  const system = window.matchMedia("(prefers-color-scheme: dark)");
  const systemIsDark = signal(system.matches);
  system.addEventListener("change", (event) => {
    systemIsDark.value = event.matches;
  });

  const chosen = signal<Theme>(recall("theme", THEMES) ?? "auto");
  const inForce = computed(() => {
    if (chosen.value !== "auto") return chosen.value;
    return systemIsDark.value ? "dark" : "light";
  });
  effect(() => {
    document.documentElement.dataset["theme"] = inForce.value;
  });

  return {
    chosen,
    inForce,
    choose(theme) {
      chosen.value = theme;
      remember("theme", theme);
    },
  };
}
