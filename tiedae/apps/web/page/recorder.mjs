// Runs beside the page, in an AudioWorklet: sends each piece of sound to it, an array of floats per channel.

class Recorder extends AudioWorkletProcessor {
  process([channels]) {
    if (channels.length) this.port.postMessage(channels.map((values) => values.slice()));
    return true;
  }
}

registerProcessor('recorder', Recorder);
