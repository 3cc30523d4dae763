// Numbers and pictures to samples of the model, {values, count, note}. Errors are sentences.

const ARRAYS = {
  uint8: Uint8Array, int16: Int16Array, uint16: Uint16Array, float32: Float32Array, float64: Float64Array,
};
const LIMITS = { uint8: [0, 255], int16: [-32768, 32767], uint16: [0, 65535] };

/** Rows, columns and channels where samples are pictures, else null. */
export function pictureOf({ kind, shape }) {
  const channels = shape[2] ?? 1;
  const is = kind === 'images' && (shape.length === 2 || shape.length === 3) && (channels === 1 || channels === 3);
  return is ? { rows: shape[0], columns: shape[1], channels } : null;
}

export function samplesOf(model, { shape, dtype, values, names }) {
  const { inputs } = model;
  if (names && model.columns) return typed(model, dtype, byName(model, shape, values, names), '');
  const flat = shape.length === 1 && shape[0] !== inputs && model.kind === 'record' && shape[0] > inputs;
  if (flat) {
    const count = Math.floor(shape[0] / inputs);
    const rest = shape[0] - count * inputs;
    const left = rest ? `; the last ${rest} values are left out` : '';
    return typed(model, dtype, values.subarray(0, count * inputs), `cut into ${count} windows of ${inputs} values${left}`);
  }
  const size = shape.slice(1).reduce((product, each) => product * each, 1);
  const one = shape.length > 0 && (same(shape, model.shape) || (shape.length === 1 && shape[0] === inputs));
  const many = shape.length > 1 && shape[0] > 0 && (same(shape.slice(1), model.shape) || (shape.length === 2 && size === inputs));
  if (one || many) return typed(model, dtype, values, '');
  const right = `one sample [${model.shape.join(', ')}] or several, [n, ${model.shape.join(', ')}]`;
  const columns = names ? `${shape[1]} columns, must be ${inputs}` : `the shape [${shape.join(', ')}], must be ${right}`;
  throw new Error(`got ${columns}`);
}

function byName(model, shape, values, names) {
  const places = model.columns.map((name) => names.indexOf(name));
  const missing = model.columns.filter((_, i) => places[i] < 0);
  if (missing.length) throw new Error(`no column ${missing.slice(0, 3).join(', ')}; the columns must be ${model.columns.join(', ')}`);
  const found = new Float64Array(shape[0] * places.length);
  for (let i = 0; i < shape[0]; i++) places.forEach((place, j) => { found[i * places.length + j] = values[i * shape[1] + place]; });
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

/** A picture, {width, height} that a canvas draws, cropped to the model's ratio and scaled to its size. */
export function sampleOfPicture(model, peak, source, { width, height }) {
  const picture = pictureOf(model);
  const ratio = picture.columns / picture.rows;
  const [w, h] = width / height > ratio ? [Math.max(1, Math.round(height * ratio)), height] : [width, Math.max(1, Math.round(width / ratio))];
  const middle = drawn(w, h, (context) => context.drawImage(source, -Math.floor((width - w) / 2), -Math.floor((height - h) / 2)));
  const context = drawn(picture.columns, picture.rows, (each) => each.drawImage(middle.canvas, 0, 0, picture.columns, picture.rows));
  const pixels = context.getImageData(0, 0, picture.columns, picture.rows).data;
  const values = new ARRAYS[model.dtype](model.inputs);
  const whole = model.dtype in LIMITS;
  for (let i = 0; i < picture.rows * picture.columns; i++) {
    const colour = pixels.subarray(4 * i, 4 * i + 3);
    const parts = picture.channels === 3 ? [...colour] : [0.299 * colour[0] + 0.587 * colour[1] + 0.114 * colour[2]];
    parts.forEach((part, c) => {
      const value = (part * peak) / 255;
      values[i * picture.channels + c] = whole ? Math.round(value) : value;
    });
  }
  const done = [];
  if (w !== width || h !== height) done.push(`cropped to its middle ${w}×${h}`);
  if (w !== picture.columns || h !== picture.rows) done.push(`scaled to ${picture.columns}×${picture.rows}`);
  if (picture.channels === 1) done.push('made gray');
  return { values, count: 1, note: `${width}×${height}${done.length ? ', ' : ''}${done.join(', ')}` };
}
