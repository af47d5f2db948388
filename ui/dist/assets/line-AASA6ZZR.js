import{a}from"./chunk-B5JPXYYJ.js";import"./chunk-3S47GKF7.js";import"./chunk-2UZNYHOF.js";import"./chunk-LA4YH7QQ.js";export{a as LineChart};
