import{a}from"./chunk-U54W7CQ4.js";import"./chunk-ZJMAESH5.js";import"./chunk-TLHLHHUI.js";import"./chunk-SSQRIAIL.js";export{a as LineChart};
