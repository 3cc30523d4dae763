// .npy, .csv and .wav files to numbers: {shape, dtype, values, names}, of .wav {rate, long} too. Errors are sentences.

const READERS = {
  u1: [1, (view, at) => view.getUint8(at), 'uint8'],
  i1: [1, (view, at) => view.getInt8(at), 'int8'],
  b1: [1, (view, at) => view.getUint8(at), 'bool'],
  u2: [2, (view, at, little) => view.getUint16(at, little), 'uint16'],
  i2: [2, (view, at, little) => view.getInt16(at, little), 'int16'],
  u4: [4, (view, at, little) => view.getUint32(at, little), 'uint32'],
  i4: [4, (view, at, little) => view.getInt32(at, little), 'int32'],
  u8: [8, (view, at, little) => Number(view.getBigUint64(at, little)), 'uint64'],
  i8: [8, (view, at, little) => Number(view.getBigInt64(at, little)), 'int64'],
  f2: [2, (view, at, little) => half(view.getUint16(at, little)), 'float16'],
  f4: [4, (view, at, little) => view.getFloat32(at, little), 'float32'],
  f8: [8, (view, at, little) => view.getFloat64(at, little), 'float64'],
};

function half(bits) {
  const sign = bits & 0x8000 ? -1 : 1;
  const [exponent, fraction] = [(bits >> 10) & 31, bits & 1023];
  if (exponent === 31) return fraction ? NaN : sign * Infinity;
  return sign * (exponent ? 2 ** (exponent - 15) * (1 + fraction / 1024) : 2 ** -14 * (fraction / 1024));
}

export function readNpy(buffer) {
  const bytes = new Uint8Array(buffer);
  const view = new DataView(buffer);
  if (String.fromCharCode(...bytes.subarray(0, 6)) !== '\x93NUMPY') throw new Error('is no .npy file: it does not begin as one');
  if (![1, 2, 3].includes(bytes[6]) || bytes.length < 12) throw new Error(`got version ${bytes[6]} of .npy, must be 1, 2 or 3`);
  const wide = bytes[6] > 1;
  const start = (wide ? 12 : 10) + (wide ? view.getUint32(8, true) : view.getUint16(8, true));
  const header = new TextDecoder('latin1').decode(bytes.subarray(wide ? 12 : 10, start));
  const kind = /'descr':\s*'([<>|=])(\w\d+)'/.exec(header);
  const listed = /'shape':\s*\(([\d\s,L]*)\)/.exec(header);
  if (!kind || !listed || !READERS[kind[2]]) {
    const got = /'descr':\s*([^,]+)/.exec(header)?.[1] ?? 'no dtype';
    throw new Error(`holds ${got}, must hold integers or floats`);
  }
  const shape = (listed[1].match(/\d+/g) ?? []).map(Number);
  if (/'fortran_order':\s*True/.test(header) && shape.length > 1) {
    throw new Error('is in Fortran order, must be in C order: np.save(name, np.ascontiguousarray(values))');
  }
  const [size, read, dtype] = READERS[kind[2]];
  const count = shape.reduce((product, each) => product * each, 1);
  if (bytes.length - start < count * size) throw new Error(`ends early: got ${bytes.length - start} bytes of values, must be ${count * size}`);
  const values = new Float64Array(count);
  for (let i = 0; i < count; i++) values[i] = read(view, start + i * size, kind[1] !== '>');
  return { shape, dtype, values, names: null };
}

const WIDTHS = {
  1: [(view, at) => view.getUint8(at), 'uint8'],
  2: [(view, at) => view.getInt16(at, true), 'int16'],
  3: [(view, at) => view.getUint16(at, true) | (view.getInt8(at + 2) << 16), 'int32'],
  4: [(view, at) => view.getInt32(at, true), 'int32'],
}; // bytes of a sample

export function readWav(buffer) {
  const view = new DataView(buffer);
  const chunks = chunksOf(view);
  const [start, long] = chunks['fmt '] ?? [0, 0];
  if (long < 16 || start + 16 > view.byteLength || !chunks.data) throw new Error('is damaged, or no .wav file');
  const [form, channels, rate] = [view.getUint16(start, true), view.getUint16(start + 2, true), view.getUint32(start + 4, true)];
  const width = view.getUint16(start + 14, true) / 8;
  if (form !== 1 || !WIDTHS[width] || !channels) throw new Error('must hold plain PCM of 8, 16, 24 or 32 bits; convert it');
  const [place, size] = chunks.data;
  if (place + size > buffer.byteLength) throw new Error(`ends early: got ${buffer.byteLength - place} bytes of values, must be ${size}`);
  const [read, dtype] = WIDTHS[width];
  const count = Math.floor(size / width / channels);
  const values = Float64Array.from({ length: count * channels }, (_, i) => read(view, place + i * width));
  return { shape: channels === 1 ? [count] : [count, channels], dtype, values, names: null, rate, long: true };
}

/** The place and size of each chunk of a .wav file by its name. */
function chunksOf(view) {
  const name = (at) => String.fromCharCode(...[0, 1, 2, 3].map((i) => view.getUint8(at + i)));
  const found = {};
  if (view.byteLength < 44 || name(0) !== 'RIFF' || name(8) !== 'WAVE') return found;
  for (let at = 12; at + 8 <= view.byteLength;) {
    const size = view.getUint32(at + 4, true);
    found[name(at)] = [at + 8, size];
    at += 8 + size + (size % 2);
  }
  return found;
}

export function readCsv(text) {
  const lines = text.replace(/^\ufeff/, '').split(/\r\n|\n|\r/);
  const rows = lines.map((line, i) => ({ line, number: i + 1 })).filter(({ line }) => line.trim() !== '');
  if (!rows.length) throw new Error('holds no numbers');
  const first = rows[0].line;
  const separator = [',', ';', '\t'].find((each) => first.includes(each)) ?? ',';
  const cells = (line) => line.split(separator).map((cell) => cell.trim().replace(/^"(.*)"$/, '$1'));
  const named = cells(first).some((cell) => !isNumber(cell));
  const names = named ? cells(first) : null;
  const width = cells(first).length;
  const data = named ? rows.slice(1) : rows;
  if (!data.length) throw new Error('holds a header alone, must hold numbers too');
  const values = new Float64Array(data.length * width);
  data.forEach(({ line, number }, i) => {
    const found = cells(line);
    if (found.length !== width) throw new Error(`line ${number}: got ${found.length} values, must be ${width} as in the first line`);
    found.forEach((cell, j) => {
      if (!isNumber(cell)) throw new Error(`line ${number}: got “${cell.slice(0, 30)}”, must be a number`);
      values[i * width + j] = Number(cell);
    });
  });
  return { shape: [data.length, width], dtype: null, values, names };
}

function isNumber(cell) {
  return cell !== '' && (!Number.isNaN(Number(cell)) || /^nan$/i.test(cell));
}
