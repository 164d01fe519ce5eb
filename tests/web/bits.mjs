// The page's module under node against the program: the same weights, bit for bit.
//
// usage: node bits.mjs FOLDER PROGRAM
// FOLDER has live.js, live.wasm, images.bin and words.txt (the build of the preset web). Trains four networks, three of them with
// a change on the way, for 200 steps at LOUPE_CPU=baseline and at reference (SmallCnn for 3 there, it is slow); compares hashes and prints how long a step takes.
import { execFileSync } from "node:child_process";
import { createHash } from "node:crypto";
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { resolve } from "node:path";

const [folder, program] = process.argv.slice(2);
const kCases = [
  { settings: "net=spirals norm=batch depth=4 lr=0.1 batch=64 seed=1", steps: 200, change: [90, "group", "8"] },
  { settings: "net=cnn norm=layer lr=0.06 batch=8 seed=2", steps: 200, change: [50, "lr", "0.03"] },
  { settings: "net=words norm=rms optimizer=adam depth=2 lr=0.01 batch=4 seed=3", steps: 200, change: [120, "optimizer", "sgd"] },
  { settings: "net=small-cnn norm=batch lr=0.03 batch=32 seed=4", steps: 200, reference: 3 },
  { settings: "net=small-cnn norm=batch lr=0.03 batch=2 seed=4", steps: 200 },
  { settings: "net=plain norm=dyt depth=6 optimizer=adamw lr=0.003 batch=8 gain=0.5 seed=5", steps: 40 },
];

delete globalThis.fetch;  // the glue would take node for a browser
const createLoupe = createRequire(import.meta.url)(resolve(folder, "live.js"));
const loupe = await createLoupe({ wasmBinary: readFileSync(resolve(folder, "live.wasm")) });

function call(name, ...values) {
  const plain = values.map(v => {
    if (typeof v !== "string") return v;
    const size = 4 * v.length + 1, at = loupe._malloc(size);
    loupe.stringToUTF8(v, at, size);
    return at;
  });
  const answer = JSON.parse(loupe.UTF8ToString(loupe["_live_" + name](...plain)));
  if (answer.error) throw new Error(answer.error);
  return answer;
}
function place(bytes) {
  const at = loupe._malloc(bytes.length);
  loupe.HEAPU8.set(bytes, at);
  return at;
}

const images = readFileSync(resolve(folder, "images.bin"));
call("images", place(images.subarray(0, 785 * 2048)), 2048, 1);
call("images", place(images.subarray(785 * 2048)), 1024, 0);
call("words", readFileSync(resolve(folder, "words.txt"), "utf8"));

function here(level, { settings, change }, steps) {
  call("level", level);
  call("start", settings);
  let best = Infinity;
  for (let step = 0; step < steps; ++step) {
    if (change && change[0] === step) call("change", change[1], change[2]);
    const from = performance.now();
    call("steps", 1);
    best = Math.min(best, performance.now() - from);
  }
  const hash = createHash("sha256");
  for (const t of call("state")) hash.update(t.name + t.shape).update(loupe.HEAPU8.slice(t.at, t.at + t.bytes));
  return { hash: hash.digest("hex"), best };
}
function native(level, { settings, change }, steps) {
  const options = ["live", ...settings.split(" "), "--steps", String(steps), "--threads", "1", "--json"];
  if (change) options.push("--change", `${change[0]}:${change[1]}=${change[2]}`);
  const out = execFileSync(program, options, { env: { ...process.env, LOUPE_CPU: level }, stdio: ["ignore", "pipe", "ignore"] });
  const result = JSON.parse(out.toString().trim().split("\n").at(-1));
  return { hash: result.weights_hash, best: result.best_step_ms };
}

let failed = 0;
for (const level of ["baseline", "reference"])
  for (const one of kCases) {
    const steps = level === "baseline" ? one.steps : one.reference || one.steps;
    const [a, b] = [here(level, one, steps), native(level, one, steps)];
    const same = a.hash === b.hash;
    if (!same) ++failed;
    console.log(`${same ? "same" : "DIFFERENT"}  ${level}, ${steps} steps: ${one.settings}  ${a.best.toFixed(2)} ms a step here, ` +
                `${b.best.toFixed(2)} ms native (${(a.best / b.best).toFixed(2)} times)`);
  }
if (failed) {
  console.log(`${failed} of the runs have other weights than the program's`);
  process.exit(1);
}
