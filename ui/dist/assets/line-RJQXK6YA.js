import{a}from"./chunk-2CUPXKOU.js";import"./chunk-M727YYI3.js";import"./chunk-7UYTF3CC.js";import"./chunk-WQNGARXW.js";export{a as LineChart};
