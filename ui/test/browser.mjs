// Starts Chromium the way every browser test here does: nothing in the background, no network but the server's.
import { existsSync } from "node:fs";
import { chromium } from "playwright-core";

const EXECUTABLE = process.env.KENNING_CHROMIUM ?? "/usr/bin/chromium";
const FLAGS = [
  "--no-sandbox",
  "--disable-gpu",
  "--disable-quic",
  "--no-first-run",
  "--disable-background-networking",
  "--disable-component-update",
  "--disable-sync",
];

/** A browser, or null with a loud word when there is none. */
export async function launch() {
  if (!existsSync(EXECUTABLE)) {
    console.error(`SKIPPED: browser tests, no Chromium at ${EXECUTABLE} (set KENNING_CHROMIUM)`);
    return null;
  }
  return chromium.launch({ executablePath: EXECUTABLE, args: FLAGS, headless: true });
}
