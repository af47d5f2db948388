/** Runs before the first paint, so that a stored theme does not flash: the only blocking script, a few bytes. */
let stored = "";
try {
  stored = localStorage.getItem("kenning.theme") ?? "";
} catch {
  // No storage: the system decides.
}
const dark = stored === "dark" || (stored !== "light" && matchMedia("(prefers-color-scheme: dark)").matches);
document.documentElement.dataset["theme"] = dark ? "dark" : "light";
