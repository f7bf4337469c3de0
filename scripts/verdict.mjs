// The verdict of an auditing tool: "ok", "fault", or "unreachable" if the network did not answer.

/** `npm audit --json` lists vulnerabilities by package; a network error has no list. A status of null is a timeout. */
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
