// What is shown is in the address behind the #, so that a link shows the same view. Names, never positions: a link
// stays valid however rows and columns are arranged by a later version of the page.
const FILTERS = ["stack", "profile", "path", "verdict"];
const readable = (text) => encodeURIComponent(text).replace(/%2F/g, "/").replace(/%40/g, "@").replace(/%2C/g, ",");

function readAddress() {
  const state = { stack: [], profile: [], path: [], verdict: [], cell: "", program: "", setting: "", run: "" };
  for (const part of location.hash.slice(1).split("&")) {
    const [name, value] = [part.slice(0, part.indexOf("=")), part.slice(part.indexOf("=") + 1)];
    if (!(name in state)) continue;
    let text = "";
    try { text = decodeURIComponent(value); } catch { continue; }
    state[name] = Array.isArray(state[name]) ? text.split(",").filter(Boolean) : text;
  }
  return state;
}

function addressOf(state) {
  const parts = FILTERS.filter((name) => state[name].length).map((name) => `${name}=${readable(state[name].join(","))}`);
  if (state.cell) parts.push(`run=${readable(data.run)}`, `cell=${readable(state.cell)}`);
  if (state.program) parts.push(`program=${readable(state.program)}`);
  if (state.setting) parts.push(`setting=${readable(state.setting)}`);
  return `#${parts.join("&")}`;
}

let state = readAddress();

// `stay`: a filter is no new page in the browser's history, an opened cell is one.
function go(change, stay) {
  state = { ...state, ...change };
  history[stay ? "replaceState" : "pushState"](null, "", addressOf(state));
  show();
}
