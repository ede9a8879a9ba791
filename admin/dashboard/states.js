// The states of RFC 9293, figure 5, and the edges between them, as data: where
// each is drawn, and what it is called in /api/status.

// name: [text, column (0 left to 2 right), row]
export const NODES = {
  begin: ["CLOSED", 1, 0],
  listen: ["LISTEN", 0, 1],
  syn_sent: ["SYN-SENT", 2, 1],
  syn_recv: ["SYN-RECEIVED", 0, 2],
  established: ["ESTABLISHED", 1, 2],
  fin_wait1: ["FIN-WAIT-1", 0, 3],
  close_wait: ["CLOSE-WAIT", 2, 3],
  fin_wait2: ["FIN-WAIT-2", 0, 4],
  closing: ["CLOSING", 1, 4],
  last_ack: ["LAST-ACK", 2, 4],
  time_wait: ["TIME-WAIT", 1, 5],
  end: ["CLOSED", 2, 5], // the same state again: the way back would cross all others
};

export const ROWS = 6;

// STATES are those that the kernel lists, in the order of a life.
export const STATES = Object.keys(NODES).filter((n) => n !== "begin" && n !== "end");

// An edge leaves one side of a node and enters one of another: t, b, l or r,
// at a part of that side from its middle, -1 to 1. via is the shape: a straight
// line; an arc with one bend; or the channel between two columns. label, under
// and left say where its rate stands.
//
// counted is the key in edges. Dashed ones are no part of RFC 9293's figure: they
// are resets, by which weir ends a connection that has nothing more to say.
export const EDGES = [
  {counted: "closed>listen", from: "begin l -.45", to: "listen t -.25", via: "arc", what: "passive open"},
  {counted: "listen>closed", from: "listen t .35", to: "begin l .45", via: "arc", what: "close"},
  {counted: "closed>syn_sent", from: "begin r -.45", to: "syn_sent t .25", via: "arc", what: "active open: a dial", label: 0.35},
  {counted: "syn_sent>closed", from: "syn_sent t -.35", to: "begin r .45", via: "arc", what: "a dial that failed", label: 0.65},
  {counted: "listen>syn_sent", from: "listen r -.3", to: "syn_sent l -.3", via: "line", what: "send; no system does it"},
  {counted: "listen>syn_recv", from: "listen b .3", to: "syn_recv t .3", via: "line", what: "a client's SYN"},
  {counted: "syn_recv>listen", from: "syn_recv t -.3", to: "listen b -.3", via: "line", what: "reset", left: true},
  {counted: "syn_sent>syn_recv", from: "syn_sent l .5", to: "syn_recv r -.7", via: "line", what: "both open at once"},
  {counted: "syn_recv>established", from: "syn_recv r .3", to: "established l .3", via: "line", what: "accepted"},
  {counted: "syn_sent>established", from: "syn_sent b 0", to: "established r -.3", via: "arc", what: "connected", label: 0.6},
  {counted: "syn_recv>fin_wait1", from: "syn_recv b 0", to: "fin_wait1 t 0", via: "line", what: "close"},
  {counted: "established>fin_wait1", from: "established b -.5", to: "fin_wait1 r -.4", via: "arc", what: "weir's FIN first", label: 0.7},
  {counted: "established>close_wait", from: "established b .5", to: "close_wait l -.4", via: "arc", what: "the peer's FIN first", label: 0.75},
  {counted: "established>closed", from: "established r .5", to: "end l -.5", via: "channel", what: "reset", abort: true, under: 2},
  {counted: "fin_wait1>fin_wait2", from: "fin_wait1 b 0", to: "fin_wait2 t 0", via: "line", what: "the FIN's ACK"},
  {counted: "fin_wait1>closing", from: "fin_wait1 r .1", to: "closing t -.4", via: "arc", what: "both close at once", label: 0.8},
  {counted: "fin_wait1>time_wait", from: "fin_wait1 r .6", to: "time_wait l -.5", via: "channel", what: "FIN and ACK in one", under: 3},
  {counted: "fin_wait2>time_wait", from: "fin_wait2 b 0", to: "time_wait l .4", via: "arc", what: "the peer's FIN", label: 0.7},
  {counted: "closing>time_wait", from: "closing b 0", to: "time_wait t 0", via: "line", what: "the FIN's ACK"},
  {counted: "close_wait>last_ack", from: "close_wait b 0", to: "last_ack t 0", via: "line", what: "weir's FIN second", left: true},
  {counted: "close_wait>closed", from: "close_wait r 0", to: "end r 0", via: "round", what: "quiet close", abort: true, under: 3, left: true},
  {counted: "last_ack>closed", from: "last_ack b 0", to: "end t 0", via: "line", what: "the FIN's ACK"},
  {counted: "time_wait>closed", from: "time_wait r .4", to: "end l .4", via: "line", what: "after 60 s"},
];

const WORDS = {closed: "CLOSED", bound: "BOUND"};
export const stateName = (s) => NODES[s]?.[0] ?? WORDS[s] ?? s.toUpperCase();
