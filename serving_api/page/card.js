// The statistics card, games by type, and "why this number?".

import { byId, element, pill, table, tile } from "./elements.js";
import * as format from "./format.js";

// In the order of the card. The names are short; what each means comes from the API.
const FIELDS = [
  ["total_games_played", "Games played", format.count],
  ["last_30d_active_days", "Active in 30 days", format.count],
  ["lifetime_active_days", "Active days ever", format.count],
  ["current_streak_days", "Login streak", format.days],
  ["win_rate", "Win rate", format.share],
  ["total_wins", "Wins", format.count],
  ["total_losses", "Losses", format.count],
  ["total_draws", "Draws", format.count],
  ["bet_amount", "Staked", format.amount],
  ["payout_amount", "Paid out", format.amount],
  ["last_7d_active_days", "Active in 7 days", format.count],
  ["last_90d_active_days", "Active in 90 days", format.count],
];

const FRESHNESS = {
  fresh: ["good", "fresh"],
  catching_up: ["warn", "catching up"],
  held: ["warn", "held at the last good state"],
  stale: ["bad", "the last known numbers"],
};

export function showStats(stats, explain) {
  byId("stats").replaceChildren(
    ...FIELDS.map(([field, name, shown]) =>
      tile(field, name, shown(stats[field]), () => explain(field, name)),
    ),
  );
  const { meta } = stats;
  // A status that this page does not know is a reason to show the age, like the others.
  const [state, words] = FRESHNESS[meta.status] ?? ["warn", meta.status];
  const age = meta.watermark ? `, counted until ${format.moment(meta.watermark)}` : "";
  pill("freshness", state, words + age);
  const window = meta.windows.last_30d;
  byId("stats-note").textContent =
    `As of ${meta.as_of} (UTC). The last 30 days are ${window.from} to ${window.to}, both included.`;
}

export function showGames(games) {
  const shown = byId("games");
  if (!games.length) {
    shown.replaceChildren(element("p", { class: "empty" }, "No round has been played yet."));
    return;
  }
  shown.replaceChildren(
    table(
      "Rounds by game type",
      ["Game", "Played", "Wins", "Staked", "Paid out"],
      games.map((game) => [
        format.game(game.game_type),
        format.count(game.played),
        format.count(game.wins),
        format.amount(game.bet_amount),
        format.amount(game.payout_amount),
      ]),
    ),
  );
}

/** Open the dialog about a number, and fill it when `explanation`, a promise, is there. */
export async function showWhy(name, meaning, explanation) {
  const behind = byId("why-behind");
  byId("why-title").textContent = name;
  byId("why-meaning").replaceChildren(...withCode(meaning));
  const waiting = element("p", { class: "empty" }, "One moment …");
  behind.replaceChildren(waiting);
  byId("why").showModal();
  try {
    const { dates, rounds } = await explanation;
    // Unless it is about another number by now.
    if (waiting.isConnected) behind.replaceChildren(rounds ? ofRounds(rounds) : ofDates(dates));
  } catch (problem) {
    waiting.textContent = problem.message;
  }
}

/** The API's descriptions mark names with backticks. */
function withCode(text) {
  return text.split("`").map((part, nth) => (nth % 2 ? element("code", {}, part) : part));
}

function ofDates(dates) {
  if (!dates.length) return element("p", { class: "empty" }, "No day counts.");
  const newestFirst = dates.toReversed().map((date) => element("li", {}, date));
  return element("div", {}, element("p", {}, `${dates.length} of these:`), element("ul", { class: "dates" }, ...newestFirst));
}

function ofRounds(rounds) {
  if (!rounds.length) return element("p", { class: "empty" }, "No round counts.");
  return table(
    "The days that make the number",
    ["Day", "Played", "Wins", "Losses", "Staked", "Paid out"],
    rounds.toReversed().map((day) => [
      day.date,
      format.count(day.played),
      format.count(day.wins),
      format.count(day.losses),
      format.amount(day.bet_amount),
      format.amount(day.payout_amount),
    ]),
  );
}
