import { expect, it } from "vitest";
import { mustSignAgain, signatureOf, signCommand } from "./signature";

const partial = { signed_by: ["a"], needed: 2, expires_at: "2027-01-01T00:00:00Z" };

it("tells how a signature stands", () => {
  expect(signatureOf({ signed: false })).toBe("none");
  expect(signatureOf({ signed: false, partial })).toBe("collecting");
  expect(signatureOf({ signed: true })).toBe("good");
  expect(signatureOf({ signed: true, partial })).toBe("good");
  expect(signatureOf({ signed: true, refusal: "signature_invalid" })).toBe("refused");
  expect(signatureOf({ signed: true, refusal: "below_threshold", partial })).toBe("collecting");
  expect(signatureOf({ signed: true, refusal: "revoked", partial })).toBe("revoked");
});

it("asks for the archive only where there is one", () => {
  expect(signCommand({ id: "1" })).toBe("muster package sign --key FILE 1");
  expect(signCommand({ id: "1", archive: { format: "zip", size: 1, sha256: "x", fragments: 1 } })).toContain("--archive FILE 1");
});

it("offers a new signature where that is what is missing", () => {
  expect(mustSignAgain({ state: "refused", reason: "signature_invalid" })).toBe(true);
  expect(mustSignAgain({ state: "waiting", reason: "sign_again" })).toBe(true);
  expect(mustSignAgain({ state: "refused", reason: "revoked" })).toBe(false);
  expect(mustSignAgain({ state: "succeeded", reason: "exit_code" })).toBe(false);
});
