// Runs a package: a list of calls in JSON from stdin, [folder, load options, method, arguments…]; a list of results to stdout.
import { readFileSync } from 'node:fs';
import { pathToFileURL } from 'node:url';

const KINDS = { Uint8Array, Uint8ClampedArray, Int16Array, Uint16Array, Float32Array, Float64Array, BigInt64Array, Uint32Array };

function revived(key, value) {
  if (typeof value?.bytes !== 'string') return value;
  return new KINDS[value.array](Uint8Array.from(Buffer.from(value.bytes, 'base64')).buffer);
}

function plain(value) {
  if (ArrayBuffer.isView(value)) {
    const bytes = Buffer.from(value.buffer, value.byteOffset, value.byteLength).toString('base64');
    return { array: value.constructor.name, bytes };
  }
  if (value === null || typeof value !== 'object' || Array.isArray(value)) return value;
  return Object.fromEntries(Object.entries(value).map(([key, each]) => [key, Array.isArray(each) ? each : plain(each)]));
}

const models = new Map();
const results = [];
for (const [folder, options, method, ...values] of JSON.parse(readFileSync(0), revived)) {
  try {
    const key = JSON.stringify([folder, options]);
    const { load } = await import(pathToFileURL(`${folder}/index.mjs`));
    if (!models.has(key)) models.set(key, await load(options));
    const model = models.get(key);
    results.push({ value: plain(typeof model[method] === 'function' ? await model[method](...values) : model[method]) });
  } catch (error) {
    results.push({ error: `${error.name}: ${error.message}` });
  }
}
console.log(JSON.stringify(results));
