/** Samples in the data's own unit of measure and dtype: one, or several one after the other. */
export type Samples = SAMPLES;

export interface LoadOptions {
  /** Use vectors of 128 bits; by default where the engine has them. */
  simd?: boolean;
  /** The WebAssembly module, in place of a file. */
  bytes?: BufferSource;
  /** Where the WebAssembly module is; by default beside index.mjs. */
  url?: string | URL;
}

export interface CompressOptions {
  /** By default that of the recipe, 64; fewer make a damaged file lose less, more make it a little smaller; 1 for packets. */
  samplesPerFrame?: number;
  /** The largest error of every value, in the data's unit of measure; for packages with bounded files. */
  maxError?: number;
  /** For packages with lossless files; not with `maxError`. */
  lossless?: boolean;
}

export interface Decompressed {
  /** Those of whole frames. */
  samples: INPUT;
  /** The number of each sample in the file; null where damage hides it. */
  numbers: Uint32Array | null;
  kind: 'lossy' | 'bounded' | 'lossless';
  bound: number;
  /** What is damaged, a sentence each; empty for a whole file. */
  problems: string[];
}

export interface StreamOptions extends CompressOptions {
  /** What each window becomes, 'code' by default. Options of `compress` are for frames alone, which hold one window. */
  result?: 'code' | 'reconstruction' | 'score' | 'anomaly' | 'frame';
  /** Time steps from a window to the next one, 1 to the window, which it is by default. */
  hop?: number;
}

/** Time steps of a record, in pieces of any size, to the results of the windows that they complete. */
export interface Stream {
  readonly hop: number;
  /** One behind the other in an array, of frames an array each. The stream is as before where it throws. */
  push(steps: Samples): INPUT | Uint8Array | Float64Array | Uint8Array[];
  transform(): TransformStream<Samples, INPUT | Uint8Array | Float64Array | Uint8Array[]>;
}

/** Samples, of records time steps, in pieces of any size to the bytes of a .tae file, those of Python. */
export interface Encoder {
  /** The bytes of the frames that these values fill. */
  push(values: Samples): Uint8Array;
  /** The bytes that end a record; its last window is filled up with the last time step. RangeError for a record without one. */
  endRecord(): Uint8Array;
  /**
   * The bytes that end a picture, whose square patches, row after row, were pushed; those beyond its edges repeat them. RangeError
   * for a side that is not 1 to 65,535, and without a patch.
   */
  endPicture(width: number, height: number): Uint8Array;
  /**
   * The last frame and the index; a record whose last window is not full ends. RangeError for a file without samples. Error for a
   * call behind the index, and a push.
   */
  finish(): Uint8Array;
  /** `push` and `finish`: `samples.pipeThrough(encoder.transform()).pipeTo(file)`. */
  transform(): TransformStream<Samples, Uint8Array>;
}

/** A Blob, or a size and what reads `size` bytes from an offset on. */
export type Source = Blob | { size: number; read(offset: number, size: number): Uint8Array | Promise<Uint8Array> };

/** A .tae file of which no more is read than the index and the frames that are asked for. */
export interface Reader extends AsyncIterable<INPUT> {
  /** Samples of the whole frames, up to the first damage. */
  readonly samples: number;
  /** Whether the file ends in its index. Else it was cut off, was not finished, or is damaged. */
  readonly isWhole: boolean;
  /** Samples start to stop - 1. RangeError for others than there are, Error for a damaged frame. */
  read(start: number, stop: number): Promise<INPUT>;
  /** The time steps of windows start to stop - 1, without what fills up the last window of a record. */
  readSteps(start: number, stop: number): Promise<INPUT>;
}

export interface Scores {
  /** In scaled values; NaN for a sample with a value that is not finite. */
  scores: Float64Array;
  /** The integers that are compared with the threshold; −1 for a sample with a value that is not finite. */
  totals: BigInt64Array;
  /** 1 for an anomaly, else 0. */
  anomalies: Uint8Array;
}

/**
 * Every method takes one sample or several. TypeError for another dtype; RangeError for another length, or a value that is not
 * finite.
 */
export interface Model {
  readonly name: string;
  readonly kind: 'image' | 'table' | 'record';
  readonly shape: readonly number[];
  readonly dtype: string;
  /** Names of a table's values. */
  readonly columns: readonly string[] | null;
  /** Values of a sample. */
  readonly inputs: number;
  /** Values of a code, uint8. */
  readonly units: number;
  /** Bits of a value of a code. */
  readonly bits: number;
  /** Kinds of .tae files that this package writes and reads. */
  readonly files: readonly string[];
  readonly simd: boolean;
  /** The largest score of a sample that is none; null without an anomaly detector. */
  readonly threshold: number | null;
  encode(samples: Samples): Uint8Array;
  decode(code: Uint8Array): INPUT;
  reconstruct(samples: Samples): INPUT;
  /** Error where the model is no anomaly detector. */
  score(samples: Samples): Scores;
  /** The bytes of a .tae file. Error where the package has no files of that kind. */
  compress(samples: Samples, options?: CompressOptions): Uint8Array;
  /** Error for a file of another model, or without a whole header. */
  decompress(bytes: Uint8Array): Decompressed;
  /** Error where the samples are no windows of a record, and for options that contradict each other. */
  stream(options?: StreamOptions): Stream;
  encoder(options?: CompressOptions): Encoder;
  /** Error for a file of another model, without a whole header, or that became shorter while it was read. */
  reader(source: Source): Promise<Reader>;
  /**
   * An encoder that continues after the whole frames of a file, in its format: keep `size` bytes of it and write those of `encoder` behind. Error
   * for a file of another model, and for one that is damaged before its end.
   */
  appender(source: Source): Promise<{ encoder: Encoder; size: number }>;
  /** Frames alone, as for packets. */
  frames(samples: Samples, options?: CompressOptions): Uint8Array[];
  /** The samples of one frame, with the same options. */
  samplesOf(frame: Uint8Array, options?: CompressOptions): INPUT;
}

export interface Golden {
  data: INPUT;
  code: Uint8Array;
  decoded: INPUT;
  scores?: BigInt64Array;
  anomalies?: Uint8Array;
  /** Of a denoising model: what is behind the noise of `data`. */
  clean?: INPUT;
}

/** Samples with what Python made of them. */
export function golden(): Golden;

/** Whether this engine has vectors of 128 bits. */
export function hasSimd(): boolean;

/** Start the model. Error where a golden sample gives another code, value or score, with what differs. */
export function load(options?: LoadOptions): Promise<Model>;
