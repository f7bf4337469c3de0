/** The printed error of a call, "RangeError: message", or "nothing" if it returns. */
export function thrown(call: () => unknown): string {
  try {
    call();
  } catch (error) {
    return String(error);
  }
  return "nothing";
}
