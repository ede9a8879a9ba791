// The page: one stream comes in, and what it says is drawn once for each frame,
// and only while somebody can see it.

import {Chart} from "./charts.js";
import {Diagram} from "./diagram.js";
import {$, attr, el, list, rows, text} from "./dom.js";
import {Feed} from "./feed.js";
import {count, latency, rate, span, whole} from "./format.js";
import {backends, banner, events, tables, tiles} from "./panels.js";
import {EDGES, STATES, stateName} from "./states.js";

const diagram = new Diagram($("diagram"));
const charts = [0, 1, 2].map(() => new Chart($("charts")));
const scope = $("scope");

// What is shown is in the address: it stays after a reload, and can be sent on.
function asked() {
  try {
    return decodeURIComponent(location.hash.slice(1)) || "listeners/";
  } catch { // a % that stands for nothing
    return "listeners/";
  }
}

let chosen = asked();
scope.addEventListener("change", () => {
  chosen = scope.value;
  history.replaceState(null, "", "#" + encodeURIComponent(chosen));
  draw();
});
addEventListener("hashchange", () => {
  chosen = asked();
  draw();
});

let drawing = false;
const feed = new Feed(() => {
  link(); // a tab that is hidden has a title all the same
  if (drawing) return;
  drawing = true;
  requestAnimationFrame(() => {
    drawing = false;
    draw();
  });
});

function draw() {
  banner(feed);
  if (!feed.frame) return;
  const st = feed.frame.status;
  text($("version"), st.version);
  text($("uptime"), "up " + span(st.uptime_seconds));
  options(st);
  tiles(feed);
  states(st);
  backends(feed);
  lines();
  tables(feed);
  events(feed);
}

// link says how fresh the page is.
function link() {
  const lost = feed.state === "lost";
  text($("link"), feed.refused ? "logged out" : lost ? `no contact for ${span((Date.now() - feed.since) / 1000)}` : feed.state);
  attr($("link"), "data-tone", {live: "good", lost: "bad"}[feed.state] ?? "idle");
  document.body.classList.toggle("stale", lost);
  document.title = (lost ? "\u2013 " : worst()) + "weir";
}

// worst marks the tab, which is all that is seen of a page behind others.
function worst() {
  const bad = (feed.frame?.status.backends ?? []).filter((b) => b.mode.now !== "normal");
  return bad.length ? `${bad[0].name} ${bad[0].mode.now} \u00b7 ` : "";
}

function options(st) {
  const all = [["listeners/", "all listeners"], ...(st.listeners ?? []).map((l) => ["listeners/" + l.name, "listener " + l.name]),
    ["backends/", "all backends"], ...(st.backends ?? []).map((b) => ["backends/" + b.name, "backend " + b.name])];
  list(scope, all, (o) => o[0], ([value, name]) => el("option", {value}, name));
  if (!all.some(([v]) => v === chosen)) chosen = "listeners/";
  if (scope.value !== chosen) scope.value = chosen;
}

const split = () => {
  const at = chosen.indexOf("/");
  return [chosen.slice(0, at), chosen.slice(at + 1)];
};

// chosenOf are the groups of sockets that are looked at.
function chosenOf(st) {
  const [side, name] = split();
  return (st.sockets?.[side] ?? []).filter((g) => !name || g.name === name);
}

// together adds up groups, or gives null for none.
function together(groups) {
  if (!groups.length) return null;
  const all = {states: {}, edges: {}, closes: {}, avoided: 0};
  for (const g of groups) {
    for (const [s, owners] of Object.entries(g.states ?? {})) {
      const to = (all.states[s] ??= {ours: 0, others: 0});
      for (const [owner, n] of Object.entries(owners)) to[owner === "ours" ? "ours" : "others"] += n;
    }
    for (const [e, n] of Object.entries(g.edges ?? {})) all.edges[e] = (all.edges[e] ?? 0) + n;
    for (const [e, n] of Object.entries(g.closes ?? {})) all.closes[e] = (all.closes[e] ?? 0) + n;
    all.avoided += g.time_wait_avoided ?? 0;
  }
  return all;
}

// CLOSES are the ways a connection ended, and the order in which they are shown.
const CLOSES = {us: "weir first", peer: "peer first", quiet: "quiet", half_closed: "half-closed", reset: "reset", aborted: "aborted", lingering: "lingering"};
const ways = (closes) => [...Object.keys(CLOSES).filter((k) => k in closes), ...Object.keys(closes).filter((k) => !(k in CLOSES))];

function states(st) {
  const [side, name] = split();
  text($("states-of"), name ? `${side.slice(0, -1)} ${name}` : `all ${side}`);
  const group = together(chosenOf(st));
  const rateOf = (key) => feed.rate((s) => (s.sockets ? (together(chosenOf(s))?.edges[key] ?? 0) : null));
  diagram.show(group, rateOf);

  const s = st.sockets;
  text($("states-note"), !s || s.source === "none" ? "The states of sockets cannot be read on this system."
    : s.error ? "The last list of sockets failed: " + s.error
    : `Sockets of this process, as the kernel lists them every ${span(Math.max(1, s.interval_seconds))}; +n are other processes\u2019 on the same address. Dashed: resets.`);
  const facts = group ? [["TIME-WAIT avoided", whole(group.avoided)], ...ways(group.closes).map((k) => ["Closed: " + (CLOSES[k] ?? k), whole(group.closes[k])])] : [];
  list($("closes"), facts, (f) => f[0], ([n]) => el("div", {}, el("dt", {}, n), el("dd", {class: "num"})), (e, [, v]) => text(e.lastChild, v));

  const more = Object.keys(group?.states ?? {}).filter((k) => !STATES.includes(k));
  rows($("states-table"), group ? [...STATES, ...more] : [], (k) => k, (k) => [stateName(k), whole(group.states[k]?.ours ?? 0), whole(group.states[k]?.others ?? 0)], [1, 2], "Not known here.");
  const known = EDGES.map((e) => e.counted), keys = group ? [...known, ...Object.keys(group.edges).filter((k) => !known.includes(k))] : [];
  rows($("edges-table"), keys, (k) => k, (k) => [...k.split(">").map(stateName), rate(rateOf(k)), whole(group.edges[k] ?? 0)], [2, 3], "Not known here.");
}

// lines are the charts of what is chosen.
function lines() {
  const [side, name] = split();
  const now = feed.frame.t, all = feed.samples;
  const show = (i, title, series, write, floor) => charts[i].show(title, all, series, write, floor, now);
  if (side === "listeners") {
    const of = (key) => (s) => (name ? s.listeners[name] : s.total)?.[key];
    show(0, "Requests a second", [{name: "requests", tone: "main", of: of("requests")}, {name: "shed", tone: "warn", of: of("shed"), alarm: true}, {name: "errors", tone: "bad", of: of("errors"), alarm: true}], rate, 10);
    show(1, "Latency", [{name: "p99", tone: "main", of: of("p99")}, {name: "p50", tone: "second", of: of("p50")}], latency, 0.001);
    show(2, "Clients", [{name: "connected", tone: "main", of: of("clients")}], count, 10);
    return;
  }
  const of = (key) => (s) => {
    if (name) return s.backends[name]?.[key];
    const each = Object.values(s.backends);
    return each.length ? each.reduce((n, b) => n + b[key], 0) : null;
  };
  show(0, "Connections", [{name: "leased", tone: "main", of: of("leased")}, {name: "open", tone: "second", of: of("open")}], count, 10);
  show(1, "Waiting for a connection", [{name: "waiting", tone: "warn", of: of("waiting"), alarm: true}], count, 10);
  show(2, "Dials a second", [{name: "dials", tone: "main", of: of("dials")}], rate, 1);
}
