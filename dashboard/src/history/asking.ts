/** What came of a question to the server. */
export type Answer =
  | { readonly kind: "told"; readonly body: unknown }
  /** The session may have ended. */
  | { readonly kind: "not-allowed" }
  /** It will not answer this question, as it stands. */
  | { readonly kind: "refused" }
  | { readonly kind: "away"; readonly retryAfter: number | null };

export type Ask = (url: string, signal: AbortSignal) => Promise<Answer>;

const TIMEOUT = 20_000;

/** Asks the server this page came from, as the session that its cookie stands for. Never throws. */
export async function ask(url: string, signal: AbortSignal): Promise<Answer> {
  try {
    const response = await fetch(url, {
      cache: "no-store",
      credentials: "same-origin",
      headers: { Accept: "application/json" },
      signal: AbortSignal.any([signal, AbortSignal.timeout(TIMEOUT)]),
    });
    if (response.ok) return { kind: "told", body: await response.json() };
    if (response.status === 401 || response.status === 403) return { kind: "not-allowed" };
    if (response.status < 500 && response.status !== 429) return { kind: "refused" };
    const seconds = Number(response.headers.get("Retry-After") ?? "");
    return { kind: "away", retryAfter: seconds > 0 ? seconds * 1_000 : null };
  } catch {
    return { kind: "away", retryAfter: null };
  }
}
