import { effect, untracked } from "@preact/signals";
import { render } from "preact";
import { App } from "./app";
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
const linkKey = takeLinkKey(location, history);

const clock = new ServerClock();
const session = new Session({ onServerTime: (time) => clock.restart(time) });
const board = new Board(clock);
const feed = createFeed(board, session, clock);
const language = createLanguageChoice();
const theme = createThemeChoice();

effect(() => {
  const isSignedIn = session.state.value === "signed-in";
  untracked(() => {
    if (isSignedIn) {
      feed.start();
    } else {
      feed.stop();
      board.clear();
    }
  });
});

addEventListener("hashchange", () => {
  const key = takeLinkKey(location, history);
  if (key !== null) void session.signIn(key);
});
void (linkKey === null ? session.resume() : session.signIn(linkKey));

const page = document.getElementById("page");
if (page) {
  render(
    <DashboardContext.Provider value={{ session, feed, board, language, theme }}>
      <App />
    </DashboardContext.Provider>,
    page,
  );
}
