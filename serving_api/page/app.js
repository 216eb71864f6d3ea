// The page: who is signed in, what they see, and which frame changes what.

import { addAction, showActions } from "./actions.js";
import { Api } from "./api.js";
import { firstDate, showCalendar } from "./calendar.js";
import { showGames, showStats, showWhy } from "./card.js";
import { byId, element, forgetTiles, pill } from "./elements.js";
import { Live } from "./live.js";
import { showPlatform } from "./platform.js";
import { claims, keep, knownTokens } from "./session.js";
import { follow } from "./stream.js";

const definitionOf = (stats) => stats.meta.active_day_definition;

/** Everything of one signed-in player; `end` leaves nothing running. */
class Session {
  #api;
  #live;
  #stream = null;
  #meanings = new Map();
  #shown = null;
  #reading = null;
  #isReadAgain = false;
  /** Of an active day; the platform's own, of which the socket speaks, until one is chosen. */
  #definition = null;
  #pushed = null;

  constructor(token) {
    this.#api = new Api(token);
    this.#live = new Live(token);
    this.#live.addEventListener("state", ({ detail }) => {
      pill("connection", detail.state, detail.words);
    });
    this.#live.addEventListener("frame", ({ detail }) => this.#hear(detail));
    this.#live.addEventListener("end", () => this.#showProblem("Sign in again with a new token."));
  }

  async start() {
    forgetTiles();
    this.#live.open();
    try {
      const { metrics } = await this.#api.definitions();
      this.#meanings = new Map(metrics.map((metric) => [metric.name, metric.description]));
    } catch (problem) {
      this.#showProblem(problem.message);
    }
  }

  end() {
    this.#live.close();
    this.followPlatform(false);
  }

  #hear({ type, data }) {
    if (type === "user_action") addAction(data);
    if (type === "initial_state") showActions(data.recent_actions);
    if (type === "initial_state" || type === "stats_update") {
      this.#pushed = data.stats;
      this.#definition ??= definitionOf(data.stats);
      if (this.#definition === definitionOf(data.stats)) this.#show(data.stats);
      this.#read();
    }
  }

  #show(stats) {
    this.#shown = stats;
    byId("problem").textContent = "";
    for (const input of byId("definition").querySelectorAll("input")) {
      input.checked = input.value === this.#definition;
    }
    showStats(stats, (field, name) => this.#explain(field, name));
    showGames(stats.by_game);
  }

  /** Ask for what no frame brings. One at a time: of many changes in a row the last is read. */
  #read() {
    this.#isReadAgain = true;
    this.#reading ??= this.#readWhileChanged().finally(() => {
      this.#reading = null;
    });
  }

  async #readWhileChanged() {
    while (this.#isReadAgain) {
      this.#isReadAgain = false;
      const definition = this.#definition;
      try {
        const today = new Date().toISOString().slice(0, 10);
        const history = await this.#api.history(firstDate(today), today);
        const isPushed = definition === definitionOf(this.#pushed);
        this.#show(isPushed ? this.#pushed : await this.#api.stats(definition));
        showCalendar(history, definition);
      } catch (problem) {
        this.#showProblem(problem.message);
      }
    }
  }

  choose(definition) {
    this.#definition = definition;
    this.#read();
  }

  #explain(field, name) {
    const { as_of } = this.#shown.meta;
    const explanation = this.#api.explanation(field, this.#definition, as_of);
    showWhy(name, this.#meanings.get(field) ?? "", explanation);
  }

  /** Follow the platform while its tab is open. */
  followPlatform(isWanted) {
    this.#stream?.abort();
    this.#stream = null;
    if (!isWanted) return;
    this.#stream = new AbortController();
    follow(this.#api, {
      signal: this.#stream.signal,
      onSnapshot: showPlatform,
      onState: (state, words) => pill("stream", state, words),
    });
  }

  #showProblem(words) {
    byId("problem").textContent = words;
  }
}

let session = null;
let tokens = [];

function signIn(token) {
  session?.end();
  tokens = [token, ...tokens.filter((other) => other !== token)];
  keep(tokens);
  const players = tokens.toSorted((a, b) => Number(claims(a).sub) - Number(claims(b).sub));
  byId("player").replaceChildren(
    ...players.map((each) =>
      element("option", { value: each, ...(each === token && { selected: "" }) }, claims(each).sub),
    ),
  );
  byId("sign-in").hidden = true;
  byId("who").hidden = byId("signed-in").hidden = false;
  byId("problem").textContent = "";
  session = new Session(token);
  session.start();
  openTab("player");
}

function signOut() {
  session?.end();
  session = null;
  tokens = [];
  keep(tokens);
  pill("connection", "off", "signed out");
  byId("who").hidden = byId("signed-in").hidden = true;
  byId("sign-in").hidden = false;
  byId("token").focus();
}

function openTab(name) {
  for (const tab of document.querySelectorAll("[role=tab]")) {
    const isOpen = tab.id === `tab-${name}`;
    tab.setAttribute("aria-selected", String(isOpen));
    tab.tabIndex = isOpen ? 0 : -1;
    byId(tab.getAttribute("aria-controls")).hidden = !isOpen;
  }
  session.followPlatform(name === "platform");
}

byId("sign-in-form").addEventListener("submit", (event) => {
  event.preventDefault();
  const token = byId("token").value.trim();
  const isToken = claims(token) !== null;
  byId("sign-in-problem").textContent = isToken ? "" : "This is not a token.";
  if (isToken) {
    byId("token").value = "";
    signIn(token);
    byId("main").focus();
  }
});
byId("sign-out").addEventListener("click", signOut);
byId("player").addEventListener("change", ({ target }) => signIn(target.value));
byId("definition").addEventListener("change", ({ target }) => session.choose(target.value));
for (const name of ["player", "platform"]) {
  byId(`tab-${name}`).addEventListener("click", () => openTab(name));
}
// Arrow keys go from tab to tab, as the pattern for tabs has it.
document.querySelector("[role=tablist]").addEventListener("keydown", ({ key, target }) => {
  if (key !== "ArrowLeft" && key !== "ArrowRight") return;
  const other = target.id === "tab-player" ? "platform" : "player";
  openTab(other);
  byId(`tab-${other}`).focus();
});

tokens = knownTokens();
if (tokens.length) signIn(tokens[0]);
