// Which rows and columns are there, and how many cells that leaves.
const VALUES = {
  stack: [...new Set(rows.map((row) => row.stack))].filter((stack) => stack !== "controls"),
  profile: [...new Set(rows.filter((row) => row.stack !== "controls").map((row) => row.profile))],
  path: [...new Set(columns.map((column) => column.path))],
};
const of = { stack: (cell) => cell.row.stack, profile: (cell) => cell.row.profile, path: (cell) => cell.column.path, verdict: (cell) => cell.verdict };
const passes = (cell, but) => FILTERS.every((name) => name === but || !state[name].length || state[name].includes(of[name](cell)));
const PLAIN = { stack: "library (stack)", profile: "setting (profile)", path: "network (path)" };
const menus = {};

function makeFilters() {
  const bar = document.getElementById("filters");
  for (const [name, values] of Object.entries(VALUES)) {
    const boxes = values.map((value) => {
      const box = h("input", { type: "checkbox", value, onchange: () => choose(name) });
      const count = h("span", { class: "count" });
      return { value, box, count, label: h("label", {}, box, " ", value, " ", count) };
    });
    const chosen = h("b", {});
    const menu = h("details", {}, h("summary", {}, `${PLAIN[name]}: `, chosen), h("fieldset", {}, h("legend", { class: "spoken" }, PLAIN[name]), boxes.map((each) => each.label)));
    menu.addEventListener("keydown", (event) => { if (event.key === "Escape" && menu.open) { menu.open = false; menu.firstChild.focus(); } });
    menus[name] = { menu, chosen, boxes };
    bar.append(menu);
  }
  bar.append(h("button", { type: "button", id: "clear", onclick: () => go({ stack: [], profile: [], path: [], verdict: [] }, true) }, "show all"));
  bar.hidden = false;
  document.addEventListener("click", (event) => { for (const { menu } of Object.values(menus)) if (!menu.contains(event.target)) menu.open = false; });
  for (const button of document.querySelectorAll("[data-verdict]")) {
    button.addEventListener("click", () => {
      const verdict = button.dataset.verdict;
      go({ verdict: state.verdict.includes(verdict) ? state.verdict.filter((each) => each !== verdict) : [...state.verdict, verdict] }, true);
    });
  }
}

function choose(name) {
  const chosen = menus[name].boxes.filter((each) => each.box.checked).map((each) => each.value);
  go({ [name]: chosen.length === VALUES[name].length ? [] : chosen }, true);
}

let applied = "";
function filter() {
  const wanted = JSON.stringify(FILTERS.map((name) => state[name]));
  if (wanted === applied) return;
  applied = wanted;
  const within = new Map(all.map((cell) => [cell, passes(cell, "verdict")]));
  const kept = new Set(counted.filter((cell) => passes(cell)));
  const filtered = FILTERS.some((name) => state[name].length);
  for (const column of columns) {
    const there = filtered ? column.cells.some((cell) => kept.has(cell)) : true;
    column.shown = there;
    column.head.hidden = !there;
  }
  for (const row of rows) {
    const control = row.stack === "controls";
    row.line.hidden = control ? filtered && (state.stack.length > 0 || state.profile.length > 0 || state.verdict.length > 0) : filtered && !row.cells.some((cell) => kept.has(cell));
    [...row.line.children].slice(1).forEach((place, number) => {
      place.hidden = !columns[number].shown;
      const cell = row.cells[number];
      if (cell && !control) place.classList.toggle("out", !kept.has(cell));
    });
  }
  for (const group of matrix.tBodies) group.hidden = [...group.rows].slice(1).every((line) => line.hidden);
  for (const head of matrix.querySelectorAll("[data-family]")) {
    const width = columns.filter((column) => column.shown && column.head.dataset.in === head.dataset.family).length;
    head.hidden = !width;
    head.colSpan = Math.max(width, 1);
  }
  const width = columns.filter((column) => column.shown).length + 1;
  for (const head of matrix.querySelectorAll(".stack th")) head.colSpan = width;
  count(kept, within);
  roveToFirst();
}

function count(kept, within) {
  document.getElementById("shown").textContent = kept.size === counted.length ? `${counted.length} cells.` : `${kept.size} of ${counted.length} cells shown.`;
  for (const button of document.querySelectorAll("[data-verdict]")) {
    const verdict = button.dataset.verdict;
    button.querySelector(".count").textContent = counted.filter((cell) => within.get(cell) && cell.verdict === verdict).length;
    button.setAttribute("aria-pressed", String(state.verdict.includes(verdict)));
  }
  for (const [name, { chosen, boxes }] of Object.entries(menus)) {
    chosen.textContent = state[name].length === 0 ? "all" : state[name].length === 1 ? state[name][0] : `${state[name].length} of ${boxes.length}`;
    const left = new Map();
    for (const cell of counted) if (passes(cell, name)) left.set(of[name](cell), (left.get(of[name](cell)) || 0) + 1);
    for (const each of boxes) {
      each.box.checked = state[name].includes(each.value);
      each.count.textContent = left.get(each.value) || 0;
    }
  }
  document.getElementById("clear").disabled = FILTERS.every((name) => !state[name].length);
}
