// The player's socket: frames as events, and a connection that comes back by itself.
//
//   const live = new Live(token);
//   live.addEventListener("frame", ({ detail: frame }) => ...);  // { type, user_id, data, timestamp }
//   live.addEventListener("state", ({ detail }) => ...);         // { state, words }
//   live.open();
//
// After every reconnect the server sends `initial_state` first, so there is nothing to catch up on.

import { Backoff } from "./backoff.js";

const PING_MS = 25_000;
const PONG_MS = 8_000;

// Closed for one of these, another try with the same token would end the same way.
const FINAL = {
  4400: "the page made a mistake",
  4401: "this token is not valid any more",
  4403: "this token is not a player's",
  4404: "this user was erased",
  4419: "the token has expired",
};

export class Live extends EventTarget {
  #token;
  #socket = null;
  #backoff = new Backoff();
  #timers = new Set();
  #isOpen = false;

  constructor(token) {
    super();
    this.#token = token;
    // A network that is back is worth a try at once.
    this.online = () => this.#isOpen && !this.#socket && this.#connect();
  }

  open() {
    this.#isOpen = true;
    addEventListener("online", this.online);
    this.#connect();
  }

  close() {
    this.#isOpen = false;
    removeEventListener("online", this.online);
    this.#stop();
    this.#socket?.close();
    this.#socket = null;
  }

  #connect() {
    this.#stop();
    this.#say("warn", "connecting …");
    const url = new URL("/api/realtime/sync", location);
    url.protocol = url.protocol.replace("http", "ws");
    // The one header that a page can set on a socket; the address would end up in logs.
    const socket = new WebSocket(url, ["tally", `bearer.${this.#token}`]);
    this.#socket = socket;
    socket.onmessage = ({ data }) => this.#hear(JSON.parse(data));
    socket.onclose = ({ code, reason }) => {
      if (socket === this.#socket) this.#lost(code, reason);
    };
  }

  #hear(frame) {
    if (frame.type === "pong") {
      this.#stop();
      this.#later(PING_MS, () => this.#ping());
      return;
    }
    if (frame.type === "sync_connected") {
      this.#backoff.reset();
      this.#say("good", "live");
      this.#later(PING_MS, () => this.#ping());
    }
    this.dispatchEvent(new CustomEvent("frame", { detail: frame }));
  }

  /** A connection can be dead without a word; a page cannot see the server's own pings. */
  #ping() {
    this.#socket.send(JSON.stringify({ type: "ping" }));
    this.#later(PONG_MS, () => {
      const dead = this.#socket;
      this.#lost(0, "no answer");
      dead.close();
    });
  }

  #lost(code, reason) {
    this.#stop();
    this.#socket = null;
    if (!this.#isOpen) return;
    if (code in FINAL) {
      this.#isOpen = false;
      this.#say("bad", FINAL[code]);
      this.dispatchEvent(new CustomEvent("end", { detail: { code, reason } }));
      return;
    }
    this.#say("warn", "reconnecting …");
    this.#later(this.#backoff.next(code === 4429 ? 10_000 : 0), () => this.#connect());
  }

  #say(state, words) {
    this.dispatchEvent(new CustomEvent("state", { detail: { state, words } }));
  }

  #later(milliseconds, work) {
    const timer = setTimeout(() => {
      this.#timers.delete(timer);
      work();
    }, milliseconds);
    this.#timers.add(timer);
  }

  #stop() {
    for (const timer of this.#timers) clearTimeout(timer);
    this.#timers.clear();
  }
}
