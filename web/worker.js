// A worker of the live lesson: one run in a WebAssembly instance of its own. It trains up to the step
// that the page grants, a slice of time at a time, so that messages come in between.
"use strict";

const kSlice = 12;  // ms between two looks at the messages
let loupe = null, granted = 0, steps = 0, changes = [], id = 0;
let training = false;  // a slice is on its way
let over = false;      // the loss is no number any more

// Calls an export with numbers and texts; its answer is JSON.
function call(name, ...values) {
  const texts = [];
  const plain = values.map(v => {
    if (typeof v !== "string") return v;
    const size = 4 * v.length + 1, at = loupe._malloc(size);
    loupe.stringToUTF8(v, at, size);
    texts.push(at);
    return at;
  });
  const answer = JSON.parse(loupe.UTF8ToString(loupe["_live_" + name](...plain)));
  texts.forEach(at => loupe._free(at));
  if (answer.error) throw new Error(answer.error);
  return answer;
}

// Copies bytes into the module while `use` runs.
function withBytes(bytes, use) {
  const at = loupe._malloc(bytes.length);
  loupe.HEAPU8.set(bytes, at);
  try {
    return use(at);
  } finally {
    loupe._free(at);
  }
}

const doubles = values => new Uint8Array(Float64Array.from(values).buffer);

// What the page asks for. What a function gives is the answer.
const does = {
  async init({ module }) {
    loupe = await createLoupe({
      instantiateWasm(imports, done) {
        WebAssembly.instantiate(module, imports).then(instance => done(instance, module));
        return {};
      },
    });
  },
  data({ images, train, test, words }) {
    const first = 785 * train;
    withBytes(images.subarray(0, first), at => call("images", at, train, 1));
    withBytes(images.subarray(first), at => call("images", at, test, 0));
    call("words", words);
  },
  // A new run; `tensors` take the place of its first weights.
  start({ run, settings, tensors }) {
    id = run, granted = 0, steps = 0, changes = [], over = false;
    const about = call("start", settings);
    for (const { name, bytes } of tensors || [])
      withBytes(bytes, at => call("put", name, at, bytes.length / 4));
    return about;
  },
  // The kernels of the runs to come: "baseline" or "reference", the plain loops.
  level({ level }) { call("level", level); },
  // A whole short run, for the map.
  sweep({ settings, steps: n }) {
    call("start", settings);
    return call("steps", n);
  },
  grant({ until }) {
    granted = until;
    train();
  },
  change(what) { changes.push(what); },
  look({ what }) {
    const seen = { steps };
    for (const [name, ...values] of what) seen[name] = call(name, ...values);
    return seen;
  },
  state() {
    return call("state").map(t => ({ ...t, data: loupe.HEAPU8.slice(t.at, t.at + t.bytes) }));
  },
  explain({ layer, row, column, values, rows, columns }) {
    return withBytes(doubles(values), at => call("explain", layer, row, column, at, rows, columns)).html;
  },
  interval({ values }) { return withBytes(doubles(values), at => call("interval", at, values.length)); },
};

const turn = new MessageChannel();
turn.port1.onmessage = () => slice();

function train() {
  if (training || over || steps >= granted) return;
  training = true;
  turn.port2.postMessage(0);
}

function slice() {
  training = false;
  const losses = [], from = performance.now();
  let dead = false;
  try {
    while (steps < granted && !over && performance.now() - from < kSlice) {
      for (const c of changes.filter(c => c.at === steps)) call("change", c.name, c.value);
      const done = call("steps", 1);
      losses.push(done.losses[0]);
      dead = done.dead;
      over = done.losses[0] === null;
      steps = done.steps;
    }
  } catch (error) {
    postMessage({ run: id, error: error.message });
    over = true;
    return;
  }
  if (losses.length) postMessage({ run: id, losses, dead, over, ms: (performance.now() - from) / losses.length });
  train();
}

let order = Promise.resolve();  // messages are done one after the other
onmessage = ({ data }) => {
  order = order.then(() => does[data.do](data)).then(
    answer => { if (data.ticket) postMessage({ ticket: data.ticket, answer }); },
    error => postMessage({ ticket: data.ticket, run: id, error: error.message }));
};
