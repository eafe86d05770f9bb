import type { Texts } from "../i18n/texts";
import type { ConnectionState, Trouble } from "../live/socket";
import { useDashboard, useTexts } from "./context";

const LOOKS: Readonly<Record<ConnectionState, { badge: string; dot: string }>> = {
  connecting: { badge: "text-soft", dot: "bg-faint breathing" },
  live: { badge: "text-accent", dot: "bg-accent" },
  reconnecting: { badge: "text-caution", dot: "bg-caution breathing" },
  offline: { badge: "text-alarm", dot: "bg-alarm" },
};

/** The state of the live connection, in a word. */
export function ConnectionBadge() {
  const { state } = useDashboard().feed.connection.value;
  const { texts } = useTexts();
  const { badge, dot } = LOOKS[state];
  return (
    <output
      aria-live="polite"
      data-connection={state}
      class={`flex items-center gap-2 rounded-full border border-line px-3 py-1 text-sm font-medium ${badge}`}
    >
      <span aria-hidden="true" class={`size-2 rounded-full ${dot}`} />
      {texts.connection[state]}
    </output>
  );
}

/** Why the page is not live, where there is more to say than the badge does. */
export function TroubleNote() {
  const { trouble } = useDashboard().feed.connection.value;
  const { texts } = useTexts();
  return (
    <div role="status">
      {trouble && (
        <p class="mb-6 rounded-xl border border-line bg-surface px-4 py-3 text-sm text-pretty text-caution wrap-anywhere">
          {describe(trouble, texts)}
        </p>
      )}
    </div>
  );
}

function describe(trouble: Trouble, { trouble: words }: Texts): string {
  switch (trouble.kind) {
    case "too-many":
      return words.tooMany;
    case "restarting":
      return words.restarting;
    case "too-slow":
      return words.tooSlow;
    case "refused":
      return words.refused(trouble.reason);
  }
}
