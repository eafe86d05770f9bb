const MARK = "#key=";

/** The key of a sign-in link's hash, or null if the hash carries none. */
export function keyInHash(hash: string): string | null {
  if (!hash.startsWith(MARK)) return null;
  const raw = hash.slice(MARK.length);
  try {
    return decodeURIComponent(raw).trim() || null;
  } catch {
    return raw.trim() || null;
  }
}

/**
 * Takes the key out of the address: neither the address bar nor the history has it afterwards,
 * even when it is empty or malformed.
 */
export function takeLinkKey(
  place: Pick<Location, "hash" | "pathname" | "search">,
  history: Pick<History, "replaceState">,
): string | null {
  if (!place.hash.startsWith(MARK)) return null;
  const key = keyInHash(place.hash);
  history.replaceState(null, "", place.pathname + place.search);
  return key;
}
