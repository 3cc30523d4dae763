// The page: what is loaded, which sample is shown, and what the model makes of it.
import { golden, load } from '../index.mjs';
import facts from '../model.mjs';
import { drawCode, paint, paintDifference, plot, short } from './draw.mjs';
import { readCsv, readNpy } from './files.mjs';
import { makePad } from './pad.mjs';
import { pictureOf, sampleOfPicture, samplesOf } from './samples.mjs';

const $ = (id) => document.getElementById(id);
const THUMBNAILS = 24;
const MOST_VALUES = 64; // rows of the table of values
const MOST_COMPRESSED = 2000; // samples that are compressed to state their bytes
const TIMINGS = 7;
const TIMED_MS = 4;

const picture = pictureOf(facts);
const peak = facts.peak ?? { uint8: 255, uint16: 65535, int16: 32767 }[facts.dtype] ?? 1;
const WORDS = {
  denoising: { original: 'Noisy', made: 'Denoised', difference: 'Removed', error: 'Mean squared difference' },
}[facts.task] ?? { original: 'Original', made: 'Reconstruction', difference: 'Difference', error: 'Mean squared error' };
const DRAWN = 64; // rows and columns of a picture that can be drawn
const WORST = 3; // values of a table or record that are named
const drawable = picture !== null && picture.channels === 1 && Math.max(picture.rows, picture.columns) <= DRAWN;
const state = { values: null, clean: null, count: 0, index: 0, origin: '', decoded: false, bytes: undefined }; // bytes of all in a .tae file
let model;
let pad;
let timer;

function say(text) {
  $('status').textContent = text;
}

function problems(list) {
  $('problems').hidden = !list.length;
  $('problems').replaceChildren(...list.map((text) => Object.assign(document.createElement('li'), { textContent: text })));
}

function sampleAt(index) {
  return state.values.subarray(index * facts.inputs, (index + 1) * facts.inputs);
}

function cleanAt(index) {
  return state.clean?.subarray(index * facts.inputs, (index + 1) * facts.inputs);
}

function show(values, count, origin, decoded = false, clean = null) {
  Object.assign(state, { values, count, origin, decoded, clean, index: 0, bytes: undefined });
  $('save').disabled = decoded || !facts.files.includes('lossy');
  $('number').max = count;
  $('count').textContent = `of ${count.toLocaleString('en')}`;
  $('original-caption').textContent = decoded ? 'In the file' : WORDS.original;
  $('line-caption').textContent = decoded ? 'in the file' : WORDS.original;
  for (const each of document.querySelectorAll('.made')) each.hidden = decoded;
  for (const each of document.querySelectorAll('.clean')) each.hidden = clean === null;
  if (picture && clean) $('difference-figure').hidden = true;
  select(0);
  thumbnails();
}

function thumbnails() {
  if (!picture) return;
  const made = Array.from({ length: Math.min(THUMBNAILS, state.count) }, (_, i) => {
    const button = document.createElement('button');
    const canvas = document.createElement('canvas');
    paint(canvas, picture, sampleAt(i), peak);
    button.type = 'button';
    button.setAttribute('aria-label', `Sample ${i + 1}`);
    button.append(canvas);
    button.addEventListener('click', () => select(i));
    return button;
  });
  $('thumbnails').replaceChildren(...made);
  pressed();
}

function pressed() {
  [...$('thumbnails').children].forEach((each, i) => each.setAttribute('aria-pressed', String(i === state.index)));
}

function select(index) {
  state.index = Math.min(state.count - 1, Math.max(0, index));
  $('number').value = state.index + 1;
  pressed();
  result();
}

function result() {
  const sample = sampleAt(state.index);
  const code = model.encode(sample);
  const made = model.decode(code);
  const clean = cleanAt(state.index);
  const difference = Float64Array.from(sample, (value, i) => made[i] - value);
  if (picture) {
    paint($('original'), picture, sample, peak);
    paint($('reconstruction'), picture, made, peak);
    paintDifference($('difference'), picture, difference, peak);
    if (clean) paint($('clean'), picture, clean, peak);
  } else {
    const lines = clean ? [['original', sample], ['clean', clean], ['ours', made]] : [['original', sample], ['ours', made]];
    plot($('plot'), state.decoded ? [['original', sample]] : lines);
    if (!state.decoded) plot($('rest'), [['rest', difference]]);
  }
  document.documentElement.dataset.ready ??= performance.now().toFixed(1); // the first reconstruction is drawn
  const most = drawCode($('code'), code, facts.zero);
  $('code-caption').textContent = `Code: ${facts.units} numbers of ${facts.bits} bits, bars of ±${most} around ${facts.zero}`;
  if (!state.decoded) table(sample, made);
  verdict(sample);
  const found = rows(sample, made, difference, clean);
  list(found);
  clearTimeout(timer);
  timer = setTimeout(() => list([...found, ['Time', timing(sample)]]), 60);
}

function verdict(sample) {
  if (model.threshold === null) return;
  const { scores, anomalies } = model.score(sample);
  const word = anomalies[0] ? 'Anomaly' : 'Normal';
  $('verdict').hidden = false;
  $('verdict').className = anomalies[0] ? 'anomaly' : 'normal';
  $('verdict').textContent = `${word}: score ${short(scores[0])}, ${anomalies[0] ? 'above' : 'not above'} the threshold ${short(model.threshold)}`;
}

function squared(values, others) {
  return values.reduce((sum, value, i) => sum + (value - others[i]) ** 2, 0) / values.length;
}

/** How near values are to the clean sample: of pictures PSNR, else the root mean squared error. */
function nearness(values, clean) {
  const mse = squared(values, clean);
  if (!picture) return short(Math.sqrt(mse));
  return mse ? `${(10 * Math.log10((peak * peak) / mse)).toFixed(1)} dB` : 'equal';
}

/** The values whose errors are the largest part of the score. */
function worst(sample, made) {
  const weight = (i) => facts.weights[i] ?? facts.weights;
  const parts = Array.from(sample, (value, i) => [weight(i) * (value - made[i]) ** 2, i]);
  const largest = parts.sort(([a], [b]) => b - a).slice(0, WORST);
  return largest.map(([, i]) => `${facts.columns?.[i] ?? `value ${i}`}: ${short(sample[i])} (${short(made[i])})`).join(', ');
}

function rows(sample, made, difference, clean) {
  const found = [];
  const bytes = sample.length * sample.BYTES_PER_ELEMENT;
  if (!state.decoded) {
    if (clean) {
      const what = picture ? 'PSNR' : 'Root mean squared error';
      found.push([`${what}, noisy`, nearness(sample, clean), 'against the clean sample']);
      found.push([`${what}, denoised`, nearness(made, clean), 'against the clean sample']);
    }
    if (facts.weights !== null) found.push(['Worst values', worst(sample, made), 'reconstructed in brackets']);
    if (!clean) {
      const mse = squared(made, sample);
      found.push([WORDS.error, short(mse), facts.dtype === 'uint8' ? 'of values 0 to 255' : "in the data's unit of measure, squared"]);
      if (picture && facts.task !== 'denoising') found.push(['PSNR', nearness(made, sample), `peak ${peak}`]);
      found.push(['Largest difference', short(difference.reduce((most, each) => Math.max(most, Math.abs(each)), 0))]);
    }
    if (facts.files.includes('lossy')) {
      found.push(['This sample', `${bytes.toLocaleString('en')} bytes`, 'as it is']);
      found.push(sizes(sample, bytes, 1));
      if (state.count > 1 && state.count <= MOST_COMPRESSED) found.push(sizes(state.values, bytes, state.count));
    }
  }
  return found;
}

function sizes(samples, bytes, count) {
  const size = count > 1 ? (state.bytes ??= model.compress(samples).length) : model.compress(samples).length;
  const what = count === 1 ? 'Alone in a .tae file' : `All ${count.toLocaleString('en')} in a .tae file`;
  const each = count === 1 ? '' : `${short(size / count)} bytes each, `;
  const ratio = (count * bytes) / size;
  const against = ratio < 1 ? `${(1 / ratio).toFixed(1)} × larger` : `${ratio.toFixed(1)} × smaller`;
  return [what, `${size.toLocaleString('en')} bytes`, `${each}${against}`];
}

function timing(sample) {
  const times = [];
  let calls = 4;
  while (times.length < TIMINGS) {
    const start = performance.now();
    for (let i = 0; i < calls; i++) model.decode(model.encode(sample));
    const took = performance.now() - start;
    if (took < TIMED_MS && calls < 1 << 14) calls *= 2;
    else times.push((took * 1000) / calls);
  }
  times.sort((a, b) => a - b);
  return `${short(times[TIMINGS >> 1])} µs`;
}

function list(found) {
  const made = found.map(([name, value, more]) => {
    const row = document.createElement('div');
    const [term, detail] = [document.createElement('dt'), document.createElement('dd')];
    term.textContent = name;
    detail.textContent = `${value} `;
    const note = name === 'Time' ? `encode and decode, median, ${model.simd ? 'with vectors' : 'without vectors'}` : more;
    if (note) detail.append(Object.assign(document.createElement('small'), { textContent: note }));
    row.append(term, detail);
    return row;
  });
  $('facts').replaceChildren(...made);
}

function table(sample, made) {
  $('values').hidden = picture !== null || sample.length > MOST_VALUES;
  if ($('values').hidden) return;
  const lines = Array.from(sample, (value, i) => {
    const row = document.createElement('tr');
    const cells = [facts.columns?.[i] ?? i, short(value), short(made[i]), short(made[i] - value)];
    row.append(...cells.map((text, j) => Object.assign(document.createElement('td'), { textContent: text, className: j ? 'n' : '' })));
    return row;
  });
  $('values').querySelector('tbody').replaceChildren(...lines);
}

async function read(file) {
  const name = file.name.toLowerCase();
  if (name.endsWith('.tae')) return { ...opened(new Uint8Array(await file.arrayBuffer()), file), decoded: true };
  if (name.endsWith('.npy')) return samplesOf(model, readNpy(await file.arrayBuffer()));
  if (name.endsWith('.csv') || name.endsWith('.txt')) return samplesOf(model, readCsv(await file.text()));
  if (!picture) throw new Error('must be a .npy, .csv or .tae file');
  let image;
  try {
    image = await createImageBitmap(file);
  } catch {
    throw new Error('is no picture that this browser opens, and no .npy, .csv or .tae file');
  }
  return sampleOfPicture(model, peak, image, image);
}

function opened(bytes) {
  const { samples, problems: found, kind, bound } = model.decompress(bytes);
  const count = samples.length / facts.inputs;
  if (!count) throw new Error(found.length ? `no frame is whole: ${found.join('; ')}` : 'holds no samples');
  const promise = { lossy: 'lossy', bounded: `every value within ${bound}`, lossless: 'lossless' }[kind];
  return { values: samples, count, note: `${bytes.length.toLocaleString('en')} bytes, ${promise}`, found };
}

async function openFiles(files) {
  const [parts, failed, notes] = [[], [], []];
  for (const file of files) {
    try {
      const part = await read(file);
      parts.push({ ...part, name: file.name });
      failed.push(...(part.found ?? []).map((text) => `${file.name}: ${text}`));
      notes.push(`${file.name}${part.note ? `: ${part.note}` : ''}`);
    } catch (error) {
      failed.push(`${file.name}: ${error.message.replace(/^file: /, '')}`);
    }
  }
  problems(failed);
  if (!parts.length) return say(failed.length ? 'Nothing was loaded; the sample before is still there.' : '');
  const decoded = parts.some((part) => part.decoded);
  const kept = parts.filter((part) => Boolean(part.decoded) === decoded);
  const values = new kept[0].values.constructor(kept.reduce((sum, part) => sum + part.values.length, 0));
  let at = 0;
  for (const part of kept) {
    values.set(part.values, at);
    at += part.values.length;
  }
  const count = values.length / facts.inputs;
  show(values, count, kept.map((part) => part.name).join(', '), decoded);
  const lost = failed.length ? ' What is whole is shown; the rest is named below.' : '';
  return say(`${count === 1 ? 'One sample' : `${count.toLocaleString('en')} samples`} from ${notes.join('; ')}.${lost}`);
}

function save() {
  const data = model.compress(state.values);
  const link = document.createElement('a');
  link.href = URL.createObjectURL(new Blob([data], { type: 'application/octet-stream' }));
  link.download = `${facts.name}.tae`;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10000);
  say(`Saved ${state.count.toLocaleString('en')} samples in ${data.length.toLocaleString('en')} bytes: ${facts.name}.tae.`);
}

function showGolden() {
  const { data, clean = null } = golden();
  problems([]);
  show(data, data.length / facts.inputs, 'golden samples', false, clean);
}

function drawn() {
  const { values } = sampleOfPicture(model, peak, $('pad'), $('pad'));
  if (state.origin === 'the drawing pad') {
    state.values.set(values);
    thumbnails();
    select(0);
  } else {
    show(values, 1, 'the drawing pad');
    say(`Your drawing, scaled to ${picture.columns}×${picture.rows}.`);
  }
}

function invert() {
  const values = state.values.map((value) => peak - value);
  show(values, state.count, `${state.origin}, inverted`, state.decoded);
  say('Inverted: dark is light now.');
}

function listen() {
  $('open').addEventListener('change', async ({ target }) => {
    await openFiles([...target.files]);
    target.value = '';
  });
  $('golden').addEventListener('click', () => {
    showGolden();
    say('Golden samples of the model.');
  });
  $('save').addEventListener('click', save);
  $('previous').addEventListener('click', () => select(state.index - 1));
  $('next').addEventListener('click', () => select(state.index + 1));
  $('number').addEventListener('change', ({ target }) => select(Math.round(Number(target.value) || 1) - 1));
  $('choose').addEventListener('keydown', (event) => {
    const step = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
    if (!step || event.target.id === 'number') return;
    event.preventDefault();
    select(state.index + step);
    if (event.target.closest('#thumbnails')) $('thumbnails').children[state.index]?.focus();
  });
  addEventListener('dragover', (event) => {
    event.preventDefault();
    document.body.classList.add('over');
  });
  for (const name of ['dragleave', 'drop']) addEventListener(name, () => document.body.classList.remove('over'));
  addEventListener('drop', (event) => {
    event.preventDefault();
    openFiles([...event.dataTransfer.files]);
  });
  addEventListener('resize', () => picture || result());
  matchMedia('(prefers-color-scheme: dark)').addEventListener('change', result);
  if (!drawable) return;
  pad = makePad($('pad'), picture, drawn, () => problems([]));
  $('clear').addEventListener('click', () => {
    pad.clear();
    drawn();
  });
  $('invert').addEventListener('click', invert);
}

async function start() {
  const images = picture ? 'a picture, ' : '';
  $('formats').textContent = `Open or drop ${images}a .npy or .csv file, or a .tae file of this model.`;
  $(picture ? 'pictures' : 'lines').hidden = false;
  $('drawing').hidden = !drawable;
  for (const each of document.querySelectorAll('[data-word]')) each.textContent = WORDS[each.dataset.word];
  try {
    model = await load();
  } catch (error) {
    say('The model does not run here.');
    problems([error.message]);
    return;
  }
  showGolden();
  listen();
  say('A golden sample of the model is shown; its check passed.');
}

start();
