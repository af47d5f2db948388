import{a}from"./chunk-6VZ5AO7G.js";import"./chunk-6GHG55PZ.js";import"./chunk-LIJLOW6P.js";export{a as LineChart};
