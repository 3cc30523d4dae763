// What the page states of a sample: its score, how near it is to the clean one, its worst values, its bytes. Draws nothing.
import facts from '../model.mjs';
import data from './data.mjs';
import { short } from './numbers.mjs';
import { pictureOf } from './samples.mjs';

export const picture = pictureOf(facts);
export const peak = facts.peak ?? { uint8: 255, uint16: 65535, int16: 32767 }[facts.dtype] ?? 1;
export const { signal } = data;
export const channels = signal.channels.length;
export const WORDS = {
  denoising: { original: 'Noisy', made: 'Denoised', difference: 'Removed', error: 'Mean squared difference' },
}[facts.task] ?? { original: 'Original', made: 'Reconstruction', difference: 'Difference', error: 'Mean squared error' };
const WORST = 5; // values that are named
const MOST_COMPRESSED = 2000; // samples that are compressed to state their bytes
const TIMINGS = 7;
const TIMED_MS = 4;

/** What a person calls value `i` of a sample. */
function place(i) {
  if (facts.columns) return facts.columns[i];
  if (picture) return `row ${Math.floor(i / picture.channels / picture.columns)}, column ${Math.floor(i / picture.channels) % picture.columns}`;
  if (facts.kind !== 'record') return `value ${i}`;
  const step = Math.floor(i / channels);
  const time = signal.rate ? `${short(step / signal.rate)} s` : `time step ${step}`;
  return channels > 1 ? `${time}, ${signal.channels[i % channels]}` : time;
}

/** The share of each value in the error that is the score, 0 to 1. */
function shares(sample, made) {
  const scaled = Array.from(sample, (value, i) => (facts.weights[i] ?? facts.weights) * (value - made[i]) ** 2);
  const parts = data.score === 'mae' ? scaled.map(Math.sqrt) : scaled;
  const total = parts.reduce((sum, part) => sum + part, 0);
  return parts.map((part) => (total ? part / total : 0));
}

/** The values whose errors are the largest part of the score, {index, name, given, made, share}; none without a score. */
export function worstOf(sample, made) {
  if (facts.weights === null) return [];
  const all = shares(sample, made).map((share, index) => ({ index, share }));
  const largest = all.filter(({ share }) => share > 0).sort((a, b) => b.share - a.share).slice(0, WORST);
  return largest.map(({ index, share }) => ({ index, name: place(index), given: short(sample[index]), made: short(made[index]), share }));
}

export function verdictOf(score, anomaly, threshold) {
  const [word, place] = anomaly ? ['Anomaly', 'above'] : ['Normal', 'not above'];
  return { name: word.toLowerCase(), text: `${word}: score ${short(score)}, ${place} the threshold ${short(threshold)}` };
}

function squared(values, others) {
  return values.reduce((sum, value, i) => sum + (value - others[i]) ** 2, 0) / values.length;
}

/** How near values are to others: of pictures PSNR, else the root mean squared error. */
export function nearness(values, others) {
  const mse = squared(values, others);
  if (!picture) return short(Math.sqrt(mse));
  return mse ? `${(10 * Math.log10((peak * peak) / mse)).toFixed(1)} dB` : 'equal';
}

/** What is stated of a sample that is no decoded one, [name, value, note] each. */
export function rowsOf(model, sample, made, clean, all) {
  const found = [];
  if (clean) {
    const what = picture ? 'PSNR' : 'Root mean squared error';
    found.push([`${what}, noisy`, nearness(sample, clean), 'against the clean sample']);
    found.push([`${what}, denoised`, nearness(made, clean), 'against the clean sample']);
  } else {
    const unit = signal.unit ? `${signal.unit}, squared` : "in the data's unit of measure, squared";
    found.push([WORDS.error, short(squared(made, sample)), facts.dtype === 'uint8' ? 'of values 0 to 255' : unit]);
    if (picture && facts.task !== 'denoising') found.push(['PSNR', nearness(made, sample), `peak ${peak}`]);
    found.push(['Largest difference', short(sample.reduce((most, value, i) => Math.max(most, Math.abs(made[i] - value)), 0)), signal.unit]);
  }
  if (facts.files.includes('lossy')) found.push(...bytesOf(model, sample, all));
  return found;
}

function bytesOf(model, sample, all) {
  const bytes = sample.length * sample.BYTES_PER_ELEMENT;
  const found = [['This sample', `${bytes.toLocaleString('en')} bytes`, 'as it is'], inFile(model.compress(sample).length, bytes, 1)];
  if (all.count === 1 || all.count > MOST_COMPRESSED) return found;
  all.bytes ??= model.compress(all.values).length;
  return [...found, inFile(all.bytes, bytes, all.count)];
}

function inFile(size, bytes, count) {
  const what = count === 1 ? 'Alone in a .tae file' : `All ${count.toLocaleString('en')} in a .tae file`;
  const each = count === 1 ? '' : `${short(size / count)} bytes each, `;
  const ratio = (count * bytes) / size;
  const against = ratio < 1 ? `${(1 / ratio).toFixed(1)} × larger` : `${ratio.toFixed(1)} × smaller`;
  return [what, `${size.toLocaleString('en')} bytes`, `${each}${against}`];
}

export function timeOf(model, sample) {
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
  return ['Time', `${short(times[TIMINGS >> 1])} µs`, `encode and decode, median, ${model.simd ? 'with vectors' : 'without vectors'}`];
}
