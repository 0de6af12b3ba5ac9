// Draws every span of a run on a canvas: by time, or as a flame whose widths are what the spans cost. Reads what
// packing.py writes. Only rectangles that can be seen are drawn, and of those thinner than a pixel one for each pixel.
const COLUMNS = [
  ["start", Int32Array], ["length", Int32Array], ["up", Int32Array], ["tokens", Int32Array], ["cost", Int32Array],
  ["ordinal", Uint16Array], ["label", Uint16Array], ["kind", Uint8Array], ["status", Uint8Array],
];
const KIND_COLOURS = {
  completion: "#6d6af0", turn: "#9aa4b8", model: "#17a398", exec: "#e8a33d", tool: "#d95d9c", other: "#a3a3a3",
};
const SCALE = [[214, 226, 255], [122, 162, 247], [124, 92, 214], [214, 69, 127], [245, 158, 11]];
const FAILED = "#e5484d", SHORT = "#d18b14", ERROR = 2, FELL_SHORT = 3;
const AXIS = 24, ROW = 22, THIN = 5, LANES = 400, NEAREST = 1e-7, LOW = 160, HIGH = 470;

async function unpack(bytes) {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const size = view.getUint32(0, true);
  const head = JSON.parse(new TextDecoder().decode(bytes.subarray(4, 4 + size)));
  const stream = new Blob([bytes.subarray(4 + size)]).stream().pipeThrough(new DecompressionStream("deflate"));
  const planes = new Uint8Array(await new Response(stream).arrayBuffer());
  const spans = {count: head.count, head};
  let at = 0;
  for (const [name, Type] of COLUMNS) {
    const width = Type.BYTES_PER_ELEMENT, column = new Uint8Array(head.count * width);
    for (let plane = 0; plane < width; plane++)
      for (let i = 0; i < head.count; i++) column[i * width + plane] = planes[at++];
    spans[name] = new Type(column.buffer);
  }
  for (let i = 1; i < head.count; i++) spans.start[i] += spans.start[i - 1];
  spans.parent = Int32Array.from(spans.up, (up, i) => (up ? i - up : -1));
  spans.level = new Uint16Array(head.count);
  for (let i = 0; i < head.count; i++) if (spans.parent[i] >= 0) spans.level[i] = spans.level[spans.parent[i]] + 1;
  return spans;
}

// Every span is below its parent, in the first row that is free when it begins.
function byTime(spans) {
  const ends = [], row = new Uint16Array(spans.count);
  let whole = 1;
  for (let i = 0; i < spans.count; i++) {
    let free = spans.parent[i] >= 0 ? row[spans.parent[i]] + 1 : 0;
    while (free < LANES && ends[free] > spans.start[i]) free++;
    row[i] = Math.min(free, LANES);
    ends[row[i]] = Math.max(ends[row[i]] ?? 0, spans.start[i] + spans.length[i]);
    whole = Math.max(whole, spans.start[i] + spans.length[i]);
  }
  return {x: Float64Array.from(spans.start), width: Float64Array.from(spans.length), row, rows: ends.length, whole};
}

// Children lie within their parent, one after the other, as wide as they weigh.
function asFlame(spans, colour) {
  const own = colour === "kind" ? spans.length : spans[colour];
  const inner = new Float64Array(spans.count), width = new Float64Array(spans.count), x = new Float64Array(spans.count);
  const next = new Float64Array(spans.count);
  for (let i = spans.count - 1; i >= 0; i--) {
    width[i] = Math.max(own[i], inner[i], 0);
    if (spans.parent[i] >= 0) inner[spans.parent[i]] += width[i];
  }
  let end = 0, rows = 0;
  for (let i = 0; i < spans.count; i++) {
    const parent = spans.parent[i];
    x[i] = parent >= 0 ? next[parent] : end;
    if (parent >= 0) next[parent] += width[i]; else end += width[i];
    next[i] = x[i];
    rows = Math.max(rows, spans.level[i] + 1);
  }
  return {x, width, row: spans.level, rows, whole: end || 1};
}

function coloursOf(spans, colour) {
  if (colour === "kind") return Array.from(spans.kind, (kind) => KIND_COLOURS[spans.head.kinds[kind]] ?? KIND_COLOURS.other);
  const values = spans[colour];
  let most = 1;
  for (const value of values) most = Math.max(most, value);
  const shades = Array.from({length: 65}, (_, i) => shade(i / 64));
  return Array.from(values, (value) => (value <= 0 ? "#9aa4b855" : shades[Math.round((Math.log1p(value) / Math.log1p(most)) * 64)]));
}

function shade(share) {
  const at = Math.min(share * (SCALE.length - 1), SCALE.length - 1.0001), i = Math.floor(at);
  return `rgb(${SCALE[i].map((from, c) => Math.round(from + (SCALE[i + 1][c] - from) * (at - i))).join(",")})`;
}

const seconds = (s) => (s < 0.01 ? `${(s * 1000).toFixed(2)} ms` : s < 1 ? `${(s * 1000).toFixed(0)} ms` : s < 60 ? `${+s.toFixed(2)} s` :
  s < 3600 ? `${Math.floor(s / 60)} min${s % 60 < 0.5 ? "" : ` ${Math.round(s % 60)} s`}` : `${Math.floor(s / 3600)} h ${Math.round((s % 3600) / 60)} min`);
const dollars = (millionths) => (millionths < 0 ? "cost unknown" : `$${(millionths / 1e6).toFixed(4)}`);
const number = (n) => n.toLocaleString("en-US");

class Picture {
  constructor(parent) {
    this.box = document.createElement("div");
    this.box.className = "rlm-canvas-box";
    this.canvas = document.createElement("canvas");
    this.canvas.tabIndex = 0;
    this.canvas.className = "rlm-canvas";
    this.canvas.setAttribute("role", "img");
    this.tip = document.createElement("div");
    this.tip.className = "rlm-tip";
    this.legend = document.createElement("div");
    this.legend.className = "rlm-legend";
    this.box.append(this.canvas, this.tip);
    parent.append(this.box, this.legend);
    this.from = 0; this.to = 1; this.top = 0; this.hover = -1; this.selected = -1;
    this.listen();
    new ResizeObserver(() => this.plan()).observe(this.box);
  }

  show(spans) {
    const {layout, colour, run} = spans.head;
    if (this.key !== `${run} ${layout} ${layout === "flame" ? colour : ""}`) { this.from = 0; this.to = 1; this.top = 0; }
    this.key = `${run} ${layout} ${layout === "flame" ? colour : ""}`;
    this.spans = spans;
    this.placed = layout === "flame" ? asFlame(spans, colour) : byTime(spans);
    this.colours = coloursOf(spans, colour);
    this.bad = [];
    for (let i = 0; i < spans.count; i++) if (spans.status[i] >= ERROR) this.bad.push(i);
    this.canvas.dataset.failed = this.bad.filter((i) => spans.status[i] === ERROR).length;
    this.selected = Number(new URLSearchParams(location.search).get("at") ?? 0) - 1;
    this.canvas.dataset.spans = spans.count;
    this.canvas.setAttribute("aria-label", `${layout} of ${spans.count} spans, coloured by ${colour}; ${this.canvas.dataset.failed} failed`);
    this.describe(colour);
    this.box.style.height = `${Math.max(LOW, Math.min(HIGH, AXIS + this.placed.rows * ROW + 4))}px`;
    this.plan();
  }

  describe(colour) {
    this.legend.replaceChildren();
    const entry = (background, text) => {
      const swatch = document.createElement("i"), name = document.createElement("span");
      swatch.style.background = background;
      name.textContent = text;
      this.legend.append(swatch, name);
    };
    if (colour === "kind") {
      for (const kind of new Set(this.spans.kind)) entry(KIND_COLOURS[this.spans.head.kinds[kind]], this.spans.head.kinds[kind]);
    } else {
      let most = 0;
      for (const value of this.spans[colour]) most = Math.max(most, value);
      entry(`linear-gradient(90deg, ${[0, 0.25, 0.5, 0.75, 1].map(shade).join(",")})`,
        `0 to ${colour === "cost" ? dollars(most) : number(most) + " tokens"}, logarithmic, with everything below`);
      this.legend.firstChild.classList.add("rlm-wide-swatch");
    }
    entry(FAILED, "failed");
    entry(SHORT, "ended at a limit");
  }

  plan() { if (!this.planned) this.planned = requestAnimationFrame(() => { this.planned = 0; this.draw(); }); }

  get height() { return this.box.clientHeight; }
  get rowHeight() { return Math.max(THIN, Math.min(ROW, (this.height - AXIS) / Math.max(1, this.placed.rows))); }

  draw() {
    if (!this.spans || !this.box.clientWidth) return;
    const began = performance.now(), ratio = devicePixelRatio || 1, width = this.box.clientWidth, height = this.height;
    if (this.canvas.width !== width * ratio || this.canvas.height !== height * ratio) {
      this.canvas.width = width * ratio; this.canvas.height = height * ratio;
    }
    const style = getComputedStyle(this.box), context = this.canvas.getContext("2d");
    this.ink = style.color;
    context.setTransform(ratio, 0, 0, ratio, 0, 0);
    context.clearRect(0, 0, width, height);
    this.axis(context, width, height);
    this.marks(context, width);
    context.save();
    context.beginPath(); context.rect(0, AXIS, width, height - AXIS); context.clip();
    this.boxes(context, width, height);
    context.restore();
    this.canvas.dataset.drawMs = (performance.now() - began).toFixed(1);
  }

  boxes(context, width, height) {
    const {x, width: wide, row, rows, whole} = this.placed, {spans} = this, high = this.rowHeight;
    const scale = width / ((this.to - this.from) * whole), left = this.from * whole, gap = high > 9 ? 1 : 0;
    const filled = new Float32Array(rows).fill(-1), named = [];
    context.font = "11px system-ui, sans-serif";
    context.textBaseline = "middle";
    const one = (i, least) => {
      const from = (x[i] - left) * scale, size = wide[i] * scale, y = AXIS + row[i] * high - this.top;
      if (from > width || from + size < 0 || y > height || y + high < AXIS) return;
      const bad = spans.status[i] >= ERROR;
      if (size < 1 && Math.floor(from) === filled[row[i]] && !bad) return;
      filled[row[i]] = Math.floor(from);
      context.fillStyle = this.colourOf(i);
      context.globalAlpha = bad || this.hover === i || this.selected === i ? 1 : 0.86;
      const at = Math.max(from, -1), to = Math.min(from + Math.max(size - (size > 3 ? 1 : 0), least), width + 1);
      context.fillRect(at, y, to - at, high - gap);
      if (high >= 14 && to - at > 34) named.push(i, at, to, y);
    };
    for (let i = 0; i < spans.count; i++) if (spans.status[i] < ERROR) one(i, 0.8);
    for (const status of [FELL_SHORT, ERROR]) for (const i of this.bad) if (spans.status[i] === status) one(i, 3);
    context.globalAlpha = 1;
    for (let k = 0; k < named.length; k += 4) this.name(context, named[k], named[k + 1], named[k + 2], named[k + 3] + (high - gap) / 2);
    if (this.selected >= 0 && this.selected < spans.count) {
      const i = this.selected;
      context.strokeStyle = this.ink; context.lineWidth = 2;
      context.strokeRect((x[i] - left) * scale, AXIS + row[i] * high - this.top, Math.max(wide[i] * scale, 2), high - gap);
    }
  }

  colourOf(i) {
    const status = this.spans.status[i];
    return status === ERROR ? FAILED : status === FELL_SHORT ? SHORT : this.colours[i];
  }

  // Where something failed, on the axis: it is seen whatever the zoom, and however thin it is.
  marks(context, width) {
    const {x, width: wide, whole} = this.placed, scale = width / ((this.to - this.from) * whole), left = this.from * whole;
    for (const i of this.bad) {
      const at = (x[i] + wide[i] - left) * scale;
      if (at < -4 || at > width + 4) continue;
      context.fillStyle = this.colourOf(i);
      context.beginPath(); context.moveTo(at - 4, AXIS - 8); context.lineTo(at + 4, AXIS - 8); context.lineTo(at, AXIS - 1); context.fill();
    }
  }

  name(context, i, from, to, y) {
    const start = Math.max(from, 0) + 6, room = to - start - 4;
    if (room < 24) return;
    const text = this.title(i), fits = Math.floor(room / 6);
    context.fillStyle = this.dark(this.colourOf(i)) ? "#ffffff" : "#141824";
    context.fillText(text.length > fits ? text.slice(0, Math.max(fits - 1, 1)) + "…" : text, start, y + 0.5);
  }

  dark(colour) {
    const m = colour.startsWith("rgb(") ? colour.slice(4, -1).split(",").map(Number)
      : [1, 3, 5].map((k) => parseInt(colour.slice(k, k + 2), 16));
    return colour.length === 9 ? false : m[0] * 0.299 + m[1] * 0.587 + m[2] * 0.114 < 140;
  }

  title(i) {
    const kind = this.spans.head.kinds[this.spans.kind[i]], name = this.spans.head.labels[this.spans.label[i]] ?? "";
    const label = kind === "model" && name === "turn" ? "model call" : name;
    return this.spans.ordinal[i] ? `${label} ${this.spans.ordinal[i]}` : label;
  }

  axis(context, width, height) {
    const flame = this.spans.head.layout === "flame", colour = this.spans.head.colour;
    const unit = flame && colour !== "kind" ? 1 : this.spans.head.tick_s, whole = this.placed.whole * unit;
    const from = this.from * whole, to = this.to * whole, rough = (to - from) / Math.max(2, width / 110);
    const power = 10 ** Math.floor(Math.log10(rough || 1)), timed = !flame || colour === "kind";
    const round = [1, 2, 5, 10].map((k) => k * power), minutes = [30, 60, 120, 300, 600, 1200, 1800, 3600, 7200, 21600, 86400];
    const step = (timed && rough > 10 ? minutes : round).find((s) => s >= rough) || round[3];
    const text = flame && colour === "tokens" ? (v) => number(Math.round(v)) : flame && colour === "cost" ? (v) => dollars(v) : (v) => (v === 0 ? "0" : seconds(v));
    context.font = "11px system-ui, sans-serif"; context.textBaseline = "middle";
    for (let v = Math.ceil(from / step) * step; v <= to; v += step) {
      const x = ((v - from) / (to - from)) * width;
      context.globalAlpha = 0.14; context.fillStyle = this.ink; context.fillRect(Math.round(x), AXIS - 6, 1, height);
      context.globalAlpha = 0.65; context.fillText(text(v), x + 4, AXIS / 2);
    }
    context.globalAlpha = 1;
  }

  at(event) {
    const place = this.canvas.getBoundingClientRect(), px = event.clientX - place.left, py = event.clientY - place.top;
    if (!this.spans || py < AXIS) return -1;
    const {x, width, row, whole} = this.placed, scale = place.width / ((this.to - this.from) * whole);
    const wanted = Math.floor((py - AXIS + this.top) / this.rowHeight), slack = 1.5 / scale;
    const at = this.from * whole + px / scale;
    let found = -1, best = Infinity;
    for (let i = 0; i < this.spans.count; i++) {
      if (row[i] !== wanted) continue;
      const away = at < x[i] ? x[i] - at : at > x[i] + width[i] ? at - x[i] - width[i] : 0;
      if (away <= slack && away < best) { best = away; found = i; }
    }
    return found;
  }

  point(event) {
    const i = this.at(event);
    this.canvas.style.cursor = i >= 0 ? "pointer" : "grab";
    if (i !== this.hover) { this.hover = i; this.plan(); }
    this.tip.style.display = i >= 0 ? "block" : "none";
    if (i < 0) return;
    const s = this.spans, lines = [this.title(i), `${s.head.kinds[s.kind[i]]} · ${seconds(s.length[i] * s.head.tick_s)} from ${seconds(s.start[i] * s.head.tick_s)}`,
      s.tokens[i] ? `${number(s.tokens[i])} tokens · ${dollars(s.cost[i])}` : "", s.status[i] === ERROR ? "failed" : s.status[i] === FELL_SHORT ? "ended short of its answer" : s.status[i] === 0 ? "open" : ""];
    this.tip.textContent = lines.filter(Boolean).join("\n");
    const place = this.box.getBoundingClientRect(), x = event.clientX - place.left, y = event.clientY - place.top;
    this.tip.style.left = `${Math.min(x + 14, place.width - this.tip.offsetWidth - 6)}px`;
    this.tip.style.top = `${Math.min(y + 14, place.height - this.tip.offsetHeight - 6)}px`;
  }

  zoom(factor, share) {
    const size = Math.min(1, Math.max(NEAREST, (this.to - this.from) * factor)), middle = this.from + share * (this.to - this.from);
    this.from = Math.min(Math.max(0, middle - share * size), 1 - size);
    this.to = this.from + size;
    this.plan();
  }

  pan(dx, dy) {
    const size = this.to - this.from;
    this.from = Math.min(Math.max(0, this.from - (dx / this.box.clientWidth) * size), 1 - size);
    this.to = this.from + size;
    const over = this.placed.rows * this.rowHeight - (this.height - AXIS);
    this.top = Math.min(Math.max(0, this.top - dy), Math.max(0, over));
    this.plan();
  }

  listen() {
    const canvas = this.canvas;
    canvas.addEventListener("wheel", (event) => {
      event.preventDefault();
      if (event.shiftKey || Math.abs(event.deltaX) > Math.abs(event.deltaY)) this.pan(-(event.deltaX || event.deltaY), 0);
      else this.zoom(Math.exp(event.deltaY * 0.0016), event.offsetX / this.box.clientWidth);
    }, {passive: false});
    canvas.addEventListener("pointerdown", (event) => { this.held = [event.clientX, event.clientY]; this.moved = 0; canvas.setPointerCapture(event.pointerId); });
    canvas.addEventListener("pointermove", (event) => {
      if (!this.held) return this.point(event);
      const dx = event.clientX - this.held[0], dy = event.clientY - this.held[1];
      this.moved += Math.abs(dx) + Math.abs(dy);
      this.held = [event.clientX, event.clientY];
      if (this.moved > 3) { this.tip.style.display = "none"; this.pan(dx, dy); }
    });
    canvas.addEventListener("pointerup", (event) => {
      const clicked = this.held && this.moved <= 3 ? this.at(event) : -1;
      this.held = null;
      if (clicked < 0) return;
      this.selected = clicked;
      this.plan();
      const {span, step, saw, ...rest} = Object.fromEntries(new URLSearchParams(location.search));
      this.send("go", {...rest, at: String(clicked + 1)});
    });
    canvas.addEventListener("pointerleave", () => { this.hover = -1; this.tip.style.display = "none"; this.plan(); });
    canvas.addEventListener("dblclick", () => { this.from = 0; this.to = 1; this.top = 0; this.plan(); });
    canvas.addEventListener("keydown", (event) => {
      const ways = {"+": () => this.zoom(0.7, 0.5), "=": () => this.zoom(0.7, 0.5), "-": () => this.zoom(1.4, 0.5), "0": () => this.zoom(1e9, 0.5),
        ArrowLeft: () => this.pan(80, 0), ArrowRight: () => this.pan(-80, 0), ArrowUp: () => this.pan(0, 60), ArrowDown: () => this.pan(0, -60)};
      if (!ways[event.key]) return;
      event.preventDefault();
      ways[event.key]();
    });
  }
}

export default function (component) {
  const {data, parentElement, setTriggerValue} = component;
  const picture = (parentElement.rlmPicture ??= new Picture(parentElement));
  picture.send = setTriggerValue;
  if (picture.bytes === data) return;
  picture.bytes = data;
  unpack(data).then((spans) => { if (picture.bytes === data) picture.show(spans); });
}
