// The diagram: what is known of each state as a box, each edge as an arrow that
// is as thick as it is busy. It is laid out anew when its width changes.

import {EDGES, NODES, ROWS, STATES, stateName} from "./states.js";
import {attr, svg, text} from "./dom.js";
import {brief, count, rate, NONE} from "./format.js";

export class Diagram {
  #root;
  #nodes = {}; // name -> {box, number, more, title}
  #edges = [];
  #last = null;

  constructor(parent) {
    this.parent = parent;
    this.#root = svg("svg", {role: "img", "aria-labelledby": "states-title states-note"});
    parent.append(this.#root);
    new ResizeObserver(() => this.#layout(Math.floor(parent.clientWidth))).observe(parent);
  }

  #layout(width) {
    if (width < 200 || width === this.width) return;
    this.width = width;
    const w = Math.round(Math.min(150, Math.max(92, width * 0.24)));
    const h = width < 560 ? 46 : 52;
    const gap = width < 560 ? 38 : 36;
    const left = 1 + w / 2, right = width - 25 - w / 2;
    const columns = [left, (left + right) / 2, right];
    const height = ROWS * h + (ROWS - 1) * gap + 2;
    const nodes = {};
    for (const [name, [, c, r]] of Object.entries(NODES)) nodes[name] = {x: columns[c], y: 1 + h / 2 + r * (h + gap), w, h};
    this.#root.replaceChildren(marker());
    attr(this.#root, "viewBox", `0 0 ${width} ${height}`);
    attr(this.#root, "width", width);
    attr(this.#root, "height", height);
    attr(this.#root, "class", w < 100 ? "narrow" : null);
    const labels = [];
    this.#edges = EDGES.map((e) => {
      const path = svg("path", {d: route(e, nodes), class: e.abort ? "edge abort" : "edge", "marker-end": "url(#arrow)"});
      const title = svg("title");
      const group = svg("g", {}, path, title);
      this.#root.append(group);
      const label = svg("text", {class: "rate", ...beside(e, path, nodes, h + gap)});
      labels.push(label);
      return {...e, path, title, label};
    });
    for (const [name, n] of Object.entries(nodes)) {
      const box = svg("rect", {x: n.x - w / 2, y: n.y - h / 2, width: w, height: h, rx: 7});
      const number = svg("text", {class: "number", x: n.x, y: n.y + h / 2 - 10, "text-anchor": "middle"});
      const more = svg("tspan", {class: "more"});
      const value = svg("tspan");
      const title = svg("title");
      number.append(value, more);
      this.#root.append(svg("g", {class: "node", id: "state-" + name}, title, box,
        svg("text", {class: "name", x: n.x, y: n.y - h / 2 + 16, "text-anchor": "middle"}, NODES[name][0]), number));
      this.#nodes[name] = {box, value, more, title};
    }
    this.#root.append(...labels);
    if (this.#last) this.show(...this.#last);
  }

  // show takes groups of /api/status as one, or null where there are none, and
  // a func that gives an edge's rate.
  show(group, rateOf) {
    this.#last = [group, rateOf];
    if (!this.width) return;
    for (const name of STATES) {
      const n = this.#nodes[name], c = group && group.states[name];
      const ours = group ? (c?.ours ?? 0) : null, others = c ? c.others : 0;
      text(n.value, ours === null ? NONE : count(ours));
      text(n.more, others ? " +" + count(others) : "");
      attr(n.box.parentNode, "class", "node" + (ours ? " some" : "") + (name === "time_wait" ? " cost" : ""));
      text(n.title, `${stateName(name)}: ${ours ?? "not known"} of weir, ${others} of others`);
    }
    let opened = null, closed = null;
    const rates = {};
    for (const e of this.#edges) {
      const r = group ? rateOf(e.counted) : null;
      rates[e.counted] = r;
      const busy = r > 0;
      attr(e.path.parentNode, "class", busy ? "busy" : null);
      attr(e.path, "stroke-width", busy ? (1.25 + Math.min(3, Math.log10(1 + r) * 0.9)).toFixed(2) : 1);
      text(e.label, busy ? brief(r) + "/s" : "");
      text(e.title, `${e.counted.split(">").map(stateName).join(" to ")}, ${e.what}: ${rate(r)} a second`);
    }
    for (const [k, r] of Object.entries(rates)) {
      if (r === null) continue;
      if (k.startsWith("closed>") || k === "listen>syn_recv") opened = (opened ?? 0) + r;
      if (k.endsWith(">closed")) closed = (closed ?? 0) + r;
    }
    this.#end("begin", opened, "opened");
    this.#end("end", closed, "ended");
  }

  #end(name, r, word) {
    const n = this.#nodes[name];
    text(n.value, r === null ? NONE : brief(r) + "/s");
    text(n.more, " " + word);
    text(n.title, "CLOSED: the kernel lists no such socket");
    attr(n.box.parentNode, "class", "node void");
  }
}

function marker() {
  return svg("defs", {}, svg("marker", {id: "arrow", viewBox: "0 0 8 8", refX: 7, refY: 4, markerWidth: 8, markerHeight: 8, markerUnits: "userSpaceOnUse", orient: "auto"},
    svg("path", {d: "M0 0.8 8 4 0 7.2z", fill: "context-stroke"})));
}

// beside is where an edge's rate stands: over a line that lies, and beside one
// that stands. label is a part of the path's length; or a row, under which the
// path stands and no box is in the way.
function beside(e, path, nodes, row) {
  const long = path.getTotalLength();
  let at = long * (e.label ?? 0.5);
  if (e.under !== undefined) {
    const y = nodes.begin.y + (e.under + 0.5) * row;
    for (at = 0; at < long && path.getPointAtLength(at).y < y; at += 2);
  }
  const p = path.getPointAtLength(at), q = path.getPointAtLength(Math.min(long, at + 1));
  if (Math.abs(q.x - p.x) > Math.abs(q.y - p.y)) return {x: p.x, y: p.y - 5, "text-anchor": "middle"};
  return e.left ? {x: p.x - 6, y: p.y + 4, "text-anchor": "end"} : {x: p.x + 6, y: p.y + 4, "text-anchor": "start"};
}

// anchor is the point of "node side part".
function anchor(spec, nodes) {
  const [name, side, part] = spec.split(" ");
  const n = nodes[name], o = Number(part);
  const at = {
    t: [n.x + (o * n.w) / 2, n.y - n.h / 2], b: [n.x + (o * n.w) / 2, n.y + n.h / 2],
    l: [n.x - n.w / 2, n.y + (o * n.h) / 2], r: [n.x + n.w / 2, n.y + (o * n.h) / 2],
  }[side];
  return {x: at[0], y: at[1], upright: side === "t" || side === "b"};
}

const BEND = 10; // radius of a bend

function route(e, nodes) {
  const a = anchor(e.from, nodes), b = anchor(e.to, nodes);
  switch (e.via) {
    case "line":
      return bent([a, b]);
    case "arc":
      return bent([a, a.upright ? {x: a.x, y: b.y} : {x: b.x, y: a.y}, b]);
    case "channel": {
      const x = (a.x + between(e, nodes)) / 2;
      return bent([a, {x, y: a.y}, {x, y: b.y}, b]);
    }
    case "round":
      return bent([a, {x: a.x + 18, y: a.y}, {x: a.x + 18, y: b.y}, b]);
  }
}

// between is the near side of the column after the one that e leaves.
function between(e, nodes) {
  const from = nodes[e.from.split(" ")[0]];
  const next = Object.values(nodes).map((n) => n.x - n.w / 2).filter((x) => x > from.x);
  return Math.min(...next);
}

// bent is a path through points with its corners rounded.
function bent(points) {
  let d = `M${points[0].x} ${points[0].y}`;
  for (let i = 1; i < points.length - 1; i++) {
    const p = points[i], r = Math.min(BEND, far(points[i - 1], p) / 2, far(p, points[i + 1]) / 2);
    const a = toward(p, points[i - 1], r), b = toward(p, points[i + 1], r);
    d += `L${a.x} ${a.y}Q${p.x} ${p.y} ${b.x} ${b.y}`;
  }
  const end = points.at(-1);
  return d + `L${end.x} ${end.y}`;
}

const far = (a, b) => Math.hypot(a.x - b.x, a.y - b.y);
const toward = (p, q, r) => ({x: p.x + ((q.x - p.x) * r) / (far(p, q) || 1), y: p.y + ((q.y - p.y) * r) / (far(p, q) || 1)});
