/** The middle of some numbers; NaN when there are none. */
export function median(numbers: readonly number[]): number {
  const values = [...numbers].sort((a, b) => a - b);
  const middle = values.length >> 1;
  return values.length % 2 ? values[middle]! : (values[middle - 1]! + values[middle]!) / 2;
}
