// What comes and goes in pieces: time steps to results of windows, samples to the bytes of .tae files and back. index.d.ts has the types.
import facts from './model.mjs';

export const ARRAYS = {
  uint8: Uint8Array, int16: Int16Array, uint16: Uint16Array, float32: Float32Array, float64: Float64Array,
};
export const KINDS = ['lossy', 'bounded', 'lossless'];
const Value = ARRAYS[facts.dtype];
const WINDOW = facts.window * facts.step; // values
const PART = { none: 0, frame: 1, end: 2, index: 3, cut: 4 };
const AT_ONCE = 1 << 16;
const LONGEST = (1 << 16) - 1; // rows and columns of a picture

/** A message of the table that Java and Swift have too. */
export const say = (key, values = {}) => facts.messages[key].replace(/\{(\w+)\}/g, (_, name) => values[name]);

export const kindOf = (value) => value?.constructor?.name ?? String(value);

export function whole(value, least, most, what) {
  if (Number.isInteger(value) && value >= least && value <= most) return value;
  throw new RangeError(say('range', { what, got: value, least, most }));
}

export function joined(parts, Kind) {
  const all = new Kind(parts.reduce((total, part) => total + part.length, 0));
  let at = 0;
  for (const part of parts) {
    all.set(part, at);
    at += part.length;
  }
  return all;
}

export function requireKind(kind) {
  if (facts.files.includes(KINDS[kind])) return;
  const right = facts.files.length ? facts.files.join(', ') : 'none: the bundle has no tables for .tae files';
  throw new Error(`${KINDS[kind]} .tae files: this package was made without them, it has ${right}`);
}

/** Values of the data's dtype, a multiple of `each`. */
export function require(values, each, what) {
  const clamped = facts.dtype === 'uint8' && values instanceof Uint8ClampedArray;
  if (!(values instanceof Value) && !clamped) throw new TypeError(`${what}: got ${kindOf(values)}, must be ${Value.name}`);
  if (values.length % each) throw new RangeError(say('multiple', { what, got: values.length, each }));
  return values;
}

function requireFinite(values, what) {
  if ((Value === Float32Array || Value === Float64Array) && !values.every((value) => Number.isFinite(Math.fround(value)))) {
    throw new RangeError(say('finite', { what }));
  }
}

/** The numbers that C takes of a file, from options. */
export function formatOf({ samplesPerFrame = facts.perFrame, maxError, lossless = false, ...others } = {}) {
  const other = Object.keys(others).find((name) => others[name] !== undefined);
  if (other) throw new Error(`options: got ${other}, must be samplesPerFrame, maxError or lossless`);
  if (lossless && maxError !== undefined) throw new Error(`maxError: got ${maxError} with lossless, must be left out`);
  const kind = lossless ? 2 : maxError === undefined ? 0 : 1;
  requireKind(kind);
  const bound = kind === 1 ? whole(maxError, 1, 65535, 'maxError') : 0;
  return [kind, bound, whole(samplesPerFrame, 1, facts.mostPerFrame, 'samplesPerFrame')];
}

/** Results of the windows that time steps complete. */
export class Stream {
  #results;
  #waiting = new Value(0);

  constructor(results, hop = facts.window) {
    if (!facts.window) throw new Error(`stream: the samples are ${facts.kind}, must be windows of a record`);
    this.hop = whole(hop, 1, facts.window, 'hop');
    this.#results = results;
  }

  push(steps) {
    requireFinite(require(steps, facts.step, 'steps'), 'steps');
    const all = this.#waiting.length ? joined([this.#waiting, steps], Value) : steps;
    const [hop, windows] = [this.hop * facts.step, []];
    let at = 0;
    for (; at + WINDOW <= all.length; at += hop) windows.push(all.subarray(at, at + WINDOW));
    const results = this.#results(joined(windows, Value));
    this.#waiting = all.slice(at);
    return results;
  }

  /** A TransformStream of `push`. */
  transform() {
    return transformOf(this);
  }
}

/** The bytes of a .tae file of samples or time steps, those of Python. */
export class Encoder {
  #call;
  #format;
  #entries;
  #begun;
  #inRecord;
  #done = false;
  #waiting = [];
  #filled = 0;

  /** `before`: the entries of a file behind which frames are appended. */
  constructor(call, format, before = null) {
    this.#call = call;
    this.#format = format;
    this.#begun = before !== null;
    this.#entries = before ?? new Entries();
    this.#inRecord = this.#entries.endInFrame;
  }

  push(values) {
    this.#requireOpen();
    const each = facts.window ? facts.step : facts.inputs;
    requireFinite(require(values, each, 'samples'), 'samples');
    const most = this.#format[2] * facts.inputs;
    const parts = this.#begun ? [] : this.#call('write_header', ...this.#format, [Uint8Array, 32]);
    this.#begun = true;
    for (let at = 0; at < values.length;) {
      const part = values.slice(at, at + most - this.#filled);
      this.#waiting.push(part);
      this.#filled += part.length;
      at += part.length;
      if (this.#filled === most) parts.push(this.#frame());
    }
    return joined(parts, Uint8Array);
  }

  endRecord() {
    this.#requireOpen();
    if (!facts.window) throw new Error(`record: the samples are ${facts.kind}, must be windows of a record`);
    if (!this.#inRecord && !this.#filled) throw new RangeError(say('record'));
    const rest = (facts.inputs - this.#filled % facts.inputs) % facts.inputs / facts.step;
    for (let i = 0; i < rest; i++) {
      this.#waiting.push(this.#waiting.at(-1).slice(-facts.step));
      this.#filled += facts.step;
    }
    const frame = this.#filled ? this.#frame() : new Uint8Array(0);
    const [end] = this.#call('write_end', ...this.#format, rest, [Uint8Array, 11]);
    this.#entries.add(0, end.length);
    this.#inRecord = false;
    return joined([frame, end], Uint8Array);
  }

  /** The end of a picture, whose patches, row after row, were pushed: its last frame, and its size. */
  endPicture(width, height) {
    this.#requireOpen();
    const [rows, columns] = facts.shape;
    if (facts.kind !== 'image' || rows !== columns) throw new Error(`picture: the samples are ${facts.kind}, must be square patches`);
    const number = whole(height, 1, LONGEST, 'height') * (LONGEST + 1) + whole(width, 1, LONGEST, 'width');
    const frame = this.#filled ? this.#frame() : new Uint8Array(0);
    if (!this.#inRecord) throw new RangeError(say('none'));
    const [end] = this.#call('write_end', ...this.#format, number, [Uint8Array, 11]);
    this.#entries.add(0, end.length);
    this.#inRecord = false;
    return joined([frame, end], Uint8Array);
  }

  /** The rest: of time steps that fill no window the end of the record, then the last frame and the index. */
  finish() {
    this.#requireOpen();
    const parts = this.#filled % facts.inputs ? [this.endRecord()] : [];
    if (this.#filled) parts.push(this.#frame());
    this.#done = true;
    const { numbers, endInIndex } = this.#entries;
    if (!numbers.length) throw new RangeError(say('none'));
    if (!endInIndex) {
      const [index] = this.#call('write_index', ...this.#format, Uint32Array.from(numbers), [Uint8Array, 10 + 5 * numbers.length]);
      parts.push(index);
    }
    return joined(parts, Uint8Array);
  }

  /** A TransformStream of `push` and `finish`, such as into a file. */
  transform() {
    return transformOf(this);
  }

  #frame() {
    const [waiting, filled] = [joined(this.#waiting, Value), this.#filled];
    const frame = frameOf(this.#call, this.#format, waiting);
    [this.#waiting, this.#filled, this.#inRecord] = [[], 0, true];
    this.#entries.add(filled / facts.inputs, frame.length);
    return frame;
  }

  #requireOpen() {
    if (this.#done) throw new Error(say('closed'));
  }
}

/** The frame of samples alone. */
export function frameOf(call, format, samples) {
  const most = call.bytes * samples.length / facts.inputs;
  return call('write_frame', ...format, samples, [Uint8Array, most])[0];
}

function transformOf(stream) {
  const put = (result, to) => result.length !== 0 && to.enqueue(result);
  return new TransformStream({
    transform: (chunk, to) => put(stream.push(chunk), to),
    flush: (to) => stream.finish && put(stream.finish(), to),
  });
}

/** What an index lists: samples and bytes of each frame; 0 samples for bytes to skip. */
class Entries {
  numbers = [];
  endInIndex = false;

  add(samples, bytes, isIndex = false) {
    this.endInIndex = isIndex;
    const { numbers } = this;
    if (!samples && numbers.length && !numbers.at(-2)) numbers[numbers.length - 1] += bytes;
    else numbers.push(samples, bytes);
  }

  get endInFrame() {
    return this.numbers.at(-2) > 0;
  }
}

/** Samples of a .tae file by their numbers. */
export class Reader {
  #call;
  #read;

  /** `source`: a Blob, or its `size` and `read(offset, size)`, which gives bytes or a promise of them. */
  static async open(call, source) {
    const [reader, isBlob] = [new Reader(), source instanceof Blob];
    if (!isBlob && !(Number.isInteger(source?.size) && typeof source.read === 'function')) {
      throw new TypeError(`source: got ${kindOf(source)}, must be a Blob, or its size and read(offset, size)`);
    }
    reader.#call = call;
    reader.#read = async (at, size) => {
      const bytes = isBlob ? new Uint8Array(await source.slice(at, at + size).arrayBuffer()) : await source.read(at, size);
      if (!(bytes instanceof Uint8Array)) throw new TypeError(`file: got ${kindOf(bytes)}, must be Uint8Array`);
      if (bytes.length !== size) throw new Error(say('shrunk', { got: bytes.length, at, size }));
      return bytes;
    };
    const start = await reader.#read(0, Math.min(32, source.size));
    const [header] = call('read_header', start, [Uint32Array, 4]);
    [reader.format, reader.begin] = [[...header.subarray(0, 3)], header[3]];
    [reader.stop, reader.entries, reader.isDamaged] = [reader.begin, new Entries(), false];
    reader.isWhole = await reader.#list(source.size);
    if (!reader.isWhole) await reader.#scan(source.size);
    reader.samples = reader.entries.numbers.reduce((total, value, i) => total + (i % 2 ? 0 : value), 0);
    return reader;
  }

  /** Samples start to stop - 1. */
  read(start, stop) {
    return this.#range(start, stop, false);
  }

  /** The time steps of windows start to stop - 1, without what fills up the last window of a record. */
  readSteps(start, stop) {
    return this.#range(start, stop, true);
  }

  /** The samples of each frame. */
  async* [Symbol.asyncIterator]() {
    let at = this.begin;
    const { numbers } = this.entries;
    for (let i = 0; i < numbers.length; i += 2) {
      if (numbers[i]) yield this.#frame(at, numbers[i], numbers[i + 1]);
      at += numbers[i + 1];
    }
  }

  async #range(start, stop, steps) {
    const { samples: total, entries: { numbers } } = this;
    if (!(Number.isInteger(start) && Number.isInteger(stop) && 0 <= start && start < stop && stop <= total)) {
      throw new RangeError(say('samples', { start, stop, total }));
    }
    const parts = [];
    for (let i = 0, at = this.begin, first = 0; first < stop; first += numbers[i], at += numbers[i + 1], i += 2) {
      const held = numbers[i];
      if (!held || first + held <= start) continue;
      const [frame, last] = [await this.#frame(at, held, numbers[i + 1]), Math.min(held, stop - first)];
      const padding = steps && last === held ? await this.#padding(at + numbers[i + 1], i + 2) : 0;
      parts.push(frame.subarray(Math.max(0, start - first) * facts.inputs, last * facts.inputs - padding * facts.step));
    }
    return joined(parts, Value);
  }

  async #frame(at, samples, size) {
    const [found] = this.#call('read_frame', ...this.format, await this.#read(at, size), [Value, samples * facts.inputs]);
    if (found.length !== samples * facts.inputs) throw new Error(facts.reasons[5]);
    return found;
  }

  /** Time steps of a frame's last window that are not the record's. */
  async #padding(at, i) {
    const { numbers } = this.entries;
    if (!(numbers[i] === 0)) return 0;
    const [part] = this.#call('read_parts', ...this.format, 1, await this.#read(at, Math.min(11, numbers[i + 1])), [Uint32Array, 4]);
    return part[0] === PART.end ? part[3] : 0;
  }

  /** Take the entries of the index, if the file ends in one that lists what is before it. */
  async #list(size) {
    if (size < this.begin + 10) return false;
    const tail = await this.#read(size - 8, 8);
    const index = new DataView(tail.buffer, tail.byteOffset, 8).getUint32(0, true);
    if (index < 10 || index > size - this.begin) return false;
    const marker = await this.#read(size - index, 2);
    if (marker[0] !== 0xa7 || marker[1] !== 0xef) return false;
    const bytes = await this.#read(size - index, index);
    const [numbers] = this.#call.tried('read_index', ...this.format, bytes, [Uint32Array, index - 10]) ?? [null];
    if (!numbers) return false;
    const frames = numbers.filter((_, i) => i % 2 === 0);
    const sizes = numbers.filter((_, i) => i % 2);
    const fits = frames.every((samples) => samples <= this.format[2]) && sizes.every((bytesOf) => bytesOf >= 7);
    if (!fits || sizes.reduce((total, value) => total + value, this.begin) !== size - index) return false;
    frames.forEach((samples, i) => this.entries.add(samples, sizes[i]));
    this.entries.add(0, index, true);
    this.stop = size;
    return true;
  }

  /** Refuse a file of which a frame is damaged. */
  async requireFrames() {
    let whole = !this.isDamaged;
    const { numbers } = this.entries;
    for (let i = 0, at = this.begin; whole && this.isWhole && i < numbers.length; at += numbers[i + 1], i += 2) {
      if (!numbers[i]) continue;
      const [part] = this.#call('read_parts', ...this.format, 0, await this.#read(at, numbers[i + 1]), [Uint32Array, 4]);
      whole = part[0] === PART.frame && part[1] === numbers[i + 1] && part[2] === numbers[i];
    }
    if (!whole) throw new Error(facts.reasons[5]);
  }

  /** Find the whole parts from the header on. */
  async #scan(size) {
    let wanted = AT_ONCE;
    for (let cut = false; this.stop < size && !this.isDamaged && !cut;) {
      const bytes = await this.#read(this.stop, Math.min(wanted, size - this.stop));
      const [parts] = this.#call('read_parts', ...this.format, Number(this.entries.endInFrame), bytes, [Uint32Array, AT_ONCE]);
      wanted = AT_ONCE;
      for (let i = 0; i < parts.length; i += 4) {
        const [part, taken, samples] = parts.subarray(i, i + 3);
        if (part === PART.none) {
          this.isDamaged = true;
        } else if (part === PART.cut) {
          wanted = Math.max(AT_ONCE, taken);
          cut = this.stop + wanted > size && bytes.length === size - this.stop;
        } else {
          this.entries.add(samples, taken, part === PART.index);
          this.stop += taken;
        }
      }
    }
  }
}
