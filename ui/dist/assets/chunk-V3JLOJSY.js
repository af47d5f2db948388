import{r as t}from"./chunk-4JWUQ7FY.js";function o(n){let e=t("only");return e.length>0&&n.series.some(r=>e.includes(r.key))?new Set(e):void 0}export{o as a};
