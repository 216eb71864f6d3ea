// The activity of 90 days as a table: a row for each weekday, a column for each week.

import { byId, element } from "./elements.js";

export const DAYS = 90;
const DAY_MS = 86_400_000;
const WEEKDAYS = ["Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"];

const iso = (time) => new Date(time).toISOString().slice(0, 10);

/** The first date of the calendar that ends with `to`, both in it. */
export const firstDate = (to) => iso(Date.parse(to) - (DAYS - 1) * DAY_MS);

/** Show the days of `/api/users/stats/history`, in which days without an event are left out. */
export function showCalendar(history, definition) {
  const known = new Map(history.days.map((day) => [day.date, day]));
  const isActive = (day) => (definition === "daily_login" ? day.has_daily_login : day.is_active);
  const most = Math.max(1, ...history.days.map((day) => day.events));
  const first = Date.parse(history.from);
  const monday = first - ((new Date(first).getUTCDay() + 6) % 7) * DAY_MS;
  const last = Date.parse(history.to);
  let active = 0;

  const rows = WEEKDAYS.map((weekday, row) => {
    const cells = [];
    for (let time = monday + row * DAY_MS; time <= last; time += 7 * DAY_MS) {
      if (time < first) {
        cells.push(element("td"));
        continue;
      }
      const day = known.get(iso(time));
      const counts = day && isActive(day);
      if (counts) active += 1;
      const level = counts ? Math.max(1, Math.ceil((4 * day.events) / most)) : 0;
      const words = `${iso(time)}: ${counts ? `active, ${day.events} events` : "not active"}`;
      cells.push(
        element(
          "td",
          { "data-level": level, title: words, class: time === last ? "today" : undefined },
          element("span", { class: "hidden-text" }, words),
        ),
      );
    }
    return element("tr", {}, element("th", { scope: "row" }, weekday), ...cells);
  });
  byId("calendar").replaceChildren(
    element(
      "table",
      { class: "calendar" },
      element("caption", { class: "hidden-text" }, "Active days by weekday and week"),
      element("tbody", {}, ...rows),
    ),
  );
  byId("calendar-note").textContent =
    `${active} active ${active === 1 ? "day" : "days"} from ${history.from} to ${history.to}.`;
}
