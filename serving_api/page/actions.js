// The newest actions: those of `initial_state`, then each `user_action` on top.

import { byId, element } from "./elements.js";
import * as format from "./format.js";

const MOST = 20;

/** Show `initial_state.recent_actions`, newest first, in place of what was there. */
export function showActions(actions) {
  const items = actions.map((each) =>
    item(each.event_id, each.action_type, each.occurred_at, each.context),
  );
  byId("actions").replaceChildren(...(items.length ? items : [empty()]));
}

/** Put a `user_action` on top. An event that is there already is the same event. */
export function addAction({ event_id, action_type, server_ts, context }) {
  const list = byId("actions");
  if (list.querySelector(`[data-event="${CSS.escape(event_id)}"]`)) return;
  list.querySelector(".empty")?.remove();
  const added = item(event_id, action_type, server_ts, context);
  added.classList.add("changed");
  list.prepend(added);
  while (list.children.length > MOST) list.lastElementChild.remove();
}

function item(id, type, at, context) {
  const detail = described(context);
  return element(
    "li",
    { "data-event": id },
    element("span", {}, format.action(type)),
    element("time", { datetime: at }, format.moment(at)),
    ...(detail ? [element("span", { class: "detail" }, detail)] : []),
  );
}

function described(context) {
  if (context.bet !== undefined) {
    const state = context.state && context.state !== "settled" ? `${context.state}, ` : "";
    return `${state}staked ${format.amount(context.bet)}, paid ${format.amount(context.payout ?? null)}`;
  }
  if (context.balance_after !== undefined) {
    return `${context.reward_type} ${format.amount(context.amount)}, balance ${format.amount(context.balance_after)}`;
  }
  return context.item_id ?? context.achievement_code ?? context.event_code ?? "";
}

const empty = () => element("li", { class: "empty" }, "Nothing yet.");
