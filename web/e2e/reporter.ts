import { existsSync, readFileSync, rmSync } from "node:fs";
import type { FullResult, Reporter, TestCase, TestResult } from "@playwright/test/reporter";

/** Prints a line for each test, why it failed, and at the end "N passed, N failed", Vitest's tests among them. */
export default class implements Reporter {
  #passed = 0;
  #failed = 0;

  onTestEnd(test: TestCase, result: TestResult): void {
    if (result.status === "skipped") return;
    const good = result.status === "passed";
    if (good) this.#passed++;
    else this.#failed++;
    console.log(
      `${good ? "ok   " : "FAIL "} ${test.titlePath().slice(3).join(" › ")} (${(result.duration / 1000).toFixed(1)} s)`,
    );
    for (const error of result.errors)
      console.log(`      ${(error.message ?? String(error.value)).split("\n").slice(0, 14).join("\n      ")}`);
  }

  onStdOut(chunk: string | Buffer): void {
    process.stdout.write(chunk);
  }

  onError(error: { message?: string }): void {
    this.#failed++;
    console.log(`FAIL  ${error.message}`);
  }

  onEnd(result: FullResult): void {
    const units = process.env.UNITS;
    if (units && existsSync(units)) {
      const counted = JSON.parse(readFileSync(units, "utf8")) as { numPassedTests: number; numFailedTests: number };
      this.#passed += counted.numPassedTests;
      this.#failed += counted.numFailedTests;
      rmSync(units);
    }
    if (result.status !== "passed" && this.#failed === 0) this.#failed++;
    console.log(`${this.#passed} passed, ${this.#failed} failed`);
  }
}
