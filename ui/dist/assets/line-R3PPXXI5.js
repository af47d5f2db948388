import{a}from"./chunk-SELMBDWL.js";import"./chunk-TEZWWIYL.js";import"./chunk-Q5MCYEGB.js";import"./chunk-WEPQFNS3.js";export{a as LineChart};
