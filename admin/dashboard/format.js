// How numbers are written. Each keeps its width as far as it can, so that
// nothing jumps while it changes.

export const NONE = "\u2013"; // what is not known

// count: 999, 1.2k, 34.5k, 678k, 1.2M
export function count(n) {
  if (n == null || !isFinite(n)) return NONE;
  for (const [size, unit] of [[1e9, "G"], [1e6, "M"], [1e3, "k"]]) {
    if (Math.abs(n) >= size * 0.9995) {
      const v = n / size;
      return (v < 99.95 ? v.toFixed(1) : v.toFixed(0)) + unit;
    }
  }
  return String(Math.round(n));
}

// whole: 12,345
export const whole = (n) => (n == null ? NONE : n.toLocaleString("en-US"));

// rate: 0, 0.2, 4.2, 842, 12,345, 123k
export function rate(n) {
  if (n == null || !isFinite(n)) return NONE;
  if (n === 0) return "0";
  if (n < 0.05) return "<0.1";
  return n < 9.95 ? n.toFixed(1) : n < 99999.5 ? whole(Math.round(n)) : count(n);
}

// brief is rate where there is little room: 1.2k
export const brief = (n) => (n >= 999.5 ? count(n) : rate(n));

// latency of seconds: 85 us, 1.24 ms, 320 ms, 2.4 s
export function latency(s) {
  if (s == null || !isFinite(s) || s <= 0) return NONE;
  if (s < 0.9995e-3) return (s * 1e6).toFixed(0) + " \u00b5s";
  if (s < 0.9995) return digits(s * 1e3) + " ms";
  return digits(s) + " s";
}

const digits = (v) => (v < 9.995 ? v.toFixed(2) : v < 99.95 ? v.toFixed(1) : v.toFixed(0));

// span of seconds: 8 s, 4 min, 3 h 20 min, 12 d
export function span(s) {
  if (s == null || !isFinite(s)) return NONE;
  s = Math.floor(s);
  if (s < 60) return s + " s";
  if (s < 3600) return Math.floor(s / 60) + " min";
  const h = Math.floor(s / 3600);
  if (h < 48) return h + " h " + Math.floor((s % 3600) / 60) + " min";
  return Math.floor(h / 24) + " d";
}

// percent of a part, 0 to 1, never rounded up to all.
export function percent(part, places = 0) {
  if (part == null || !isFinite(part)) return NONE;
  const step = 10 ** places;
  const v = Math.floor(part * 100 * step + 1e-9) / step;
  return v.toFixed(v === 100 ? 0 : places) + " %";
}

export function clock(when) {
  return new Date(when).toLocaleTimeString("en-GB");
}
