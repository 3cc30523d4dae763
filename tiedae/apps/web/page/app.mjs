// The page: which samples are loaded, and which one is shown.
import { golden, load } from '../index.mjs';
import facts from '../model.mjs';
import data from './data.mjs';
import { paint } from './draw.mjs';
import { readCsv, readNpy, readWav } from './files.mjs';
import { counted, short } from './numbers.mjs';
import { makePad } from './pad.mjs';
import { drawPhoto, fileOf } from './photo.mjs';
import { channels, peak, picture, signal } from './result.mjs';
import { patchesOfPicture, sampleOfPicture, samplesOf, stored } from './samples.mjs';
import { $, caption, create, prepare, render } from './view.mjs';

const THUMBNAIL = 50; // pixels of the page, with the space beside it
const MOST_SCORED = 2000; // samples whose scores are drawn
const MOST_RECORDED = 1000; // windows of the microphone that are kept
const LIVE_MS = 100; // between two results of the microphone
const DRAWN = 64; // rows and columns of a picture that can be drawn
const drawable = picture !== null && picture.channels === 1 && Math.max(picture.rows, picture.columns) <= DRAWN;
const record = facts.kind === 'record';
const FILES = record ? ['.npy', '.csv', '.wav'] : ['.npy', '.csv'];
// `bytes`: of all samples in a .tae file; `scores`: of each; `pick`: the sample at a place of their drawing
const state = { values: null, clean: null, count: 0, index: 0, origin: '', decoded: false, bytes: undefined, scores: null, pick: null, photo: null };
let model;
let pad;
let recording = null;

function say(text) {
  $('status').textContent = text;
}

function problems(list) {
  $('problems').hidden = !list.length;
  $('problems').replaceChildren(...list.map((text) => create('li', text)));
}

function show(values, count, origin, decoded = false, clean = null, photo = null) {
  const scored = model.threshold !== null && !decoded && count <= MOST_SCORED;
  const scores = scored ? model.score(values).scores : null;
  Object.assign(state, { values, count, origin, decoded, clean, photo, index: 0, bytes: undefined, scores });
  $('save').disabled = decoded || !facts.files.includes('lossy');
  $('number').max = count;
  $('count').textContent = `of ${count.toLocaleString('en')}`;
  $('photo').hidden = photo === null;
  if (photo) $('photo-caption').textContent = drawPhoto(model, values, photo, [$('photo-original'), $('photo-made')]);
  caption(state);
  select(0);
}

/** As many samples in a row as the page is wide for, with the selected one. */
function thumbnails() {
  if (!picture) return;
  const fit = Math.max(1, Math.floor($('choose').clientWidth / THUMBNAIL));
  const first = Math.floor(state.index / fit) * fit;
  const made = Array.from({ length: Math.min(fit, state.count - first) }, (_, i) => {
    const button = create('button', '');
    const canvas = document.createElement('canvas');
    paint(canvas, picture, state.values.subarray((first + i) * facts.inputs, (first + i + 1) * facts.inputs), peak);
    button.type = 'button';
    button.setAttribute('aria-label', `Sample ${first + i + 1}`);
    button.setAttribute('aria-pressed', String(first + i === state.index));
    button.append(canvas);
    button.addEventListener('click', () => select(first + i));
    return button;
  });
  const focused = $('thumbnails').contains(document.activeElement);
  $('thumbnails').replaceChildren(...made);
  if (focused) made[state.index - first].focus();
}

function select(index) {
  state.index = Math.min(state.count - 1, Math.max(0, index));
  $('number').value = state.index + 1;
  thumbnails();
  render(model, state, recording === null);
}

async function read(file) {
  const [name, bytes] = [file.name.toLowerCase(), await file.arrayBuffer()];
  if (name.endsWith('.tae')) return { ...opened(new Uint8Array(bytes)), decoded: true };
  if (name.endsWith('.npy')) return samplesOf(model, signal, readNpy(bytes));
  if (name.endsWith('.csv') || name.endsWith('.txt')) return samplesOf(model, signal, readCsv(new TextDecoder().decode(bytes)));
  if (name.endsWith('.wav') && record) return samplesOf(model, signal, readWav(bytes));
  if (!picture) throw new Error(`must be a ${FILES.join(', ')} or .tae file`);
  let image;
  try {
    image = await createImageBitmap(file);
  } catch {
    throw new Error('is no picture that this browser opens, and no .npy, .csv or .tae file');
  }
  return (data.tiled ? patchesOfPicture : sampleOfPicture)(model, peak, image, image);
}

function opened(bytes) {
  const { samples, problems: found, kind, bound } = model.decompress(bytes);
  const count = samples.length / facts.inputs;
  if (!count) throw new Error(found.length ? `no frame is whole: ${found.join('; ')}` : 'holds no samples');
  const promise = { lossy: 'lossy', bounded: `every value within ${bound}`, lossless: 'lossless' }[kind];
  return { values: samples, count, note: `${bytes.length.toLocaleString('en')} bytes, ${promise}`, found };
}

async function openFiles(files) {
  recording?.stop();
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
  show(values, count, kept.map((part) => part.name).join(', '), decoded, null, (kept.length === 1 && kept[0].photo) || null);
  const lost = failed.length ? ' What is whole is shown; the rest is named below.' : '';
  return say(`${count === 1 ? 'One sample' : `${count.toLocaleString('en')} samples`} from ${notes.join('; ')}.${lost}`);
}

function save() {
  const data = state.photo ? fileOf(model, state.values, state.photo) : model.compress(state.values);
  const link = document.createElement('a');
  link.href = URL.createObjectURL(new Blob([data], { type: 'application/octet-stream' }));
  link.download = `${facts.name}.tae`;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10000);
  say(`Saved ${state.count.toLocaleString('en')} samples in ${data.length.toLocaleString('en')} bytes: ${facts.name}.tae.`);
}

/** The samples that the page was made with, else the golden ones. */
function showFirst() {
  const { shown } = data;
  const read = (text) => text && stored(facts.dtype, text);
  const { data: values, clean = null } = shown ? { data: read(shown.data), clean: read(shown.clean) } : golden();
  problems([]);
  show(values, values.length / facts.inputs, shown?.name ?? 'golden samples', false, clean);
  if (!shown) return 'Golden samples of the model.';
  const part = shown.total > state.count ? `the first ${state.count} of ${shown.total.toLocaleString('en')} in` : `${counted(state.count, 'sample')} of`;
  return `Shown: ${part} ${shown.name}${shown.note}.`;
}

async function hear() {
  if (recording) return recording.stop();
  const windows = [];
  let drawnAt = 0;
  problems([]);
  const asked = { stop: () => { recording = null; } }; // while the browser asks
  recording = asked;
  try {
    const { record: start } = await import('./microphone.mjs');
    const { rate, stop } = await start(model, signal, (window) => {
      windows.push(window);
      if (windows.length > MOST_RECORDED) windows.shift();
      if (performance.now() - drawnAt < LIVE_MS) return;
      show(window, 1, 'the microphone');
      drawnAt = performance.now();
    });
    if (recording !== asked) return stop();
    recording = { stop: () => { stop(); heard(windows, rate); } };
    $('microphone').textContent = 'Stop';
    $('microphone').className = 'live';
    say(`Recording at ${short(rate)} Hz …`);
  } catch (error) {
    if (recording !== asked) return undefined;
    recording = null;
    problems([`Microphone: ${error.message}.`]);
    say('Nothing was recorded; the sample before is still there.');
  }
  return undefined;
}

function heard(windows, rate) {
  recording = null;
  $('microphone').textContent = 'Microphone';
  $('microphone').className = '';
  if (!windows.length) return say('Nothing was recorded: a window was not full. The sample before is still there.');
  const values = new windows[0].constructor(windows.length * facts.inputs);
  windows.forEach((window, i) => values.set(window, i * facts.inputs));
  show(values, windows.length, 'the microphone');
  return say(`${counted(windows.length, 'window')} from the microphone at ${short(rate)} Hz${signal.rate ? '' : ', since the model states no rate'}.`);
}

function drawn() {
  const { values } = sampleOfPicture(model, peak, $('pad'), $('pad'));
  if (state.origin !== 'the drawing pad') say(`Your drawing, scaled to ${picture.columns}×${picture.rows}.`);
  show(values, 1, 'the drawing pad');
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
    recording?.stop();
    say(showFirst());
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
  $('microphone').addEventListener('click', hear);
  $('scores').addEventListener('click', ({ clientX }) => {
    const { left, width } = $('scores').getBoundingClientRect();
    select(state.pick((clientX - left) / width));
  });
  addEventListener('resize', () => select(state.index));
  matchMedia('(prefers-color-scheme: dark)').addEventListener('change', () => select(state.index));
  if (!drawable) return;
  pad = makePad($('pad'), picture, drawn, () => problems([]));
  $('clear').addEventListener('click', () => {
    pad.clear();
    drawn();
  });
  $('invert').addEventListener('click', invert);
}

async function start() {
  prepare();
  $('formats').textContent = `Open or drop ${picture ? 'a picture, ' : ''}a ${FILES.slice(0, -1).join(', ')} or ${FILES.at(-1)} file, or a .tae file of this model.`;
  $('drawing').hidden = !drawable;
  $('microphone').hidden = !record || channels > 2;
  if (data.shown) $('golden').textContent = `Samples of ${data.shown.name}`;
  try {
    model = await load();
  } catch (error) {
    say('The model does not run here.');
    problems([error.message]);
    return;
  }
  const text = showFirst();
  listen();
  say(data.shown ? `${text} The model's check passed.` : 'A golden sample of the model is shown; its check passed.');
}

start();
