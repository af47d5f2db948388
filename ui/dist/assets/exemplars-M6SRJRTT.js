import{a,b,c}from"./chunk-5NXVHMGK.js";import"./chunk-Q5MCYEGB.js";import"./chunk-WEPQFNS3.js";export{c as diamondPath,b as exemplarLayer,a as thinned};
