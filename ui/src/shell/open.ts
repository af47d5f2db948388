/** Which dialogs are open; apart from them, so that keys can open what is not loaded yet. */
import { signal } from "@preact/signals";

/** Whether the command bar is shown. */
export const commandOpen = signal(false);

/** Whether the card of keys and gestures is shown. */
export const helpOpen = signal(false);
