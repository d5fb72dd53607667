// Who sent what to whom, from top to bottom: three lines for the three parties, an arrow for each step.
const CLIENT = 24, NETWORK = 119, SERVER = 214;

function arrow(row) {
  const y = 15;
  if (!("n" in row)) return row.silence ? null : s("svg", { viewBox: "0 0 240 30", "aria-hidden": "true" }, s("circle", { class: "dot", cx: NETWORK + 1, cy: y, r: 5 }));
  const from = row.from === "path" ? NETWORK + 1 : row.from === "client" ? CLIENT : SERVER + 2;
  const target = row.to === "client" ? CLIENT + 2 : SERVER;
  const to = row.lost ? (row.from === "path" ? (from + target) / 2 : NETWORK + 1) : target;
  const way = Math.sign(to - from);
  const head = (at, side) => s("path", { d: `M ${at - 8 * side} ${y - 5} L ${at} ${y} L ${at - 8 * side} ${y + 5}` });
  const parts = [s("line", { x1: from, x2: to, y1: y, y2: y, "stroke-dasharray": row.cut ? "5 3" : null })];
  if (row.both) parts.push(head(from, -way));
  parts.push(row.lost ? s("path", { d: `M ${to - 6} ${y - 6} L ${to + 6} ${y + 6} M ${to - 6} ${y + 6} L ${to + 6} ${y - 6}` }) : head(to, way));
  if (row.n > 1) parts.push(s("text", { x: (from + to) / 2, y: y - 4, "text-anchor": "middle" }, `${row.n} packets`));
  return s("svg", { viewBox: "0 0 240 30", preserveAspectRatio: "xMinYMid meet", "aria-hidden": "true" }, parts);
}

function ladder(steps, leftOut) {
  const list = h("ol", { class: "ladder" }, h("li", { class: "names", "aria-hidden": "true" }, h("span", {}), h("span", { class: "wire" }, h("span", {}, "client"), h("span", {}, "network"), h("span", {}, "API server")), h("span", {})));
  for (const row of steps) {
    const kind = [row.tone, row.silence ? "silence" : ""].filter(Boolean).join(" ");
    list.append(h("li", { class: kind || null }, h("time", {}, `${seconds(row.t)} s`), h("span", { class: "wire" }, arrow(row)), h("span", { class: "words" }, row.w)));
  }
  return h("div", {}, list, leftOut ? h("p", { class: "hint" }, `${leftOut} steps in the middle are left out.`) : null);
}
