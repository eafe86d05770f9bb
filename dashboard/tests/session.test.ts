import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { keyInHash, takeLinkKey } from "../src/state/link-key";
import { Session } from "../src/state/session";

describe("the key of a sign-in link", () => {
  it.each([
    ["#key=abc", "abc"],
    ["#key=a%2Bb%20c", "a+b c"],
    ["#key=a=b&c", "a=b&c"],
    ["#key=%E0%A4%A", "%E0%A4%A"],
    ["#key=", null],
    ["#key=%20", null],
    ["#readings", null],
    ["", null],
  ])("in %s is %s", (hash, key) => {
    expect(keyInHash(hash)).toBe(key);
  });

  it.each(["#key=secret", "#key=", "#key=%"])("leaves the address and the history: %s", (hash) => {
    const replaceState = vi.fn();
    takeLinkKey({ hash, pathname: "/", search: "?x=1" }, { replaceState });
    expect(replaceState).toHaveBeenCalledExactlyOnceWith(null, "", "/?x=1");
  });

  it("leaves other hashes alone", () => {
    const replaceState = vi.fn();
    expect(takeLinkKey({ hash: "#a", pathname: "/", search: "" }, { replaceState })).toBeNull();
    expect(replaceState).not.toHaveBeenCalled();
  });
});

describe("a session", () => {
  const server = vi.fn<typeof fetch>();
  const onServerTime = vi.fn();
  let session: Session;

  beforeEach(() => {
    vi.useFakeTimers();
    server.mockReset();
    onServerTime.mockReset();
    session = new Session({ fetch: server, onServerTime });
  });
  afterEach(() => vi.useRealTimers());

  function answer(status: number, headers: Record<string, string> = {}): void {
    server.mockResolvedValueOnce(new Response(null, { status, headers }));
  }

  it("sends the key as a header, never in the address", async () => {
    answer(204);
    expect(await session.signIn(" secret ")).toBe(true);
    const [address, request] = server.mock.calls[0] ?? [];
    expect(address).toBe("/api/session");
    expect(request).toMatchObject({ method: "POST", headers: { "X-API-Key": "secret" } });
    expect(session.state.value).toBe("signed-in");
  });

  it.each([
    [401, {}, { kind: "wrong-key" }],
    [403, {}, { kind: "not-the-read-key" }],
    [429, { "Retry-After": "30" }, { kind: "too-many-tries", seconds: 30 }],
    [429, {}, { kind: "too-many-tries", seconds: null }],
    [500, {}, { kind: "unexpected", status: 500 }],
  ])("explains a %i", async (status, headers, fault) => {
    answer(status, headers);
    expect(await session.signIn("key")).toBe(false);
    expect(session.fault.value).toEqual(fault);
    expect(session.state.value).toBe("signed-out");
  });

  it("explains a server that does not answer", async () => {
    server.mockRejectedValueOnce(new TypeError("failed"));
    await session.signIn("key");
    expect(session.fault.value).toEqual({ kind: "unreachable" });
  });

  it("knows without asking that a header cannot carry the key", async () => {
    await session.signIn("clé");
    expect(session.fault.value).toEqual({ kind: "wrong-key" });
    expect(server).not.toHaveBeenCalled();
  });

  it("is not ended by a bad link", async () => {
    answer(204);
    await session.signIn("good");
    answer(401);
    await session.signIn("bad");
    expect(session.state.value).toBe("signed-in");
  });

  it("resumes with a valid cookie, and asks to sign in without one", async () => {
    answer(204, { Date: "Mon, 23 Nov 2026 12:00:00 GMT" });
    await session.resume();
    expect(session.state.value).toBe("signed-in");
    expect(onServerTime).toHaveBeenCalledWith(Date.UTC(2026, 10, 23, 12));

    const other = new Session({ fetch: server });
    answer(401);
    await other.resume();
    expect(other.state.value).toBe("signed-out");
    expect(other.fault.value).toBeNull();
  });

  it("keeps asking a server that does not answer yet", async () => {
    server.mockRejectedValueOnce(new TypeError("failed"));
    await session.resume();
    expect(session.state.value).toBe("checking");
    answer(503);
    await vi.advanceTimersByTimeAsync(3_000);
    expect(session.state.value).toBe("checking");
    answer(204);
    await vi.advanceTimersByTimeAsync(3_000);
    expect(session.state.value).toBe("signed-in");
  });

  it("ends only by a clear no", async () => {
    answer(204);
    await session.signIn("good");
    answer(503);
    await session.verify();
    server.mockRejectedValueOnce(new TypeError("failed"));
    await session.verify();
    expect(session.state.value).toBe("signed-in");
    answer(401);
    await session.verify();
    expect(session.state.value).toBe("signed-out");
    expect(session.fault.value).toEqual({ kind: "ended" });
  });
});
