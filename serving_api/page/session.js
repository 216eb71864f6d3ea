// Who is signed in. A token comes in the address's fragment, which is sent to no server, or is
// pasted; it stays in this tab only and is never put into an address again.

const KEPT = "tally-tokens";

/** What the token says of itself. It is not verified: that is the API's part. */
export function claims(token) {
  try {
    const body = token.split(".")[1].replaceAll("-", "+").replaceAll("_", "/");
    const said = JSON.parse(atob(body));
    return typeof said.sub === "string" ? said : null;
  } catch {
    return null;
  }
}

/** The tokens that this tab knows: those of the address first, which are taken out of it. */
export function knownTokens() {
  const given = new URLSearchParams(location.hash.slice(1)).getAll("token");
  if (given.length) {
    history.replaceState(null, "", location.pathname);
    keep(given);
  }
  const tokens = JSON.parse(sessionStorage.getItem(KEPT) ?? "[]");
  return tokens.filter((token) => (claims(token)?.exp ?? 0) * 1000 > Date.now());
}

/** Remember tokens until the tab is closed; the first is who is signed in. */
export function keep(tokens) {
  sessionStorage.setItem(KEPT, JSON.stringify(tokens));
}
