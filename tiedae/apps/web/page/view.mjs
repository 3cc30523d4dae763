// What the model makes of a sample, drawn on the page.
import facts from '../model.mjs';
import { drawCode, drawScores, drawShare, paint, paintDifference, plot } from './draw.mjs';
import { short } from './numbers.mjs';
import { channels, nearness, peak, picture, rowsOf, signal, timeOf, verdictOf, WORDS, worstOf } from './result.mjs';

export const $ = (id) => document.getElementById(id);
const MOST_VALUES = 64; // rows of the table of values
const MOST_CHANNELS = 12; // that are drawn
const tabled = facts.kind === 'table' && facts.inputs <= MOST_VALUES; // columns of different units are no line
let timer;

export function create(name, text, className = '') {
  return Object.assign(document.createElement(name), { textContent: text, className });
}

/** Set up what a model's kind shows; the rest of the page stays hidden. */
export function prepare() {
  $('pictures').hidden = picture === null;
  $('lines').hidden = picture !== null || tabled;
  const drawn = channels > MOST_CHANNELS ? `the first ${MOST_CHANNELS} of ${channels} channels` : '';
  $('unit').textContent = channels === 1 ? [signal.named && signal.channels[0], signal.unit].filter(Boolean).join(', ') : drawn;
  $('values').open = facts.kind === 'table' && facts.task !== 'anomaly';
  for (const each of document.querySelectorAll('[data-word]')) each.textContent = WORDS[each.dataset.word];
}

/** Captions, and what is hidden, of new samples. */
export function caption({ decoded, clean }) {
  $('original-caption').textContent = decoded ? 'In the file' : WORDS.original;
  $('line-caption').textContent = decoded ? 'In the file' : WORDS.original;
  $('made-caption').textContent = WORDS.made;
  for (const each of document.querySelectorAll('.made')) each.hidden = decoded;
  for (const each of document.querySelectorAll('.clean')) each.hidden = clean === null;
  if (picture && clean) $('difference-figure').hidden = true;
}

/** Draw the selected sample of `state`, see app.mjs; `timed`: measure the time of a call too. */
export function render(model, state, timed) {
  const at = (values) => values.subarray(state.index * facts.inputs, (state.index + 1) * facts.inputs);
  const sample = at(state.values);
  const code = model.encode(sample);
  const made = model.decode(code);
  const clean = state.clean && at(state.clean);
  const worst = state.decoded ? [] : worstOf(sample, made);
  if (picture) pictures(sample, made, clean);
  else if (!tabled) lines(sample, made, clean, worst, state);
  document.documentElement.dataset.ready ??= performance.now().toFixed(1); // the first reconstruction is drawn
  const most = drawCode($('code'), code, facts.zero);
  $('code-caption').textContent = `Code: ${facts.units} numbers of ${facts.bits} bits, bars of ±${most} around ${facts.zero}`;
  verdict(model, state, sample);
  tables(state, sample, made, worst);
  const found = state.decoded ? [] : rowsOf(model, sample, made, clean, state);
  list(found);
  clearTimeout(timer);
  if (timed) timer = setTimeout(() => list([...found, timeOf(model, sample)]), 60);
}

function pictures(sample, made, clean) {
  paint($('original'), picture, sample, peak);
  paint($('reconstruction'), picture, made, peak);
  paintDifference($('difference'), picture, Float64Array.from(sample, (value, i) => made[i] - value), peak);
  if (!clean) return;
  paint($('clean'), picture, clean, peak);
  $('original-caption').textContent = `${WORDS.original}: ${nearness(sample, clean)}`;
  $('made-caption').textContent = `${WORDS.made}: ${nearness(made, clean)}`;
}

/** A plot of each channel; of a single one also the difference. */
function lines(sample, made, clean, worst, { decoded }) {
  const named = { original: sample, ...(clean && { clean }), ...(decoded ? {} : { ours: made }) };
  const steps = facts.inputs / channels;
  const ends = signal.rate ? ['0 s', `${short((steps - 1) / signal.rate)} s`] : ['0', `${steps - 1}`];
  const drawn = Array.from({ length: Math.min(channels, MOST_CHANNELS) }, (_, c) => {
    const of = (values) => (channels === 1 ? values : values.filter((_value, i) => i % channels === c));
    const marks = worst.filter(({ index }) => index % channels === c).map(({ index }) => Math.floor(index / channels));
    return [channels === 1 ? '' : signal.channels[c], Object.entries(named).map(([name, values]) => [name, of(values)]), marks];
  });
  if (channels === 1 && !decoded) {
    drawn.push([WORDS.difference, [['rest', Float64Array.from(sample, (value, i) => made[i] - value)]], []]);
  }
  if ($('plot').childElementCount !== drawn.length) $('plot').replaceChildren(...drawn.map(([name], i) => plotOf(name, i > 0 || channels > 1)));
  drawn.forEach(([, of, marks], i) => plot($('plot').children[i].querySelector('svg'), of, ends, marks));
}

function plotOf(name, low) {
  const figure = document.createElement('figure');
  const svg = document.createElementNS('http://www.w3.org/2000/svg', 'svg');
  svg.setAttribute('class', low ? 'plot low' : 'plot');
  svg.setAttribute('role', 'img');
  svg.setAttribute('aria-label', `${name || WORDS.original}, by time`);
  if (name) figure.append(create('figcaption', signal.unit ? `${name}, ${signal.unit}` : name));
  figure.append(svg);
  return figure;
}

function verdict(model, state, sample) {
  $('verdict').hidden = model.threshold === null || state.decoded;
  $('overview').hidden = state.scores === null;
  if ($('verdict').hidden) return;
  const { scores, anomalies } = model.score(sample);
  const { name, text } = verdictOf(scores[0], anomalies[0], model.threshold);
  $('verdict').className = name;
  $('verdict').textContent = text;
  if ($('overview').hidden) return;
  const above = state.scores.filter((score) => score > model.threshold).length;
  $('overview-caption').textContent = `Scores: ${above.toLocaleString('en')} of ${state.count.toLocaleString('en')} above the threshold (dashed)`;
  $('scores').setAttribute('aria-label', $('overview-caption').textContent);
  state.pick = drawScores($('scores'), state.scores, model.threshold, state.index);
}

function list(found) {
  const made = found.map(([name, value, note]) => {
    const [row, detail] = [create('div', ''), create('dd', `${value} `)];
    if (note) detail.append(create('small', note));
    row.append(create('dt', name), detail);
    return row;
  });
  $('facts').replaceChildren(...made);
}

function tables(state, sample, made, worst) {
  $('worst').hidden = !worst.length;
  fill('worst', worst.map((each) => [each.name, each.given, each.made, `${(100 * each.share).toFixed(0)} %`]));
  for (const [i, row] of [...$('worst').querySelectorAll('tbody tr')].entries()) {
    row.lastChild.prepend(drawShare(worst[i].share));
  }
  $('values').hidden = picture !== null || sample.length > MOST_VALUES;
  if ($('values').hidden) return;
  const more = (value, i) => (state.decoded ? ['', ''] : [short(made[i]), short(made[i] - value)]);
  fill('values', Array.from(sample, (value, i) => [facts.columns?.[i] ?? i, short(value), ...more(value, i)]));
}

function fill(name, found) {
  const rows = found.map((cells) => {
    const row = document.createElement('tr');
    row.append(...cells.map((text, i) => create('td', text, i ? 'n' : '')));
    return row;
  });
  $(name).querySelector('tbody').replaceChildren(...rows);
}
