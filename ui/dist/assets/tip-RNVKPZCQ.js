import{a}from"./chunk-VZFPPL4T.js";import"./chunk-TLHLHHUI.js";import"./chunk-SSQRIAIL.js";export{a as Tip};
