import { useRef, useState } from "preact/hooks";
import { useTexts } from "./context";

/** A command that sends a first reading to the server this page came from. */
export function firstReadingCommand(origin: string): string {
  return [
    `curl -X POST ${origin}/api/temperature_reading \\`,
    `  -H "X-API-Key: YOUR_API_KEY" \\`,
    `  -H "Content-Type: application/json" \\`,
    `  -d '{"temperature": 23.5, "humidity": 56.2, "pressure": 1013.2, "sensor_id": "kitchen"}'`,
  ].join("\n");
}

type Copied = "no" | "yes" | "by-hand";

export function Empty() {
  const { texts } = useTexts();
  const command = useRef<HTMLPreElement>(null);
  const [copied, setCopied] = useState<Copied>("no");
  const text = firstReadingCommand(window.location.origin);
  const label = {
    no: texts.empty.copy,
    yes: texts.empty.copied,
    "by-hand": texts.empty.copyByHand,
  }[copied];

  const copy = async () => {
    setCopied(await copyText(text, command.current));
    setTimeout(() => setCopied("no"), 4_000);
  };

  return (
    <section aria-labelledby="empty" class="mx-auto w-full max-w-3xl pt-4 sm:pt-[8vh]">
      <RestingTrace />
      <h2 id="empty" class="mt-6 text-2xl font-semibold tracking-tight">
        {texts.empty.title}
      </h2>
      <p class="mt-2 max-w-prose text-pretty text-soft">{texts.empty.lead}</p>
      <div class="mt-6 overflow-hidden rounded-2xl border border-line bg-surface">
        <div class="flex items-center justify-between border-b border-line py-2 pr-2 pl-4">
          <span class="text-sm text-soft">{texts.empty.example}</span>
          <button
            type="button"
            onClick={() => void copy()}
            class="h-8 rounded-lg bg-accent px-3 text-sm font-medium text-on-accent hover:opacity-90"
          >
            <span aria-live="polite">{label}</span>
          </button>
        </div>
        <section
          aria-label={texts.empty.example}
          // biome-ignore lint/a11y/noNoninteractiveTabindex: it scrolls sideways on a phone, and the keyboard must reach that
          tabIndex={0}
          class="overflow-x-auto p-4"
        >
          <pre ref={command} class="font-mono text-[0.8125rem] leading-relaxed">
            {text}
          </pre>
        </section>
      </div>
      <p class="mt-4 max-w-prose text-sm text-pretty text-soft">{texts.empty.key}</p>
    </section>
  );
}

/** The instrument's trace, waiting. */
function RestingTrace() {
  return (
    <svg
      aria-hidden="true"
      class="h-10 w-40 stroke-accent"
      viewBox="0 0 160 40"
      fill="none"
      stroke-width="2"
      stroke-linecap="round"
      stroke-linejoin="round"
    >
      <path d="M2 22h56l5-14 9 26 6-17 3 5h77" class="breathing" />
    </svg>
  );
}

/** The clipboard exists only on https and localhost; elsewhere the text is selected and copied the old way. */
async function copyText(text: string, shown: HTMLElement | null): Promise<Copied> {
  try {
    await navigator.clipboard.writeText(text);
    return "yes";
  } catch {
    if (shown) window.getSelection()?.selectAllChildren(shown);
    return document.execCommand("copy") ? "yes" : "by-hand";
  }
}
