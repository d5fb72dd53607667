// The matrix by keyboard and pointer: one stop for Tab, arrows inside (the grid pattern of the ARIA practices).
const matrix = document.getElementById("matrix");
const heads = [...matrix.querySelectorAll("th[data-scenario]")];
const columns = heads.map((head) => ({ head, scenario: head.dataset.scenario, path: head.dataset.path, cells: [] }));
const rows = [...matrix.querySelectorAll("tr[data-profile]")].map((line) => {
  const group = line.parentElement;
  const row = { line, group, stack: group.dataset.stack, version: group.dataset.version, chunk: group.dataset.chunk, profile: line.dataset.profile, cells: [] };
  [...line.children].slice(1).forEach((place, number) => {
    const cell = place.className ? { place, row, column: columns[number], verdict: place.className } : null;
    row.cells.push(cell);
    columns[number].cells.push(cell);
  });
  return row;
});
const all = rows.flatMap((row) => row.cells).filter(Boolean);
const counted = all.filter((cell) => cell.row.stack !== "controls");
const byPlace = new Map(all.map((cell) => [cell.place, cell]));
const nameOf = (cell) => `${cell.row.stack}${cell.row.version ? "@" + cell.row.version : ""}/${cell.row.profile}/${cell.column.scenario}`;
const byName = new Map(all.map((cell) => [nameOf(cell), cell]));
let stop = null;

function makeGrid() {
  matrix.setAttribute("role", "grid");
  matrix.setAttribute("aria-readonly", "true");
  for (const cell of all) {
    const text = cell.place.textContent.slice(1).trim();
    cell.place.setAttribute("aria-label", text && text !== cell.verdict ? `${cell.verdict}, ${text}` : cell.verdict);
    cell.place.tabIndex = -1;
  }
  matrix.addEventListener("click", (event) => {
    const cell = byPlace.get(event.target.closest("td"));
    if (cell) { rove(cell); go({ cell: nameOf(cell), program: "", setting: "" }); }
  });
  matrix.addEventListener("keydown", move);
  matrix.addEventListener("focusin", (event) => { const cell = byPlace.get(event.target); if (cell) { rove(cell); light(cell); } });
  matrix.addEventListener("focusout", () => light(null));
  matrix.addEventListener("pointerover", (event) => {
    const cell = byPlace.get(event.target.closest("td")) || null;
    if (cell && !cell.place.title) cell.place.title = `${cell.verdict} = ${data.plain[cell.verdict]}. Click to see what happened.`;
    light(cell);
  });
  matrix.addEventListener("pointerleave", () => light(null));
}

const visible = (cell) => cell && !cell.row.line.hidden && !cell.place.hidden && !cell.place.classList.contains("out");

function rove(cell) {
  if (stop) stop.place.tabIndex = -1;
  stop = cell;
  if (stop) stop.place.tabIndex = 0;
}

function roveToFirst() {
  if (!visible(stop)) rove(all.find(visible) || null);
}

function move(event) {
  const from = byPlace.get(event.target);
  if (!from || event.altKey || event.metaKey) return;
  if (event.key === "Enter" || event.key === " ") {
    event.preventDefault();
    go({ cell: nameOf(from), program: "", setting: "" });
    return;
  }
  const across = from.row.cells.filter(visible);
  const down = from.column.cells.filter(visible);
  const [x, y] = [across.indexOf(from), down.indexOf(from)];
  const grid = all.filter(visible);
  const to = {
    ArrowRight: () => across[x + 1], ArrowLeft: () => across[x - 1], ArrowDown: () => down[y + 1], ArrowUp: () => down[y - 1],
    Home: () => event.ctrlKey ? grid[0] : across[0], End: () => event.ctrlKey ? grid[grid.length - 1] : across[across.length - 1],
    PageDown: () => down[Math.min(y + 10, down.length - 1)], PageUp: () => down[Math.max(y - 10, 0)],
  }[event.key];
  if (!to) return;
  event.preventDefault();
  const cell = to();
  if (cell) { cell.place.focus({ preventScroll: true }); reveal(cell); }
}

// Into view, and not behind the sticky heads.
function reveal(cell) {
  const scroller = matrix.parentElement;
  cell.place.scrollIntoView({ block: "nearest", inline: "nearest" });
  const [view, box] = [scroller.getBoundingClientRect(), cell.place.getBoundingClientRect()];
  const top = view.top + matrix.tHead.offsetHeight, left = view.left + cell.row.line.cells[0].offsetWidth;
  if (box.top < top) scroller.scrollTop -= top - box.top;
  if (box.left < left) scroller.scrollLeft -= left - box.left;
}

let lit = null;
function light(cell) {
  if (cell === lit) return;
  for (const [each, on] of [[lit, false], [cell, true]]) {
    if (!each) continue;
    each.row.line.classList.toggle("lit", on);
    each.column.head.classList.toggle("lit", on);
    for (const other of each.column.cells) if (other) other.place.classList.toggle("lit", on);
  }
  lit = cell;
}
