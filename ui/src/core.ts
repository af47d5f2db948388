/**
 * What every part of the interface stands on, as one file to fetch. The bundler cuts chunks by who needs what; because
 * each lazily loaded part imports this module, all of these end up in one chunk instead of a dozen small ones.
 */
import "./api.ts";
import "./keys.ts";
import "./links.ts";
import "./load.ts";
import "./palette.ts";
import "./router.ts";
import "./state.ts";
import "./time.ts";
import "./units.ts";
import "./widgets/basics.tsx";
import "./widgets/icons.tsx";
import "./widgets/lazy.tsx";
