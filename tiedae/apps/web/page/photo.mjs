// A whole picture in patches: put together again, beside its reconstruction, with what its .tae file takes.
import facts from '../model.mjs';
import { paint } from './draw.mjs';
import { nearness, peak, picture } from './result.mjs';

/** Patches, row after row, as the values of one picture of {width, height}. */
export function together(values, { width, height }) {
  const { rows, columns, channels } = picture;
  const across = Math.ceil(width / columns);
  const made = new values.constructor(width * height * channels);
  for (let y = 0, to = 0; y < height; y++) {
    for (let left = 0; left < width; left += columns) {
      const from = (Math.floor(y / rows) * across + left / columns) * facts.inputs + (y % rows) * columns * channels;
      const length = Math.min(columns, width - left) * channels;
      made.set(values.subarray(from, from + length), to);
      to += length;
    }
  }
  return made;
}

/** The .tae file of a picture in patches. */
export function fileOf(model, values, { width, height }) {
  const encoder = model.encoder();
  const parts = [encoder.push(values), encoder.endPicture(width, height), encoder.finish()];
  const file = new Uint8Array(parts.reduce((total, part) => total + part.length, 0));
  parts.reduce((at, part) => {
    file.set(part, at);
    return at + part.length;
  }, 0);
  return file;
}

/** Draw a picture and what the model makes of it; what is stated of them. */
export function drawPhoto(model, values, photo, canvases) {
  const [given, made] = [values, model.reconstruct(values)].map((each) => together(each, photo));
  const size = { rows: photo.height, columns: photo.width, channels: picture.channels };
  paint(canvases[0], size, given, peak);
  paint(canvases[1], size, made, peak);
  const psnr = `PSNR ${nearness(made, given)}`;
  if (!facts.files.includes('lossy')) return psnr;
  const { length } = fileOf(model, values, photo);
  const bits = (8 * length) / (photo.width * photo.height);
  return `${psnr}, ${bits.toPrecision(3)} bits per pixel: ${length.toLocaleString('en')} bytes in a .tae file`;
}
