// The model of model.mjs: samples to codes and back, and .tae files. index.d.ts states types and errors.
import facts from './model.mjs';
import {
  ARRAYS, Encoder, KINDS, Reader, Stream, formatOf, frameOf, joined, kindOf, require, requireKind, say,
} from './streams.mjs';

const SIMD_MODULE = [
  0, 97, 115, 109, 1, 0, 0, 0, 1, 5, 1, 96, 0, 1, 123, 3, 2, 1, 0, 10, 10, 1, 8, 0, 65, 0, 253, 15, 253, 98, 11,
]; // a function that returns a vector
const CHUNK = 1 << 20; // bytes of samples per call into WebAssembly

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
  #call;

  constructor(exports, simd) {
    this.#wasm = exports;
    this.#call = (name, ...values) => this.#outs(this.#required(this.#called(name, values), name, values));
    this.#call.tried = (name, ...values) => {
      const called = this.#called(name, values);
      return called.count < 0 ? null : this.#outs(called);
    };
    if (facts.files.length) this.#call.bytes = exports.frame_bytes();
    const { name, kind, shape, inputs, units, bits, dtype, columns, files, score } = facts;
    Object.assign(this, { name, kind, shape, inputs, units, bits, dtype, columns, files, simd, threshold: score?.threshold ?? null });
  }

  encode(samples) {
    return this.#map('encode', this.#samples(samples), this.inputs, [Uint8Array, this.units])[0];
  }

  decode(code) {
    if (!(code instanceof Uint8Array)) throw new TypeError(`code: got ${kindOf(code)}, must be Uint8Array`);
    if (code.length % this.units) throw new RangeError(say('multiple', { what: 'codes', got: code.length, each: this.units }));
    return this.#map('decode', code, this.units, [ARRAYS[this.dtype], this.inputs])[0];
  }

  reconstruct(samples) {
    return this.#map('reconstruct', this.#samples(samples), this.inputs, [ARRAYS[this.dtype], this.inputs])[0];
  }

  score(samples) {
    this.#requireScores();
    const [totals, anomalies] = this.#map('score', this.#samples(samples), this.inputs, [BigInt64Array, 1], [Uint8Array, 1]);
    const scores = Float64Array.from(totals, (total) => (total < 0n ? NaN : Number(total) * facts.score.factor));
    return { scores, totals, anomalies };
  }

  compress(samples, options) {
    const encoder = this.encoder(options);
    return joined([encoder.push(this.#samples(samples)), encoder.finish()], Uint8Array);
  }

  decompress(bytes) {
    requireKind(0);
    if (!(bytes instanceof Uint8Array)) throw new TypeError(`file: got ${kindOf(bytes)}, must be Uint8Array`);
    const size = this.#required(this.#called('read_file', [bytes, [Uint32Array, 0]])).count;
    const [[kind, bound, most, indexed, placed, ...parts]] = this.#call('read_file', bytes, [Uint32Array, size]);
    const [found, numbers, problems] = [[], [], []];
    let known = placed === 1;
    for (let i = 0, frame = 0, lost = false; i < parts.length; i += 5) {
      const [status, samples, first, start, stop] = parts.slice(i, i + 5);
      const room = [ARRAYS[this.dtype], samples * this.inputs];
      const values = status ? null : this.#call.tried('read_frame', kind, bound, most, bytes.subarray(start, stop), room);
      if (values) {
        found.push(values[0]);
        known &&= indexed === 1 || !lost;
        for (let n = 0; n < samples; n++) numbers.push(first + n);
      } else {
        problems.push(problem(frame, samples, first, start, stop));
        lost = true;
      }
      frame += samples > 0;
    }
    const samples = joined(found, ARRAYS[this.dtype]);
    return { samples, numbers: known ? Uint32Array.from(numbers) : null, kind: KINDS[kind], bound, problems };
  }

  stream({ result = 'code', hop, ...format } = {}) {
    const results = {
      code: (windows) => this.encode(windows),
      reconstruction: (windows) => this.reconstruct(windows),
      score: (windows) => this.score(windows).scores,
      anomaly: (windows) => this.score(windows).anomalies,
      frame: (windows) => this.frames(windows, packets),
    };
    if (!(result in results)) throw new Error(`stream: got ${result}, must be one of ${Object.keys(results).join(', ')}`);
    if (['score', 'anomaly'].includes(result)) this.#requireScores();
    const packets = packetsOf(result, format);
    return new Stream(results[result], hop);
  }

  frames(samples, options) {
    const format = formatOf(options);
    const values = require(samples, this.inputs, 'samples');
    const most = format[2] * this.inputs;
    const starts = Array.from({ length: Math.ceil(values.length / most) }, (_, i) => i * most);
    return starts.map((start) => frameOf(this.#call, format, values.subarray(start, start + most)));
  }

  samplesOf(frame, options) {
    const format = formatOf(options);
    return this.#call('read_frame', ...format, frame, [ARRAYS[this.dtype], format[2] * this.inputs])[0];
  }

  encoder(options) {
    return new Encoder(this.#call, formatOf(options));
  }

  reader(source) {
    requireKind(0);
    return Reader.open(this.#call, source);
  }

  async appender(source) {
    const reader = await this.reader(source);
    await reader.requireFrames();
    return { encoder: new Encoder(this.#call, reader.format, reader.entries), size: reader.stop };
  }

  #requireScores() {
    if (this.threshold === null) throw new Error(`score: ${this.name} is no anomaly model`);
  }

  #samples(samples) {
    return require(samples, this.inputs, 'samples');
  }

  /** Results of samples or codes, a part after the other. */
  #map(name, values, size, ...outs) {
    const count = values.length / size;
    const results = outs.map(([Kind, width]) => new Kind(count * width));
    const chunk = Math.max(1, Math.floor(CHUNK / (size * values.BYTES_PER_ELEMENT)));
    for (let start = 0; start < count; start += chunk) {
      const n = Math.min(chunk, count - start);
      const part = n === count ? values : values.subarray(start * size, (start + n) * size);
      const made = this.#call(name, part, ...outs.map(([Kind, width]) => [Kind, n * width]));
      outs.forEach(([, width], i) => results[i].set(made[i], start * width));
    }
    return results;
  }

  /** Call C with numbers, arrays and, as [Kind, length], arrays that it writes. */
  #called(name, values) {
    this.#wasm.reset();
    const outs = [];
    const given = values.flatMap((value) => {
      if (typeof value === 'number') return value;
      const [Kind, length] = Array.isArray(value) ? value : [kindOfArray(value), value.length];
      const size = length * Kind.BYTES_PER_ELEMENT;
      const place = size < 2 ** 32 ? this.#wasm.allocate(size) : 0;
      if (place === 0) throw new RangeError(`${facts.name}: no memory is left for ${length} values`);
      if (Array.isArray(value)) outs.push([Kind, place]);
      else this.#view(Kind, place, length).set(value);
      return [place, length];
    });
    return { count: this.#wasm[name](...given), outs };
  }

  #outs({ count, outs }) {
    return outs.map(([Kind, place]) => this.#view(Kind, place, count).slice());
  }

  #view(Kind, place, length) {
    return new Kind(this.#wasm.memory.buffer, place, length);
  }

  #required(called, name, values) {
    const status = -called.count;
    if (status <= 0) return called;
    if (status === 8) throw new RangeError(`${facts.name}: no memory is left`);
    if (status === 4) throw new RangeError(say('code', { top: 2 ** this.bits - 1 }));
    if (status in facts.reasons) throw new Error(facts.reasons[status]);
    const samples = values.find((value) => value instanceof ARRAYS[this.dtype]);
    const at = samples?.findIndex((value) => !Number.isFinite(Math.fround(value))) ?? -1;
    const place = at < 0 ? 'a value' : `value ${at % this.inputs} of sample ${Math.floor(at / this.inputs)}`;
    const got = at < 0 ? 'beyond float32' : samples[at];
    throw new RangeError(`samples: ${place} is ${got}, must be finite in float32 and scaled values`);
  }
}

/** The options of a stream's frames, a window each. */
function packetsOf(result, format) {
  const option = Object.keys(format).find((name) => format[name] !== undefined);
  if (result !== 'frame' && option) throw new Error(`stream: got ${option} for result '${result}', must be hop alone`);
  const { samplesPerFrame = 1 } = format;
  if (samplesPerFrame !== 1) throw new RangeError(`samplesPerFrame: got ${samplesPerFrame}, must be 1 in a stream`);
  const packets = { ...format, samplesPerFrame };
  if (result === 'frame') formatOf(packets);
  return packets;
}

/** That of a Buffer of Node.js is Uint8Array. */
function kindOfArray(values) {
  return values instanceof Uint8Array ? Uint8Array : values.constructor;
}

function problem(frame, samples, first, start, stop) {
  if (samples > 0) return `frame ${frame} (samples ${first} to ${first + samples - 1}) is damaged`;
  if (start < stop) return `bytes ${start} to ${stop - 1} hold no whole frame`;
  return 'it does not end in an index of its frames: it was cut off, is not finished, or lost some';
}
