// What benchmarks/apps.py measures of a page in Node.js and Chromium, as JSON on stdout.
// Arguments: the page's folder, samples as raw bytes, an int8 .onnx file, the folder of node modules, Chromium.
import { readFileSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import http from 'node:http';
import { createRequire } from 'node:module';
import { extname, join } from 'node:path';
import { pathToFileURL } from 'node:url';

const [folder, sampleFile, onnx, modules, executablePath] = process.argv.slice(2);
const require = createRequire(join(modules, 'x'));
const { chromium } = require('playwright-core');
const ort = require('onnxruntime-web');
const ROUNDS = 30;
const CALLS = 100; // per round and runtime
const LOADS = 9;
const TYPES = { '.html': 'text/html', '.mjs': 'text/javascript', '.css': 'text/css', '.wasm': 'application/wasm' };

const { load } = await import(pathToFileURL(join(folder, 'index.mjs')));
const facts = (await import(pathToFileURL(join(folder, 'model.mjs')))).default;
const bytes = new Uint8Array(readFileSync(sampleFile));
const base64 = (values) => Buffer.from(values.buffer, values.byteOffset, values.byteLength).toString('base64');
const models = { simd: await load({ simd: true }), scalar: await load({ simd: false }) };
const found = { node: {}, chromium: {}, times: {}, first: [] };

for (const [name, model] of Object.entries(models)) {
  const code = model.encode(bytes);
  found.node[name] = [base64(code), base64(model.decode(code))];
}

ort.env.wasm.numThreads = 1;
const session = await ort.InferenceSession.create(readFileSync(onnx), { executionProviders: ['wasm'] });
const count = bytes.length / facts.inputs;
const sample = (i) => bytes.subarray((i % count) * facts.inputs, ((i % count) + 1) * facts.inputs);
const runs = {
  simd: (x) => models.simd.decode(models.simd.encode(x)),
  scalar: (x) => models.scalar.decode(models.scalar.encode(x)),
  ort: (x) => session.run({ x: new ort.Tensor('uint8', x, [1, facts.inputs]) }),
};
for (let round = 0; round < ROUNDS; round++) {
  for (const [name, run] of Object.entries(runs)) {
    const start = process.hrtime.bigint();
    if (name === 'ort') for (let i = 0; i < CALLS; i++) await run(sample(i));
    else for (let i = 0; i < CALLS; i++) run(sample(i));
    if (round > 2) (found.times[name] ??= []).push(Number(process.hrtime.bigint() - start) / CALLS / 1000);
  }
}

const server = http.createServer(async (request, response) => {
  const path = join(folder, new URL(request.url, 'http://localhost').pathname.replace(/\/$/, '/index.html'));
  try {
    const data = await readFile(path);
    response.writeHead(200, { 'content-type': TYPES[extname(path)] ?? 'application/octet-stream' }).end(data);
  } catch {
    response.writeHead(404).end();
  }
});
await new Promise((ready) => { server.listen(0, ready); });
const browser = await chromium.launch({ executablePath, args: ['--no-sandbox'] });
for (let i = 0; i < LOADS; i++) {
  const context = await browser.newContext(); // its cache is empty
  const page = await context.newPage();
  await page.goto(`http://localhost:${server.address().port}/`);
  await page.waitForSelector('html[data-ready]');
  found.first.push(Number(await page.evaluate(() => document.documentElement.dataset.ready)));
  if (i === LOADS - 1) found.chromium = await page.evaluate(inBrowser, base64(bytes));
  await context.close();
}
await browser.close();
server.close();
process.stdout.write(`${JSON.stringify(found)}\n`, () => process.exit(0));

async function inBrowser(samples) {
  const { load: start } = await import('./index.mjs');
  const text = (values) => btoa(Array.from(values, (value) => String.fromCharCode(value)).join(''));
  const x = Uint8Array.from(atob(samples), (character) => character.charCodeAt(0));
  const results = {};
  for (const name of ['simd', 'scalar']) {
    const model = await start({ simd: name === 'simd' });
    const code = model.encode(x);
    results[name] = [text(code), text(model.decode(code))];
  }
  return results;
}
