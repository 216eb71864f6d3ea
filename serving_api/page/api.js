// Asking the API. Every refusal is application/problem+json (RFC 9457).

/** A refusal of the API: `status`, `type`, `detail`, `request_id`, and `retryAfter` in seconds. */
export class Problem extends Error {
  constructor(body, retryAfter) {
    super(body.detail ?? body.title);
    Object.assign(this, body, { retryAfter });
  }
}

export class Api {
  constructor(token) {
    this.token = token;
  }

  async response(path, options = {}) {
    const headers = { Authorization: `Bearer ${this.token}`, ...options.headers };
    const response = await fetch(path, { ...options, headers });
    if (response.ok) return response;
    const body = await response.json();
    throw new Problem(body, Number(response.headers.get("Retry-After") ?? 0));
  }

  async get(path, parameters = {}, options = {}) {
    const query = new URLSearchParams(parameters);
    const response = await this.response(query.size ? `${path}?${query}` : path, options);
    return response.json();
  }

  /** Past the browser's cache, which keeps an answer for 30 seconds: this is asked on a change. */
  stats(definition) {
    return this.get("/api/users/stats", { include: "by_game", definition }, { cache: "reload" });
  }

  explanation(field, definition, asOf) {
    return this.get("/api/users/stats/explain", { field, definition, as_of: asOf });
  }

  history(from, to) {
    return this.get("/api/users/stats/history", { from, to });
  }

  definitions() {
    return this.get("/api/metrics/definitions");
  }
}
