import{a}from"./chunk-T6VJKGAX.js";import"./chunk-GQ4Z72UQ.js";import"./chunk-RJYRUAHK.js";import"./chunk-E4M7LTIW.js";export{a as LineChart};
