import{a,b,c}from"./chunk-RTGVDTB7.js";import"./chunk-7RWP6AHL.js";import"./chunk-JVQAFIUV.js";export{c as diamondPath,b as exemplarLayer,a as thinned};
