import { effect, untracked } from "@preact/signals";
import { render } from "preact";
import { App } from "./app";
import { ask } from "./history/asking";
import { HistoryLoader } from "./history/loader";
import { createLanguageChoice } from "./i18n/language";
import { ServerClock } from "./live/clock";
import { createFeed } from "./live/feed";
import { Board } from "./state/board";
import { takeLinkKey } from "./state/link-key";
import { Session } from "./state/session";
import "./styles/page.css";
import { createThemeChoice } from "./theme";
import { DashboardContext } from "./ui/context";

// First of all: the key must not stay in the address.
const linkKey = takeLinkKey(window.location, window.history);

const clock = new ServerClock();
const session = new Session({ onServerTime: (time) => clock.restart(time) });
const board = new Board(clock);
const history = new HistoryLoader({
  ask,
  wants: board,
  onNotAllowed: () => void session.verify(),
  now: () => clock.now(),
  isLookedAt: () => document.visibilityState === "visible",
});
const feed = createFeed(board, session, clock, () => history.returned());
const language = createLanguageChoice();
const theme = createThemeChoice();

effect(() => {
  const isSignedIn = session.state.value === "signed-in";
  untracked(() => {
    if (isSignedIn) {
      feed.start();
      history.start();
    } else {
      feed.stop();
      history.stop();
      board.clear();
    }
  });
});

board.onSight = () => history.look();
document.addEventListener("visibilitychange", () => history.look());
addEventListener("hashchange", () => {
  const key = takeLinkKey(window.location, window.history);
  if (key !== null) void session.signIn(key);
});
void (linkKey === null ? session.resume() : session.signIn(linkKey));

const page = document.getElementById("page");
if (page) {
  render(
    <DashboardContext.Provider value={{ session, feed, board, history, language, theme }}>
      <App />
    </DashboardContext.Provider>,
    page,
  );
}
