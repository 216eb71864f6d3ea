// The platform tab: each snapshot of the stream is the whole of it.

import { byId, element, table, tile } from "./elements.js";
import * as format from "./format.js";

const STATUS = { held: ", held by a quality check", stale: ", the warehouse is out of reach" };

export function showPlatform({ today, totals, meta }) {
  byId("today").replaceChildren(
    tile("dau", "Players today", format.count(today.dau)),
    tile("wau", "In 7 days", format.count(today.wau)),
    tile("mau", "In 30 days", format.count(today.mau)),
    tile("rounds", "Rounds today", format.count(today.rounds)),
    tile("rtp", "Return to player", format.share(today.rtp)),
    tile("events", "Events today", format.count(today.events)),
  );
  byId("returns").replaceChildren(
    today.by_game.length
      ? table("Return to player by game, today", ["Game", "Rounds", "Staked", "RTP"], today.by_game.map(row))
      : element("p", { class: "empty" }, "No round has been played today."),
  );
  byId("totals").replaceChildren(
    tile("all-users", "Players", format.count(totals.users)),
    tile("all-rounds", "Rounds", format.count(totals.rounds)),
    tile("all-events", "Events", format.count(totals.events)),
    tile("all-staked", "Staked", format.amount(totals.bet_amount)),
  );
  const when = meta.materialized_at ? `as of ${format.moment(meta.materialized_at)}` : "not counted yet";
  byId("platform-note").textContent = `${today.date} (UTC), ${when}${STATUS[meta.status] ?? ""}.`;
}

function row(game) {
  const bar = element("meter", { min: 0, max: 1.5, value: game.rtp ?? 0, "aria-hidden": "true" });
  return [
    format.game(game.game_type),
    format.count(game.rounds),
    format.amount(game.bet_amount),
    element("span", {}, bar, format.share(game.rtp)),
  ];
}
