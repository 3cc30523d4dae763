// Pictures on canvases; lines, scores and codes in SVG.
import { short } from './numbers.mjs';

const SVG = 'http://www.w3.org/2000/svg';

/** Fill a canvas of the picture's size with values 0…peak. */
export function paint(canvas, picture, values, peak) {
  fill(canvas, picture, (i, c) => (values[i * picture.channels + Math.min(c, picture.channels - 1)] * 255) / peak, () => 255);
}

/** The size of each difference as the opacity of a colour. */
export function paintDifference(canvas, picture, difference, peak) {
  const colour = getComputedStyle(document.documentElement).getPropertyValue('--heat').trim();
  const parts = [1, 3, 5].map((at) => parseInt(colour.slice(at, at + 2), 16));
  const size = (i) => {
    let most = 0;
    for (let c = 0; c < picture.channels; c++) most = Math.max(most, Math.abs(difference[i * picture.channels + c]));
    return Math.min(255, (most * 510) / peak);
  };
  fill(canvas, picture, (i, c) => parts[c], size);
}

function fill(canvas, { rows, columns }, colour, opacity) {
  canvas.width = columns;
  canvas.height = rows;
  const context = canvas.getContext('2d');
  const image = context.createImageData(columns, rows);
  for (let i = 0; i < rows * columns; i++) {
    for (let c = 0; c < 3; c++) image.data[4 * i + c] = colour(i, c);
    image.data[4 * i + 3] = opacity(i);
  }
  context.putImageData(image, 0, 0);
}

/** Lines, [class, values] each, over one range; `ends`: what the axis says at the first and the last value; `marks`: values. */
export function plot(svg, lines, ends, marks = []) {
  const [left, right, bottom, width, height] = [52, 8, 18, svg.clientWidth || 600, svg.clientHeight || 240];
  const [low, high] = rangeOf(lines.map(([, values]) => values));
  const inner = height - bottom - 6;
  const step = (width - left - right) / Math.max(1, lines[0][1].length - 1);
  const x = (i) => (left + i * step).toFixed(1);
  const y = (value) => (6 + inner * (1 - (value - low) / (high - low))).toFixed(1);
  svg.setAttribute('viewBox', `0 0 ${width} ${height}`);
  const grid = [low, (low + high) / 2, high].map((value) => element('line', { class: 'grid', x1: left, x2: width - right, y1: y(value), y2: y(value) }));
  const marked = marks.map((i) => element('line', { class: 'mark', x1: x(i), x2: x(i), y1: 6, y2: 6 + inner, 'stroke-width': Math.max(2, step) }));
  const drawn = lines.map(([name, values]) => element('polyline', {
    class: name, points: Array.from(values, (value, i) => `${x(i)},${y(value)}`).join(' '),
  }));
  const sides = [[low, 0], [high, 8]].map(([value, shift]) => label(short(Number(value.toPrecision(3))), left - 6, Number(y(value)) + shift, 'end'));
  const times = [label(ends[0], left, height - 3, 'start'), label(ends[1], width - right, height - 3, 'end')];
  svg.replaceChildren(...grid, ...marked, ...drawn, ...sides, ...times);
}

const [LEAST_BARS, MOST_BARS] = [40, 200]; // that the width is for
const BAR_SCALE = 3; // thresholds that a bar is high at most

/** A bar for each score, or for the largest of each group of them; returns the sample at a fraction of the width. */
export function drawScores(svg, scores, threshold, index) {
  const size = Math.ceil(scores.length / MOST_BARS);
  const groups = Array.from({ length: Math.ceil(scores.length / size) }, (_, i) => scores.slice(i * size, (i + 1) * size));
  const samples = groups.map((group, i) => i * size + group.reduce((most, score, j) => (score > group[most] ? j : most), 0));
  const slots = Math.max(LEAST_BARS, groups.length);
  const [width, top] = [1000 / slots, BAR_SCALE * threshold];
  svg.setAttribute('viewBox', '0 0 1000 100');
  svg.setAttribute('preserveAspectRatio', 'none');
  const bars = samples.map((sample, i) => {
    const height = Math.max(1, 100 * Math.min(1, scores[sample] / top));
    const kind = scores[sample] > threshold ? 'anomaly' : 'normal';
    return element('rect', { class: kind, x: i * width + width * 0.1, y: 100 - height, width: width * 0.8, height });
  });
  const chosen = element('rect', { class: 'chosen', x: Math.floor(index / size) * width, y: 0, width, height: 100 });
  const at = 100 - 100 / BAR_SCALE;
  svg.replaceChildren(chosen, ...bars, element('line', { class: 'threshold', x1: 0, x2: 1000, y1: at, y2: at }));
  return (fraction) => samples[Math.min(samples.length - 1, Math.floor(fraction * slots))];
}

/** A bar as long as a share, 0 to 1. */
export function drawShare(share) {
  const svg = element('svg', { class: 'share', viewBox: '0 0 1 1', preserveAspectRatio: 'none', 'aria-hidden': 'true' });
  svg.append(element('rect', { width: share, height: 1 }));
  return svg;
}

/** Bars up and down from the zero point, as long as they are far from it; returns how far the farthest is. */
export function drawCode(svg, code, zero) {
  const width = 1000 / code.length;
  const most = code.reduce((far, value) => Math.max(far, Math.abs(value - zero)), 1);
  svg.setAttribute('viewBox', '0 0 1000 100');
  svg.setAttribute('preserveAspectRatio', 'none');
  const bars = Array.from(code, (value, i) => {
    const height = (Math.abs(value - zero) * 48) / most + 0.6;
    return element('rect', { x: i * width + width * 0.08, y: value < zero ? 50 : 50 - height, width: width * 0.84, height });
  });
  svg.replaceChildren(...bars);
  svg.setAttribute('aria-label', `Code: ${Array.from(code).join(', ')}`);
  return most;
}

function rangeOf(lists) {
  let [low, high] = [Infinity, -Infinity];
  for (const values of lists) for (const value of values) [low, high] = [Math.min(low, value), Math.max(high, value)];
  return low < high ? [low, high] : [low - 1, high + 1];
}

function label(text, x, y, anchor) {
  const made = element('text', { x, y, 'text-anchor': anchor });
  made.textContent = text;
  return made;
}

function element(name, attributes) {
  const made = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  return made;
}
