import { createContext } from "preact";
import { useContext } from "preact/hooks";
import type { HistoryLoader } from "../history/loader";
import type { LanguageChoice } from "../i18n/language";
import { type Language, TEXTS, type Texts } from "../i18n/texts";
import type { Feed } from "../live/feed";
import type { Board } from "../state/board";
import type { Session } from "../state/session";
import type { ThemeChoice } from "../theme";

/** What every part of the page can use; put together once, in `main.tsx`. */
export interface Dashboard {
  readonly session: Session;
  readonly feed: Feed;
  readonly board: Board;
  readonly history: HistoryLoader;
  readonly language: LanguageChoice;
  readonly theme: ThemeChoice;
}

export const DashboardContext = createContext<Dashboard | null>(null);

export function useDashboard(): Dashboard {
  const dashboard = useContext(DashboardContext);
  if (!dashboard) throw new Error("used outside the dashboard");
  return dashboard;
}

export function useTexts(): { readonly texts: Texts; readonly language: Language } {
  const language = useDashboard().language.chosen.value;
  return { texts: TEXTS[language], language };
}
