// Follows the lines of tests/apps/stream_drivers.py: a command and its words, answered by "ok" and facts, or by the error. Argument: a package.
import { closeSync, ftruncateSync, openSync, readFileSync, readSync, writeFileSync, writeSync, fstatSync } from 'node:fs';
import { createInterface } from 'node:readline';
import { pathToFileURL } from 'node:url';

const { load } = await import(pathToFileURL(`${process.argv[2]}/index.mjs`));
const model = await load();
const { constructor: Value } = model.decode(new Uint8Array(model.units));

function values(path) {
  return new Value(Uint8Array.from(readFileSync(path)).buffer);
}

function options(kind, bound, most) {
  const format = { samplesPerFrame: Number(most) };
  if (kind === '1') format.maxError = Number(bound);
  if (kind === '2') format.lossless = true;
  return format;
}

function source(file) {
  return {
    size: fstatSync(file).size,
    read(at, size) {
      const bytes = new Uint8Array(size);
      return bytes.subarray(0, readSync(file, bytes, 0, size, at));
    },
  };
}

function write(file, encoder, at, input, ops) {
  let given = values(input);
  let place = at;
  const put = (bytes) => {
    const written = writeSync(file, bytes, 0, bytes.length, place);
    if (place !== null) place += written;
  };
  for (const op of ops) {
    if (op === 'close') put(encoder.finish());
    else if (op === 'end') put(encoder.endRecord());
    else if (op !== 'flush') {
      put(encoder.push(given.subarray(0, Number(op))));
      given = given.subarray(Number(op));
    }
  }
}

/** What a stream refuses: floats with NaN, or no typed array. */
function wrong(piece) {
  return Number.isNaN(Value.of(NaN)[0]) ? Value.of(...piece.subarray(1), NaN) : [...piece];
}

function bytesOf(parts) {
  return Buffer.concat(parts.map((part) => Buffer.from(part.buffer, part.byteOffset, part.byteLength)));
}

const commands = {
  write(path, kind, bound, most, input, ...ops) {
    const file = openSync(path, 'w');
    try {
      write(file, model.encoder(options(kind, bound, most)), null, input, ops);
    } finally {
      closeSync(file);
    }
  },
  async append(path, input, ...ops) {
    const file = openSync(path, 'r+');
    try {
      const { encoder, size } = await model.appender(source(file));
      ftruncateSync(file, size);
      write(file, encoder, size, input, ops);
    } finally {
      closeSync(file);
    }
  },
  async read(path, how, start, stop, to) {
    const reader = await model.reader(source(openSync(path, 'r')));
    const parts = [];
    if (how === 'all') for await (const frame of reader) parts.push(frame);
    else if (how === 'steps') parts.push(await reader.readSteps(Number(start), Number(stop)));
    else parts.push(await reader.read(Number(start), Number(stop)));
    writeFileSync(to, bytesOf(parts));
    return ` ${reader.samples} ${reader.isWhole}`;
  },
  packets(kind, bound, most, input, to) {
    const frames = model.frames(values(input), options(kind, bound, most));
    writeFileSync(to, bytesOf(frames.map((frame) => model.samplesOf(frame, options(kind, bound, most)))));
    return ` ${frames.reduce((total, frame) => total + frame.length, 0)}`;
  },
  stream(result, hop, input, to, ...ops) {
    const stream = model.stream({ result, hop: Number(hop) });
    let [given, failures] = [values(input), ''];
    const parts = [];
    for (const op of ops) {
      const fails = op.startsWith('!'); // a push that has to fail, and takes nothing
      const count = Number(op.replace('!', ''));
      const piece = given.subarray(0, count);
      try {
        parts.push(stream.push(fails ? wrong(piece) : piece));
        given = given.subarray(count);
      } catch (error) {
        failures += ` | ${error.message}`;
      }
    }
    writeFileSync(to, bytesOf(parts.flat()));
    return failures;
  },
};

for await (const line of createInterface({ input: process.stdin })) {
  const [command, ...words] = line.split(' ');
  try {
    console.log(`ok${await commands[command](...words) ?? ''}`);
  } catch (error) {
    console.log(error.message);
  }
}
