import{a,b,c}from"./chunk-46ALBH6M.js";import"./chunk-7RWP6AHL.js";import"./chunk-JVQAFIUV.js";export{c as diamondPath,b as exemplarLayer,a as thinned};
