import{a}from"./chunk-75GOOI34.js";import"./chunk-ZJMAESH5.js";import"./chunk-7UQ5OEXM.js";import"./chunk-SSQRIAIL.js";export{a as LineChart};
