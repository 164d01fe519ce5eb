// What the live lesson's page draws: curves, tables, maps. It reads the runs and changes nothing of them.
"use strict";

// The page's colours, read once for light and once for dark.
const colours = new Map();
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => colours.clear());
function css(name) {
  if (!colours.has(name)) colours.set(name, getComputedStyle(document.documentElement).getPropertyValue(name).trim());
  return colours.get(name);
}
const escaped = text => text.replace(/[&<>"]/g, c => `&#${c.charCodeAt(0)};`);
// Sets what an element shows, if that is new.
function show(element, html) {
  if (element.shown === html) return;
  element.shown = html;
  element.innerHTML = html;
}
const T95 = [NaN, NaN, 12.71, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365];  // Student's t for n values, 95 %

// A number for people.
function short(x, digits = 3) {
  if (x === null || x === undefined || Number.isNaN(x)) return "–";
  if (!Number.isFinite(x)) return x > 0 ? "∞" : "−∞";
  const a = Math.abs(x), text = a !== 0 && (a < 1e-3 || a >= 1e5) ? x.toExponential(1).replace(".0e", "e") : String(Number(x.toPrecision(digits)));
  return text.replace(/^-/, "−");
}
const mean = list => list.reduce((a, b) => a + b, 0) / list.length;
function spread(list) {
  const m = mean(list);
  return Math.sqrt(list.reduce((a, b) => a + (b - m) ** 2, 0) / (list.length - 1));
}
// The mean of the last ten losses, as the lesson has it.
const recent = (losses, end = losses.length) => mean(losses.slice(Math.max(0, end - 10), end));
const runsOf = arm => runs.filter(r => r.arm === arm);

// --- Plots on a canvas ---

class Plot {
  // x and y: {from, to, log, label}.
  constructor(canvas, x, y) {
    const scale = devicePixelRatio || 1, width = canvas.clientWidth, height = canvas.clientHeight;
    if (canvas.width !== Math.round(width * scale)) canvas.width = Math.round(width * scale);
    if (canvas.height !== Math.round(height * scale)) canvas.height = Math.round(height * scale);
    this.c = canvas.getContext("2d");
    this.c.setTransform(scale, 0, 0, scale, 0, 0);
    this.c.clearRect(0, 0, width, height);
    this.c.font = "12px system-ui, sans-serif";
    Object.assign(this, { x, y, left: 50, right: width - 12, top: 18, bottom: height - 34 });
    this.axes();
  }
  at(value, axis, low, high) {
    const f = axis.log ? v => Math.log10(v) : v => v;
    return low + (high - low) * (f(value) - f(axis.from)) / (f(axis.to) - f(axis.from));
  }
  px(x) { return this.at(x, this.x, this.left, this.right); }
  py(y) { return this.at(y, this.y, this.bottom, this.top); }
  static ticks({ from, to, log, whole }, count) {
    const ticks = [];
    if (log) {
      const first = Math.ceil(Math.log10(from) - 1e-9), last = Math.floor(Math.log10(to) + 1e-9);
      const by = Math.max(1, Math.ceil((last - first) / count));
      for (let e = first; e <= last; e += by) ticks.push(10 ** e);
      return ticks;
    }
    const rough = (to - from) / count, power = 10 ** Math.floor(Math.log10(rough));
    let by = [1, 2, 5, 10].find(m => m * power >= rough) * power;
    if (whole) by = Math.max(1, Math.round(by));
    for (let v = Math.ceil(from / by - 1e-9) * by; v <= to + by * 1e-9; v += by) ticks.push(Math.abs(v) < by / 1e6 ? 0 : v);
    return ticks;
  }
  axes() {
    const { c } = this;
    c.strokeStyle = css("--rule");
    c.fillStyle = css("--soft");
    c.lineWidth = 1;
    c.textBaseline = "middle";
    c.textAlign = "right";
    for (const t of Plot.ticks(this.y, 5)) {
      this.path([[this.left, this.py(t)], [this.right, this.py(t)]]);
      c.fillText(short(t), this.left - 7, this.py(t));
    }
    c.textAlign = "center";
    c.textBaseline = "top";
    for (const t of Plot.ticks(this.x, Math.max(2, (this.right - this.left) / 90))) c.fillText(short(t, 4), this.px(t), this.bottom + 6);
    c.textAlign = "right";
    c.fillText(this.x.label, this.right, this.bottom + 20);
    c.textAlign = "left";
    c.fillText(this.y.label, 4, 0);
  }
  path(points) {
    this.c.beginPath();
    points.forEach(([x, y], i) => i ? this.c.lineTo(x, y) : this.c.moveTo(x, y));
    this.c.stroke();
  }
  line(points, { colour, width = 2, alpha = 1, dashed = false }) {
    const { c } = this;
    c.save();
    c.beginPath();
    c.rect(this.left, this.top - 6, this.right - this.left + 6, this.bottom - this.top + 12);
    c.clip();
    Object.assign(c, { strokeStyle: colour, lineWidth: width, globalAlpha: alpha, lineJoin: "round" });
    c.setLineDash(dashed ? [6, 4] : []);
    this.path(points.filter(p => p.every(Number.isFinite)).map(([x, y]) => [this.px(x), this.py(y)]));
    c.restore();
  }
  band(points, colour) {  // of [x, low, high]
    const { c } = this;
    c.save();
    c.beginPath();
    c.rect(this.left, this.top, this.right - this.left, this.bottom - this.top);
    c.clip();
    Object.assign(c, { fillStyle: colour, globalAlpha: 0.15 });
    c.beginPath();
    for (const [x, low] of points) c.lineTo(this.px(x), this.py(low));
    for (const [x, , high] of points.slice().reverse()) c.lineTo(this.px(x), this.py(high));
    c.fill();
    c.restore();
  }
  dot(x, y, colour, size = 3) {
    Object.assign(this.c, { fillStyle: colour, globalAlpha: 0.75 });
    this.c.beginPath();
    this.c.arc(this.px(x), this.py(y), size, 0, 7);
    this.c.fill();
    this.c.globalAlpha = 1;
  }
  cross(x, y, colour) {
    const [a, b] = [this.px(x), this.py(y)];
    Object.assign(this.c, { strokeStyle: colour, lineWidth: 2.5 });
    this.path([[a - 5, b - 5], [a + 5, b + 5]]);
    this.path([[a - 5, b + 5], [a + 5, b - 5]]);
  }
}

// --- The loss ---

function smooth(losses) {
  const out = [];
  let sum = 0;
  for (let i = 0; i < losses.length; ++i) {
    sum += losses[i];
    if (i >= 10) sum -= losses[i - 10];
    out.push(sum / Math.min(10, i + 1));
  }
  return out;
}

function drawLoss() {
  const canvas = $("loss").querySelector("canvas"), all = runs.filter(r => r.steps);
  const starts = all.flatMap(r => r.losses.slice(0, 5)).filter(Number.isFinite);
  const ends = all.map(r => recent(r.losses)).filter(Number.isFinite);
  const top = starts.length ? 1.25 * Math.min(Math.max(...starts), 3 * Math.min(...starts.map(Math.abs)) + 1) : 1;
  const low = ends.length ? Math.min(...ends) : 0;
  const y = { from: low > 0.45 * top ? low * 0.9 : 0, to: top, label: "loss, nats" };
  const plot = new Plot(canvas, { from: 0, to: Math.max(20, state.steps), label: "steps", whole: true }, y);
  for (const c of changes) {
    plot.line([[c.at, y.from], [c.at, y.to]], { colour: css("--soft"), width: 1, dashed: true });
    plot.c.fillStyle = css("--soft");
    plot.c.textAlign = "left";
    plot.c.fillText(`${c.name} ${c.value}`, plot.px(c.at) + 4, plot.top);
  }
  const says = [];
  for (const arm of state.arms) {
    const { colour, dashed } = look(arm), ink = css(colour), these = runsOf(arm).filter(r => r.steps);
    if (!these.length) continue;
    const curves = these.map(r => smooth(r.losses));
    for (const r of these) {
      const by = Math.max(1, Math.floor(r.steps / 200));
      plot.line(r.losses.map((l, i) => [i + 1, l]).filter((_, i) => i % by === 0), { colour: ink, width: 1, alpha: these.length > 1 ? 0.3 : 0.45 });
      if (r.over || (r.dead && r.steps >= state.steps)) plot.cross(r.steps, Math.min(y.to, recent(r.losses.filter(Number.isFinite)) || y.to), ink);
    }
    const end = Math.min(...curves.map(c => c.length)), n = curves.length, band = [], middle = [];
    for (let i = 0; i < end; i += Math.max(1, Math.floor(end / 200))) {
      const values = curves.map(c => c[i]);
      middle.push([i + 1, mean(values)]);
      const half = n > 1 ? T95[n] * spread(values) / Math.sqrt(n) : 0;
      if (n > 1 && Number.isFinite(half)) band.push([i + 1, mean(values) - half, mean(values) + half]);
    }
    if (n > 1) plot.band(band, ink);
    plot.line(middle, { colour: ink, width: 2.4, dashed });
    says.push(`${armTitle(arm)} ${short(mean(these.map(r => recent(r.losses))))}`);
  }
  canvas.setAttribute("aria-label", "Training loss, mean of the last ten steps: " + says.join("; "));
  show($("legend"), state.arms.map(arm => {
    const { colour, dashed } = look(arm), these = runsOf(arm), alive = these.filter(r => !r.dead && r.live).length;
    const losses = these.filter(r => r.steps).map(r => recent(r.losses));
    return `<span style="color:var(--fg)"><svg width="26" height="10" style="color:var(${colour})" aria-hidden="true">` +
      `<line class="line${dashed ? " dashed" : ""}" x1="1" y1="5" x2="25" y2="5"/></svg>${armTitle(arm)}: ` +
      `${losses.length ? short(mean(losses)) : "–"}${these.length && alive < these.length && losses.length && these[0].steps > 20 ?
        `, ${alive} of ${these.length} learn` : ""}</span>`;
  }).join(""));
}

function drawStatus() {
  const going = runs.filter(r => r.live), steps = going.length ? Math.min(...going.map(r => r.steps)) : 0;
  const per = Math.max(0, ...going.map(r => r.ms)), size = runs.find(r => r.about)?.about.parameters;
  const words = [`${runs.length} runs, each in a worker of its own`, `step ${Math.max(steps, 0)} of ${state.steps}`];
  if (per) words.push(`${short(per, 2)} ms a step`);
  if (size) words.push(`${size.toLocaleString("en")} parameters`);
  if (Number(state.seeds) > 1) words.push("thin: each seed; thick: their mean over ten steps, with its 95 % band");
  if (opened) words.push(`first weights from ${escaped(opened.name)}`);
  show($("status"), words.join(" · "));
}

// --- What was learned ---

const percent = x => x === null || x === undefined ? "–" : (100 * x).toFixed(1) + " %";
function drawScores() {
  const table = $("scores"), judged = runs.filter(r => r.judged);
  table.caption.textContent = `On ${testSamples(state.net)} test samples; the mean of the seeds that were judged; the difference in points.`;
  show(table.tHead, `<tr><th>Arm</th><th class="num">eval mode</th><th class="num">batches of ${$("judged").value}</th><th class="num">difference</th></tr>`);
  show(table.tBodies[0], state.arms.map(arm => {
    const these = judged.filter(r => r.arm === arm);
    const e = these.map(r => r.judged.eval.accuracy), t = these.map(r => r.judged.train.accuracy);
    const cells = these.length ? [percent(mean(e)), percent(mean(t)), short(100 * (mean(e) - mean(t)), 2)] : ["–", "–", "–"];
    const on = judgeTraining();
    return `<tr><td>${armTitle(arm)}</td>${cells.map((c, i) => `<td class="num">${i === on ? `<b>${c}</b>` : c}</td>`).join("")}</tr>`;
  }).join(""));
}

// One picture an arm: the plane's two sides, or the first filters.
function drawTiles() {
  const box = $("tiles"), these = runs.filter(r => r.seed === 1 && r.seen && (r.seen.map || r.seen.filters?.length));
  if (box.children.length !== these.length)
    box.innerHTML = these.map(() => `<figure><canvas role="img"></canvas><figcaption></figcaption></figure>`).join("");
  these.forEach((run, i) => {
    const canvas = box.children[i].firstChild;
    box.children[i].lastChild.textContent = armTitle(run.arm);
    canvas.setAttribute("aria-label", `${armTitle(run.arm)}, step ${run.seen.steps}`);
    if (run.seen.map) drawPlane(canvas, run.seen);
    else drawFilters(canvas, run.seen.filters);
  });
  const plane = these.some(r => r.seen.map);
  $("tiles-note").textContent = !these.length ? "" : plane ? "Which arm of the spiral the network (seed 1) sees at each point, and the training points." +
    (judgeTraining() ? " In training mode the points of the picture share BatchNorm's statistics." : "") : "The first convolution's filters (seed 1), 3 × 3 each.";
}
function rgb(name) {
  const hex = css(name).slice(1);
  return [0, 2, 4].map(i => parseInt(hex.slice(i, i + 2), 16));
}
function drawPlane(canvas, { map, points }) {
  const n = Math.sqrt(map.length), size = 168 * 2;
  if (canvas.width !== size) canvas.width = canvas.height = size;
  const [one, two, paper] = [rgb("--blue"), rgb("--orange"), rgb("--bg")], image = new ImageData(n, n);
  map.forEach((p, i) => {
    const ink = p > 0.5 ? two : one, much = p === null ? 0 : 0.55 * Math.abs(2 * p - 1);
    for (let k = 0; k < 3; ++k) image.data[4 * i + k] = paper[k] + much * (ink[k] - paper[k]);
    image.data[4 * i + 3] = 255;
  });
  const c = canvas.getContext("2d"), small = new OffscreenCanvas(n, n);
  small.getContext("2d").putImageData(image, 0, 0);
  c.imageSmoothingEnabled = true;
  c.drawImage(small, 0, 0, size, size);
  for (let i = 0; i < points.length; i += 3) {
    c.fillStyle = css(points[i + 2] ? "--orange" : "--blue");
    c.fillRect((points[i] + 1.15) / 2.3 * size - 1.5, (1.15 - points[i + 1]) / 2.3 * size - 1.5, 3, 3);
  }
}
function drawFilters(canvas, weights) {
  const count = weights.length / 9, across = Math.ceil(Math.sqrt(count)), c = canvas.getContext("2d");
  canvas.width = canvas.height = across * 4 + 1;
  const most = Math.max(...weights.map(Math.abs));
  c.fillStyle = css("--bg");
  c.fillRect(0, 0, canvas.width, canvas.height);
  const [low, high, paper] = [rgb("--blue"), rgb("--orange"), rgb("--card")];
  weights.forEach((w, i) => {
    const f = Math.floor(i / 9), k = i % 9, much = Math.abs(w) / most, ink = w > 0 ? high : low;
    c.fillStyle = `rgb(${paper.map((p, j) => Math.round(p + much * (ink[j] - p)))})`;
    c.fillRect(1 + (f % across) * 4 + k % 3, 1 + Math.floor(f / across) * 4 + Math.floor(k / 3), 1, 1);
  });
}

// --- Inside ---

function drawLayers(id, value, label) {
  const these = runs.filter(r => r.seed === 1 && r.seen?.layers), canvas = $(id).querySelector("canvas");
  const all = these.flatMap(r => r.seen.layers.map(l => l[value])).filter(v => v > 0);
  if (!all.length) return;
  const count = Math.max(...these.map(r => r.seen.layers.length));
  const y = { from: 10 ** Math.floor(Math.log10(Math.min(...all)) - 0.2), to: 10 ** Math.ceil(Math.log10(Math.max(...all)) + 0.2), log: true, label };
  const plot = new Plot(canvas, { from: 1, to: Math.max(2, count), label: "layer", whole: true }, y);
  for (const r of these) {
    const { colour, dashed } = look(r.arm), points = r.seen.layers.map((l, i) => [i + 1, l[value]]).filter(p => p[1] > 0);
    plot.line(points, { colour: css(colour), dashed });
    for (const p of points) plot.dot(...p, css(colour));
  }
  canvas.setAttribute("aria-label", these.map(r => `${armTitle(r.arm)}: ${r.seen.layers.map(l => short(l[value], 2)).join(", ")}`).join("; "));
}
function drawStatistics(id, running, batch, log) {
  const these = runs.filter(r => r.seed === 1 && r.seen?.statistics?.length), canvas = $(id).querySelector("canvas");
  const pairs = these.flatMap(r => r.seen.statistics.flatMap(s => s[running].map((v, i) => [v, s[batch][i], look(r.arm).colour])))
    .filter(p => p[0] !== null && p[1] !== null && (!log || (p[0] > 0 && p[1] > 0)));
  const all = pairs.flatMap(p => p.slice(0, 2));
  $(id).hidden = !all.length;
  if (!all.length) return;
  const pad = log ? 1 : 0.05 * (Math.max(...all) - Math.min(...all)) || 1;
  const axis = log ? { from: Math.min(...all) / 1.5, to: Math.max(...all) * 1.5, log } : { from: Math.min(...all) - pad, to: Math.max(...all) + pad };
  const plot = new Plot(canvas, { ...axis, label: "running" }, { ...axis, label: "this batch" });
  plot.line([[axis.from, axis.from], [axis.to, axis.to]], { colour: css("--soft"), width: 1, dashed: true });
  for (const [x, y, colour] of pairs) plot.dot(x, y, css(colour), 2.5);
  canvas.setAttribute("aria-label", `${pairs.length} channels, running against batch statistic`);
}

// --- Who shares a statistic ---

// The group of a cell, by the norm's definition.
function groupOf(norm, row, column) {
  const pieces = Number(now().group) || 1e9, channels = 8;
  if (norm === "batch") return column + channels * Math.floor(row / pieces);
  if (norm === "group") return 4 * row + Math.floor(column / (channels / 4));
  return row;
}
const kGroupColours = ["--blue", "--orange", "--green", "--purple", "--yellow", "--gray", "--link", "--no"];
let marked = [1, 1];
// The run whose numbers are shown: the norm's own where it is trained.
function matrixRun(norm) {
  const seen = runs.filter(r => r.seed === 1 && r.seen?.matrix);
  return seen.find(r => armOf(r.arm).norm === norm) || seen[0];
}
function drawMatrix() {
  const norm = $("shared").value, run = matrixRun(norm);
  if (!run) return;
  const { rows, columns, values } = run.seen.matrix, table = $("matrix"), [row, column] = marked;
  const mine = groupOf(norm, row, column);
  let html = "";
  for (let i = 0; i < rows; ++i) {
    html += "<tr>";
    for (let j = 0; j < columns; ++j) {
      const g = groupOf(norm, i, j), colour = kGroupColours[g % kGroupColours.length];
      html += `<td><button data-at="${i},${j}" class="${i === row && j === column ? "on" : ""}" aria-label="sample ${i + 1}, channel ${j + 1}: ${short(values[i * columns + j])}" ` +
        `style="background:color-mix(in srgb,var(${colour}) ${g === mine ? 55 : 22}%,var(--bg))">${short(values[i * columns + j], 2)}</button></td>`;
    }
    html += "</tr>";
  }
  if (!$("explained").shadowRoot) explainCell().catch(error => { $("trouble").textContent = error.message; });
  const focus = table.contains(document.activeElement) && document.activeElement.dataset.at;
  if (table.shown === html) return;
  show(table, html);
  if (focus) table.querySelector(`[data-at="${focus}"]`)?.focus();
}
// The same numbers as the program explains them (loupe explain): the formula followed through one cell.
async function explainCell() {
  const box = $("explained"), shadow = box.shadowRoot || box.attachShadow({ mode: "open" });
  const norm = $("shared").value, { rows, columns, values } = matrixRun(norm).seen.matrix;
  const layer = { batch: "batch_norm", layer: "layer_norm", group: "group_norm", rms: "rms_norm" }[norm];
  const rounded = values.map(v => Number(v.toPrecision(3)));
  const html = await ask({ do: "explain", layer, row: marked[0], column: marked[1], values: rounded, rows, columns });
  const page = new DOMParser().parseFromString(html, "text/html");
  const style = document.createElement("style");
  style.textContent = page.querySelector("style").textContent.replaceAll(":root", ":host") +
    "h1{font-size:1.1rem;margin:0 0 .4em}h2{font-size:1rem}td{padding:.2em .5em;font-size:12px}pre{font-size:12px}";
  shadow.replaceChildren(style, ...page.querySelector("main").children);
}

// --- The runs by their commands ---

function drawRuns() {
  if (!runs.length || !settled() || playing) {
    return show($("runs"), `<p class="note">Pause, or wait for the end: then each run stands here.</p>`);
  }
  const before = $("runs").shown;
  show($("runs"), runs.map((r, i) => `<details ${i === 0 ? "open" : ""}><summary>${armTitle(r.arm)}, seed ${r.seed}: loss ${short(r.losses.at(-1), 5)} after ${r.steps} steps` +
    `</summary>${r.error ? `<p class="trouble">${escaped(r.error)}</p>` : ""}${opened ? `<p class="note">Its first weights are those of ${escaped(opened.name)}.</p>` :
      `<pre><code>${command(r)}</code></pre>`}<p class="note">weights <code class="hash">${r.hash || "…"}</code> ` +
    `<button data-run="${i}">Save as safetensors</button></p></details>`).join(""));
  if ($("runs").shown === before) return;
  for (const button of $("runs").querySelectorAll("button")) button.onclick = () => saveWeights(runs[button.dataset.run]);
}

// --- The map of learning rates ---

let mapJob = 0;
const kMapRates = kRates.filter((_, i) => i % 2 === 0);  // 1e-5, 3e-5, ...
async function fillMap() {
  const job = ++mapJob, arms = state.arms.slice(), seeds = 3, rates = kMapRates, { sweep, title } = kNets[state.net];
  const net = state.net, loss = new Map();
  $("fill").textContent = "Stop";
  $("map").innerHTML = `<thead><tr><th scope="col">learning rate</th>${rates.map(r => `<th scope="col">${r}</th>`).join("")}</tr></thead><tbody>` +
    arms.map(a => `<tr><th scope="row">${armTitle(a)}</th>${rates.map(() => "<td></td>").join("")}</tr>`).join("") + "</tbody>";
  $("map-note").textContent = `${title}, ${sweep} steps, ${seeds} seeds a cell`;
  // From the middle outwards, an arm after the other: the shape shows early.
  const jobs = [];
  for (let seed = 1; seed <= seeds; ++seed)
    for (const j of rates.map((_, j) => j).sort((a, b) => Math.abs(a - rates.length / 2) - Math.abs(b - rates.length / 2)))
      arms.forEach((arm, i) => jobs.push({ arm, i, j, seed, settings: settingsOf(arm, seed).replace(/ lr=\S+/, " lr=" + rates[j]) }));
  const work = async () => {
    const instance = borrow();
    await instance.prepare(net);
    for (let next; job === mapJob && (next = jobs.shift());) {
      try {
        const done = await instance.ask({ do: "sweep", settings: next.settings, steps: sweep });
        if (job !== mapJob) break;
        const key = next.i + "," + next.j;
        loss.set(key, (loss.get(key) || []).concat(done.dead ? null : recent(done.losses)));
        drawCell(next, loss.get(key), seeds);
      } catch (error) {
        $("map-note").textContent = `${armTitle(next.arm)}: ${error.message}`;
      }
    }
    giveBack(instance);
  };
  await Promise.all(Array.from({ length: Math.min(cores, 8) }, work));
  if (job === mapJob) $("fill").textContent = "Fill the map";
}
function drawCell({ arm, i, j }, losses, seeds) {
  const cell = $("map").tBodies[0].rows[i].cells[j + 1], alive = losses.filter(l => l !== null);
  cell.textContent = `${alive.length}/${losses.length}`;
  cell.style.background = `color-mix(in srgb,var(${look(arm).colour}) ${Math.round(70 * alive.length / losses.length)}%,var(--card))`;
  cell.title = alive.length ? `loss ${short(mean(alive))}` : "no better than knowing nothing";
  cell.dataset.alive = alive.length / losses.length;
  cell.dataset.whole = losses.length === seeds;
}

// --- When it is drawn ---

let wanted = false, lastDrawn = 0;
function drawSoon() {
  if (wanted) return;
  wanted = true;
  const draw = () => {
    wanted = false;
    lastDrawn = performance.now();
    drawAll();
  };
  // Some fifteen pictures a second; two for who wants little motion.
  const since = performance.now() - lastDrawn, pause = calm.matches ? 500 : 60;
  if (since < pause) setTimeout(() => requestAnimationFrame(draw), pause - since);
  else requestAnimationFrame(draw);
}
function drawAll() {
  drawLoss();
  drawStatus();
  if (inSight.has("h-learned")) drawScores();
  if (inSight.has("h-learned")) drawTiles();
  if (inSight.has("h-inside")) {
    drawLayers("activations", "out", "std");
    drawLayers("gradients", "gradient", "rms");
    drawStatistics("variances", "runningVar", "var", true);
    drawStatistics("means", "runningMean", "mean", false);
    $("inside-note").textContent = "Of each arm's first seed, on one training batch of 64, in training mode.";
  }
  if (inSight.has("h-matrix")) drawMatrix();
  drawRuns();
}
