// Lanes over the same seconds, drawn again for every change of what is in view.
const LANE = 34, HEAD = 22, NAMES = 112;
const STOPPED = 2, ENDS = 8, TO_SERVER = 1;

function timeline(lanes) {
  const whole = [lanes.begins - 0.02 * (lanes.ends - lanes.begins), lanes.ends + 0.02 * (lanes.ends - lanes.begins)];
  let view = [...whole];
  let chosen = null;
  const caption = h("p", { class: "caption", role: "status" }, "Point at a mark, or choose it, to read what it is.");
  const height = HEAD + LANE * (lanes.lanes.length + 1);
  const drawing = s("svg", { class: "timeline", height, tabindex: "0", role: "group", "aria-label": "Timeline. Plus and minus zoom, the arrow keys move; the same is in words below." });
  const width = () => drawing.clientWidth || 800;
  const x = (at) => NAMES + (at - view[0]) / (view[1] - view[0]) * (width() - NAMES - 8);

  function zoom(factor, middle) {
    const centre = middle ?? (view[0] + view[1]) / 2;
    const span = Math.min(Math.max((view[1] - view[0]) * factor, 0.01), whole[1] - whole[0]);
    const part = (centre - view[0]) / (view[1] - view[0]);
    look(centre - span * part, span);
  }
  function look(begin, span) {
    begin = Math.min(Math.max(begin, whole[0]), whole[1] - span);
    view = [begin, begin + span];
    draw();
  }
  const shift = (part) => look(view[0] + part * (view[1] - view[0]), view[1] - view[0]);

  function tell(at, until, words) {
    caption.textContent = `${exact(at)}${until === null ? "" : ` to ${exact(until)}`} after the last packet of the first change: ${words}`;
  }

  function draw() {
    drawing.replaceChildren();
    drawing.setAttribute("viewBox", `0 0 ${width()} ${height}`);
    drawing.dataset.from = view[0];
    drawing.dataset.to = view[1];
    grid();
    lanes.lanes.forEach(([name, marks], number) => lane(name, marks, HEAD + number * LANE));
    packets(HEAD + lanes.lanes.length * LANE);
  }

  function grid() {
    const span = view[1] - view[0];
    const step = [0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 50, 100, 200, 500, 1000].find((each) => span / each <= (width() - NAMES) / 80) || 2000;
    for (let at = Math.ceil(view[0] / step) * step; at <= view[1]; at += step) {
      drawing.append(s("line", { class: "grid", x1: x(at), x2: x(at), y1: HEAD - 4, y2: height }));
      drawing.append(s("text", { class: "soft", x: x(at), y: 12, "text-anchor": "middle" }, `${+at.toFixed(3)} s`));
    }
    if (lanes.touch !== null) drawing.append(s("line", { class: "grid", stroke: "currentColor", "stroke-dasharray": "3 3", x1: x(lanes.touch), x2: x(lanes.touch), y1: HEAD - 4, y2: height }));
  }

  function lane(name, marks, top) {
    drawing.append(s("line", { class: "grid", x1: 0, x2: width(), y1: top, y2: top }), s("text", { class: "soft", x: 6, y: top + LANE / 2 + 4 }, name));
    const middle = top + LANE / 2;
    for (const [at, until, words, tone] of marks) {
      const end = until ?? at;
      if (end < view[0] || at > view[1]) continue;
      const left = Math.max(x(at), NAMES), right = Math.min(x(end), width() - 4);
      const shape = until === null
        ? s("circle", { class: `mark ${tone}`, cx: left, cy: middle, r: 6 })
        : s("rect", { class: tone === "bar" ? "bar" : `span ${tone}`, x: left, y: middle - 8, width: Math.max(right - left, 2), height: 16, rx: 3 });
      shape.append(s("title", {}, `${exact(at)}: ${words}`));
      shape.addEventListener("pointerenter", () => tell(at, until, words));
      shape.addEventListener("click", () => tell(at, until, words));
      drawing.append(shape);
    }
  }

  function packets(top) {
    drawing.append(s("line", { class: "grid", x1: 0, x2: width(), y1: top, y2: top }), s("text", { class: "soft", x: 6, y: top + LANE / 2 + 4 }, "packets"));
    let at = 0;
    const middle = top + LANE / 2;
    for (let number = 0; number < lanes.packets.length; number += 2) {
      at += lanes.packets[number];
      const code = lanes.packets[number + 1], moment = at / 1000;
      if (moment < view[0] || moment > view[1]) continue;
      const up = code & TO_SERVER;
      const kind = code & STOPPED ? "stopped" : code & ENDS ? "ends" : "";
      const words = `a packet to the ${up ? "API server" : "client"}${code & STOPPED ? ", dropped by the network" : ""}${code & ENDS ? " that ends the connection" : ""}`;
      const line = s("line", { class: `packet ${kind}`, x1: x(moment), x2: x(moment), y1: middle, y2: up ? middle - 12 : middle + 12 }, s("title", {}, `${exact(moment)}: ${words}`));
      line.addEventListener("pointerenter", () => tell(moment, null, words));
      drawing.append(line);
    }
  }

  drawing.addEventListener("wheel", (event) => {
    if (!event.ctrlKey) return;
    event.preventDefault();
    const at = view[0] + (event.offsetX - NAMES) / (width() - NAMES - 8) * (view[1] - view[0]);
    zoom(event.deltaY > 0 ? 1.3 : 1 / 1.3, at);
  }, { passive: false });
  drawing.addEventListener("pointerdown", (event) => { chosen = { at: event.clientX, view: view[0] }; });
  drawing.addEventListener("pointermove", (event) => {
    if (!chosen || !event.buttons) { chosen = null; return; }
    if (Math.abs(event.clientX - chosen.at) > 3) look(chosen.view - (event.clientX - chosen.at) / (width() - NAMES) * (view[1] - view[0]), view[1] - view[0]);
  });
  drawing.addEventListener("keydown", (event) => {
    const act = { "+": () => zoom(0.5), "=": () => zoom(0.5), "-": () => zoom(2), ArrowLeft: () => shift(-0.25), ArrowRight: () => shift(0.25), "0": () => look(whole[0], whole[1] - whole[0]) }[event.key];
    if (act) { event.preventDefault(); act(); }
  });
  new ResizeObserver(draw).observe(drawing);

  const button = (text, act) => h("button", { type: "button", onclick: act }, text);
  const around = (at) => () => look(at - 2, 14);
  const fault = lanes.lanes[3][1].find(([, , , tone]) => tone === "bad");
  const tools = h("div", { class: "tools" }, button("zoom in", () => zoom(0.5)), button("zoom out", () => zoom(2)), button("earlier", () => shift(-0.5)), button("later", () => shift(0.5)), button("all", () => look(whole[0], whole[1] - whole[0])), fault ? button("the fault", around(fault[0])) : null, lanes.touch === null ? null : button("the change", around(lanes.touch)));
  const told = lanes.lanes.flatMap(([name, marks]) => marks.map(([at, until, words]) => [at, `${exact(at)}${until === null ? "" : ` to ${exact(until)}`}, ${name}: ${words}`])).sort((one, other) => one[0] - other[0]);
  const left = lanes.packets_left_out ? h("p", { class: "hint" }, `${lanes.packets_left_out} packets in the middle are not drawn.`) : null;
  return h("div", {}, tools, drawing, caption, left, h("details", {}, h("summary", {}, "The timeline in words"), h("ol", {}, told.map(([, text]) => h("li", {}, text)))));
}
