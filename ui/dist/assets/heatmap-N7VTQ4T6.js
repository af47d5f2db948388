import{c as a,d as b}from"./chunk-4KXBYLP3.js";import"./chunk-CGVXEJRJ.js";import"./chunk-6GHG55PZ.js";import"./chunk-QTWPPEXN.js";import"./chunk-LIJLOW6P.js";export{b as ExemplarTip,a as Heatmap};
