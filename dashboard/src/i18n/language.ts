import { effect, type ReadonlySignal, signal } from "@preact/signals";
import { recall, remember } from "../remembered";
import { LANGUAGES, type Language } from "./texts";

export interface LanguageChoice {
  readonly chosen: ReadonlySignal<Language>;
  choose(language: Language): void;
}

/** The first of the reader's languages that the page speaks. */
export function preferredLanguage(wanted: readonly string[]): Language {
  for (const tag of wanted) {
    const primary = tag.toLowerCase().split("-")[0];
    const spoken = LANGUAGES.find((language) => language.toLowerCase().split("-")[0] === primary);
    if (spoken) return spoken;
  }
  return "en";
}

export function createLanguageChoice(): LanguageChoice {
  const chosen = signal(
    recall("language", LANGUAGES) ??
      preferredLanguage(
        navigator.languages.length > 0 ? navigator.languages : [navigator.language],
      ),
  );
  effect(() => {
    document.documentElement.lang = chosen.value;
  });
  return {
    chosen,
    choose(language) {
      chosen.value = language;
      remember("language", language);
    },
  };
}
