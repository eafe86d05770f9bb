import { formatCount, formatRate } from "../format";
import { LANGUAGES, TEXTS } from "../i18n/texts";
import { THEMES, type Theme } from "../theme";
import { ConnectionBadge } from "./connection";
import { useDashboard, useTexts } from "./context";
import { AutoIcon, DocsIcon, Mark, MoonIcon, SignOutIcon, SunIcon } from "./icons";
import { Segments } from "./segments";

const THEME_ICONS: Readonly<Record<Theme, () => preact.JSX.Element>> = {
  auto: AutoIcon,
  light: SunIcon,
  dark: MoonIcon,
};

const ACTION =
  "flex h-8 items-center gap-2 rounded-lg px-2 text-sm font-medium text-soft transition-colors hover:bg-raised hover:text-ink";

/** On the narrowest screens only the icon is seen. */
const WORD = "max-[24rem]:sr-only";

export function Header() {
  const { session } = useDashboard();
  const { texts } = useTexts();
  const isSignedIn = session.state.value === "signed-in";
  return (
    <header class="border-b border-line bg-surface">
      <div class="mx-auto flex max-w-[112rem] flex-wrap items-center gap-x-6 gap-y-3 px-4 py-3 sm:px-6 lg:px-8">
        <h1 class="flex items-center gap-3 text-lg font-semibold tracking-tight">
          <Mark />
          SensorFlow
        </h1>
        {isSignedIn && (
          <div class="ml-auto sm:ml-0">
            <ConnectionBadge />
          </div>
        )}
        {isSignedIn && <Pulse />}
        {isSignedIn && <WaitingNews />}
        <nav
          aria-label={texts.header.settings}
          class="flex grow items-center gap-2 sm:grow-0 sm:gap-3 sm:ml-auto"
        >
          <LanguageSwitch />
          <ThemeSwitch />
          <a href="/docs" class={`${ACTION} ml-auto sm:ml-0`}>
            <DocsIcon />
            <span class={WORD}>{texts.header.docs}</span>
          </a>
          {isSignedIn && (
            <button type="button" class={ACTION} onClick={() => void session.signOut()}>
              <SignOutIcon />
              <span class={WORD}>{texts.header.signOut}</span>
            </button>
          )}
        </nav>
      </div>
    </header>
  );
}

function Pulse() {
  const { sensors, overflowed, perSecond, waiting, waitingOverflowed } =
    useDashboard().board.pulse.value;
  const { texts, language } = useTexts();
  const count = formatCount(sensors, language) + (overflowed ? "+" : "");
  const waitingCount = formatCount(waiting, language) + (waitingOverflowed ? "+" : "");
  return (
    <p class="order-last flex w-full flex-wrap gap-x-4 gap-y-1 text-sm text-soft sm:order-none sm:w-auto">
      <span data-sensor-count={sensors}>{texts.sensors(sensors, count)}</span>
      <span data-rate={perSecond}>{texts.perSecond(formatRate(perSecond, language))}</span>
      {waiting > 0 && (
        <span data-waiting-count={waiting} class="text-caution">
          {texts.provisional.waiting(waiting, waitingCount)}
        </span>
      )}
    </p>
  );
}

/** For those who hear the page: that readings began to wait and that none does, not each one. */
function WaitingNews() {
  const news = useDashboard().board.waitingNews.value;
  const { texts } = useTexts();
  return (
    <p role="status" class="sr-only">
      {news !== "none" && texts.provisional[news]}
    </p>
  );
}

function LanguageSwitch() {
  const { language } = useDashboard();
  const { texts } = useTexts();
  return (
    <Segments
      label={texts.header.language}
      chosen={language.chosen.value}
      segments={LANGUAGES.map((choice) => ({
        choice,
        name: TEXTS[choice].languageName,
        face: TEXTS[choice].languageShort,
        lang: choice,
      }))}
      onChoose={language.choose}
    />
  );
}

function ThemeSwitch() {
  const { theme } = useDashboard();
  const { texts } = useTexts();
  return (
    <Segments
      label={texts.header.theme}
      chosen={theme.chosen.value}
      segments={THEMES.map((choice) => {
        const Face = THEME_ICONS[choice];
        return { choice, name: texts.header.themes[choice], face: <Face /> };
      })}
      onChoose={theme.choose}
    />
  );
}
