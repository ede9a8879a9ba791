// The parts of the page that are words and numbers.

import {$, attr, el, list, rows, svg, text} from "./dom.js";
import {minutes, spark} from "./charts.js";
import {clock, count, latency, percent, rate, span, whole, NONE} from "./format.js";

const sum = (o) => Object.values(o ?? {}).reduce((a, b) => a + b, 0);

// TONES of modes: how much a client feels of each.
export const TONES = {normal: "good", paced: "idle", queueing: "warn", shedding: "warn", refusing: "bad", open: "bad"};

// made is the dials that gave a connection, reserved ones too.
const made = (b) => b.dials?.ok ?? 0;
const reuse = (served, dials) => (served > 0 ? Math.max(0, 1 - dials / served) : null);

// lastError is why the last dial failed, or why a MySQL server was never reached.
const lastError = (b) => b.last_error || b.mysql?.server_error;

// dialsFail: none can be made, or the last could not and there is no other.
const dialsFail = (b) => Boolean(b.hold_down || (lastError(b) && b.idle + b.leased === 0));

// ago is how old that is, where it is not new.
const ago = (b) => (b.last_error_seconds >= 1 ? `, the last ${span(b.last_error_seconds)} ago` : "");

export function tiles(feed) {
  const st = feed.frame.status, now = feed.latest?.total;
  const all = (pick) => feed.rate((s) => (s.listeners ?? []).reduce((n, l) => n + pick(l), 0));
  const outcomes = (kind) => (l) => {
    let n = 0;
    for (const of of Object.values(l.requests ?? {})) for (const [o, v] of Object.entries(of)) if (feed.outcomes[o] === kind && o !== "max_clients") n += v;
    return n;
  };
  let served = 0, dials = 0, ports = null;
  for (const b of st.backends ?? []) {
    served += b.served;
    dials += made(b);
  }
  for (const g of st.sockets?.backends ?? []) for (const p of g.ports ?? []) if (!ports || p.headroom < ports.headroom) ports = p;
  // The first frame has no difference yet, but weir's own last sample.
  const errors = all(outcomes("error")) ?? now?.errors, shed = all((l) => outcomes("shed")(l) + (l.refused_full ?? 0)) ?? now?.shed;
  const clients = (st.listeners ?? []).reduce((n, l) => n + l.clients, 0);
  const kernel = st.sockets?.kernel;
  const left = ports?.seconds_left;
  const items = [
    ["Requests/s", rate(all((l) => sum(Object.values(l.requests ?? {}).map(sum))) ?? now?.requests), ""],
    ["p99", latency(now?.p99), "p50 " + latency(now?.p50)],
    ["Errors/s", rate(errors), "", errors > 0 ? "bad" : null],
    ["Shed/s", rate(shed), "", shed > 0 ? "warn" : null],
    ["Clients", count(clients), ""],
    ["Reuse", percent(reuse(served, dials), 2), whole(dials) + " dials"],
    ["TIME-WAIT", kernel ? count(kernel.time_wait) : NONE, "in this namespace"],
    ["Ports left", ports ? percent(ports.headroom) : NONE, !ports ? "" : left == null ? "no end in sight" : "for " + span(left), ports && (ports.headroom < 0.15 || left != null) ? "bad" : null],
  ];
  list($("tiles"), items, (i) => i[0], ([name]) => el("div", {class: "tile"}, el("span", {class: "label"}, name), el("b", {class: "num"}), el("small", {class: "num"})), (e, [, value, more, tone]) => {
    text(e.children[1], value);
    text(e.children[2], more);
    attr(e, "data-tone", tone);
  });
}

export function banner(feed) {
  const status = feed.frame?.status ?? {}, lines = [];
  if (feed.refused) lines.push(["bad", "login", "weir has another token by now. Load this page again, and give the new one as the password."]);
  if (status.draining) lines.push(["warn", "draining", "Draining: no new clients are accepted, and weir stops when the last one has been served."]);
  else for (const why of status.not_accepting ?? []) lines.push(["bad", "accept:" + why, "Not accepting: " + why]);
  for (const b of status.backends ?? []) {
    const m = b.mode;
    // Numbers that change would be read out again and again.
    if (dialsFail(b)) lines.push(["bad", b.name + " dials", `${b.name}: dials fail`]);
    if (m.now === "normal") continue;
    lines.push([TONES[m.now], b.name + m.now, `${b.name} is ${m.now}` + (m.by_hand ? ", set by hand" : m.cause ? ", entered at: " + m.cause : "")]);
  }
  list($("banner"), lines, (l) => l[1], ([tone]) => el("p", {class: "banner", "data-tone": tone}), (e, [, , line]) => text(e, line));
}

export function backends(feed) {
  const st = feed.frame.status;
  const bs = st.backends ?? [];
  const home = $(bs.length > 3 ? "wide" : "side");
  if ($("backends").parentNode !== home) home.prepend($("backends"));
  list($("backends"), bs, (b) => b.name, backendCard, (card, b) => {
    const p = card.parts, m = b.mode;
    text(p.about, `${b.protocol}, ${b.address}`);
    text(p.mode, m.now);
    attr(p.mode, "data-tone", TONES[m.now]);
    const change = feed.events.findLast((e) => e.message === "mode changed" && e.attrs.some(([k, v]) => k === "backend" && v === b.name));
    const to = change && Object.fromEntries(change.attrs);
    text(p.trouble, dialsFail(b) ? "dials fail" : "");
    text(p.since, `for ${span(m.seconds)}` + (m.by_hand ? ", set by hand" : m.now !== "normal" && m.cause ? ", entered at: " + m.cause : to ? `, last ${to.from} \u2192 ${to.to} at ${clock(change.time)}` : ""));
    const bound = Math.max(b.max_open, b.open, 1);
    for (const [key, n] of [["leased", b.leased], ["idle", b.idle], ["dialing", b.dialing]]) p[key].style.width = (100 * n) / bound + "%";
    attr(p.bar, "aria-label", `${b.leased} leased, ${b.idle} idle, ${b.dialing} dialing, of at most ${b.max_open}`);
    const dials = made(b);
    const waiting = b.waiting > 0 ? "warn" : null;
    const facts = [
      ["Open", `${b.open} of ${b.max_open}`], ["Leased", b.leased, "leased"], ["Idle", b.idle, "idle"], ["Dialing", b.dialing, "dialing"], ["Waiting", b.waiting, null, waiting],
      ["Wait p99", latency(b.wait_p99_seconds)], ["Reuse", percent(reuse(b.served, dials), 2)], ["Dials/s", rate(feed.rate((s) => sum((s.backends ?? []).find((o) => o.name === b.name)?.dials)) ?? feed.latest?.backends?.[b.name]?.dials)],
      ["In flight", b.in_flight_max ? "\u2264 " + b.in_flight_max : "no limit"],
    ];
    if (b.mysql) facts.push(["Held silent", b.mysql.idle_attached], ["Pinned", sum(b.mysql.pinned)]);
    list(p.facts, facts, (f) => f[0], ([name, , key]) => el("div", {}, el("dt", {"data-key": key}, name), el("dd", {class: "num"})), (e, [, value, , tone]) => {
      text(e.lastChild, String(value ?? NONE));
      attr(e.lastChild, "data-tone", tone);
    });
    // The last error stays in the status until a dial does not fail; it is news only without a connection.
    const problem = dialsFail(b) ? `Dials fail${ago(b)}: ${lastError(b) ?? NONE}` : m.breaker && m.breaker !== "closed" ? `Breaker ${m.breaker}, asked again in ${span(m.breaker_retry_seconds)}${b.last_error ? ": " + b.last_error : ""}` : "";
    text(p.problem, problem);
    p.problem.hidden = !problem;
    const past = feed.samples.map((s) => s.backends?.[b.name]).filter(Boolean);
    const back = minutes(feed.samples, feed.frame.t), wide = back * 12; // samples
    attr(p.line, "viewBox", `0 0 ${wide} 30`);
    text(p.past, `leased, ${back} min`);
    spark(p.spark, past.map((s) => s.leased), bound, wide, 26);
    list(p.modes, modeRuns(past, wide), (r) => r.at + r.mode, (r) => svg("rect", {y: 27, height: 3, "data-tone": TONES[r.mode]}), (e, r) => {
      attr(e, "x", r.at);
      attr(e, "width", r.length);
    });
  });
  if (!bs.length) list($("backends"), [{name: ""}], () => "", () => el("p", {class: "card empty"}, "No backend is configured."));
}

// modeRuns are the times of other modes than normal, as parts of the spark line.
function modeRuns(past, wide) {
  const runs = [];
  past.forEach((s, i) => {
    const at = wide - past.length + i, last = runs.at(-1);
    if (s.mode === "normal") return;
    if (last && last.mode === s.mode && last.at + last.length === at) last.length++;
    else runs.push({at, length: 1, mode: s.mode});
  });
  return runs;
}

function backendCard(b) {
  const part = (name, ...more) => el(name, ...more);
  const p = {
    about: part("span", {class: "quiet"}), mode: part("span", {class: "pill"}), trouble: part("span", {class: "pill", "data-tone": "bad"}), since: part("p", {class: "quiet since num"}), past: part("p", {class: "quiet past"}),
    leased: part("i", {class: "leased"}), idle: part("i", {class: "idle"}), dialing: part("i", {class: "dialing"}),
    facts: part("dl", {class: "facts"}), problem: part("p", {class: "problem"}),
    spark: svg("path", {class: "line"}), modes: svg("g"),
  };
  p.bar = part("div", {class: "bar", role: "img"}, p.leased, p.idle, p.dialing);
  p.line = svg("svg", {class: "spark", preserveAspectRatio: "none", role: "img", "aria-label": "leased connections and modes over the last minutes"}, p.spark, p.modes);
  const card = part("article", {class: "card backend", "aria-label": "backend " + b.name},
    part("div", {class: "row"}, part("h3", {}, b.name), p.about, part("span", {class: "pills"}, p.trouble, p.mode)), p.since, p.bar, p.past, p.line, p.problem, p.facts);
  card.parts = p;
  return card;
}

export function tables(feed) {
  const st = feed.frame.status;
  rows($("listeners"), st.listeners ?? [], (l) => l.name, (l) => {
    const s = feed.latest?.listeners?.[l.name];
    return [l.name, `${l.protocol} ${(l.addresses ?? []).join(", ")}`, l.accepting ? "yes" : {text: "no", tone: "bad"},
      {text: count(l.queued), tone: l.queue_max && l.queued * 2 > l.queue_max ? "warn" : null}, count(l.clients),
      rate(s?.requests), {text: rate(s?.errors), tone: s?.errors > 0 ? "bad" : null}, {text: rate(s?.shed), tone: s?.shed > 0 ? "warn" : null}, latency(s?.p50), latency(s?.p99)];
  }, [3, 4, 5, 6, 7, 8, 9], "No listener is configured.");

  const ports = [];
  for (const g of st.sockets?.backends ?? []) for (const p of g.ports ?? []) ports.push({...p, name: g.name});
  // Those that run short come first; the others keep their places.
  ports.sort((a, b) => Math.min(a.headroom, 0.5) - Math.min(b.headroom, 0.5));
  rows($("ports"), ports, (p) => [p.name, p.source, p.endpoint].join(" "), (p) => [
    p.name, (p.source ? p.source + " \u2192 " : "") + p.endpoint, count(p.in_use),
    {text: count(p.time_wait_ours + p.time_wait_other), title: `${p.time_wait_ours} of weir, ${p.time_wait_other} of others`},
    {text: `${count(p.free)} (${percent(p.headroom)})`, tone: p.headroom < 0.15 ? "bad" : p.headroom < 0.5 ? "warn" : null},
    p.seconds_left == null ? {text: "no end", title: "no end in sight"} : {text: span(p.seconds_left), tone: "bad"},
  ], [2, 3, 4, 5], "Not known here.");

  const clients = [];
  for (const g of st.sockets?.listeners ?? []) for (const c of g.top_clients ?? []) clients.push({...c, name: g.name});
  clients.sort((a, b) => b.sockets - a.sockets || a.address.localeCompare(b.address));
  rows($("clients"), clients.slice(0, 10), (c) => c.name + " " + c.address, (c) => [c.address, c.name, count(c.sockets)], [2], "No client is connected.");
}

export function events(feed) {
  const shown = feed.events.slice(-60).reverse();
  list($("events"), shown, (e) => e.n + e.time, (e) => el("li", {"data-tone": {WARN: "warn", ERROR: "bad"}[e.level]},
    el("time", {class: "num", datetime: e.time, title: new Date(e.time).toLocaleString("en-GB")}, clock(e.time)), el("span", {class: "level"}, e.level.toLowerCase()),
    el("span", {}, e.message, ...e.attrs.map(([k, v]) => el("span", {class: "attr"}, el("i", {}, k), " " + v)))));
  if (!shown.length) list($("events"), [0], () => "", () => el("li", {class: "empty"}, "Nothing yet."));
}
