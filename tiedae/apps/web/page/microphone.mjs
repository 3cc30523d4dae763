// The sound of a microphone as windows of the model, in its rate. Errors are sentences.
import { ARRAYS } from './samples.mjs';

const LEAST_RATE = 8000; // that every browser records at; a slower model takes means of the sound
const FAILURES = {
  NotAllowedError: 'it was refused; allow it for this page, or open a file',
  NotFoundError: 'none was found; connect one, or open a file',
  NotReadableError: 'another program has it',
};
const LEVELS = { uint8: [128, 127], int16: [0, 32767], uint16: [32768, 32767] }; // silence, and the loudest from there; floats: 0, 1

/** Give each window of sound to a function, until `stop` of the result, {rate, stop}, is called. */
export async function record(model, { rate, channels }, given) {
  if (!navigator.mediaDevices) throw new Error('it needs a page over https, or from localhost');
  const audio = { channelCount: channels.length, echoCancellation: false, noiseSuppression: false, autoGainControl: false };
  const stream = await navigator.mediaDevices.getUserMedia({ audio }).catch((error) => {
    throw new Error(FAILURES[error.name] ?? error.message);
  });
  const fold = rate ? Math.max(1, Math.ceil(LEAST_RATE / rate)) : 1;
  let [context, recorder] = [];
  const stop = () => {
    if (recorder) recorder.port.onmessage = null; // pieces that wait would come behind the end
    stream.getTracks().forEach((track) => track.stop());
    context?.close();
  };
  try {
    context = new AudioContext(rate ? { sampleRate: fold * rate } : {});
    await context.audioWorklet.addModule(new URL('recorder.mjs', import.meta.url));
    recorder = new AudioWorkletNode(context, 'recorder', { channelCount: channels.length, channelCountMode: 'explicit' });
    const take = windowsOf(model, fold, given);
    recorder.port.onmessage = ({ data }) => take(data);
    context.createMediaStreamSource(stream).connect(recorder).connect(context.destination); // silence, which pulls the sound
    return { rate: rate || context.sampleRate, stop };
  } catch (error) {
    stop();
    throw new Error(error.name === 'NotSupportedError' ? `this browser cannot record at ${fold * rate} Hz` : error.message);
  }
}

/** A function that takes sound, floats in −1…1 per channel; the mean of `fold` of them is a time step. */
function windowsOf({ inputs, dtype }, fold, given) {
  const [silence, loudest] = LEVELS[dtype] ?? [0, 1];
  const level = (sum) => silence + loudest * Math.min(1, Math.max(-1, sum / fold));
  let [window, filled, sums, summed] = [new ARRAYS[dtype](inputs), 0, [], 0];
  return (sound) => {
    for (let i = 0; i < sound[0].length; i++) {
      sums = sound.map((values, c) => (summed ? sums[c] : 0) + values[i]);
      summed = (summed + 1) % fold;
      if (summed) continue;
      for (const sum of sums) window[filled++] = dtype in LEVELS ? Math.round(level(sum)) : level(sum);
      if (filled < inputs) continue;
      given(window);
      [window, filled] = [new ARRAYS[dtype](inputs), 0];
    }
  };
}
