
/*
 * Files of float data are lossy here. Bounded ones hold steps of a grid in binary64 (modes 3 and 4 of a frame), which code without
 * floating point does not compute: they are answered with TAE_UNSUPPORTED.
 */
