// How values look. The numbers themselves are always the API's: nothing is computed here.

const whole = new Intl.NumberFormat("en");
const money = new Intl.NumberFormat("en", { minimumFractionDigits: 2, maximumFractionDigits: 2 });
const percent = new Intl.NumberFormat("en", { style: "percent", maximumFractionDigits: 1 });
const clock = new Intl.DateTimeFormat("en", { timeStyle: "medium", timeZone: "UTC", hourCycle: "h23" });

export const count = (value) => whole.format(value);
/** Amounts come in minor units. */
export const amount = (value) => (value === null ? "–" : money.format(value / 100));
/** Null is not zero: a player without a decided round has no win rate. */
export const share = (value) => (value === null ? "–" : percent.format(value));
export const date = (value) => value ?? "–";
export const days = (value) => `${whole.format(value)} ${value === 1 ? "day" : "days"}`;

/** "10:15:02 UTC", with the date where it is not today's. */
export function moment(text) {
  const when = new Date(text);
  const today = new Date().toISOString().slice(0, 10);
  const day = when.toISOString().slice(0, 10);
  return `${day === today ? "" : `${day} `}${clock.format(when)} UTC`;
}

export const gameNames = { slot: "Slot", gacha: "Gacha", rps: "Rock paper scissors", crash: "Crash" };
export const game = (type) => gameNames[type] ?? type;

/** "SLOT_SPIN" as "Slot spin". */
export function action(type) {
  const words = type.toLowerCase().replaceAll("_", " ");
  return words[0].toUpperCase() + words.slice(1);
}
