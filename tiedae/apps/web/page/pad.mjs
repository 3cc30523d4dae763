// A drawing pad: pointer and touch draw; arrow keys move the pen, with Shift they draw.

const SIZE = 280; // pixels of the longer side
const MOVES = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };

/** `drawn` is called as a stroke grows, `ended` behind it; returns {clear}. */
export function makePad(canvas, { rows, columns }, drawn, ended) {
  const scale = SIZE / Math.max(rows, columns);
  canvas.width = Math.round(columns * scale);
  canvas.height = Math.round(rows * scale);
  const context = canvas.getContext('2d', { willReadFrequently: true });
  const pen = { x: canvas.width / 2, y: canvas.height / 2, pointer: null };

  const clear = () => {
    context.fillStyle = '#000';
    context.fillRect(0, 0, canvas.width, canvas.height);
  };
  const draw = (x, y) => {
    context.strokeStyle = '#fff';
    context.lineWidth = Math.max(SIZE / 14, 2 * scale);
    context.lineCap = 'round';
    context.beginPath();
    context.moveTo(pen.x, pen.y);
    context.lineTo(x + 0.01, y);
    context.stroke();
    Object.assign(pen, { x, y });
    drawn();
  };
  const place = (event) => {
    const box = canvas.getBoundingClientRect();
    return [((event.clientX - box.left) * canvas.width) / box.width, ((event.clientY - box.top) * canvas.height) / box.height];
  };

  canvas.addEventListener('pointerdown', (event) => {
    if (event.button !== 0) return;
    canvas.setPointerCapture(event.pointerId);
    [pen.x, pen.y] = place(event);
    pen.pointer = event.pointerId;
    draw(pen.x, pen.y);
  });
  canvas.addEventListener('pointermove', (event) => {
    if (event.pointerId === pen.pointer) draw(...place(event));
  });
  for (const name of ['pointerup', 'pointercancel']) {
    canvas.addEventListener(name, () => {
      pen.pointer = null;
      ended();
    });
  }
  canvas.addEventListener('keydown', (event) => {
    const move = MOVES[event.key];
    if (!move) return;
    event.preventDefault();
    event.stopPropagation();
    const [x, y] = move.map((each, axis) => each * scale + (axis ? pen.y : pen.x));
    const [right, down] = [Math.min(canvas.width, Math.max(0, x)), Math.min(canvas.height, Math.max(0, y))];
    if (event.shiftKey) draw(right, down);
    else Object.assign(pen, { x: right, y: down });
  });
  clear();
  return { clear };
}
