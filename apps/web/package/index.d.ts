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
  /** 64 by default; fewer make a damaged file lose less, more make it a little smaller. */
  samplesPerFrame?: number;
  /** The largest error of every value, in the data's unit of measure; for packages with bounded files. */
  maxError?: number;
  /** For packages with lossless files. */
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
  readonly kind: 'images' | 'table' | 'record';
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
