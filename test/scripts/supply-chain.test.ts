// npm run supply-chain: a registry that does not answer is neither a fault nor a pass.
import { expect, test } from "vitest";
import { ofCargo, ofNpm } from "../../scripts/verdict.mjs";

const report = (vulnerabilities: object) => JSON.stringify({ auditReportVersion: 2, vulnerabilities });
const noEndpoint = "npm error audit endpoint returned an error\n";
const refused = JSON.stringify({ message: "request failed, reason: connect ECONNREFUSED", error: { summary: "" } });
const notAllowed = JSON.stringify({ message: "405 Method Not Allowed", statusCode: 405, error: { summary: "" } });

test.each([
  ["a report without vulnerabilities", ofNpm, 0, report({}), "", "ok"],
  ["a report of a vulnerable package", ofNpm, 1, report({ left: { severity: "high" } }), "", "fault"],
  ["a registry that cannot be reached", ofNpm, 1, refused, noEndpoint, "unreachable"],
  ["a registry that audits nothing", ofNpm, 1, notAllowed, noEndpoint, "unreachable"],
  ["a network that never answers", ofNpm, null, "", "", "unreachable"],
  ["a lock file that is missing", ofNpm, 1, JSON.stringify({ error: { code: "ENOLOCK" } }), "npm error", "fault"],
  ["crates without fault", ofCargo, 0, "", "", "ok"],
  ["a licence that is not allowed", ofCargo, 4, "", "error[rejected]: failed to satisfy license requirements", "fault"],
  ["advisories that cannot be fetched", ofCargo, 1, "", "failed to fetch advisory database https://…", "unreachable"],
])("%s", (_, verdictOf, status, stdout, stderr, verdict) => {
  expect(verdictOf({ status, stdout, stderr })).toBe(verdict);
});
