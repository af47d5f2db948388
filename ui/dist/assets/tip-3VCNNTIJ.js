import{a}from"./chunk-TPUQHKJX.js";import"./chunk-LIJLOW6P.js";export{a as Tip};
