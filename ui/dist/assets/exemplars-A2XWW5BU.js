import{a,b,c}from"./chunk-QTWPPEXN.js";import"./chunk-LIJLOW6P.js";export{c as diamondPath,b as exemplarLayer,a as thinned};
