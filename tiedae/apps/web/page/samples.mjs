// Numbers and pictures to samples of the model, {values, count, note}. Errors are sentences.
import { counted, short } from './numbers.mjs';

export const ARRAYS = {
  uint8: Uint8Array, int16: Int16Array, uint16: Uint16Array, float32: Float32Array, float16: Float32Array, float64: Float64Array,
};
const RATES_DIFFER = 5e-3; // as a fraction: times of a .csv file are rounded
const LIMITS = { uint8: [0, 255], int16: [-32768, 32767], uint16: [0, 65535] };

/** Rows, columns and channels where samples are pictures, else null. */
export function pictureOf({ kind, shape }) {
  const channels = shape[2] ?? 1;
  const is = kind === 'image' && (shape.length === 2 || shape.length === 3) && (channels === 1 || channels === 3);
  return is ? { rows: shape[0], columns: shape[1], channels } : null;
}

/** Values of a model's dtype in base64, as `data.mjs` has them. */
export function stored(dtype, text) {
  return new ARRAYS[dtype](Uint8Array.from(atob(text), (character) => character.charCodeAt(0)).buffer);
}

export function samplesOf(model, signal, numbers) {
  if (model.kind === 'record') return windowsOf(model, signal, numbers);
  const { shape, dtype, values, names } = numbers;
  if (names && model.columns) return typed(model, dtype, byName(numbers, model.columns), '');
  if (isOne(model, shape) || isMany(model, shape)) return typed(model, dtype, values, '');
  const right = `one sample [${model.shape.join(', ')}] or several, [n, ${model.shape.join(', ')}]`;
  const columns = names ? `${shape[1]} columns, must be ${model.inputs}` : `the shape [${shape.join(', ')}], must be ${right}`;
  throw new Error(`got ${columns}`);
}

function isOne({ inputs, shape: own }, shape) {
  return shape.length > 0 && (same(shape, own) || (shape.length === 1 && shape[0] === inputs));
}

function isMany({ inputs, shape: own }, shape) {
  const size = shape.slice(1).reduce((product, each) => product * each, 1);
  return shape.length > 1 && shape[0] > 0 && (same(shape.slice(1), own) || (shape.length === 2 && size === inputs));
}

/** Windows that are cut already, or those of one long record, [n] or [n, channels]. */
function windowsOf(model, signal, numbers) {
  const { shape, dtype, values, rate = 0, long: stated } = inTime(model, signal, numbers);
  const [steps, count] = [model.shape[0], signal.channels.length];
  const whole = isOne(model, shape) || isMany(model, shape);
  const long = stated || (shape.length === 2 && shape[1] === count) || (shape.length === 1 && count === 1 && !whole);
  if (!long && whole) return typed(model, dtype, values, '');
  if (rate !== 0 && signal.rate && !(Math.abs(rate - signal.rate) <= RATES_DIFFER * signal.rate)) {
    throw new Error(`got a rate of ${short(rate)} Hz, must be ${short(signal.rate)} Hz; resample it`);
  }
  if (!long || (shape[1] ?? 1) !== count) {
    const unit = stated ? 'channel' : 'column';
    const right = `time steps [${count === 1 ? 'n' : `n, ${count}`}], or windows [n, ${model.shape.join(', ')}]`;
    const shaped = dtype && !stated;
    throw new Error(`got ${shaped ? `the shape [${shape.join(', ')}], must be ${right}` : `${counted(shape[1] ?? 1, unit)}, must be ${count}`}`);
  }
  const found = Math.floor(shape[0] / steps);
  if (!found) throw new Error(`got ${counted(shape[0], 'time step')}, must be ${steps} or more: a window`);
  const rest = shape[0] - found * steps;
  const left = rest ? `; the last ${rest} are left out` : '';
  return typed(model, dtype, values.subarray(0, found * model.inputs), `cut into ${counted(found, 'window')} of ${steps} time steps${left}`);
}

/** The channels' columns of a .csv file with a header, and the rate by its column of times. */
function inTime(model, signal, numbers) {
  const { shape, values, names } = numbers;
  if (!names || names.length === model.inputs) return numbers;
  const time = signal.time ? names.indexOf(signal.time) : -1;
  const wanted = signal.named ? signal.channels : names.filter((_, i) => i !== time);
  const at = (row) => values[row * names.length + time];
  const rate = time < 0 ? 0 : (shape[0] - 1) / (at(shape[0] - 1) - at(0));
  return { ...numbers, shape: [shape[0], wanted.length], values: byName(numbers, wanted), rate };
}

function byName({ shape, values, names }, wanted) {
  const places = wanted.map((name) => names.indexOf(name));
  const missing = wanted.filter((_, i) => places[i] < 0);
  if (missing.length) throw new Error(`no column ${missing.slice(0, 3).join(', ')}; the columns must be ${wanted.join(', ')}`);
  const found = new Float64Array(shape[0] * places.length);
  for (let i = 0; i < shape[0]; i++) places.forEach((place, j) => { found[i * places.length + j] = values[i * names.length + place]; });
  return found;
}

function typed(model, dtype, values, note) {
  const { inputs } = model;
  const limits = LIMITS[model.dtype];
  const unit = 'in the unit of measure of the training data';
  if (limits ? dtype && dtype !== model.dtype && (model.dtype === 'uint8' || dtype === 'bool') : dtype === 'uint8' || dtype === 'bool') {
    throw new Error(`got ${dtype}, must be ${model.dtype}, ${unit}`);
  }
  const wrong = values.findIndex((value) => limits
    ? !Number.isInteger(value) || value < limits[0] || value > limits[1]
    : !Number.isFinite(Math.fround(value)));
  if (wrong >= 0) {
    const place = `${model.columns ? `column ${model.columns[wrong % inputs]}` : `value ${wrong % inputs}`} of sample ${Math.floor(wrong / inputs)}`;
    const right = limits ? `a whole number in ${limits[0]}…${limits[1]}, of ${model.dtype}` : 'finite in float32';
    throw new Error(`${place} is ${values[wrong]}, must be ${right}, ${unit}`);
  }
  return { values: ARRAYS[model.dtype].from(values), count: values.length / inputs, note };
}

function same(a, b) {
  return a.length === b.length && a.every((each, i) => each === b[i]);
}

/** What a function draws on black; cropping comes before scaling, or colours from beyond the edge would be mixed in. */
function drawn(width, height, draw) {
  const canvas = Object.assign(document.createElement('canvas'), { width, height });
  const context = canvas.getContext('2d', { willReadFrequently: true });
  context.fillStyle = '#000';
  context.fillRect(0, 0, width, height);
  context.imageSmoothingQuality = 'high';
  draw(context);
  return context;
}

/** A picture in whole, as patches of the model's size, row after row; those beyond the edge repeat it. */
export function patchesOfPicture(model, peak, source, { width, height }) {
  const picture = pictureOf(model);
  const pixels = drawn(width, height, (context) => context.drawImage(source, 0, 0)).getImageData(0, 0, width, height).data;
  const [rows, columns] = [Math.ceil(height / picture.rows), Math.ceil(width / picture.columns)];
  const values = new ARRAYS[model.dtype](rows * columns * model.inputs);
  for (let i = 0, at = 0; i < rows * columns; i++) {
    const [top, left] = [Math.floor(i / columns) * picture.rows, (i % columns) * picture.columns];
    for (let y = top; y < top + picture.rows; y++) {
      for (let x = left; x < left + picture.columns; x++, at += picture.channels) {
        put(values, at, picture, pixels, Math.min(y, height - 1) * width + Math.min(x, width - 1), peak);
      }
    }
  }
  const gray = picture.channels === 1 ? ', made gray' : '';
  const count = rows * columns;
  return { values, count, photo: { width, height }, note: `${width}×${height}${gray}, cut into ${count.toLocaleString('en')} patches` };
}

/** Pixel `i` of RGBA pixels as a value of a sample. */
function put(values, at, picture, pixels, i, peak) {
  const colour = pixels.subarray(4 * i, 4 * i + 3);
  const parts = picture.channels === 3 ? colour : [0.299 * colour[0] + 0.587 * colour[1] + 0.114 * colour[2]];
  const whole = !(values instanceof Float32Array || values instanceof Float64Array);
  for (let c = 0; c < parts.length; c++) {
    const value = (parts[c] * peak) / 255;
    values[at + c] = whole ? Math.round(value) : value;
  }
}

/** A picture, {width, height} that a canvas draws, cropped to the model's ratio and scaled to its size. */
export function sampleOfPicture(model, peak, source, { width, height }) {
  const picture = pictureOf(model);
  const ratio = picture.columns / picture.rows;
  const [w, h] = width / height > ratio ? [Math.max(1, Math.round(height * ratio)), height] : [width, Math.max(1, Math.round(width / ratio))];
  const middle = drawn(w, h, (context) => context.drawImage(source, -Math.floor((width - w) / 2), -Math.floor((height - h) / 2)));
  const context = drawn(picture.columns, picture.rows, (each) => each.drawImage(middle.canvas, 0, 0, picture.columns, picture.rows));
  const pixels = context.getImageData(0, 0, picture.columns, picture.rows).data;
  const values = new ARRAYS[model.dtype](model.inputs);
  for (let i = 0; i < picture.rows * picture.columns; i++) put(values, i * picture.channels, picture, pixels, i, peak);
  const done = [];
  if (w !== width || h !== height) done.push(`cropped to its middle ${w}×${h}`);
  if (w !== picture.columns || h !== picture.rows) done.push(`scaled to ${picture.columns}×${picture.rows}`);
  if (picture.channels === 1) done.push('made gray');
  return { values, count: 1, note: `${width}×${height}${done.length ? ', ' : ''}${done.join(', ')}` };
}
