// What the answer of an auditing tool says: "ok", "fault", or "unreachable" where the network did not let it ask.

/** `npm audit --json`: a report has the vulnerabilities, by package; an error of the network has none. A status of null: out of time. */
export function ofNpm({ status, stdout, stderr }) {
  if (status === null) return "unreachable";
  if (status === 0) return "ok";
  return !hasReport(stdout) && /audit endpoint returned an error/.test(stderr) ? "unreachable" : "fault";
}

function hasReport(stdout) {
  try {
    return "vulnerabilities" in JSON.parse(stdout);
  } catch {
    return false;
  }
}

/** `cargo deny check`. */
export function ofCargo({ status, stdout, stderr }) {
  if (status === null) return "unreachable";
  if (status === 0) return "ok";
  return /failed to fetch advisory database|spurious network error|failed to download/i.test(`${stdout}${stderr}`)
    ? "unreachable"
    : "fault";
}
