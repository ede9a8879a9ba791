// Lines over the last 15 minutes. A chart says its newest values in words; a
// pointer, or the arrow keys, reads older ones.

import {attr, el, svg, text} from "./dom.js";
import {clock} from "./format.js";

const MINUTES = [3, 5, 10, 15]; // what a chart may show
const HEIGHT = 132, TOP = 6, BOTTOM = 18;
const GAP = 12e3; // samples that are further apart are not joined

// minutes is how far back there is something to see: a weir that has just begun
// need not show an empty quarter of an hour.
export function minutes(samples, now) {
  const age = (now - (samples[0]?.t ?? now)) / 60e3;
  return MINUTES.find((m) => m >= age) ?? MINUTES.at(-1);
}

export class Chart {
  #svg = svg("svg", {height: HEIGHT});
  #legend = el("ul", {class: "legend"});
  #at = null; // ms before now that is read, or null for now
  #drawn = null;
  #asked = false; // for another time, since it was drawn

  constructor(parent) {
    this.title = el("h2");
    this.when = el("span", {class: "when quiet num"});
    this.plot = el("div", {class: "plot", tabindex: "0", role: "slider", "aria-valuemax": 0});
    this.plot.append(this.#svg);
    this.root = el("figure", {class: "card chart"}, el("div", {class: "row"}, this.title, this.when), this.plot, this.#legend);
    parent.append(this.root);
    new ResizeObserver(() => this.#drawn && this.show(...this.#drawn)).observe(this.plot);
    this.plot.addEventListener("pointermove", (e) => this.#read((this.width - (e.clientX - this.plot.getBoundingClientRect().left)) / this.width * this.span));
    this.plot.addEventListener("pointerleave", () => this.#read(null));
    this.plot.addEventListener("blur", () => this.#read(null));
    this.plot.addEventListener("keydown", (e) => {
      const step = {ArrowLeft: 5e3, ArrowRight: -5e3, PageUp: 60e3, PageDown: -60e3}[e.key];
      if (step) this.#read((this.#at ?? 0) + step);
      else if (e.key === "Escape") this.#read(null);
      else return;
      e.preventDefault();
    });
  }

  #read(at) {
    this.#at = at === null || at < 0 ? null : Math.min(at, this.span);
    this.#asked = true;
    if (this.#drawn) this.show(...this.#drawn);
  }

  // show draws lines of {name, tone, of: sample -> number, alarm: whether it
  // should be zero} over samples. write
  // is how a number is written; floor is the least top of the scale.
  show(title, samples, lines, write, floor, now) {
    this.#drawn = [title, samples, lines, write, floor, now];
    const width = (this.width = Math.floor(this.plot.clientWidth));
    if (width < 80) return;
    text(this.title, title);
    const back = minutes(samples, now), span = (this.span = back * 60e3), from = now - span;
    const shown = samples.filter((s) => s.t >= from);
    let most = floor;
    for (const s of shown) for (const l of lines) most = Math.max(most, l.of(s) ?? 0);
    most = nice(most);
    const x = (t) => ((t - from) / span) * width;
    const y = (v) => TOP + (1 - v / most) * (HEIGHT - TOP - BOTTOM);
    const parts = [];
    for (const part of [0, 0.5, 1]) {
      parts.push(svg("line", {class: "grid", x1: 0, x2: width, y1: y(most * part), y2: y(most * part)}));
      if (part) parts.push(svg("text", {class: "tick", x: 0, y: y(most * part) + 11}, write(most * part).replace(/\.0+(?!\d)/, "")));
    }
    for (const [m, anchor] of [[back, "start"], ...(back === 15 ? [[10, "middle"], [5, "middle"]] : back === 10 ? [[5, "middle"]] : []), [0, "end"]]) {
      parts.push(svg("text", {class: "tick", x: x(now - m * 60e3), y: HEIGHT - 3, "text-anchor": anchor}, m ? `\u2212${m} min` : "now"));
    }
    for (const l of lines) {
      let d = "", last = -Infinity;
      shown.forEach((s, i) => {
        const v = l.of(s);
        // What should be nothing and is nothing is not drawn.
        const silent = l.alarm && !v && !(i > 0 && l.of(shown[i - 1])) && !(i + 1 < shown.length && l.of(shown[i + 1]));
        if (v == null || silent) return;
        const p = `${x(s.t).toFixed(1)} ${y(v).toFixed(1)}`;
        d += s.t - last > GAP ? `M${p}h.01` : `L${p}`;
        last = s.t;
      });
      if (d) parts.push(svg("path", {class: "line", "data-tone": l.tone, d}));
    }
    const read = this.#pick(shown, now);
    if (read && this.#at !== null) parts.push(svg("line", {class: "cursor", x1: x(read.t), x2: x(read.t), y1: TOP, y2: HEIGHT - BOTTOM}));
    attr(this.#svg, "width", width);
    attr(this.#svg, "viewBox", `0 0 ${width} ${HEIGHT}`);
    this.#svg.replaceChildren(...parts);
    text(this.when, this.#at === null || !read ? "" : clock(read.t));
    const values = lines.map((l) => `${l.name} ${write(read ? l.of(read) : null)}`);
    // Who stands on it is told what was asked for, and not each sample as it comes.
    if (this.#asked || document.activeElement !== this.plot) {
      attr(this.plot, "aria-label", title);
      attr(this.plot, "aria-valuemin", -span / 1000);
      attr(this.plot, "aria-valuenow", -(this.#at ?? 0) / 1000);
      attr(this.plot, "aria-valuetext", `${this.#at === null ? "now" : clock(read?.t ?? now)}: ${values.join(", ")}`);
    }
    this.#asked = false;
    this.#legend.replaceChildren(...lines.map((l) => el("li", {"data-tone": l.tone}, el("span", {}, l.name), el("b", {class: "num"}, write(read ? l.of(read) : null)))));
  }

  #pick(shown, now) {
    if (this.#at === null) return shown.at(-1);
    let best;
    for (const s of shown) if (!best || Math.abs(s.t - (now - this.#at)) < Math.abs(best.t - (now - this.#at))) best = s;
    return best;
  }
}

// nice is the next of 1, 2, 5, 10, ... so that a scale changes seldom.
function nice(v) {
  if (!(v > 0)) return 1;
  const p = 10 ** Math.floor(Math.log10(v));
  return [1, 2, 5, 10].find((n) => n * p >= v * 0.999) * p;
}

// spark is a small line of numbers against a bound, one for each unit of width,
// newest at the right.
export function spark(root, values, most, width, height) {
  const points = values.map((v, i) => `${(width - values.length + 1 + i).toFixed(1)} ${(height - 1 - (height - 2) * Math.min(1, v / (most || 1))).toFixed(1)}`);
  attr(root, "d", points.length ? "M" + points.join("L") : "");
}
