// The six guided stops, and the page's start.
"use strict";

// What a stop trains, and what is measured at the end: one value a seed, as the claim's line `line` has it.
// kData.lesson has the claim's words and the program's own verdict.
const kStops = {
  C1: {
    line: "C1b1", settings: { net: "mlp", depth: "16", batch: "128", lr: "0.2", arms: ["none", "layer", "batch"], seeds: "3", steps: 100 },
    what: "16 layers at a rate that only some arms survive. The map below shows the other rates.",
    result: "seeds that learn at this rate, BatchNorm minus no norm",
    measure: async () => pairs("batch", "none", r => r.dead ? 0 : 1),
  },
  C2: {
    line: "C2c", settings: { net: "plain", depth: "8", batch: "64", lr: "0.03", arms: ["none", "layer", "batch:lr=0.1"], seeds: "3", steps: 200 },
    what: "A deep plain CNN, each arm at its own best rate.",
    result: "doublings of the steps to a training loss of 1, no norm over BatchNorm",
    measure: async () => pairs("none", "batch:lr=0.1", r => Math.log2(stepsTo(r, 1))),
  },
  C5: {
    line: "C5a", settings: { net: "cnn", batch: "64", lr: "0.2", arms: ["batch", "batch:group=2:lr=0.02", "layer:lr=0.06"], seeds: "3", steps: 192 },
    what: "The shallow CNN, whose BatchNorm takes its statistics from all 64 images of a batch or from 2.",
    result: "points of test accuracy, groups of 64 minus groups of 2",
    measure: async () => pairs("batch", "batch:group=2:lr=0.02", accuracy),
  },
  C7: {
    line: "C7a", settings: { net: "cnn", batch: "64", lr: "0.2", arms: ["batch", "layer:lr=0.06"], seeds: "3", steps: 192 },
    what: "One set of weights, judged with running averages and with the statistics of two images.",
    result: "points of test accuracy, running averages minus batches of 2",
    measure: () => Promise.all(runsOf("batch").map(async r => 100 * ((await scoreOf(r, 0, 128)).accuracy - (await scoreOf(r, 1, 2)).accuracy))),
  },
  C9: {
    line: "C9a1", settings: { net: "bits", depth: "2", batch: "1", lr: "0.003", optimizer: "adam", arms: ["layer", "batch"], seeds: "3", steps: 500 },
    what: "A causal Transformer on random bits: nobody can do better than ln 2 = 0.693 without seeing the future.",
    result: "nats below ln 2, BatchNorm in training mode, mean of the last 100 steps",
    measure: async () => runsOf("batch").map(r => Math.LN2 - mean(r.losses.slice(-100))),
  },
  C11: {
    line: "C11a", settings: { net: "cnn", batch: "64", lr: "0.06", arms: ["layer", "batch:group=2:lr=0.02", "batch:group=8"], seeds: "3", steps: 192 },
    what: "LayerNorm against BatchNorm whose statistics come from 2 or 8 images.",
    result: "points of test accuracy at two images, LayerNorm minus BatchNorm",
    measure: async () => pairs("layer", "batch:group=2:lr=0.02", accuracy),
  },
};
const accuracy = async r => 100 * (await scoreOf(r, 0, 128)).accuracy;
// The first step whose last ten losses average below `goal`; all of them where there is none.
function stepsTo(r, goal) {
  const at = smooth(r.losses).findIndex((l, i) => i >= 9 && l < goal);
  return at < 0 ? r.steps : at + 1;
}
async function pairs(a, b, value) {
  const of = arm => Promise.all(runsOf(arm).sort((x, y) => x.seed - y.seed).map(value));
  const [first, second] = await Promise.all([of(a), of(b)]);
  return first.map((x, i) => x - second[i]);
}

let stop = null;   // the name of the one that is open
let measuring = false;
const kWords = { REPRODUCED: "v-ok", "NO DIFFERENCE": "v-mid", SMALL: "v-mid", "SMALL OPPOSITE": "v-no", CONTRADICTED: "v-no" };

function showStops() {
  $("stops").innerHTML = Object.keys(kStops).map(id => `<button data-stop="${id}" aria-expanded="${id === stop}">${id}: ${kData.lesson[id].title}</button>`).join("");
  for (const b of $("stops").children) b.onclick = () => openStop(b.dataset.stop);
}
function openStop(id) {
  stop = id;
  const { what } = kStops[id], { says, guesses } = kData.lesson[id];
  for (const b of $("stops").children) b.setAttribute("aria-expanded", b.dataset.stop === id);
  $("stop").hidden = false;
  $("stop").innerHTML = `<h3>“${says}”</h3><p>${what}</p><fieldset class="choice"><legend>What do you expect?</legend>` +
    guesses.map((g, i) => `<label><input type="radio" name="guess" value="${i}"> ${g}</label>`).join("") +
    `</fieldset><div class="bar"><button class="main" id="run-stop" disabled>Run it</button></div><div id="outcome" role="status"></div>`;
  for (const i of $("stop").querySelectorAll("[name=guess]")) i.onchange = () => { $("run-stop").disabled = false; };
  $("run-stop").onclick = () => runStop(id);
}
function runStop(id) {
  const { settings } = kStops[id];
  state = { ...fresh(settings.net), ...settings, arms: settings.arms.slice() };
  changes = [];
  opened = null;
  playing = true;
  $("outcome").innerHTML = `<p class="note">Training ${state.arms.length * state.seeds} runs of ${state.steps} steps; the curves are above.</p>`;
  restart();
  showButtons();
  const these = runs;
  measuring = true;
  const timer = setInterval(() => {
    if (these !== runs && !these.every(r => runs.includes(r))) clearInterval(timer);  // something else is trained
    else if (!playing && settled()) {
      clearInterval(timer);
      compare(id).catch(error => { $("trouble").textContent = error.message; });
    }
  }, 100);
}
// The run's own estimate beside the program's.
async function compare(id) {
  const { line, measure, result } = kStops[id], told = kData.lesson[id].lines[line];
  const values = await measure(), mine = await ask({ do: "interval", values });
  const ends = (lo, hi) => `[${short(lo ?? -Infinity)}, ${short(hi ?? Infinity)}]`;
  const finite = Number.isFinite(mine.lo) && mine.lo !== null;
  $("outcome").innerHTML = `<dl class="facts"><dt>here</dt><dd>${result}: <b>${short(mine.mean)}</b> ` +
    `${finite ? `${ends(mine.lo, mine.hi)}, ` : "at every seed, "}${values.length} seeds, ${kData.train.toLocaleString("en")} images, a constant rate</dd>` +
    `<dt>the program</dt><dd><span class="verdict ${kWords[told.verdict] || "v-unk"}">${told.verdict}</span> · ${told.title}: ` +
    `<b>${short(told.effect)}</b> ${ends(told.ci[0], told.ci[1])} ${told.unit}, ${told.seeds} seeds (95 % interval; <code>loupe lesson --claims ${id}</code>)</dd></dl>`;
  measuring = false;
}

// --- The start ---

function begin() {
  readAddress();
  listen();
  showControls();
  showButtons();
  showStops();
  for (const input of document.querySelectorAll("[name=judge]")) input.onchange = () => { drawSoon(); lookAtRuns(true); };
  $("judged").onchange = () => lookAtRuns(true);
  $("fill").onclick = () => {
    if ($("fill").textContent === "Stop") {
      ++mapJob;
      $("fill").textContent = "Fill the map";
    } else fillMap();
  };
  const say = error => { $("trouble").textContent = error.message; };
  $("shared").onchange = () => {
    drawMatrix();
    explainCell().catch(say);
  };
  $("matrix").onclick = event => {
    const at = event.target.dataset?.at;
    if (!at) return;
    marked = at.split(",").map(Number);
    drawMatrix();
    explainCell().catch(say);
  };
  $("open").onclick = () => $("file").click();
  $("file").onchange = () => { if ($("file").files[0]) openFile($("file").files[0]); };
  addEventListener("resize", drawSoon);
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", drawSoon);
  const stopAsked = /[#&]stop=(C\d+)/.exec(location.hash);
  if (stopAsked && stopAsked[1] in kStops) openStop(stopAsked[1]);
  restart();
}
begin();
