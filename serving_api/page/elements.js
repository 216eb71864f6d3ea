// Building the page without a framework, and without markup from strings: what players or the
// server write is always text.

export const byId = (id) => document.getElementById(id);

/** element("button", { type: "button", onclick }, "Text", otherElement) */
export function element(tag, attributes = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name.startsWith("on")) made.addEventListener(name.slice(2), value);
    else if (value !== undefined && value !== null) made.setAttribute(name, value);
  }
  made.append(...children);
  return made;
}

/** Show a state in a pill; screen readers hear a change of its words only. */
export function pill(id, state, words) {
  const shown = byId(id);
  shown.dataset.state = state;
  if (shown.textContent !== words) shown.textContent = words;
}

/** A table with a header; the first cell of each row is the row's header. */
export function table(caption, columns, rows) {
  return element(
    "table",
    { class: "data" },
    element("caption", { class: "hidden-text" }, caption),
    element("thead", {}, element("tr", {}, ...columns.map((name) => element("th", { scope: "col" }, name)))),
    element(
      "tbody",
      {},
      ...rows.map(([first, ...rest]) =>
        element(
          "tr",
          {},
          element("th", { scope: "row" }, first),
          ...rest.map((cell) => element("td", {}, cell)),
        ),
      ),
    ),
  );
}

const shownBefore = new Map();

/** A number with its name; as a button where it can be explained. It lights up when it changes. */
export function tile(id, name, value, explain) {
  const parts = [
    element("span", { class: "name" }, name),
    element("span", { class: "value", id }, value),
  ];
  const hasChanged = shownBefore.has(id) && shownBefore.get(id) !== value;
  shownBefore.set(id, value);
  const look = hasChanged ? "tile changed" : "tile";
  if (!explain) return element("div", { class: look }, ...parts);
  return element(
    "button",
    { class: look, type: "button", "data-field": id, onclick: explain },
    ...parts,
    element("span", { class: "why" }, "Why this number?"),
  );
}

/** Forget what was shown: another player's numbers are no change. */
export const forgetTiles = () => shownBefore.clear();
