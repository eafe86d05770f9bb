import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import {
  type Connection,
  FIRST_DELAY,
  HANDSHAKE_TIMEOUT,
  LiveSocket,
  MAX_DELAY,
  QUIET_LIMIT,
  type Socket,
  STABLE_AFTER,
  TOO_MANY_DELAY,
} from "../src/live/socket";

class FakeSocket implements Socket {
  onopen: Socket["onopen"] = null;
  onmessage: Socket["onmessage"] = null;
  onclose: Socket["onclose"] = null;
  isClosed = false;
  readonly since: number | null;

  constructor(since: number | null) {
    this.since = since;
  }

  close(): void {
    this.isClosed = true;
  }

  accept(): void {
    this.onopen?.();
  }

  send(data: string): void {
    this.onmessage?.({ data });
  }

  fail(code = 1006, reason = ""): void {
    this.onclose?.({ code, reason });
  }
}

let opened: FakeSocket[];
let connections: Connection[];
let cursor: number | null;
const onSessionLost = vi.fn();
const onUnexplained = vi.fn();
const onFrame = vi.fn();
const onCursorAhead = vi.fn(() => {
  cursor = null;
});
let live: LiveSocket;

beforeEach(() => {
  vi.useFakeTimers();
  opened = [];
  connections = [];
  cursor = null;
  vi.clearAllMocks();
  live = new LiveSocket({
    open: (since) => {
      const socket = new FakeSocket(since);
      opened.push(socket);
      return socket;
    },
    onFrame,
    onSessionLost,
    onUnexplained,
    onConnection: (connection) => connections.push(connection),
    cursor: () => cursor,
    onCursorAhead,
    now: () => Date.now(),
    // No jitter: the full delay.
    random: () => 1,
  });
  live.start();
});

afterEach(() => {
  live.stop();
  vi.useRealTimers();
});

function last(): FakeSocket {
  const socket = opened.at(-1);
  if (!socket) throw new Error("nothing was opened");
  return socket;
}

function state() {
  return connections.at(-1)?.state;
}

function pass(milliseconds: number): void {
  vi.advanceTimersByTime(milliseconds);
}

describe("a connection", () => {
  it("connects, is live, and hands on frames", () => {
    expect(state()).toBe("connecting");
    last().accept();
    expect(state()).toBe("live");
    last().send("a frame");
    expect(onFrame).toHaveBeenCalledWith("a frame");
  });

  it("is opened once, however often it is started", () => {
    live.start();
    expect(opened).toHaveLength(1);
  });

  it("is closed by stop and stays closed", () => {
    last().accept();
    live.stop();
    expect(last().isClosed).toBe(true);
    pass(60_000);
    live.wake();
    live.setOnline(false);
    live.setOnline(true);
    expect(opened).toHaveLength(1);
  });

  it("is given up when the handshake takes too long", () => {
    pass(HANDSHAKE_TIMEOUT);
    expect(last().isClosed).toBe(true);
    expect(state()).toBe("reconnecting");
    pass(FIRST_DELAY);
    expect(opened).toHaveLength(2);
  });
});

describe("a lost connection", () => {
  it("is tried again after delays that double up to the cap", () => {
    const delays: number[] = [];
    for (let round = 0; round < 8; round += 1) {
      const before = opened.length;
      last().fail();
      let waited = 0;
      while (opened.length === before) {
        pass(100);
        waited += 100;
      }
      delays.push(waited);
    }
    expect(delays).toEqual([500, 1_000, 2_000, 4_000, 8_000, MAX_DELAY, MAX_DELAY, MAX_DELAY]);
    expect(state()).toBe("reconnecting");
  });

  it("starts at the first delay again after a good connection, not after a short one", () => {
    for (let round = 0; round < 3; round += 1) {
      last().fail();
      pass(MAX_DELAY);
    }
    last().accept();
    last().fail(1012);
    pass(FIRST_DELAY);
    expect(opened).toHaveLength(4);
    pass(MAX_DELAY);
    expect(opened).toHaveLength(5);

    last().accept();
    pass(STABLE_AFTER);
    last().fail(1012);
    pass(FIRST_DELAY);
    expect(opened).toHaveLength(6);
  });

  it("spreads the tries of many pages", () => {
    live.stop();
    const spread = new LiveSocket({
      open: (since) => {
        const socket = new FakeSocket(since);
        opened.push(socket);
        return socket;
      },
      onFrame,
      onSessionLost,
      onUnexplained,
      onConnection: () => {},
      cursor: () => null,
      onCursorAhead,
      random: () => 0,
    });
    spread.start();
    const before = opened.length;
    last().fail();
    pass(FIRST_DELAY / 2);
    expect(opened).toHaveLength(before + 1);
    spread.stop();
  });

  it("asks about the session when the server said nothing", () => {
    last().fail(1006);
    expect(onUnexplained).toHaveBeenCalledOnce();
    pass(FIRST_DELAY);
    last().fail(1012, "server shutdown");
    expect(onUnexplained).toHaveBeenCalledOnce();
  });
});

describe("what the server says at the close", () => {
  it("1008 invalid key: the session is lost and nothing is tried again", () => {
    last().accept();
    last().fail(1008, "invalid key");
    expect(onSessionLost).toHaveBeenCalledOnce();
    pass(10 * 60_000);
    expect(opened).toHaveLength(1);
  });

  it("1008 too many connections: told, and tried again slowly", () => {
    last().accept();
    last().fail(1008, "too many connections for this key");
    expect(connections.at(-1)).toEqual({ state: "reconnecting", trouble: { kind: "too-many" } });
    expect(onSessionLost).not.toHaveBeenCalled();
    pass(TOO_MANY_DELAY - 1);
    expect(opened).toHaveLength(1);
    pass(1);
    expect(opened).toHaveLength(2);
    last().accept();
    expect(connections.at(-1)).toEqual({ state: "live", trouble: null });
  });

  it("1008 for another reason: told in the server's words", () => {
    last().fail(1008, "closed for repairs");
    expect(connections.at(-1)?.trouble).toEqual({ kind: "refused", reason: "closed for repairs" });
  });

  it("1012: restarting, and back soon", () => {
    last().accept();
    last().fail(1012);
    expect(connections.at(-1)).toEqual({ state: "reconnecting", trouble: { kind: "restarting" } });
    pass(FIRST_DELAY);
    expect(opened).toHaveLength(2);
  });

  it("1012: is told until the server is back", () => {
    last().accept();
    last().fail(1012);
    pass(FIRST_DELAY);
    last().fail(1006);
    expect(connections.at(-1)?.trouble).toEqual({ kind: "restarting" });
    pass(MAX_DELAY);
    last().accept();
    expect(connections.at(-1)?.trouble).toBeNull();
  });

  it("1013: nothing was taken for long, as while asleep; resumes", () => {
    last().accept();
    cursor = 41;
    last().fail(1013, "too slow; last id 41");
    expect(connections.at(-1)?.trouble).toEqual({ kind: "too-slow" });
    pass(FIRST_DELAY);
    expect(last().since).toBe(41);
  });

  it("1008 cursor ahead: begins anew, without a word of trouble", () => {
    last().accept();
    cursor = 41;
    last().fail(1012);
    pass(FIRST_DELAY);
    last().accept();
    last().fail(1008, "cursor ahead: the stream has not come as far as since");
    expect(onCursorAhead).toHaveBeenCalledOnce();
    expect(onUnexplained).not.toHaveBeenCalled();
    expect(connections.at(-1)).toEqual({ state: "reconnecting", trouble: null });
    pass(MAX_DELAY);
    expect(last().since).toBeNull();
  });
});

describe("resuming", () => {
  it("continues after the newest reading, whatever ended the connection", () => {
    for (const code of [1006, 1011, 1012, 1013]) {
      last().accept();
      pass(STABLE_AFTER);
      cursor = code;
      last().fail(code);
      pass(FIRST_DELAY);
      expect(last().since).toBe(code);
    }
  });

  it("uses a cursor again that brought nothing: the server says if it is no good", () => {
    cursor = 41;
    for (let round = 0; round < 3; round += 1) {
      last().accept();
      last().fail(1012);
      pass(MAX_DELAY);
      expect(last().since).toBe(41);
    }
  });

  it("resumes when a quiet line is made anew", () => {
    last().accept();
    cursor = 41;
    pass(QUIET_LIMIT);
    expect(last().since).toBe(41);
  });
});

describe("the page", () => {
  it("does not wait for the delay when it becomes visible", () => {
    for (let round = 0; round < 5; round += 1) {
      last().fail();
      pass(MAX_DELAY);
    }
    last().fail();
    const before = opened.length;
    live.wake();
    expect(opened).toHaveLength(before + 1);
  });

  it("does not disturb a connection that works or is being made when it becomes visible", () => {
    live.wake();
    expect(opened).toHaveLength(1);
    last().accept();
    live.wake();
    expect(opened).toHaveLength(1);
  });

  it("is offline without network, and back at once with it", () => {
    last().accept();
    live.setOnline(false);
    expect(state()).toBe("offline");
    expect(last().isClosed).toBe(true);
    live.setOnline(true);
    expect(opened).toHaveLength(2);
    expect(state()).toBe("reconnecting");
    last().accept();
    expect(state()).toBe("live");
  });

  it("goes on trying while offline, for a server on this machine", () => {
    last().accept();
    live.setOnline(false);
    pass(FIRST_DELAY);
    expect(opened).toHaveLength(2);
    last().accept();
    expect(state()).toBe("live");
  });
});

describe("silence", () => {
  it("renews the connection quietly, since a dead line is silent too", () => {
    last().accept();
    pass(QUIET_LIMIT - 1);
    last().send("x");
    pass(QUIET_LIMIT - 1);
    expect(opened).toHaveLength(1);
    const told = connections.length;
    pass(1);
    expect(opened).toHaveLength(2);
    expect(opened[0]?.isClosed).toBe(true);
    expect(connections).toHaveLength(told);
    last().fail();
    expect(state()).toBe("reconnecting");
  });
});
