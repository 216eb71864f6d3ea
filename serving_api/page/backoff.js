// When to try again: soon at first, then rarely, and never all clients in one moment.

const FIRST = 500;
const LONGEST = 20_000;

export class Backoff {
  #tries = 0;

  /** Milliseconds to wait before the next try; `atLeast` where the server said so. */
  next(atLeast = 0) {
    const most = Math.min(LONGEST, FIRST * 2 ** this.#tries++);
    return Math.max(atLeast, most / 2 + (Math.random() * most) / 2);
  }

  /** It worked. */
  reset() {
    this.#tries = 0;
  }
}
