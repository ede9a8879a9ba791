// The stream of /api/stream: what is now, once a second, and what was before.

const SAMPLES = 180; // 15 minutes, as weir keeps them
const EVENTS = 200;
const WINDOW = 5000; // ms over which rates are taken: shorter ones flicker
const SILENCE = 5000; // ms without a frame, after which the numbers are old

// Without the name and the token that the page's own address may have, with which
// fetch refuses to ask. The browser sends them all the same.
const STREAM = new URL("/api/stream", location.origin).href;

export class Feed {
  frame = null;
  samples = [];
  events = [];
  outcomes = {};
  state = "connecting"; // live, lost
  since = Date.now(); // of state
  refused = false; // weir has another token by now, and only a person can type it
  #frames = []; // of the last WINDOW
  #heard = 0;
  #source = null;
  #wait = 1000;

  constructor(changed) {
    this.changed = changed;
    this.#open();
    setInterval(() => {
      if (this.state === "live" && Date.now() - this.#heard > SILENCE) this.#to("lost");
      if (this.state !== "live") this.changed();
    }, 1000);
  }

  #open() {
    const source = (this.#source = new EventSource(STREAM));
    source.addEventListener("past", (e) => this.#past(JSON.parse(e.data)));
    source.addEventListener("now", (e) => this.#now(JSON.parse(e.data)));
    source.onerror = () => {
      this.#to("lost");
      // The browser comes again by itself after a broken connection, and not
      // after a refusal.
      if (source.readyState === EventSource.CLOSED) this.#refusal();
    };
  }

  // A source does not tell why it was refused. Accept has weir refuse as it
  // refuses a source: without a challenge for which the browser asks its user.
  async #refusal() {
    const answer = await fetch(STREAM, {method: "HEAD", headers: {Accept: "text/event-stream"}, signal: AbortSignal.timeout(5000)}).catch(() => null);
    this.refused = answer?.status === 401;
    if (this.refused) return this.changed();
    setTimeout(() => this.#open(), this.#wait);
    this.#wait = Math.min(this.#wait * 2, 30000);
  }

  #past(frame) {
    // Another version has another page.
    if (this.frame && this.frame.status.version !== frame.status.version) return location.reload();
    this.#wait = 1000;
    this.samples = frame.samples;
    this.events = frame.events;
    this.outcomes = frame.outcomes;
    this.#frames = [];
    this.#take(frame);
  }

  #now(frame) {
    // A page that reads slowly loses frames. What they held that does not come
    // again is fetched with all the rest.
    if (!append(this.samples, frame.samples, SAMPLES) || !append(this.events, frame.events, EVENTS)) {
      this.#source.close();
      return this.#open();
    }
    this.#take(frame);
  }

  #take(frame) {
    this.frame = frame;
    this.#heard = Date.now();
    this.#frames.push(frame);
    while (this.#frames.length > 2 && frame.t - this.#frames[1].t >= WINDOW) this.#frames.shift();
    this.#to("live");
    this.changed();
  }

  #to(state) {
    if (this.state !== state) {
      this.state = state;
      this.since = Date.now();
    }
  }

  // rate is how fast a counter of the status rises, a second; null while it
  // cannot be told. pick finds the counter.
  rate(pick) {
    const first = this.#frames[0];
    if (!first || first === this.frame) return null;
    const was = pick(first.status), is = pick(this.frame.status);
    if (was == null || is == null || is < was) return null;
    return (is - was) / ((this.frame.t - first.t) / 1000);
  }

  // latest is the newest sample, if it is of now.
  get latest() {
    const s = this.samples.at(-1);
    return s && this.frame && this.frame.t - s.t < 15000 ? s : null;
  }
}

// append adds what is new, and says whether none is missing.
function append(to, more, most) {
  for (const x of more) {
    const last = to.at(-1)?.n ?? 0;
    if (x.n <= last) continue;
    if (x.n !== last + 1) return false;
    to.push(x);
  }
  to.splice(0, to.length - most);
  return true;
}
