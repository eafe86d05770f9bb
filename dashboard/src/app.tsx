import { useEffect, useState } from "preact/hooks";
import { TroubleNote } from "./ui/connection";
import { useDashboard, useTexts } from "./ui/context";
import { Empty } from "./ui/empty";
import { Header } from "./ui/header";
import { Sensors } from "./ui/sensors";
import { SignIn } from "./ui/sign-in";
import { Waiting } from "./ui/waiting";

type View = "sign-in" | "waiting" | "empty" | "sensors";

/** The newest reading follows the connection within this time, if there is any reading. */
const FIRST_READING_WITHIN = 400;

export function App() {
  const { texts } = useTexts();
  const view = useView();
  return (
    <>
      <a
        href="#readings"
        class="sr-only rounded-lg bg-accent px-4 py-2 text-on-accent focus:not-sr-only focus:absolute focus:top-2 focus:left-2 focus:z-10"
      >
        {texts.skipToContent}
      </a>
      <Header />
      <main
        id="readings"
        tabIndex={-1}
        data-view={view}
        class="mx-auto max-w-[112rem] px-4 py-6 outline-none sm:px-6 lg:px-8"
      >
        {view !== "sign-in" && <TroubleNote />}
        {view === "sign-in" && <SignIn />}
        {view === "waiting" && <Waiting />}
        {view === "empty" && <Empty />}
        {view === "sensors" && <Sensors />}
      </main>
    </>
  );
}

function useView(): View {
  const { session, feed, board, history } = useDashboard();
  const [isSettled, setSettled] = useState(false);
  const isLive = feed.connection.value.state === "live";
  useEffect(() => {
    setSettled(false);
    if (!isLive) return;
    const timer = setTimeout(() => setSettled(true), FIRST_READING_WITHIN);
    return () => clearTimeout(timer);
  }, [isLive]);

  if (session.state.value === "signed-out") return "sign-in";
  if (session.state.value === "checking") return "waiting";
  if (board.roster.value.length > 0) return "sensors";
  return isLive && isSettled && history.knowsSensors.value ? "empty" : "waiting";
}
