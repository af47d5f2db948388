import{a}from"./chunk-QPCD4GFV.js";import"./chunk-Q5MCYEGB.js";import"./chunk-WEPQFNS3.js";export{a as Tip};
