// Numbers as people read them.

/** A number with few digits. */
export function short(value) {
  if (Number.isInteger(value) && Math.abs(value) < 1e6) return value.toLocaleString('en');
  const rounded = Number(value.toPrecision(4));
  return Math.abs(rounded) < 1000 ? String(rounded) : rounded.toLocaleString('en');
}

export function counted(count, what) {
  return `${count.toLocaleString('en')} ${what}${count === 1 ? '' : 's'}`;
}
