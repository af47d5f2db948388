import{a}from"./chunk-YN44CONS.js";import"./chunk-B3Z3S5HK.js";import"./chunk-OIBSAD4U.js";import"./chunk-4JWUQ7FY.js";export{a as LineChart};
