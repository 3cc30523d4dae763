// Pictures on canvases, lines and codes in SVG.

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

/** Lines, [class, values] each, over one range. */
export function plot(svg, lines) {
  const [left, right, bottom, width, height] = [46, 8, 18, svg.clientWidth || 600, svg.clientHeight || 240];
  const [low, high] = rangeOf(lines.map(([, values]) => values));
  const inner = height - bottom - 6;
  const y = (value) => 6 + inner * (1 - (value - low) / (high - low));
  svg.setAttribute('viewBox', `0 0 ${width} ${height}`);
  const parts = [];
  for (const value of [low, (low + high) / 2, high]) {
    parts.push(element('line', { class: 'grid', x1: left, x2: width, y1: y(value), y2: y(value) }));
  }
  for (const [name, values] of lines) {
    const step = (width - left - right) / Math.max(1, values.length - 1);
    const points = Array.from(values, (value, i) => `${(left + i * step).toFixed(1)},${y(value).toFixed(1)}`);
    parts.push(element('polyline', { class: name, points: points.join(' ') }));
  }
  for (const [value, shift] of [[low, 0], [high, 8]]) parts.push(label(short(value), left - 6, y(value) + shift, 'end'));
  parts.push(label('0', left, height - 3, 'start'), label(`${lines[0][1].length - 1}`, width - right, height - 3, 'end'));
  svg.replaceChildren(...parts);
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

/** A number with few digits. */
export function short(value) {
  if (Number.isInteger(value) && Math.abs(value) < 1e6) return value.toLocaleString('en');
  return Number(value.toPrecision(4)).toString();
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
