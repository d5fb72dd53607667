// What is behind a cell. Unpacked when the first cell of its stack is opened.
const dialog = document.getElementById("details");
const chunks = new Map();

function unpack(number) {
  if (!chunks.has(number)) {
    const octets = Uint8Array.from(atob(document.getElementById(`chunk-${number}`).textContent), (char) => char.charCodeAt(0));
    chunks.set(number, new Response(new Blob([octets]).stream().pipeThrough(new DecompressionStream("gzip"))).json());
  }
  return chunks.get(number);
}

function copy(text) {
  const button = h("button", { type: "button", class: "copy", onclick: async () => {
    try {
      await navigator.clipboard.writeText(text);
    } catch { // not every browser lets a page from disk at the clipboard
      const area = h("textarea", {});
      area.value = text;
      dialog.append(area);
      area.select();
      document.execCommand("copy");
      area.remove();
    }
    button.textContent = "copied";
    setTimeout(() => { button.textContent = "copy"; }, 1500);
  } }, "copy");
  return button;
}

const block = (text, label) => h("div", {}, h("pre", { tabindex: "0", "aria-label": label }, text), copy(text));
const part = (title, ...children) => h("section", {}, h("h3", {}, title), children);

function open(title, ...children) {
  dialog.replaceChildren(
    h("div", { class: "head" }, h("h2", { id: "details-title" }, title), h("button", { type: "button", class: "copy", id: "close", onclick: () => shut() }, "close")),
    h("div", { class: "inside" }, children),
  );
  if (!dialog.open) dialog.showModal();
  dialog.scrollTop = 0;
  document.getElementById("close").focus();
}

async function showCell(cell) {
  const name = nameOf(cell);
  const scenario = data.scenarios[cell.column.scenario];
  const title = [h("span", { class: `tag ${cell.verdict}` }, `${data.symbols[cell.verdict]} ${cell.verdict} = ${data.plain[cell.verdict]}`), ` ${cell.row.stack} ${cell.row.version} / ${cell.row.profile} / ${cell.column.scenario}`];
  let found;
  try {
    found = (await unpack(cell.row.chunk))[`${cell.row.profile}/${cell.column.scenario}`];
  } catch (error) {
    open(title, h("p", {}, `This browser cannot unpack the evidence (it needs one of 2023 or later): ${error}`));
    return;
  }
  if (state.cell !== name) return; // another one was opened meanwhile
  open(title,
    h("p", { class: "story" }, found.story),
    h("div", { class: "tools" }, h("span", {}, "Link to this cell: "), h("code", {}, addressOf(state)), copy(location.href)),
    found.lanes ? part("When it happened", h("p", { class: "hint" }, "Seconds count from the last packet of the first change, after which the connection was left alone."), timeline(found.lanes)) : null,
    found.ladder ? part("What went over the wire", ladder(found.ladder, found.ladder_left_out)) : null,
    found.ladder ? null : h("p", {}, "The journal with the packets of this cell is not in this page."),
    part("Why to believe it", h("p", {}, `The fault: ${found.proof}. The judge says: ${found.reason || "nothing more"}.`, found.proof.startsWith("prevented") ? " So not all could be seen that belongs to the fault:" : ""), h("ul", {}, found.proofs.map(([what, holds, seen]) => h("li", {}, h("strong", {}, holds ? "seen: " : "not seen: "), `${what}: ${seen}`))), found.repeats.length > 1 ? h("p", {}, "Its repeats: ", found.repeats.map(([verdict, delay]) => delay === null ? verdict : `${verdict} ${seconds(delay)} s`).join(", "), ".") : null, files(found.files)),
    part("The network", h("p", {}, scenario.description, ". ", data.paths[scenario.path] ? `Path ${scenario.path}: ${data.paths[scenario.path]}. ` : "", scenario.source ? ["Known from: ", scenario.source_link ? out(scenario.source_link, scenario.source) : scenario.source] : ""), scenario.threads.length ? [h("p", {}, "It reproduces:"), h("ul", {}, scenario.threads.map((thread) => h("li", {}, out(thread))))] : null),
    part("The setting", h("p", {}, (data.settings[cell.row.profile] || {}).description || cell.row.profile), h("ul", {}, Object.entries(found.settings).map(([key, value]) => h("li", {}, `${key} = ${value}`))), found.asked ? h("p", { class: "hint" }, `Asked for: ${Object.entries(found.asked).map(([key, value]) => `${key} = ${value}`).join(", ")}; the run rounded to what the kernel takes.`) : null, found.variables ? block(found.variables, "environment of the program") : null),
    part("Run just this cell again", block(found.command, "command")),
    cell.row.stack in data.programs ? part("The program", program(cell.row.stack)) : null,
  );
}

const files = (names) => names ? h("p", {}, "Packets and output, as they were kept: ", names.flatMap((name, number) => [number ? ", " : "", h("a", { href: name }, name.split("/").pop())])) : null;

function program(stack) {
  const found = data.programs[stack], known = data.stacks[stack];
  const place = (file) => data.repository === null ? h("code", {}, file) : h("a", { href: `${data.repository}/${file}` }, file);
  const contest = data.repository === null ? "CONTRIBUTING.md" : h("a", { href: `${data.repository}/CONTRIBUTING.md` }, "CONTRIBUTING.md");
  return h("div", {},
    h("ul", {},
      h("li", {}, `${found.description}: ${known.library} ${known.version}${known.runtime ? `, ${known.runtime}` : ""}.`),
      known.keepalive ? h("li", {}, `Keepalive as its packets showed it: ${known.keepalive}.`) : null,
      known.timers.length ? h("li", {}, `Timers built into the library: ${known.timers.join(", ")}.`) : null,
      h("li", {}, "The default is the example of: ", found.default_link ? out(found.default_link, found.default) : found.default),
      h("li", {}, "Unfair to the library? Change the program, run the cell again, and send both: ", contest, " says how (“Contest a result”)."),
    ),
    found.files.length ? null : h("p", {}, `The program is not here: it has moved on to another version than ${known.version}, or has no source.`),
    found.files.map((file) => [h("p", {}, "As it stood when this page was made: ", place(file)), block(data.sources[file], file)]),
  );
}

function setting(name) {
  const found = data.settings[name], given = Object.entries(found.given);
  const programs = Object.keys(data.programs);
  return [
    h("p", { class: "story" }, found.description || "A setting of whoever ran this."),
    part("Its numbers", given.length ? h("ul", {}, given.map(([key, value]) => h("li", {}, `${key} = ${value}`))) : h("p", {}, "None: nothing is set.")),
    found.variables ? part("To copy", h("p", {}, "With this environment a program of this project has the setting:"), block(found.variables, "environment of the program")) : null,
    programs.length ? part("The programs that use it", h("p", {}, "How a library is told of it stands in its program, to copy:"), h("ul", {}, programs.map((stack) => h("li", {}, h("a", { href: `#program=${readable(stack)}` }, stack))))) : null,
  ];
}

const shut = () => go({ cell: "", program: "", setting: "" }, true);

function showDetails() {
  const cell = state.cell && (state.run === "" || state.run === data.run) ? byName.get(state.cell) : null;
  if (cell) {
    rove(cell);
    showCell(cell);
  } else if (state.cell) {
    open("Not in this page", h("p", {}, `The link is to ${state.cell} of run ${state.run || data.run}; this page is of run ${data.run}. A published run's page is never taken away: look for it in the index.`));
  } else if (Object.hasOwn(data.programs, state.program)) {
    open(`The program of ${state.program}`, program(state.program));
  } else if (Object.hasOwn(data.settings, state.setting)) {
    open(`The setting ${state.setting}`, setting(state.setting));
  } else if (dialog.open) {
    dialog.close();
    if (stop) { stop.place.focus({ preventScroll: true }); }
  }
}

dialog.addEventListener("cancel", (event) => { event.preventDefault(); shut(); });
dialog.addEventListener("click", (event) => { if (event.target === dialog) shut(); });
