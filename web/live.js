// The live lesson's page: controls, runs and their workers. What is drawn is in draw.js, the stops in stops.js.
"use strict";

const $ = id => document.getElementById(id);
const kNorms = {
  none: { title: "no norm", colour: "--gray" }, batch: { title: "BatchNorm", colour: "--blue" },
  layer: { title: "LayerNorm", colour: "--orange" }, group: { title: "GroupNorm", colour: "--green" },
  rms: { title: "RMSNorm", colour: "--purple" }, dyt: { title: "DyT", colour: "--yellow" },
};
// What a network starts with; `sweep`: steps of a training of the map.
const kNets = {
  spirals: { title: "Two spirals, perceptron", steps: 600, sweep: 150, depth: 4, lr: "0.02", batch: 64, optimizer: "sgd" },
  mlp: { title: "Images, perceptron", steps: 200, sweep: 60, depth: 12, lr: "0.03", batch: 64, optimizer: "sgd" },
  cnn: { title: "Images, shallow CNN", steps: 192, sweep: 40, depth: 0, lr: "0.06", batch: 64, optimizer: "sgd" },
  plain: { title: "Images, deep plain CNN", steps: 200, sweep: 40, depth: 8, lr: "0.03", batch: 64, optimizer: "sgd" },
  "small-cnn": { title: "Images, SmallCnn (slow)", steps: 60, sweep: 8, depth: 0, lr: "0.03", batch: 32, optimizer: "sgd" },
  words: { title: "Words, Transformer", steps: 300, sweep: 40, depth: 2, lr: "0.01", batch: 16, optimizer: "adam" },
  bits: { title: "Random bits, Transformer", steps: 500, sweep: 40, depth: 2, lr: "0.003", batch: 16, optimizer: "adam" },
};
const kRates = [];
for (let e = -5; e <= 2; ++e) for (const m of [1, 2, 3, 6]) kRates.push(String(Number((m * 10 ** e).toPrecision(3))));
// The values of each slider, in its order.
const kSteps = {
  lr: kRates,
  batch: ["1", "2", "4", "8", "16", "32", "64", "128", "256"],
  group: ["2", "4", "8", "16", "32", "64", "128", "0"],
  depth: ["2", "3", "4", "5", "6", "8", "10", "12", "14", "16", "20", "24", "32"],
  gain: ["0.06", "0.12", "0.25", "0.35", "0.5", "0.7", "1", "1.4", "2", "2.8", "4", "8"],
  seeds: ["1", "2", "3", "4", "5", "6", "7", "8"],
};
const kArm = /^[a-z]+(:(lr|group|batch|gain|optimizer)=[\w.+-]+)*$/;
const kChangeable = ["lr", "batch", "group", "optimizer"];  // in the middle of a run
const kWindow = 100;  // ms of work that a worker is granted at a time
const calm = matchMedia("(prefers-reduced-motion: reduce)");

// --- What is trained: the state of the page, all of it in the address ---

let state = fresh("spirals");
let changes = [];      // {at, name, value}: made while it trained
let playing = true;
let granted = 0;       // no run goes beyond this step
let runs = [];
let opened = null;     // {name, tensors}: the weights of a file in place of the first ones
const times = {};      // of what a test asks for

function fresh(net) {
  const { steps, depth, lr, batch, optimizer } = kNets[net];
  return { net, arms: ["none", "batch", "layer"], lr, batch: String(batch), group: "0", depth: String(depth || 4),
           gain: "1", optimizer, seeds: "3", steps };
}
// The settings as they are after the changes.
function now() {
  const s = { ...state };
  for (const c of changes) s[c.name] = c.value;
  return s;
}

// An arm is a norm, perhaps with settings of its own: "batch:group=2:lr=0.02".
function armOf(text) {
  const [norm, ...own] = text.split(":");
  return { norm, own: Object.fromEntries(own.map(o => o.split("="))) };
}
function armTitle(text) {
  const { norm, own } = armOf(text), words = { lr: "rate", group: "groups of", batch: "batch", gain: "scale" };
  return kNorms[norm].title + Object.entries(own).map(([k, v]) => `, ${words[k] || k} ${v}`).join("");
}
// Arms of one norm differ in their dashes.
function look(text) {
  const alike = state.arms.filter(a => armOf(a).norm === armOf(text).norm);
  return { colour: kNorms[armOf(text).norm].colour, dashed: alike.indexOf(text) > 0 };
}

function settingsOf(arm, seed) {
  const { norm, own } = armOf(arm), s = { ...state, ...own };
  return `net=${s.net} norm=${norm} optimizer=${s.optimizer} depth=${s.depth} batch=${s.batch} group=${s.group} ` +
         `lr=${s.lr} gain=${s.gain} seed=${seed}`;
}
function changesOf(arm) { return changes.filter(c => !(c.name in armOf(arm).own)); }
function command(run) {
  return `LOUPE_CPU=baseline loupe live ${run.settings} --steps ${run.steps}` +
         changesOf(run.arm).filter(c => c.at < run.steps).map(c => ` --change ${c.at}:${c.name}=${c.value}`).join("");
}

function writeAddress() {
  const parts = Object.entries(state).map(([k, v]) => `${k}=${Array.isArray(v) ? v.join(",") : v}`);
  for (const c of changes) parts.push(`change=${c.at}:${c.name}=${c.value}`);
  const hash = "#" + parts.join("&");
  if (location.hash !== hash) history.replaceState(null, "", hash);
}
// False where there is nothing to read.
function readAddress() {
  let text = "";
  try {
    text = decodeURIComponent(location.hash.slice(1));
  } catch (error) {}  // no text at all
  if (!text.includes("=")) return false;
  const words = text.split("&").map(w => [w.slice(0, w.indexOf("=")), w.slice(w.indexOf("=") + 1)]);
  const net = (words.find(([k]) => k === "net") || [])[1];
  state = fresh(Object.hasOwn(kNets, net) ? net : "spirals");
  changes = [];
  for (const [k, v] of words) {
    if (k === "arms") state.arms = v.split(",").filter(a => kArm.test(a) && Object.hasOwn(kNorms, armOf(a).norm));
    else if (k === "steps") state.steps = Math.max(1, parseInt(v) || state.steps);
    else if (k === "change") {
      const m = /^(\d+):(lr|batch|group|optimizer)=([\w.-]+)$/.exec(v);
      if (m) changes.push({ at: Number(m[1]), name: m[2], value: m[3] });
    } else if (k === "seeds") state.seeds = String(Math.min(8, Math.max(1, parseInt(v) || 1)));
    else if (Object.hasOwn(state, k) && k !== "net" && /^[\w.+-]+$/.test(v)) state[k] = v;
  }
  if (!state.arms.length) state.arms = ["batch"];
  return true;
}

// --- Workers ---

const bytesOf = base64 => Uint8Array.from(atob(base64), c => c.charCodeAt(0));
async function unpack(id) {
  const stream = new Blob([bytesOf($(id).textContent)]).stream().pipeThrough(new DecompressionStream("gzip"));
  return new Uint8Array(await new Response(stream).arrayBuffer());
}
const source = URL.createObjectURL(new Blob([$("glue").textContent, $("worker").textContent], { type: "text/javascript" }));
const compiled = unpack("wasm").then(bytes => WebAssembly.compile(bytes));
const parsed = new Promise(yes => document.addEventListener("DOMContentLoaded", yes));
let unpacked = null;  // the images and words, which stand behind this script
function data() {
  unpacked ||= (async () => {
    await parsed;
    return { images: await unpack("images"), train: kData.train, test: kData.test,
             words: new TextDecoder().decode(await unpack("words")) };
  })();
  return unpacked;
}
const needsData = net => net !== "spirals" && net !== "bits";

// A worker with an instance of the module; ask() gives a promise of its answer.
class Instance {
  constructor() {
    this.worker = new Worker(source);
    this.tickets = new Map();
    this.last = 0;
    this.hasData = false;
    this.listen = () => {};
    this.worker.onmessage = ({ data: m }) => {
      const waiting = this.tickets.get(m.ticket);
      if (!waiting) return this.listen(m);
      this.tickets.delete(m.ticket);
      if (m.error) waiting.no(new Error(m.error));
      else waiting.yes(m.answer);
    };
    this.ready = compiled.then(module => this.ask({ do: "init", module }));
  }
  tell(message) { this.worker.postMessage(message); }
  ask(message) {
    const ticket = ++this.last;
    return new Promise((yes, no) => {
      this.tickets.set(ticket, { yes, no });
      this.worker.postMessage({ ...message, ticket });
    });
  }
  async prepare(net) {
    await this.ready;
    if (this.hasData || !needsData(net)) return;
    this.hasData = true;
    await this.ask({ do: "data", ...await data() });
  }
}
const idle = [];  // instances without a run
const borrow = () => idle.pop() || new Instance();
function giveBack(instance) {
  instance.listen = () => {};
  idle.push(instance);
}
let helper = null;  // for what needs no run
const ask = message => (helper ||= new Instance()).ready.then(() => helper.ask(message));

// --- Runs: one an arm and seed. They go on together: each is granted the same steps. ---

let runCount = 0;
// The first seed's runs start at once, the others behind their first loss: the page is there sooner.
let sawLoss;
const firstLoss = new Promise(yes => { sawLoss = yes; });
class Run {
  constructor(arm, seed) {
    Object.assign(this, { id: ++runCount, arm, seed, losses: [], dead: false, over: false, error: null, ms: 0, seen: null, hash: null, granted: 0 });
    this.settings = settingsOf(arm, seed);
    this.instance = null;
    this.started = (seed === 1 ? Promise.resolve() : firstLoss).then(() => this.start());
  }
  get steps() { return this.losses.length; }
  get live() { return !this.over && !this.error; }
  async start() {
    if (this.ended) return;
    this.instance = borrow();
    this.instance.listen = m => this.hear(m);
    try {
      await this.instance.prepare(state.net);
      this.about = await this.instance.ask({ do: "start", run: this.id, settings: this.settings, tensors: opened?.tensors });
      for (const c of changesOf(this.arm)) this.instance.tell({ do: "change", ...c });
      feed();
    } catch (error) {
      this.fail(error.message);
    }
  }
  fail(message) {
    this.error = message;
    $("trouble").textContent = `${armTitle(this.arm)}: ${message}`;
    drawSoon();
    feed();
    advance();
  }
  hear(m) {
    if (m.run !== this.id) return;  // from the run before
    if (m.error) return this.fail(m.error);
    for (const loss of m.losses) this.losses.push(loss === null ? NaN : loss);
    Object.assign(this, { dead: m.dead, over: m.over, hash: null });
    this.ms = this.ms ? 0.8 * this.ms + 0.2 * m.ms : m.ms;
    times.firstLoss ||= performance.now();
    sawLoss();
    feed();
    advance();
    drawSoon();
  }
  tell(message) { if (this.instance) this.instance.tell(message); }  // start() tells what came before
  end() {
    this.ended = true;
    if (this.instance) giveBack(this.instance);
  }
}

// Grants more steps once the slowest run is near those that are granted.
function advance() {
  const going = runs.filter(r => r.live);
  const slowest = Math.min(...going.map(r => r.steps));
  if (!going.length || slowest >= state.steps) return rest();
  const perStep = Math.max(...going.map(r => r.ms), 0.2);
  const ahead = Math.max(1, Math.min(64, Math.round(kWindow / perStep)));
  if (!playing || slowest < granted - ahead / 4) return;
  grantTo(Math.min(state.steps, slowest + 1 + ahead));
}
function grantTo(step) {
  granted = Math.max(granted, step);
  feed();
}
// No more workers are busy than there are cores: the page itself stays fluid.
const cores = Math.max(1, navigator.hardwareConcurrency || 2);
function feed() {
  const going = runs.filter(r => r.live && r.about);
  let busy = going.filter(r => r.steps < r.granted).length;
  for (const r of going.filter(r => r.granted < granted).sort((a, b) => a.granted - b.granted)) {
    if (busy++ >= cores) return;
    r.granted = granted;
    r.tell({ do: "grant", until: granted });
  }
}
const settled = () => runs.every(r => !r.live || r.steps >= granted);

// Nothing is trained any more: what takes longer can be looked at.
async function rest() {
  if (playing) {
    playing = false;
    showButtons();
  }
  const these = runs;
  await lookAtRuns(true);
  for (const run of these) if (!run.error && these === runs) run.hash ||= await hashOf(run);
  drawSoon();
}

function restart() {
  for (const r of runs) r.end();
  granted = 0;
  $("trouble").textContent = "";
  runs = [];
  match();
}
// Runs as the arms and seeds say; those that are there go on.
function match() {
  const wanted = [];
  for (const arm of state.arms) for (let seed = 1; seed <= Number(state.seeds); ++seed) wanted.push([arm, seed]);
  for (const r of runs) if (!wanted.some(([arm, seed]) => r.arm === arm && r.seed === seed)) r.end();
  runs = wanted.map(([arm, seed]) => runs.find(r => r.arm === arm && r.seed === seed) || new Run(arm, seed));
  writeAddress();
  showControls();
  drawSoon();
  for (const r of runs) r.started.then(() => { if (playing) advance(); });
}

// --- Controls ---

function play(on) {
  if (on && granted >= state.steps) state.steps = granted + kNets[state.net].steps;
  playing = on;
  if (!on) state.steps = Math.max(granted, 1);  // a link goes as far as this
  else state.steps = Math.max(state.steps, kNets[state.net].steps);
  writeAddress();
  showButtons();
  if (on) advance();
  else if (settled()) rest();
}
function step() {
  if (playing) play(false);
  state.steps = granted + 1;
  grantTo(granted + 1);
  writeAddress();
}
function back() {
  const goal = Math.max(kNets[state.net].steps, state.steps);
  state = { ...now(), steps: goal };
  changes = [];
  playing = true;
  restart();
  showButtons();
}

// A control was moved.
function set(name, value) {
  if (name === "net") {
    const { arms, seeds } = state;
    state = { ...fresh(value), arms: [...new Set(arms.map(a => armOf(a).norm))], seeds };
    opened = null;
  } else if (name === "seeds") {
    state.seeds = value;
    return match();
  } else if (kChangeable.includes(name) && runs.some(r => r.steps > 0)) {
    const change = { at: granted, name, value };
    changes = changes.filter(c => !(c.at === granted && c.name === name)).concat(change);
    for (const r of runs) if (!(name in armOf(r.arm).own)) r.tell({ do: "change", ...change });
    writeAddress();
    showControls();
    return drawSoon();
  } else state = { ...now(), [name]: value };
  changes = [];
  playing = true;
  restart();
  showButtons();
}

function nearest(name, value) {
  const list = kSteps[name], exact = list.indexOf(value);
  if (exact >= 0) return exact;
  const distance = v => Math.abs(Math.log(Number(v) || 1e9) - Math.log(Number(value) || 1e9));
  return list.reduce((best, v, i) => distance(v) < distance(list[best]) ? i : best, 0);
}
function showControls() {
  const s = now();
  for (const input of $("controls").querySelectorAll("select")) input.value = s[input.name];
  for (const input of $("controls").querySelectorAll("input[type=range]")) {
    input.value = nearest(input.name, s[input.name]);
    const none = input.name === "depth" && !kNets[s.net].depth;
    input.disabled = none || (input.name === "group" && s.net === "small-cnn");
    let text = s[input.name];
    if (input.name === "group" && text === "0") text = "the whole batch";
    if (input.disabled) text = none ? "fixed" : "the whole batch";
    if (input.name === "gain") text = "× " + text;
    input.parentElement.querySelector("output").textContent = text;
    input.setAttribute("aria-valuetext", text);
  }
  const own = state.arms.filter(a => a.includes(":"));
  const choices = Object.keys(kNorms).concat(own);
  $("arms").innerHTML = choices.map(arm => `<label style="color:var(${kNorms[armOf(arm).norm].colour})">` +
    `<input type="checkbox" value="${arm}" ${state.arms.includes(arm) ? "checked" : ""}><span style="color:var(--fg)">` +
    `${armTitle(arm)}</span></label>`).join("");
}
function showButtons() {
  $("go").textContent = playing ? "Pause" : granted ? "Go on" : "Train";
  $("go").setAttribute("aria-pressed", playing);
}

function listen() {
  $("controls").elements.net.innerHTML = Object.entries(kNets).map(([k, n]) => `<option value="${k}">${n.title}</option>`).join("");
  for (const input of $("controls").querySelectorAll("input[type=range]")) {
    input.min = 0;
    input.max = kSteps[input.name].length - 1;
    input.oninput = () => {
      const value = kSteps[input.name][input.value];
      if (value !== now()[input.name]) set(input.name, value);
    };
  }
  for (const input of $("controls").querySelectorAll("select")) input.onchange = () => set(input.name, input.value);
  $("arms").onchange = event => {
    const arm = event.target.value, chosen = [...$("arms").querySelectorAll("input:checked")].map(i => i.value);
    state.arms = chosen.length ? chosen : [arm];
    match();
    const again = [...$("arms").querySelectorAll("input")].find(i => i.value === arm);
    if (again) again.focus();
  };
  $("controls").onsubmit = event => event.preventDefault();
  $("go").onclick = () => play(!playing);
  $("step").onclick = step;
  $("back").onclick = back;
  document.addEventListener("keydown", event => {
    if (event.target.closest("input,select,button,summary,a") || event.ctrlKey || event.metaKey || event.altKey) return;
    const action = { " ": () => play(!playing), ".": step, 0: back }[event.key];
    if (!action) return;
    event.preventDefault();
    action();
  });
  addEventListener("hashchange", () => {
    if (!readAddress()) return;
    playing = true;
    restart();
    showButtons();
  });
}

// --- What is measured of a run ---

// In which parts of the page one looks: only those are measured while it trains.
const inSight = new Set();
const watcher = new IntersectionObserver(entries => {
  for (const e of entries) inSight[e.isIntersecting ? "add" : "delete"](e.target.getAttribute("aria-labelledby"));
  lookSoon();
}, { rootMargin: "120px" });
for (const section of document.querySelectorAll("section")) watcher.observe(section);

const judgeTraining = () => Number(document.querySelector("[name=judge]:checked").value);
const testSamples = net => net === "small-cnn" ? 256 : 512;
function scoreOf(run, training, batch) {
  return run.instance.ask({ do: "look", what: [["score", training, batch, testSamples(state.net)]] }).then(seen => seen.score);
}

let looking = false, lastLook = 0;
// Measures what is in sight of every run (all) or of the first seed's.
async function lookAtRuns(all) {
  if (looking || !runs.length) return;
  looking = true;
  const these = runs, what = [], training = judgeTraining();
  if (inSight.has("h-learned") && state.net === "spirals") what.push(["map", 40, training], ["points"]);
  if (inSight.has("h-learned") && /cnn|plain/.test(state.net)) what.push(["filters"]);
  if (inSight.has("h-inside")) what.push(["layers"], ["statistics"]);
  if (inSight.has("h-matrix")) what.push(["matrix"]);
  const first = these.filter(r => r.seed === 1 && !r.error);
  try {
    await Promise.all(first.map(async run => {
      await run.started;
      const seen = what.length ? await run.instance.ask({ do: "look", what }) : {};
      if (these === runs) run.seen = { ...run.seen, ...seen };
    }));
    if (inSight.has("h-learned") || all) await judgeRuns(all ? these.filter(r => !r.error) : first);
  } catch (error) {
    $("trouble").textContent = error.message;
  }
  looking = false;
  lastLook = performance.now();
  drawSoon();
}
async function judgeRuns(these) {
  await Promise.all(these.map(async run => {
    await run.started;
    const eval_ = await scoreOf(run, 0, 128), train = await scoreOf(run, 1, Number($("judged").value));
    run.judged = { eval: eval_, train };
  }));
}
setInterval(() => {
  if (playing && performance.now() - lastLook > 1200) lookAtRuns(false);
}, 400);
// What has just come into sight.
let lookTimer = 0;
function lookSoon() {
  clearTimeout(lookTimer);
  lookTimer = setTimeout(() => looking ? lookSoon() : lookAtRuns(!playing), 150);
}

// SHA-256 over names, shapes and values, as the program's weights_hash.
async function hashOf(run) {
  const parts = [], text = new TextEncoder();
  for (const t of await run.instance.ask({ do: "state" })) parts.push(text.encode(t.name + t.shape), t.data);
  const digest = await crypto.subtle.digest("SHA-256", await new Blob(parts).arrayBuffer());
  return [...new Uint8Array(digest)].map(b => b.toString(16).padStart(2, "0")).join("");
}

// --- Files ---

async function saveWeights(run) {
  const tensors = await run.instance.ask({ do: "state" }), header = {};
  let at = 0;
  for (const t of tensors) {
    header[t.name] = { dtype: t.type, shape: (t.shape.match(/\d+/g) || []).map(Number), data_offsets: [at, at + t.bytes] };
    at += t.bytes;
  }
  let text = new TextEncoder().encode(JSON.stringify(header));
  const padded = new Uint8Array(Math.ceil(text.length / 8) * 8).fill(32);
  padded.set(text);
  const size = new DataView(new ArrayBuffer(8));
  size.setBigUint64(0, BigInt(padded.length), true);
  const link = document.createElement("a");
  link.href = URL.createObjectURL(new Blob([size.buffer, padded, ...tensors.map(t => t.data)]));
  link.download = `${state.net}-${run.arm.replace(/[:=]/g, "-")}-seed${run.seed}-${run.steps}.safetensors`;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 1000);
}

const kReaders = { F32: Float32Array, F64: Float64Array, I64: BigInt64Array };
function readTensors(buffer) {
  const length = Number(new DataView(buffer).getBigUint64(0, true));
  if (!(length > 0 && length <= buffer.byteLength - 8)) throw new Error("this is no safetensors file");
  const header = JSON.parse(new TextDecoder().decode(new Uint8Array(buffer, 8, length)));
  return Object.entries(header).filter(([name]) => name !== "__metadata__").map(([name, t]) => {
    const Reader = kReaders[t.dtype];
    if (!Reader) throw new Error(`${name} is ${t.dtype}; F32, F64 and I64 can be read`);
    const [from, to] = t.data_offsets.map(o => 8 + length + o);
    return { name, bytes: new Uint8Array(Float32Array.from(new Reader(buffer.slice(from, to)), Number).buffer) };
  });
}
async function openFile(file) {
  try {
    const tensors = readTensors(await file.arrayBuffer()), names = new Set(tensors.map(t => t.name));
    const norm = names.has("norm1.running_mean") ? "batch" : names.has("norm1.weight") ? "layer" : "none";
    for (const layer of ["conv1", "conv2", "conv3", "conv4", "fc1", "fc2"])
      if (!names.has(layer + ".weight")) throw new Error(`it has no ${layer}.weight: not a SmallCnn`);
    opened = { name: file.name, tensors };
    state = { ...fresh("small-cnn"), arms: [norm], seeds: "1", steps: 1 };
    changes = [];
    playing = false;
    restart();
    await runs[0].started;
    showButtons();
    rest();
  } catch (error) {
    $("trouble").textContent = `${file.name}: ${error.message}`;
  }
}
