// Runs ONNX files in onnxruntime-node for node.py: one JSON line a request or answer, each followed by its arrays as raw bytes.
import { createRequire } from "node:module";

const [, , directory] = process.argv;
const ort = createRequire(import.meta.url)(directory);
const sessions = new Map();
const ARRAYS = { uint8: Uint8Array, int8: Int8Array, float32: Float32Array };

async function* requests(stream) {
  let held = Buffer.alloc(0);
  let header = null;
  for await (const chunk of stream) {
    held = Buffer.concat([held, chunk]);
    for (;;) {
      const end = header ? -1 : held.indexOf(10);
      if (end >= 0) {
        header = JSON.parse(held.subarray(0, end).toString());
        held = held.subarray(end + 1);
      }
      if (!header || held.length < header.bytes) break;
      yield [header, new Uint8Array(held.subarray(0, header.bytes)).buffer];
      held = held.subarray(header.bytes);
      header = null;
    }
  }
}

async function open({ key, path, threads }) {
  const options = { executionProviders: ["cpu"], intraOpNumThreads: threads, interOpNumThreads: 1, logSeverityLevel: 3 };
  sessions.set(key, await ort.InferenceSession.create(path, options));
  return [{ node: process.version, ort: ort.env.versions.node }, []];
}

async function run({ key, dtype, shape }, data) {
  const session = sessions.get(key);
  const found = await session.run({ [session.inputNames[0]]: new ort.Tensor(dtype, new ARRAYS[dtype](data), shape) });
  const outputs = session.outputNames.map((name) => [name, found[name]]);
  return [
    { outputs: outputs.map(([name, { type, dims }]) => ({ name, dtype: type, shape: dims })) },
    outputs.map(([, { data }]) => Buffer.from(data.buffer, data.byteOffset, data.byteLength)),
  ];
}

const COMMANDS = { open, run };

for await (const [header, data] of requests(process.stdin)) {
  let answer;
  try {
    answer = await COMMANDS[header.command](header, data);
  } catch (error) {
    answer = [{ error: String(error.message ?? error) }, []];
  }
  process.stdout.write(JSON.stringify(answer[0]) + "\n");
  for (const bytes of answer[1]) process.stdout.write(bytes);
}
