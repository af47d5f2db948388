import{a}from"./chunk-VZFPPL4T.js";import"./chunk-7UQ5OEXM.js";import"./chunk-SSQRIAIL.js";export{a as Tip};
