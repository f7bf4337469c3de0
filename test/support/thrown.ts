/** What a call throws, as it is printed: "RangeError: message"; "nothing" where it returns. */
export function thrown(call: () => unknown): string {
  try {
    call();
  } catch (error) {
    return String(error);
  }
  return "nothing";
}
