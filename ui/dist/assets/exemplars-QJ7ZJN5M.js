import{a,b,c}from"./chunk-H3F66QQ6.js";import"./chunk-7UQ5OEXM.js";import"./chunk-SSQRIAIL.js";export{c as diamondPath,b as exemplarLayer,a as thinned};
