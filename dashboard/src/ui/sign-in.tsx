import { useRef, useState } from "preact/hooks";
import type { Texts } from "../i18n/texts";
import type { SignInFault } from "../state/session";
import { useDashboard, useTexts } from "./context";

export function SignIn() {
  const { session } = useDashboard();
  const { texts } = useTexts();
  const field = useRef<HTMLInputElement>(null);
  const [isBusy, setBusy] = useState(false);
  const [isEmpty, setEmpty] = useState(false);
  const fault = isEmpty
    ? texts.faults.empty
    : session.fault.value && describe(session.fault.value, texts);

  const submit = async (event: Event) => {
    event.preventDefault();
    const key = field.current?.value.trim() ?? "";
    setEmpty(key === "");
    if (key !== "") {
      setBusy(true);
      await session.signIn(key);
      setBusy(false);
    }
    field.current?.focus();
  };

  return (
    <section aria-labelledby="sign-in" class="mx-auto w-full max-w-md pt-4 sm:pt-[12vh]">
      <div class="rounded-2xl border border-line bg-surface p-6 sm:p-8">
        <h2 id="sign-in" class="text-2xl font-semibold tracking-tight">
          {texts.signIn.title}
        </h2>
        <p class="mt-2 text-pretty text-soft">{texts.signIn.lead}</p>
        {/* Were the script to fail, the key must still not end up in the address. */}
        <form class="mt-6" method="post" action="/api/session" noValidate onSubmit={submit}>
          <label for="read-key" class="text-sm font-medium">
            {texts.signIn.key}
          </label>
          <input hidden readOnly type="text" autocomplete="username" value="SensorFlow" />
          <input
            ref={field}
            id="read-key"
            type="password"
            autocomplete="current-password"
            autocapitalize="off"
            spellcheck={false}
            required
            aria-invalid={fault !== null}
            aria-describedby="sign-in-fault sign-in-help"
            class="field mt-2 h-11 w-full px-3 font-mono"
          />
          <p id="sign-in-fault" role="alert" class="text-sm text-pretty text-alarm">
            {fault !== null && <span class="mt-2 block">{fault}</span>}
          </p>
          <button
            type="submit"
            disabled={isBusy}
            class="mt-4 h-11 w-full rounded-[0.625rem] bg-accent font-medium text-on-accent transition-opacity hover:opacity-90 disabled:opacity-70"
          >
            {isBusy ? texts.signIn.busy : texts.signIn.submit}
          </button>
        </form>
      </div>
      <p id="sign-in-help" class="mt-5 px-1 text-sm text-pretty text-soft sm:px-8">
        {texts.signIn.help} {texts.signIn.helpLink}
      </p>
    </section>
  );
}

function describe(fault: SignInFault, { faults }: Texts): string {
  switch (fault.kind) {
    case "wrong-key":
      return faults.wrongKey;
    case "not-the-read-key":
      return faults.notTheReadKey;
    case "too-many-tries":
      return faults.tooManyTries(fault.seconds);
    case "unreachable":
      return faults.unreachable;
    case "ended":
      return faults.ended;
    case "unexpected":
      return faults.unexpected(fault.status);
  }
}
