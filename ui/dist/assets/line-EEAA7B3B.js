import{a}from"./chunk-WSWY74JN.js";import"./chunk-NYKCSZNR.js";import"./chunk-RZ3DAHX2.js";import"./chunk-3OF3IVQA.js";export{a as LineChart};
