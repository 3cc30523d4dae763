// The model of model.mjs: samples to codes and back, and .tae files. index.d.ts states types and errors.
import facts from './model.mjs';

const SIMD_MODULE = [
  0, 97, 115, 109, 1, 0, 0, 0, 1, 5, 1, 96, 0, 1, 123, 3, 2, 1, 0, 10, 10, 1, 8, 0, 65, 0, 253, 15, 253, 98, 11,
]; // a function that returns a vector
const ARRAYS = {
  uint8: Uint8Array, int16: Int16Array, uint16: Uint16Array, float32: Float32Array, float64: Float64Array,
};
const STATUS = { ok: 0, end: 1, argument: 2, code: 4, otherModel: 6, unsupported: 7 };
const KINDS = ['lossy', 'bounded', 'lossless'];
const CHUNK = 1 << 20; // bytes of samples per call into WebAssembly
const FRAME_BYTES = 1 << 26; // of the samples of a frame at most, see docs/format.md of tiedae
const PAGE = 1 << 16;

export const hasSimd = () => WebAssembly.validate(new Uint8Array(SIMD_MODULE));

/** The golden samples: data in the dtype, code, decoded; scores of anomaly bundles, clean samples of denoising ones. */
export function golden() {
  const read = (name, Kind) => new Kind(bytesOf(facts.golden[name]).buffer);
  const Value = ARRAYS[facts.dtype];
  const scores = facts.score ? { scores: read('scores', BigInt64Array), anomalies: read('anomalies', Uint8Array) } : {};
  const clean = facts.golden.clean ? { clean: read('clean', Value) } : {};
  return { data: read('data', Value), code: read('code', Uint8Array), decoded: read('decoded', Value), ...scores, ...clean };
}

export async function load({ simd = hasSimd(), bytes, url } = {}) {
  const place = url ?? new URL(simd ? `./${facts.name}.wasm` : `./${facts.name}.scalar.wasm`, import.meta.url);
  const { instance } = await (bytes ? WebAssembly.instantiate(bytes, {}) : started(place));
  const model = new Model(instance.exports, simd);
  check(model);
  return model;
}

async function started(place) {
  const address = new URL(place, import.meta.url);
  if (address.protocol === 'file:' && typeof process === 'object') {
    const { readFile } = await import('node:fs/promises');
    return WebAssembly.instantiate(await readFile(address), {});
  }
  const answer = await fetch(address);
  if (!answer.ok) throw new Error(`${address}: the server answers ${answer.status}, must be the WebAssembly of ${facts.name}`);
  const named = answer.headers.get('content-type') === 'application/wasm'; // else engines refuse to compile while it arrives
  return named ? WebAssembly.instantiateStreaming(answer, {}) : WebAssembly.instantiate(await answer.arrayBuffer(), {});
}

function bytesOf(text) {
  return Uint8Array.from(atob(text), (character) => character.charCodeAt(0));
}

function check(model) {
  const right = golden();
  const got = { code: model.encode(right.data), 'decoded sample': model.decode(right.code) };
  const wanted = { code: right.code, 'decoded sample': right.decoded };
  const sizes = { code: facts.units, 'decoded sample': facts.inputs, score: 1 };
  if (facts.score) {
    got.score = model.score(right.data).totals;
    wanted.score = right.scores;
  }
  for (const [what, values] of Object.entries(wanted)) {
    const at = values.findIndex((value, i) => value !== got[what][i]);
    if (at < 0) continue;
    const place = `${what} of golden sample ${Math.floor(at / sizes[what])} differs`;
    throw new Error(`${facts.name}: ${place}: value ${at % sizes[what]} is ${got[what][at]}, must be ${values[at]}`);
  }
}

class Model {
  #wasm;
  #top = 0;

  constructor(exports, simd) {
    this.#wasm = exports;
    const { name, kind, shape, inputs, units, bits, dtype, columns, files, score } = facts;
    Object.assign(this, { name, kind, shape, inputs, units, bits, dtype, columns, files, simd, threshold: score?.threshold ?? null });
  }

  encode(samples) {
    const count = this.#count(samples);
    return this.#map(samples, count, this.inputs, new Uint8Array(count * this.units), this.units, (from, n, to) => {
      this.#require(this.#wasm.encode(from, n, to), samples);
    });
  }

  decode(code) {
    if (!(code instanceof Uint8Array)) throw new TypeError(`code: got ${kindOf(code)}, must be Uint8Array`);
    const count = counted(code, this.units, 'code', 'units');
    const decoded = new ARRAYS[this.dtype](count * this.inputs);
    return this.#map(code, count, this.units, decoded, this.inputs, (from, n, to) => {
      if (this.#wasm.decode(from, n, to) === STATUS.ok) return;
      throw new RangeError(`code: got ${Math.max(...code)}, must be 0 to ${2 ** this.bits - 1}`);
    });
  }

  reconstruct(samples) {
    return this.decode(this.encode(samples));
  }

  score(samples) {
    if (this.threshold === null) throw new Error(`score: ${this.name} is no anomaly model`);
    const count = this.#count(samples);
    const totals = new BigInt64Array(count);
    const anomalies = new Uint8Array(count);
    this.#map(samples, count, this.inputs, totals, 1, (from, n, to, start) => {
      const flags = this.#take(n, 1);
      this.#require(this.#wasm.score(from, n, to, flags), samples);
      anomalies.set(this.#view(Uint8Array, flags, n), start);
    });
    const scores = Float64Array.from(totals, (total) => (total < 0n ? NaN : Number(total) * facts.score.factor));
    return { scores, totals, anomalies };
  }

  compress(samples, { samplesPerFrame, maxError, lossless = false } = {}) {
    const kind = lossless ? 2 : maxError === undefined ? 0 : 1;
    this.#requireKind(kind);
    const count = this.#count(samples);
    const sampleBytes = this.inputs * samples.BYTES_PER_ELEMENT;
    const most = Math.max(1, Math.min(65535, Math.floor(FRAME_BYTES / sampleBytes)));
    const perFrame = whole(samplesPerFrame ?? Math.min(64, most), 1, most, 'samplesPerFrame');
    const bound = kind === 1 ? whole(maxError, 1, 65535, 'maxError') : 0;
    this.#top = 0;
    const out = this.#take(32, 1);
    const parts = [this.#bytes(out, this.#wasm.file_begin(kind, bound, perFrame, out))];
    const entries = [];
    for (let start = 0; start < count; start += perFrame) {
      const part = samples.subarray(start * this.inputs, Math.min(count, start + perFrame) * this.inputs);
      const n = part.length / this.inputs;
      this.#top = 0;
      const from = this.#put(part);
      const capacity = this.#wasm.frame_bytes(n);
      const [scratch, frame] = [this.#take(this.#wasm.frame_scratch(n), 8), this.#take(capacity, 1)];
      const size = this.#wasm.frame_encode(from, n, frame, capacity, scratch);
      if (size < 0) this.#require(-size, part);
      parts.push(this.#bytes(frame, size));
      entries.push(n, size);
    }
    this.#top = 0;
    const listed = this.#put(Uint32Array.from(entries));
    const capacity = 16 + 5 * entries.length;
    const end = this.#take(capacity, 1);
    parts.push(this.#bytes(end, this.#wasm.file_end(listed, entries.length / 2, end, capacity)));
    return joined(parts, Uint8Array);
  }

  decompress(bytes) {
    this.#requireKind(0);
    if (!(bytes instanceof Uint8Array)) throw new TypeError(`file: got ${kindOf(bytes)}, must be Uint8Array`);
    this.#top = 0;
    const place = this.#put(bytes);
    const about = this.#take(16, 4);
    this.#opened(this.#wasm.file_open(place, bytes.length, about), bytes);
    const [kind, bound, indexed, placed] = this.#view(Uint32Array, about, 4);
    const above = this.#top;
    const [parts, numbers, problems] = [[], [], []];
    let known = placed === 1;
    for (let frame = 0, lost = false; ; ) {
      this.#top = above;
      const status = this.#wasm.file_next(about);
      if (status === STATUS.end) break;
      const [samples, first, start, stop] = this.#view(Uint32Array, about, 4);
      const values = status === STATUS.ok ? this.#frame(samples) : null;
      if (values) {
        parts.push(values);
        known &&= indexed === 1 || !lost;
        for (let i = 0; i < samples; i++) numbers.push(first + i);
      } else {
        problems.push(problem(frame, samples, first, start, stop));
        lost = true;
      }
      frame += samples > 0;
    }
    const samples = joined(parts, ARRAYS[this.dtype]);
    return { samples, numbers: known ? Uint32Array.from(numbers) : null, kind: KINDS[kind], bound, problems };
  }

  #frame(samples) {
    const Value = ARRAYS[this.dtype];
    const to = this.#take(samples * this.inputs * Value.BYTES_PER_ELEMENT, 8);
    const status = this.#wasm.frame_decode(to, this.#take(this.#wasm.frame_scratch(samples), 8));
    return status === STATUS.ok ? this.#view(Value, to, samples * this.inputs).slice() : null;
  }

  #count(samples) {
    const Value = ARRAYS[this.dtype];
    const bytes = this.dtype === 'uint8' && samples instanceof Uint8ClampedArray;
    if (!(samples instanceof Value) && !bytes) throw new TypeError(`samples: got ${kindOf(samples)}, must be ${Value.name}`);
    return counted(samples, this.inputs, 'samples', `values of a sample of shape [${this.shape.join(', ')}]`);
  }

  #map(values, count, size, results, width, call) {
    const chunk = Math.max(1, Math.floor(CHUNK / (size * values.BYTES_PER_ELEMENT)));
    for (let start = 0; start < count; start += chunk) {
      const n = Math.min(chunk, count - start);
      this.#top = 0;
      const from = this.#put(n === count ? values : values.subarray(start * size, (start + n) * size));
      const to = this.#take(n * width * results.BYTES_PER_ELEMENT, 8);
      call(from, n, to, start);
      results.set(this.#view(results.constructor, to, n * width), start * width);
    }
    return results;
  }

  #require(status, samples) {
    if (status === STATUS.ok) return;
    const at = samples.findIndex((value) => !Number.isFinite(Math.fround(value)));
    const place = at < 0 ? 'a value' : `value ${at % this.inputs} of sample ${Math.floor(at / this.inputs)}`;
    const got = at < 0 ? 'beyond float32' : samples[at];
    throw new RangeError(`samples: ${place} is ${got}, must be finite in float32 and scaled values`);
  }

  #requireKind(kind) {
    if (this.files.includes(KINDS[kind])) return;
    const right = this.files.length ? this.files.join(', ') : 'none: the bundle has no tables for .tae files';
    throw new Error(`${KINDS[kind]} .tae files: this package was made without them, it has ${right}`);
  }

  #opened(status, bytes) {
    if (status === STATUS.ok) return;
    if (status === STATUS.otherModel) throw new Error(`file: is of another model or other tables than ${this.name}`);
    if (status === STATUS.unsupported && bytes[4] === 1) this.#requireKind(bytes[5] & 3);
    if (status === STATUS.unsupported) throw new Error(`file: got version ${bytes[4]} of .tae, must be 1`);
    throw new Error('file: is no .tae file, or its header is damaged');
  }

  #put(values) {
    const place = this.#take(values.byteLength, 8);
    this.#view(values.constructor, place, values.length).set(values);
    return place;
  }

  #take(size, alignment) {
    const base = Math.max(this.#top, this.#wasm.__heap_base.value);
    const place = Math.ceil(base / alignment) * alignment;
    this.#top = place + size;
    const { memory } = this.#wasm;
    const lacking = this.#top - memory.buffer.byteLength;
    if (lacking > 0) memory.grow(Math.ceil(lacking / PAGE));
    return place;
  }

  #view(Kind, place, length) {
    return new Kind(this.#wasm.memory.buffer, place, length);
  }

  #bytes(place, size) {
    if (size < 0) throw new Error(`file: the C code returned status ${-size}`);
    return this.#view(Uint8Array, place, size).slice();
  }
}

function counted(values, size, what, unit) {
  if (values.length > 0 && values.length % size === 0) return values.length / size;
  throw new RangeError(`${what}: got ${values.length} values, must be a multiple of ${size}, the ${unit}`);
}

function whole(value, least, most, what) {
  if (Number.isInteger(value) && value >= least && value <= most) return value;
  throw new RangeError(`${what}: got ${value}, must be a whole number in ${least}…${most}`);
}

function problem(frame, samples, first, start, stop) {
  if (samples > 0) return `frame ${frame} (samples ${first} to ${first + samples - 1}) is damaged`;
  if (start < stop) return `bytes ${start} to ${stop - 1} hold no whole frame`;
  return 'it does not end in an index of its frames: it was cut off, is not finished, or lost some';
}

function joined(parts, Kind) {
  const all = new Kind(parts.reduce((total, part) => total + part.length, 0));
  let at = 0;
  for (const part of parts) {
    all.set(part, at);
    at += part.length;
  }
  return all;
}

function kindOf(value) {
  return value?.constructor?.name ?? String(value);
}
