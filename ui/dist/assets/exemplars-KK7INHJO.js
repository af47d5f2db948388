import{a,b,c}from"./chunk-HCFCQJUT.js";import"./chunk-OIBSAD4U.js";import"./chunk-4JWUQ7FY.js";export{c as diamondPath,b as exemplarLayer,a as thinned};
