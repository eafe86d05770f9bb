import { signal } from "@preact/signals";
import type { Board } from "../state/board";
import type { Session } from "../state/session";
import type { ServerClock } from "./clock";
import { Cursor } from "./cursor";
import { decodeFrame } from "./frames";
import { type Connection, LiveSocket, type Socket } from "./socket";

/** The live connection of the page: what it carries goes to the board. */
export interface Feed {
  readonly connection: { readonly value: Connection };
  start(): void;
  stop(): void;
}

/** Binds the live socket to this page's window. `onBegin`: the stream does not go on where it ended. */
export function createFeed(
  board: Board,
  session: Session,
  clock: ServerClock,
  onBegin: () => void = () => {},
): Feed {
  const connection = signal<Connection>({ state: "connecting", trouble: null });
  const cursor = new Cursor();
  let resumes = false;
  const begin = () => {
    board.begin();
    onBegin();
  };
  const socket = new LiveSocket({
    open: (since) => {
      resumes = since !== null;
      return new WebSocket(address(since)) as unknown as Socket;
    },
    cursor: () => cursor.since,
    onCursorAhead: () => cursor.forget(),
    onConnection: (next) => {
      // What came of them may have been told while there was no connection.
      if (next.state === "live") {
        board.forgetWaiting();
        if (!resumes) begin();
      }
      connection.value = next;
    },
    onSessionLost: () => session.lost(),
    onUnexplained: () => void session.verify(),
    onFrame: (data) => {
      const frame = decodeFrame(data);
      if (frame?.kind === "gap") begin();
      if (frame?.kind !== "reading") return;
      const { reading } = frame;
      if (reading.id !== null) cursor.moveTo(reading.id, reading.receivedAt);
      clock.observe(reading.receivedAt);
      board.ingest(reading);
    },
  });

  window.addEventListener("online", () => socket.setOnline(true));
  window.addEventListener("offline", () => socket.setOnline(false));
  document.addEventListener("visibilitychange", () => {
    if (document.visibilityState === "visible") socket.wake();
  });

  return {
    connection,
    start() {
      cursor.forget();
      connection.value = { state: "connecting", trouble: null };
      socket.start();
    },
    stop: () => socket.stop(),
  };
}

function address(since: number | null): URL {
  const url = new URL("/ws/sensor_updates", window.location.href);
  url.protocol = url.protocol === "https:" ? "wss:" : "ws:";
  if (since !== null) url.searchParams.set("since", String(since));
  return url;
}
