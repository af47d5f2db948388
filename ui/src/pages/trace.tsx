import "../core.ts";
export default function P() { return <div class="page" />; }
